"""The record: a projection of the run folders, the same however often and late it is written."""

import dataclasses
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from record_helpers import BASE, BEGUN_AT, fail, finish, grid, history_of, miou_of, sweep_state
from store_helpers import (
    as_schema_1,
    children_of,
    content_of,
    parent_of,
    publish,
    record_of,
    runs_of,
)

from analysis.record import schema
from analysis.record.origin import TAG, Origin
from analysis.record.trials import load_trials
from sweeps.planning.ranking import best_point
from sweeps.planning.state import SweepState
from sweeps.record import manifest
from sweeps.record import publisher as publisher_module
from sweeps.record.mlflow_store import create_database
from sweeps.record.publisher import Publisher
from sweeps.record.writer import MlflowWriter
from trainable.config.schema import DEFAULTS, EXECUTION_FIELDS
from trainable.runs.folder import RunFolder
from trainable.runs.keys import code_version

# mlflow 3.17 asks SQLAlchemy 2.1 for it, at the first use of a database in a process.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

NOWHERE = "http://127.0.0.1:1"
PUBLISH_S = 20.0  # a store that is not there is given up within this; with stock settings minutes
COMMON_TAGS = {
    *("schema", "sweep", "sweep_key", "dataset", "kind", TAG, "mlflow.user"),
    *("mlflow.source.name", "mlflow.source.type", "mlflow.source.git.commit"),
}
COMMON_FACTS = {"data_fingerprint", "code_version", "git_commit"}
SWEEP_TAGS = COMMON_TAGS | {"trials_total", "axes", "state"}
SETTING = {"device", "cpu", "torch", "torchvision", "python", "threads", "host"}
TRIAL_TAGS = COMMON_TAGS | SETTING
TRIAL_TAGS |= {"mlflow.parentRunId", "trial_key"}
# What the demo preset sets, spelled as DESIGN.md has it: `adversarial` is left at its default.
PARAMS = {
    *("lambda_adv", "swa_n", "swa_threshold", "swa_rule", "lr_generator", "lr_discriminator"),
    *("generator", "dataset", "iterations", "batch_size"),
}
METRICS = {
    *("val/miou", "val/acc", "val/macc", "val/fwiou"),
    *("swa/miou", "swa/acc", "swa/macc", "swa/fwiou"),
    *("train/loss_mce", "train/loss_adv", "train/loss_disc", "images_per_s"),
}


def finished(storage: Path, **of_grid: Any) -> SweepState:
    """A plan whose runs have a result each."""
    state = sweep_state(storage, grid(**of_grid))
    for run in state.pending():
        finish(state, run)
    return state


def with_one_failure(storage: Path) -> SweepState:
    """A plan of two seeds whose first run failed and whose others have a result."""
    state = sweep_state(storage, grid(seeds=(0, 1)))
    for run in state.runs[1:]:
        finish(state, run)
    fail(state, state.runs[0], "nan")
    return state


# What is written


def test_a_sweep_is_one_parent_with_one_flat_child_per_trial(tmp_path: Path, uri: str) -> None:
    state = finished(tmp_path / "runs", seeds=(0, 1))
    assert publish(state, uri) == []
    parent = parent_of(uri)
    assert (parent.info.status, parent.info.run_name) == ("FINISHED", "lambda_grid")
    assert "mlflow.parentRunId" not in parent.data.tags
    assert parent.data.tags["trials_total"] == "4"
    children = children_of(uri)
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    keys = [run.data.tags["trial_key"] for run in children]
    assert sorted(keys) == sorted(trial.trial_key for trial in state.trials)
    assert {run.info.status for run in children} == {"FINISHED"}
    names = {"lambda_adv=0 seed=0", "lambda_adv=0.01 seed=1"}
    assert names < {run.info.run_name for run in children}


