"""What is read of a run folder: damage is refused by the file's name, wherever it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sealing
from record_helpers import BASE, fail, finish, grid, sweep_state
from sealing import sealed

from sweeps.planning.cost import describe
from sweeps.planning.state import SweepState
from sweeps.search.spaces.axes import Choice
from sweeps.search.spaces.space import Space
from sweeps.search.warm_start import earlier_trials
from trainable.config.schema import ConfigError
from trainable.runs.folder import RunFolder
from trainable.runs.results import outcome, read_description, read_history, read_result
from trainable.storage import json_files


@pytest.fixture
def state(tmp_path: Path) -> SweepState:
    state = sweep_state(tmp_path / "runs", grid([0.01]))
    finish(state, state.runs[0])
    return state


def folder_of(state: SweepState) -> RunFolder:
    return RunFolder(state.plan.storage, state.runs[0].spec.training_key)


def places(value: Any) -> list[list[Any]]:
    """The way to each value of a nested one that a key leads to."""
    if not isinstance(value, dict):
        return []
    below = [[name, *way] for name in value for way in places(value[name])]
    return [[name] for name in value] + below


def without(value: dict[str, Any], way: list[Any]) -> dict[str, Any]:
    name, *rest = way
    if not rest:
        return {key: one for key, one in value.items() if key != name}
    return {**value, name: without(value[name], rest)}


TEXTS = ["", "{", "[]", "7", '"text"', "{}", '{"val": 1}', "\x00\xff"]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("name", ["result", "failure"])
def test_a_damaged_outcome_is_refused_in_one_line(name: str, text: str, state: SweepState) -> None:
    folder = folder_of(state)
    (folder.path / "result.json").unlink()
    fail(state, state.runs[0], "nan")
    path = folder.path / f"{name}.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError) as refused:
        outcome(folder, state.runs[0].spec)
    assert str(refused.value).startswith(f"{path} must be what a training run wrote, but ")
    assert "\n" not in str(refused.value)


def test_a_result_that_lacks_what_is_read_of_it_is_refused(state: SweepState) -> None:
    folder = folder_of(state)
    whole = json.loads((folder.path / "result.json").read_bytes())
    del whole["sha256"]
    del whole["training_key"]  # which the folder itself writes
    result = read_result(folder)
    assert result is not None
    assert result.to_primitives() == whole
    for way in places(whole):
        is_optional = way[0] == "train" or "readout" in way or way[:-1] == ["readouts"]
        if len(way) > 1 and is_optional:
            continue  # which losses and readouts there are is the training's affair
        folder.write("result", without(whole, way))
        with pytest.raises(ConfigError, match=f"there is no '{way[-1]}'"):
            read_result(folder)


@pytest.mark.parametrize("value", ["null", "NaN", "Infinity", '"0.5"', "[]"])
def test_a_number_that_is_none_is_refused(value: str, state: SweepState) -> None:
    path = folder_of(state).path / "result.json"
    content = json_files.loads(path.read_bytes()) | {"images_per_s": "HERE"}
    path.write_bytes(sealed(json.dumps(content).replace('"HERE"', value)))
    with pytest.raises(ConfigError, match=r"result\.json must be what a training run wrote"):
        read_result(folder_of(state))


@pytest.mark.parametrize("history", [None, 7, "text", [1], [{"iteration": 1}]])
def test_a_damaged_history_is_refused(history: Any, state: SweepState) -> None:
    path = folder_of(state).path / "metrics.json"
    sealing.change(path, lambda content: content.update(history=history))
    with pytest.raises(ConfigError, match=r"metrics\.json must be what a training run wrote"):
        read_history(folder_of(state))


def test_a_folder_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "none")
    assert (read_result(folder), read_history(folder), read_description(folder)) == (None, [], {})


def test_runs_of_another_question_that_are_damaged_hold_nothing_up(state: SweepState) -> None:
    (folder_of(state).path / "result.json").write_text("{}")
    other = sweep_state(state.plan.storage, grid([0.5]))
    assert "not known" in describe(other)
    space = Space(axes={"lambda_adv": Choice((0.01, 0.5)), "swa_n": Choice((BASE.swa_n,))})
    assert not earlier_trials(other, space, [str(state.plan.storage)])
    path = folder_of(state).path / "result.json"
    (note,) = other.notes
    assert note.startswith(f"the warm start left out run folders (1): {path} must be what a")
