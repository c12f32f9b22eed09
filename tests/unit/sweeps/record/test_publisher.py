"""What is told of a sweep as a whole, and how a store that comes and goes is borne."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from record_helpers import BASE, fail, finish, grid, sweep_state
from sealing import sealed
from store_helpers import (
    children_of,
    content_of,
    parent_of,
    publish,
    record_of,
    runs_of,
    wait_until,
)

from sweeps.planning.state import SweepState
from sweeps.record import environment, manifest
from sweeps.record import publisher as publisher_module
from sweeps.record.publisher import Publisher
from sweeps.record.writer import MlflowWriter
from trainable.storage import json_files
from trainable.storage.redaction import first_line

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")


def file_of(run: Any, name: str, uri: str, folder: Path) -> str:
    """The content of an artifact."""
    from mlflow import MlflowClient

    folder.mkdir(exist_ok=True)
    path = MlflowClient(uri).download_artifacts(run.info.run_id, name, str(folder))
    return Path(path).read_text()


# What the parent tells


def test_a_complete_sweep_says_so_and_what_it_asked(tmp_path: Path, uri: str) -> None:
    state = sweep_state(tmp_path / "runs", grid(), question="How much?")
    for run in state.runs:
        finish(state, run)
    publish(state, uri)
    tags = parent_of(uri).data.tags
    assert (tags["question"], tags["axes"], tags["state"]) == (
        "How much?",
        "lambda_adv",
        "complete",
    )
    assert "why_partial" not in tags


def test_a_partial_sweep_says_why_until_it_is_complete(tmp_path: Path, uri: str) -> None:
    state = sweep_state(tmp_path / "runs", grid())
    finish(state, state.runs[0])
    with Publisher(state, uri, pytest.fail) as publisher:
        publisher.publish(state.runs[0])
        state.end_early("time budget of 60 s")
    tags = parent_of(uri).data.tags
    assert (tags["state"], tags["why_partial"]) == ("partial", "time budget of 60 s")
    finish(state, state.runs[1])
    publish(sweep_state(tmp_path / "runs", grid()), uri)  # by the next command
    tags = parent_of(uri).data.tags
    assert (tags["state"], "why_partial" in tags) == ("complete", False)


def test_the_cost_is_told_beside_that_of_a_run_per_trial(tmp_path: Path, uri: str) -> None:
    state = sweep_state(tmp_path / "runs", grid(swa_n=4) + grid(swa_n=8))
    for run in state.runs:
        finish(state, run)
    publish(state, uri)
    metrics = parent_of(uri).data.metrics
    assert (metrics["cost/training_runs"], metrics["cost/naive_runs"]) == (2, 4)
    assert metrics["cost/training_s"] == pytest.approx(2 * 240 * 8 / 40)


# MLflow's metrics are numbers.
def test_the_best_value_of_an_axis_that_is_no_number_is_a_tag(tmp_path: Path, uri: str) -> None:
    configs = [dataclasses.replace(BASE, swa_rule=rule) for rule in ("eq7", "uniform")]
    state = sweep_state(tmp_path / "runs", configs, axes=("swa_rule", "swa_n"))
    for run in state.runs:
        finish(state, run)
    publish(state, uri)
    parent = parent_of(uri)
    assert parent.data.tags["best/swa_rule"] == "eq7"
    assert parent.data.metrics["best/swa_n"] == BASE.swa_n


# What a child tells


def test_a_run_that_the_sweep_stopped_is_killed_with_its_curve_and_cause(
    tmp_path: Path, uri: str
) -> None:
    state = sweep_state(tmp_path / "runs", grid())
    stopped, done = state.runs
    fail(state, stopped, "nan")
    folder = state.plan.storage / stopped.spec.training_key
    (folder / "failure.json").unlink()  # and its metrics stay
    state.stop(stopped.spec.training_key, "pruned after 120 iterations")
    finish(state, done)
    with Publisher(state, uri, pytest.fail) as publisher:
        publisher.publish(done)
    (child,) = [run for run in children_of(uri) if run.info.status == "KILLED"]
    assert child.data.tags["cause"] == "pruned after 120 iterations"
    assert "train/loss_mce" in child.data.metrics
    assert parent_of(uri).data.tags["state"] == "complete"


def test_what_a_plan_says_of_a_trial_becomes_its_tags(tmp_path: Path, uri: str) -> None:
    state = sweep_state(tmp_path / "runs", grid([0.01]))
    finish(state, state.runs[0])
    publish(state, uri)
    state.tag(state.trials[0].trial_key, ask="3", phase="confirm")
    publish(state, uri)
    (child,) = children_of(uri)
    assert (child.data.tags["ask"], child.data.tags["phase"]) == ("3", "confirm")


@pytest.mark.parametrize("wanted", [True, False])
def test_masks_are_kept_where_the_sweep_wants_them(wanted: bool, tmp_path: Path, uri: str) -> None:
    state = sweep_state(tmp_path / "runs", grid([0.01]), with_samples=wanted)
    finish(state, state.runs[0])
    key = state.trials[0].training_key
    path = state.plan.storage / key / "samples.npz"
    np.savez(path, masks=np.zeros(2))
    path.write_bytes(json_files.seal_zip(path.read_bytes(), {"training_key": key}))
    publish(state, uri)
    (child,) = children_of(uri)
    files = ["result.json", *["samples.npz"] * wanted]
    assert content_of(child, uri)["files"] == files


def test_a_run_trained_again_to_the_same_numbers_changes_nothing(tmp_path: Path, uri: str) -> None:
    """Its clocks differ: a point a second would stand beside each."""
    state = sweep_state(tmp_path / "runs", grid([0.01]))
    finish(state, state.runs[0])
    publish(state, uri)
    before = record_of(uri)
    folder = state.plan.storage / state.trials[0].training_key
    for name in ("metrics", "result"):
        path = folder / f"{name}.json"
        path.write_bytes(
            sealed(json.dumps(json_files.loads(path.read_bytes())).replace("17000", "17001"))
        )
    publish(sweep_state(tmp_path / "runs", grid([0.01])), uri)
    assert record_of(uri) == before


# What it ran on


def test_the_parent_holds_what_the_sweep_ran_on(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "--tracking-uri=postgresql://me:se/cret@host/db"
    monkeypatch.setattr("sys.argv", ["lambda_grid.py", secret])
    monkeypatch.setattr(manifest, "git_diff", lambda: "+ a line\n")
    state = sweep_state(tmp_path / "runs", grid())
    publish(state, uri)
    parent = parent_of(uri)
    found = json.loads(file_of(parent, "environment.json", uri, tmp_path / "down"))
    assert found.keys() == {
        "sha256",
        *("python", "platform", "cpu", "cpus", "memory_gb", "gpus", "packages", "command"),
    }
    assert found["cpus"] >= 1
    assert found["memory_gb"] > 0
    assert {"torch", "mlflow", "ray"} <= found["packages"].keys()
    command = "lambda_grid.py '--tracking-uri=postgresql://***@host/db' (with the secret for ***)"
    assert found["command"].endswith(command)
    assert file_of(parent, "git.diff", uri, tmp_path / "down") == "+ a line\n"


def test_a_diff_that_is_long_is_cut_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_output", lambda *_, folder, env: b"x" * 1_000_001)
    assert environment.git_diff().endswith("\n[cut: 1000000 of 1000001 characters]\n")
    assert len(environment.git_diff()) < 1_000_100


def test_no_password_is_told() -> None:
    error = ValueError("no http://me:secret@host for 's3c/r3t'\nmore")
    assert first_line(error, "mysql://me:s3c/r3t@host") == "no http://***@host for '***'"


# A store that comes and goes


@pytest.fixture
def flaky(monkeypatch: pytest.MonkeyPatch) -> dict[str, bool]:
    """A store that is gone while `gone` is true, and a publisher that is not patient."""
    state = {"gone": False, "opened": False}

    def wrapped(write: Callable[..., Any]) -> Callable[..., Any]:
        def checked(*args: Any, **kwargs: Any) -> Any:
            if state["gone"]:
                raise ConnectionError("gone")
            return write(*args, **kwargs)

        return checked

    from mlflow import MlflowClient

    for name in ("search_runs", "create_run", "log_batch", "set_tag", "log_text"):
        monkeypatch.setattr(MlflowClient, name, wrapped(getattr(MlflowClient, name)))
    monkeypatch.setattr(publisher_module, "PAUSE_S", 0.3)
    monkeypatch.setattr(publisher_module, "POLL_S", 0.05)
    return state


def test_a_store_that_comes_back_is_given_what_piled_up_while_the_sweep_goes_on(
    tmp_path: Path, uri: str, flaky: dict[str, bool]
) -> None:
    state = sweep_state(tmp_path / "runs", grid(seeds=(0, 1)))
    warnings: list[str] = []
    with Publisher(state, uri, warnings.append) as publisher:
        wait_until(lambda: runs_of(uri))
        flaky["gone"] = True
        for run in state.runs:
            finish(state, run)
            publisher.publish(run)
        wait_until(lambda: warnings)
        time.sleep(0.7)  # it is tried again in vain, without another word
        flaky["gone"] = False
        wait_until(lambda: len(children_of(uri)) == 4)
    (warning,) = warnings
    assert "training continues" in warning
    assert parent_of(uri).data.tags["state"] == "complete"


def test_the_end_is_a_last_chance_without_waiting(
    tmp_path: Path, uri: str, flaky: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "PAUSE_S", 3600.0)
    state = sweep_state(tmp_path / "runs", grid())
    warnings: list[str] = []
    flaky["gone"] = True
    with Publisher(state, uri, warnings.append) as publisher:
        wait_until(lambda: warnings)
        for run in state.runs:
            finish(state, run)
            publisher.publish(run)
        flaky["gone"] = False
    assert len(warnings) == 1
    assert publisher.reachable
    assert len(children_of(uri)) == 2


def test_a_store_that_stays_away_is_told_of_at_the_end_with_the_way_to_catch_up(
    tmp_path: Path, uri: str, flaky: dict[str, bool]
) -> None:
    state = sweep_state(tmp_path / "runs", grid())
    warnings: list[str] = []
    flaky["gone"] = True
    with Publisher(state, uri, warnings.append) as publisher:
        wait_until(lambda: warnings)
    assert not publisher.reachable
    assert [("training continues" in one, "lags behind" in one) for one in warnings] == [
        (True, False),
        (False, True),
    ]
    assert "python -m sweeps.publish" in warnings[-1]


def opened(state: SweepState, uri: str) -> MlflowWriter:
    return MlflowWriter(state, uri, manifest.begin(state, uri))


# A slow server may do what its client gave up waiting for, and is then asked again.
def test_of_runs_that_stand_twice_one_is_kept(tmp_path: Path, uri: str) -> None:
    state = sweep_state(tmp_path / "runs", grid([0.01]))
    finish(state, state.runs[0])
    first = opened(state, uri)
    first.publish(state.runs[0])
    (child,) = first.children.values()
    ours = (first.parent.run_id, child.run_id)
    for run_id in ours:
        first.client.delete_tag(run_id, "sweep_key")  # as if not there yet
    opened(state, uri).publish(state.runs[0])
    for run_id in ours:
        first.client.set_tag(run_id, "sweep_key", state.plan.sweep_key)
    assert len(runs_of(uri)) == 4
    publish(state, uri)
    active = [run for run in runs_of(uri) if run.info.lifecycle_stage == "active"]
    parent, trial = sorted(active, key=lambda run: str(run.data.tags["kind"]))
    assert trial.data.tags["mlflow.parentRunId"] == parent.info.run_id
