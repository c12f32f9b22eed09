"""The manifest: what a sweep asked, enough to bring its record up to date and to tell a change."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any

import pytest
from record_helpers import BASE, DATA, fail, finish, grid, sweep_state
from store_helpers import children_of, parent_of, publish, record_of

from analysis.record.origin import Origin
from analysis.record.schema import Race, race_of
from analysis.record.trials import load_trials
from sweeps import publish as command
from sweeps.planning.state import SweepState
from sweeps.record import manifest
from sweeps.record.manifest import (
    FIELDS,
    begin,
    changes,
    manifests,
    take_over_race,
    write,
)
from sweeps.record.manifest import sweep_state as plan_from
from trainable.config.schema import ConfigError
from trainable.storage import json_files

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

URI = "sqlite:///mlflow.db"


def run(monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    """Run `python -m sweeps.publish` in this process, and return its exit code."""
    monkeypatch.setattr("sys.argv", ["publish", *options])
    with pytest.raises(SystemExit) as end:
        sys.exit(command.main())
    return int(str(end.value.code))


# What stands in it


def test_a_plan_comes_out_as_it_went_in(tmp_path: Path) -> None:
    configs = grid(seeds=(0, 1), swa_n=4) + grid(swa_n=8)
    asked: dict[str, Any] = {"question": "How much?", "with_samples": True}
    state = sweep_state(tmp_path, configs, given={"swa_n": 4, "precision": "auto"}, **asked)
    state.tag(state.trials[0].trial_key, ask="0")
    state.stop(state.runs[1].spec.training_key, "pruned")
    begin(state, URI)
    (content,) = manifests(tmp_path)
    again = plan_from(content, tmp_path)
    assert again.plan == state.plan
    assert (again.tags, again.stopped) == (state.tags, state.stopped)
    assert again.tags
    assert again.stopped
    assert {run.spec.training_key: set(run.trials) for run in again.runs} == {
        run.spec.training_key: set(run.trials) for run in state.runs
    }


def test_all_trials_ever_asked_for_are_in_it(tmp_path: Path) -> None:
    begin(sweep_state(tmp_path, grid(seeds=(0, 1))), URI)
    state = sweep_state(tmp_path, grid(seeds=(1,)))
    content = begin(state, URI)
    state.add_trials(grid([0.05]))
    assert len(write(state, content)["trials"]) == 5
    assert len(manifests(tmp_path)[0]["trials"]) == 5


def test_a_race_stays_known_to_all_that_is_said_of_the_sweep_later(
    tmp_path: Path, uri: str
) -> None:
    """Whoever has looked often has looked often, whatever the next command asks."""
    raced = sweep_state(tmp_path, grid(seeds=(0, 1, 2)))
    raced.hold_race(Race(first=3, limit=10))
    begin(raced, URI)
    again = sweep_state(tmp_path, grid(seeds=(0, 1, 2)))
    take_over_race(again)
    assert again.race == Race(first=3, limit=10)
    begin(again, URI)
    (content,) = manifests(tmp_path)
    assert plan_from(content, tmp_path).race == Race(first=3, limit=10)
    again.hold_race(Race(first=2, limit=5))
    assert again.race == Race(first=2, limit=10)
    publish(again, uri)
    assert race_of(load_trials(uri, cache=False)) == Race(first=2, limit=10)


def test_a_sweep_without_a_race_has_none(tmp_path: Path, uri: str) -> None:
    state = sweep_state(tmp_path, grid())
    take_over_race(state)
    begin(state, URI)
    take_over_race(state)
    publish(state, uri)
    assert (state.race, race_of(load_trials(uri, cache=False))) == (None, None)


@pytest.mark.parametrize(
    "race", ["3", {"first": 3}, {"first": 1, "limit": 5}, {"first": 6, "limit": 5}]
)
def test_a_race_that_cannot_have_been_held_is_refused(race: object, tmp_path: Path) -> None:
    state = sweep_state(tmp_path, grid())
    begin(state, URI)
    (path,) = (tmp_path / "sweeps").glob("*.json")
    path.write_bytes(json_files.dumps(json_files.loads(path.read_bytes()) | {"race": race}))
    with pytest.raises(ConfigError, match="must be the manifest"):
        take_over_race(state)


def test_what_a_sweep_is_judged_by_is_known_to_whoever_publishes_it_later(
    tmp_path: Path, uri: str
) -> None:
    state = sweep_state(tmp_path, grid(), objectives=BOTH)
    for run in state.runs:
        finish(state, run)
    content = begin(state, URI)
    again = manifest.sweep_state(content, tmp_path)
    assert again.plan.objectives == BOTH
    publish(again, uri)
    assert parent_of(uri).data.tags["objectives"] == "val/miou,cost/train_s"
    assert "mean/cost/train_s" in parent_of(uri).data.metrics
    del content["objectives"]  # a version before did not write them
    assert manifest.sweep_state(content, tmp_path).plan.objectives == ("swa/miou",)


@pytest.mark.parametrize("objectives", [[], [3]])
def test_objectives_that_are_none_are_refused(objectives: object, tmp_path: Path) -> None:
    begin(sweep_state(tmp_path, grid()), URI)
    (path,) = (tmp_path / "sweeps").glob("*.json")
    content = json_files.loads(path.read_bytes()) | {"objectives": objectives}
    path.write_bytes(json_files.dumps(content))
    with pytest.raises(ConfigError, match="must be the manifest"):
        take_over_race(sweep_state(tmp_path, grid()))


def test_no_password_is_in_it(tmp_path: Path) -> None:
    begin(sweep_state(tmp_path, grid()), "https://me:Zq9/x7@host")
    texts = [path.read_text() for path in (tmp_path / "sweeps").iterdir()]
    assert not [text for text in texts if "x7@" in text or "Zq9" in text]


def test_looking_at_what_is_done_does_not_make_it_another_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = sweep_state(tmp_path, grid())
    before = begin(state, URI)["environment"]
    for one in state.runs:
        finish(state, one)
    monkeypatch.setattr("sys.argv", ["elsewhere.py"])
    assert begin(state, URI)["environment"] == before
    assert (
        "elsewhere.py" in begin(sweep_state(tmp_path, grid([0.5])), URI)["environment"]["command"]
    )


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 1}', "\xff"])
def test_a_manifest_of_another_kind_is_refused_by_name(text: str, tmp_path: Path) -> None:
    state = sweep_state(tmp_path, grid())
    begin(state, URI)
    path = tmp_path / "sweeps" / f"{state.plan.sweep_key}.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=f"{state.plan.sweep_key}.json: must be the manifest"):
        manifests(tmp_path)


@pytest.mark.parametrize("value", [None, 7, "text", [1], {"a": 1}])
def test_a_manifest_that_lacks_what_is_read_of_it_is_refused(value: Any, tmp_path: Path) -> None:
    state = sweep_state(tmp_path, grid())
    whole = begin(state, URI)
    path = tmp_path / "sweeps" / f"{state.plan.sweep_key}.json"
    for name, kind in FIELDS.items():
        for content in (
            {key: one for key, one in whole.items() if key != name},
            {**whole, name: value},
        ):
            path.write_bytes(json_files.dumps(content))
            if type(content.get(name)) is not kind:
                with pytest.raises(ConfigError, match=rf"{path}: must be the manifest .*{name}"):
                    manifests(tmp_path)


@pytest.mark.parametrize("diffs", [("", "+1"), ("+1", ""), ("+1", "+2")])
def test_a_manifest_that_tells_of_a_diff_has_one_at_every_moment(
    diffs: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = sweep_state(tmp_path, grid())
    monkeypatch.setattr(manifest, "git_diff", lambda: diffs[0])
    begin(state, URI)
    monkeypatch.setattr(manifest, "git_diff", lambda: diffs[1])
    with monkeypatch.context() as killed:
        killed.setattr(manifest, "write", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            begin(state, URI)
    path = manifest.diff_path(tmp_path, state.plan.sweep_key)
    assert path.exists() or not manifests(tmp_path)[0]["diff"]
    begin(state, URI)
    assert path.exists() == manifests(tmp_path)[0]["diff"] == bool(diffs[1])


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_two_commands_of_one_sweep_keep_each_others_trials(tmp_path: Path) -> None:
    one, other = sweep_state(tmp_path, grid([0.1])), sweep_state(tmp_path, grid([0.2]))
    ours = begin(one, URI)
    begin(other, URI)
    write(one, ours)
    keys = {trial.trial_key for trial in (*one.trials, *other.trials)}
    assert manifests(tmp_path)[0]["trials"].keys() == keys


# What has changed


def test_the_first_sweep_and_the_same_again_have_no_changes(tmp_path: Path) -> None:
    assert changes(sweep_state(tmp_path, grid()), tmp_path) == []
    begin(sweep_state(tmp_path, grid()), URI)
    assert changes(sweep_state(tmp_path, grid()), tmp_path) == []
    # More seeds are no other question.
    assert changes(sweep_state(tmp_path, grid(seeds=range(5))), tmp_path) == []


def with_code(state: SweepState, version: str) -> SweepState:
    other = SweepState(dataclasses.replace(state.plan, code_version=version))
    other.add_runs(state.runs)
    return other


BOTH = ("val/miou", "cost/train_s")
LONGER = dataclasses.replace(BASE, iterations=480)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("field", "iterations: 240 -> 480"),
        ("data", "data fingerprint: 0123456789abcdef -> fedcba9876543210"),
        ("code", "code version: {code} -> 0123456789ab"),
        ("axes", "axes: lambda_adv -> lambda_adv, swa_n"),
        ("objectives", "objectives: swa/miou -> val/miou, cost/train_s"),
        ("values", "values of lambda_adv: 0.0, 0.01 -> 0.0, 0.05"),
    ],
)
def test_a_change_is_told_as_what_was_and_what_is(kind: str, line: str, tmp_path: Path) -> None:
    first = sweep_state(tmp_path, grid())
    begin(first, URI)
    other = dataclasses.replace(DATA, fingerprint="fedcba9876543210")
    now = {
        "field": lambda: sweep_state(tmp_path, grid(iterations=480), base=LONGER),
        "data": lambda: sweep_state(tmp_path, grid(), data=other),
        "code": lambda: with_code(sweep_state(tmp_path, grid()), "0123456789ab"),
        "axes": lambda: sweep_state(tmp_path, grid(), axes=("lambda_adv", "swa_n")),
        "objectives": lambda: sweep_state(
            tmp_path, grid(), objectives=("val/miou", "cost/train_s")
        ),
        "values": lambda: sweep_state(tmp_path, grid([0.0, 0.05])),
    }[kind]()
    told = changes(now, tmp_path)
    assert told[:-1] == [line.format(code=first.plan.code_version)]
    stays = (
        "stay" if kind in ("values", "code") else f"stay in the record under {first.plan.sweep_key}"
    )
    assert stays in told[-1]
    keys = {trial.trial_key for trial in first.trials} & {trial.trial_key for trial in now.trials}
    assert ("new keys" in told[-1]) == (not keys)


def test_the_sweep_that_started_last_is_what_is_compared_with(tmp_path: Path) -> None:
    begin(sweep_state(tmp_path, grid()), URI)
    longer = sweep_state(tmp_path, grid(iterations=480), base=LONGER)
    begin(longer, URI)
    assert changes(sweep_state(tmp_path, grid()), tmp_path)[0] == "iterations: 480 -> 240"
    begin(sweep_state(tmp_path, grid()), URI)
    assert changes(longer, tmp_path)[0] == "iterations: 240 -> 480"


def test_another_data_set_is_another_question(tmp_path: Path) -> None:
    begin(sweep_state(tmp_path, grid()), URI)
    base = dataclasses.replace(BASE, dataset="sbd")
    assert changes(sweep_state(tmp_path, grid(dataset="sbd"), base=base), tmp_path) == []


# Catching up by hand


def with_all_endings(storage: Path) -> SweepState:
    """A plan with a result, a failure, a run that was stopped, and tags."""
    state = sweep_state(storage, grid([0.0, 0.01, 0.05]))
    fail(state, state.runs[0], "nan")
    state.stop(state.runs[1].spec.training_key, "pruned")
    finish(state, state.runs[2])
    state.tag(state.runs[2].trials[0].trial_key, ask="7")
    return state


def test_by_hand_the_record_becomes_what_the_sweep_would_have_written(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = with_all_endings(tmp_path / "runs")
    assert publish(state, "http://127.0.0.1:1")
    assert run(monkeypatch, "--tracking-uri", uri) == 0
    assert "3 of 3 trials in the record, 3 of them new" in capsys.readouterr().out
    by_hand = record_of(uri)
    assert {child.info.status for child in children_of(uri)} == {"FINISHED", "FAILED", "KILLED"}
    assert publish(state, uri) == []
    assert record_of(uri) == by_hand
    assert run(monkeypatch, "--tracking-uri", uri, "--sweep", "lambda_grid") == 0
    assert "0 of them new" in capsys.readouterr().out
    assert record_of(uri) == by_hand


# A run that is to be trained again for one more readout, and was not yet.
def test_by_hand_what_a_run_has_is_told_though_it_lacks_a_readout(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = sweep_state(tmp_path / "runs", grid([0.01], swa_n=4))
    finish(state, state.runs[0])
    state.add_trials(grid([0.01], swa_n=8))
    begin(state, uri)
    assert run(monkeypatch) == 0
    (child,) = children_of(uri)
    assert (child.data.params["swa_n"], child.info.status) == ("4", "FINISHED")
    tags = parent_of(uri).data.tags
    assert (tags["trials_total"], tags["state"]) == ("2", "partial")


# Another version's code would give the same config other keys.
def test_by_hand_a_sweep_of_other_code_keeps_its_keys(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = sweep_state(tmp_path / "runs", grid())
    for one in state.runs:
        finish(state, one)
    begin(state, uri)
    monkeypatch.setattr("trainable.runs.keys.code_version", lambda: "0123456789ab")
    assert run(monkeypatch) == 0
    children = children_of(uri)
    keys = {child.data.tags["trial_key"] for child in children}
    assert keys == {trial.trial_key for trial in state.trials}
    assert {Origin.of_run(child).facts["code_version"] for child in children} == {
        state.plan.code_version
    }


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--storage", "nowhere"], "(--storage) must hold manifests of sweeps"),
        (["--sweep", "lambda_gird"], "did you mean 'lambda_grid'?"),
        (["--tracking-uri", "nonsense"], "must begin with one of"),
        ([], "must be named by --tracking-uri for lambda_grid"),
    ],
)
def test_by_hand_bad_input_is_one_line_and_writes_nothing(
    options: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    begin(sweep_state(tmp_path / "runs", grid()), "http://me:secret@127.0.0.1:1")
    assert run(monkeypatch, *options) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert "secret" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_by_hand_a_store_that_is_gone_is_named_and_the_exit_code_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    begin(sweep_state(tmp_path / "runs", grid()), URI)
    assert run(monkeypatch, "--tracking-uri", "http://me:secret@127.0.0.1:1") == 1
    said = capsys.readouterr().err
    assert "is not in http://***@127.0.0.1:1: " in said
    assert "secret" not in said
    assert said.count("\n") == 1