def test_params_metrics_and_tags_are_spelled_as_designed(tmp_path: Path, uri: str) -> None:
    state = finished(tmp_path / "runs", lambdas=[0.01], data_root="/elsewhere")
    publish(state, uri)
    (child,), parent = children_of(uri), parent_of(uri)
    assert child.data.params.keys() > PARAMS | {"seed"}
    assert child.data.params["lambda_adv"] == "0.01"
    assert child.data.params["swa_rule"] == "uniform"
    # Where it ran is no part of what it is.
    assert not {"data_root", "device", "checkpoint_every"} & child.data.params.keys()
    assert child.data.params.keys() - parent.data.params.keys() == {"lambda_adv", "seed"}
    assert child.data.metrics.keys() == METRICS
    assert len(METRICS) <= 12
    assert child.data.tags.keys() - {"mlflow.runName"} == TRIAL_TAGS
    parents_own = parent.data.tags.keys() - {"mlflow.runName"}
    assert parents_own == SWEEP_TAGS
    for tags in (child.data.tags, parent.data.tags):
        assert tags["sweep"] == "lambda_grid"
        assert tags["sweep_key"] == state.plan.sweep_key
        assert tags["dataset"] == "shapes"
    for run, own in ((child, {"training_key", "record_hash"}), (parent, {"capture_hash"})):
        facts = Origin.of_run(run).facts
        assert facts.keys() == COMMON_FACTS | own
        assert facts["data_fingerprint"] == state.plan.data.fingerprint
        assert facts["code_version"] == code_version()
        assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?|unknown", facts["git_commit"])
    assert Origin.of_run(child).facts["training_key"] == state.runs[0].spec.training_key


def test_params_are_what_was_set_and_a_tag_says_where_the_training_differs(
    tmp_path: Path, uri: str
) -> None:
    # With lambda 0 there is no adversary, whatever is set of it: `adversarial=pixelwise` and the
    # width of a discriminator are what was asked, and remain what is compared.
    given = {"adversarial": "pixelwise", "discriminator_width": 32, "precision": "auto"}
    base = dataclasses.replace(BASE, adversarial="pixelwise", discriminator_width=32)
    asked = [dataclasses.replace(base, lambda_adv=value, precision="fp32") for value in (0.0, 0.1)]
    asked[1] = dataclasses.replace(asked[1], momentum=0.5)  # a script set it for one trial
    state = sweep_state(tmp_path / "runs", asked, base=asked[0], given=given)
    for run in state.pending():
        finish(state, run)
    publish(state, uri)
    params = {run.data.params["lambda_adv"]: run.data.params for run in children_of(uri)}
    shown = {"adversarial": "pixelwise", "discriminator_width": "32", "precision": "auto"}
    assert params == {
        "0.0": {"lambda_adv": "0.0", "seed": "0"} | shown,
        "0.1": {"lambda_adv": "0.1", "seed": "0", "momentum": "0.5"} | shown,
    }
    assert parent_of(uri).data.params == shown
    effective = {
        run.data.params["lambda_adv"]: {
            name: text for name, text in run.data.tags.items() if name.startswith("effective/")
        }
        for run in children_of(uri)
    }
    precision = {"effective/precision": "fp32"}
    assert effective == {"0.0": {"effective/adversarial": "none"} | precision, "0.1": precision}


def test_the_frame_has_the_config_that_was_trained_with_all_its_fields(
    tmp_path: Path, uri: str
) -> None:
    state = finished(tmp_path / "runs", seeds=(0, 1))
    publish(state, uri)
    frame = load_trials(uri, "lambda_grid").set_index("trial_key")
    fields = [name for name in DEFAULTS if name not in EXECUTION_FIELDS]
    assert list(frame.columns)[-len(fields) :] == sorted(fields)
    for trial in state.trials:
        trained = {name: str(getattr(trial.config, name)) for name in fields}
        assert {name: str(frame.loc[trial.trial_key, name]) for name in fields} == trained


def test_a_record_of_schema_1_is_read_alike_and_brought_up_to_date(
    tmp_path: Path, uri: str
) -> None:
    state = with_one_failure(tmp_path / "runs")
    publish(state, uri)
    frame, content = load_trials(uri, "lambda_grid"), record_of(uri)
    before = frame.drop(columns="record_hash")
    ids = {run.info.run_id for run in runs_of(uri)}
    as_schema_1(uri)
    assert TAG not in parent_of(uri).data.tags
    found = load_trials(uri, "lambda_grid").drop(columns="record_hash")
    pd.testing.assert_frame_equal(found, before)
    publish(state, uri)
    assert {run.info.run_id for run in runs_of(uri)} == ids
    pd.testing.assert_frame_equal(load_trials(uri, "lambda_grid"), frame)
    now = record_of(uri)
    # Of params that are there the tag says nothing again.
    tags = [[one["tags"] | {TAG: ""} for one in rows] for rows in (now, content)]
    assert tags[0] == tags[1]
    # MLflow takes back no param.
    assert [one["params"] for one in now] != [one["params"] for one in content]
    publish(state, uri)
    assert record_of(uri) == now


def test_a_tag_that_was_changed_is_refused_by_the_runs_name(tmp_path: Path, uri: str) -> None:
    from mlflow import MlflowClient

    publish(finished(tmp_path / "runs"), uri)
    run_id = children_of(uri)[0].info.run_id
    for text in ("", "[]", '{"config": {"seed": 0}}', '{"training_key": "00"}'):
        MlflowClient(uri).set_tag(run_id, TAG, text)
        with pytest.raises(schema.RecordError, match=rf"{TAG} of run {run_id} holds texts by name"):
            load_trials(uri, "lambda_grid", cache=False)


def test_a_trial_has_its_numbers_and_its_curves(tmp_path: Path, uri: str) -> None:
    state = finished(tmp_path / "runs", lambdas=[0.01], iterations=40, log_every=20, eval_every=10)
    publish(state, uri)
    (content,) = [row for row in record_of(uri) if row["tags"]["kind"] == "trial"]
    val, swa = miou_of(state.trials[0].config, state.trials[0].config.readout)
    history = history_of(state.trials[0].config)
    end = round((BEGUN_AT + 40) * 1000)
    for name in schema.CURVES:
        curve = [
            (row["iteration"], round(row["time"] * 1000), row[name])
            for row in history
            if name in row
        ]
        assert len(curve) == (4 if name == "val/miou" else 2)
        final = [(40.0, end, val)] if name == "val/miou" else []
        assert content["metrics"][name] == sorted(curve + final)
    assert content["metrics"]["swa/miou"] == [(40, end, swa)]
    assert content["metrics"]["images_per_s"] == [(40, end, 40.0)]
    assert (content["start"], content["end"]) == (round((BEGUN_AT + 10) * 1000), end)
    assert content["files"] == ["result.json"]


def test_trials_of_one_training_run_have_each_its_own_average(tmp_path: Path, uri: str) -> None:
    state = sweep_state(tmp_path / "runs", grid([0.01], swa_n=4) + grid([0.01], swa_n=8))
    finish(state, state.runs[0])
    publish(state, uri)
    found = {run.data.params["swa_n"]: run.data.metrics["swa/miou"] for run in children_of(uri)}
    val = miou_of(state.trials[0].config, BASE.readout)[0]
    assert found == {"4": pytest.approx(val + 0.024), "8": pytest.approx(val + 0.028)}


def test_the_parent_has_mean_and_interval_of_the_best_point(tmp_path: Path, uri: str) -> None:
    state = finished(tmp_path / "runs", seeds=(0, 1, 2))
    publish(state, uri)
    best = best_point(state)
    assert best is not None
    numbers = best.numbers()
    # Each run of the helpers trains 240 iterations of 8 images at 40 images/s.
    cost = {"cost/training_runs": 6, "cost/naive_runs": 6, "cost/training_s": 6 * 240 * 8 / 40}
    assert parent_of(uri).data.metrics == numbers | cost | {"best/lambda_adv": 0.01}
    assert len([name for name in numbers if name.startswith("ci_")]) == 4


def test_the_parent_of_single_seeds_has_a_mean_but_no_interval(tmp_path: Path, uri: str) -> None:
    publish(finished(tmp_path / "runs"), uri)
    metrics = parent_of(uri).data.metrics
    assert "mean/swa/miou" in metrics
    assert not [name for name in metrics if name.startswith("ci_")]


def test_a_failed_run_is_failed_with_its_cause_and_its_curve(tmp_path: Path, uri: str) -> None:
    state = sweep_state(tmp_path / "runs", grid())
    fail(state, state.runs[0], "train/loss_adv must stay finite")
    finish(state, state.runs[1])
    publish(state, uri)
    states = {run.data.params["lambda_adv"]: run for run in children_of(uri)}
    assert [states[value].info.status for value in ("0.01", "0.0")] == ["FAILED", "FINISHED"]
    assert states["0.01"].data.tags["cause"] == "train/loss_adv must stay finite"
    assert "train/loss_mce" in states["0.01"].data.metrics
    assert "swa/miou" not in states["0.01"].data.metrics
    assert parent_of(uri).info.status == "FINISHED"


def test_a_run_that_failed_before_it_finished_has_no_cause(tmp_path: Path, uri: str) -> None:
    state = sweep_state(tmp_path / "runs", grid([0.01]))
    fail(state, state.runs[0], "train/loss_adv must stay finite")
    publish(state, uri)
    finish(state, state.runs[0])
    publish(sweep_state(tmp_path / "runs", grid([0.01])), uri)
    (child,) = children_of(uri)
    assert child.info.status == "FINISHED"
    assert not child.data.tags.get("cause")


def test_a_run_whose_worker_died_is_failed_until_it_finishes(tmp_path: Path, uri: str) -> None:
    state = sweep_state(tmp_path / "runs", grid([0.01]))
    with Publisher(state, uri, pytest.fail) as publisher:
        publisher.publish(state.runs[0], "its worker died")
    (child,) = children_of(uri)
    assert (child.info.status, child.data.tags["cause"]) == ("FAILED", "its worker died")
    finish(state, state.runs[0])
    publish(state, uri)
    (again,) = children_of(uri)
    assert (again.info.run_id, again.info.status) == (child.info.run_id, "FINISHED")
    assert "cause" not in again.data.tags


def test_a_sweep_with_runs_left_is_not_finished(tmp_path: Path, uri: str) -> None:
    state = sweep_state(tmp_path / "runs", grid())
    finish(state, state.runs[0])
    publish(state, uri)
    assert parent_of(uri).info.status == "KILLED"
    assert len(children_of(uri)) == 1
    finish(state, state.runs[1])
    publish(state, uri)
    assert parent_of(uri).info.status == "FINISHED"


# Again and later


def test_publishing_twice_changes_nothing(tmp_path: Path, uri: str) -> None:
    state = with_one_failure(tmp_path / "runs")
    publish(state, uri)
    before, ids = record_of(uri), {run.info.run_id for run in runs_of(uri)}
    publish(sweep_state(tmp_path / "runs", grid(seeds=(0, 1))), uri)
    assert record_of(uri) == before
    assert {run.info.run_id for run in runs_of(uri)} == ids


def test_more_seeds_add_their_trials_and_touch_no_other(tmp_path: Path, uri: str) -> None:
    publish(finished(tmp_path / "runs", seeds=(0,)), uri)
    before = {run.info.run_id: content_of(run, uri) for run in children_of(uri)}
    assert publish(finished(tmp_path / "runs", seeds=(0, 1, 2)), uri) == []
    after = {run.info.run_id: content_of(run, uri) for run in children_of(uri)}
    assert (len(before), len(after)) == (2, 6)
    assert {run_id: after[run_id] for run_id in before} == before
    assert parent_of(uri).data.tags["trials_total"] == "6"
    assert parent_of(uri).data.metrics["best/seeds"] == 3
    # Fewer seeds than are recorded ask for no less.
    publish(finished(tmp_path / "runs", seeds=(0,)), uri)
    assert parent_of(uri).data.tags["trials_total"] == "6"


def test_later_seeds_replace_the_parents_numbers_also_by_lower_ones(
    tmp_path: Path, uri: str
) -> None:
    state = sweep_state(tmp_path / "runs", grid([0.01], range(3)))
    for run in state.runs:
        value = (0.9, 0.3, 0.4)[run.spec.config.seed]
        finish(state, run, lambda *_, value=value: (value, value))
    first = sweep_state(tmp_path / "runs", grid([0.01], [0]))
    publish(first, uri)
    assert parent_of(uri).data.metrics["mean/swa/miou"] == pytest.approx(0.9)
    publish(state, uri)
    assert parent_of(uri).data.metrics["mean/swa/miou"] == pytest.approx(1.6 / 3)


# At equal step and time MLflow shows the larger value, so mean and interval come from two plans.
def test_publishing_a_part_of_what_is_recorded_changes_nothing(tmp_path: Path, uri: str) -> None:
    state = sweep_state(tmp_path / "runs", grid([0.01], range(2)))
    for run in state.runs:
        value = (0.9, 0.3)[run.spec.config.seed]
        finish(state, run, lambda *_, value=value: (value, value))
    publish(state, uri)
    before = record_of(uri)
    publish(sweep_state(tmp_path / "runs", grid([0.01], [0])), uri)
    assert record_of(uri) == before


def test_another_attempts_numbers_replace_the_old_ones_in_place(tmp_path: Path, uri: str) -> None:
    old = finished(tmp_path / "runs", lambdas=[0.01])
    publish(old, uri)
    new = sweep_state(tmp_path / "runs", grid([0.01]), attempt="second")
    finish(new, new.runs[0], lambda *_: (0.125, 0.25))
    folder = RunFolder(new.plan.storage, new.runs[0].spec.training_key)
    result = folder.read("result")
    assert result is not None
    folder.write("result", result | {"finished_at": result["finished_at"] + 60})
    publish(new, uri)
    (child,) = children_of(uri)
    assert (child.data.metrics["val/miou"], child.data.metrics["swa/miou"]) == (0.125, 0.25)


# Every call that writes, for one trial, in its order.
WRITES = (
    "create_experiment",
    "create_run",  # the parent
    "log_batch",  # its params
    "set_tag",  # its trials_total
    "log_text",  # its environment
    "set_tag",  # its capture_hash
    "create_run",  # the child
    "log_text",
    "log_batch",  # its metrics, params and tags
    "set_terminated",
    "set_tag",  # its record_hash
    "log_batch",  # the parent's metrics
    "delete_tag",  # its why_partial
    "set_tag",  # its state
    "set_terminated",
)


@pytest.fixture
def crash_at(monkeypatch: pytest.MonkeyPatch) -> Iterable[Callable[[int | None], list[str]]]:
    """Let the store be gone from its n-th write on, and tell what was asked of it."""
    from mlflow import MlflowClient

    with monkeypatch.context() as patch:

        def crash(last: int | None) -> list[str]:
            patch.undo()
            calls: list[str] = []

            def wrap(name: str) -> None:
                write = getattr(MlflowClient, name)

                def counted(*args: Any, **kwargs: Any) -> Any:
                    calls.append(name)
                    if last is not None and len(calls) > last:
                        raise ConnectionError("gone")
                    return write(*args, **kwargs)

                patch.setattr(MlflowClient, name, counted)

            for name in set(WRITES):
                wrap(name)
            return calls

        yield crash


@pytest.fixture(scope="session")
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path
) -> list[dict[str, Any]]:
    """The record of the crash tests' sweep when nothing goes wrong."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    uri = f"sqlite:///{shutil.copy(empty_store, folder / 'mlflow.db')}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(manifest, "git_diff", str)
        assert publish(finished(folder / "runs", lambdas=[0.01]), uri) == []
    return record_of(uri)


@pytest.mark.parametrize(
    "survived",
    range(1, len(WRITES)),
)
def test_a_crash_between_two_writes_is_made_up_for_without_a_duplicate(
    survived: int,
    tmp_path: Path,
    uri: str,
    crash_at: Callable[[int | None], list[str]],
    uninterrupted: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(manifest, "git_diff", str)  # of this checkout, which may have changes
    state = finished(tmp_path / "runs", lambdas=[0.01])
    calls = crash_at(survived)
    assert publish(state, uri)
    assert calls[: survived + 1] == list(WRITES[: survived + 1])
    crash_at(None)
    assert publish(state, uri) == []
    assert record_of(uri) == uninterrupted


def test_what_is_recorded_is_not_sent_again(
    tmp_path: Path, uri: str, crash_at: Callable[[int | None], list[str]]
) -> None:
    state = finished(tmp_path / "runs", seeds=(0, 1))
    publish(state, uri)
    calls = crash_at(None)
    publish(state, uri)
    assert calls == ["log_batch", "set_terminated"]  # both the parent's


def test_a_child_left_running_is_finished_in_place(tmp_path: Path, uri: str) -> None:
    """What a killed driver leaves: the run, its params and a part of its curves."""
    state = finished(tmp_path / "runs", lambdas=[0.01])
    record = MlflowWriter(state, uri, manifest.begin(state, uri))
    left = record.trials._create(state.trials[0], None)
    row = history_of(state.trials[0].config)[0]
    milliseconds = round(row["time"] * 1000)
    record.client.log_metric(
        left.run_id, "train/loss_mce", row["train/loss_mce"], milliseconds, step=20
    )
    assert left.status == "RUNNING"
    publish(state, uri)
    (child,) = children_of(uri)
    assert (child.info.run_id, child.info.status) == (left.run_id, "FINISHED")
    assert child.data.metrics["swa/miou"] == miou_of(state.trials[0].config, BASE.readout)[1]
    assert "record_hash" in Origin.of_run(child).facts


# A store that is not there


def test_a_store_that_is_gone_gives_one_warning_soon_and_the_next_run_catches_up(
    tmp_path: Path, uri: str
) -> None:
    state = finished(tmp_path / "runs", seeds=(0, 1))
    begun = time.monotonic()
    (warning,) = publish(state, NOWHERE)
    assert time.monotonic() - begun < PUBLISH_S
    assert NOWHERE in warning
    assert "lags behind" in warning
    assert f"python -m sweeps.publish --storage {tmp_path / 'runs'}" in warning
    assert "\n" not in warning
    assert publish(state, uri) == []
    assert len(children_of(uri)) == 4


# A file of another kind, and a server whose driver is not installed.
@pytest.mark.parametrize("bad", ["sqlite:///text.db", "postgresql+nodriver://127.0.0.1:1/x"])
def test_a_store_that_is_none_gives_one_warning(
    bad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.db").write_text("not a database")
    assert len(publish(finished(tmp_path / "runs"), bad)) == 1


def test_a_warning_shows_no_password(tmp_path: Path) -> None:
    (warning,) = publish(finished(tmp_path / "runs"), "http://someone:secret@127.0.0.1:1")
    assert "secret" not in warning


@pytest.mark.slow
def test_a_kill_while_the_database_is_made_leaves_none_that_is_half_made(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    database = tmp_path / "mlflow.db"
    uri = f"sqlite:///{database}"
    program = "from pathlib import Path; from sweeps.record.mlflow_store import create_database; "
    program += f"create_database(Path({str(database)!r}))"
    maker = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in tmp_path.glob(".mlflow.db.*.tmp")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    maker.kill()
    maker.wait()
    assert not database.exists()
    create_database(database)
    assert MlflowClient(uri).get_experiment_by_name("Default") is not None


def test_a_slow_store_does_not_hold_up_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, published = threading.Event(), []

    class Slow:
        moved_from = ""
        trials = SimpleNamespace(end_left_off=lambda *_: None)

        def __init__(self, *_: object) -> None:
            assert answers.wait(30)

        def publish(self, run: object, cause: str | None, is_known: object) -> None:
            assert cause is None
            published.append(run)

    monkeypatch.setattr(publisher_module, "MlflowWriter", Slow)
    monkeypatch.setattr(publisher_module, "conclude", lambda *_, **__: published.append("end"))
    state = finished(tmp_path / "runs")
    with Publisher(state, "sqlite:///unused.db", pytest.fail) as publisher:
        for run in state.runs:
            publisher.publish(run)
        assert published == []
        answers.set()
    assert published == [*state.runs, "end"]


# What analysis reads


def test_analysis_reads_what_was_written(tmp_path: Path, uri: str) -> None:
    state = with_one_failure(tmp_path / "runs")
    publish(state, uri)
    frame = load_trials(uri)
    written = {
        "sweep": "lambda_grid",
        "sweep_key": state.plan.sweep_key,
        "dataset": "shapes",
        "trials_total": 4,
        "parent_run_id": parent_of(uri).info.run_id,
        "axes": ("lambda_adv",),
        "state": "complete",
        "training_runs": 4.0,
        "naive_runs": 4.0,
    }
    assert frame.attrs | written == frame.attrs
    for trial in state.trials:
        (row,) = frame[frame["trial_key"] == trial.trial_key].to_dict("records")
        config = trial.config
        assert (row["lambda_adv"], row["seed"]) == (config.lambda_adv, config.seed)
        if trial.training_key == state.runs[0].spec.training_key:
            assert row["status"] == "FAILED"
        else:
            assert (row["val/miou"], row["swa/miou"]) == miou_of(config, config.readout)
    assert load_trials(uri, state.plan.sweep_key).equals(frame)


def test_writer_and_reader_agree_on_the_schema() -> None:
    assert set(schema.METRICS) == METRICS
    assert set(schema.TRIAL_FACTS) < COMMON_FACTS | {"training_key"}
