"""Files that carry numbers carry a checksum: what was changed since is refused, never believed."""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from driver_helpers import read
from record_helpers import fail, finish, grid, sweep_state
from sealing import sealed
from small import SMALL, small_config

from sweeps import publish
from sweeps.driver.options import sweep_parser
from sweeps.driver.script import SweepScript
from sweeps.driver.sweep import answer
from sweeps.planning.state import SweepState
from sweeps.record.ended_run import EndedRun
from sweeps.record.manifest import begin, manifests
from trainable.cli.reproduce import read_run
from trainable.config.schema import ConfigError
from trainable.data import datasets
from trainable.runs.folder import RunFolder
from trainable.runs.results import outcome
from trainable.storage.json_files import ChecksumError, dumps, loads

VALUES: dict[str, Any] = {
    "miou": 0.2644,
    "tiny": 5e-324,
    "third": 1 / 3,
    "whole": 2**60 + 1,
    "none": None,
    "text": 'a "sha256": "0" in a text \u00e4',
    "nested": {"sha256": "a key of its own", "list": [1, 2.5, "x"]},
}


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("content", [VALUES, {}])
def test_what_is_written_comes_back_to_the_last_digit(
    content: dict[str, Any], indent: int | None
) -> None:
    text = dumps(content, indent=indent)
    assert loads(text) == content
    assert list(json.loads(text))[-1] == "sha256"
    assert b"\n" not in dumps(content)  # a line of a log


def test_any_byte_changed_added_or_left_out_is_refused() -> None:
    text = dumps(VALUES, indent=1)
    changed = [text[:i] + bytes([text[i] ^ 1]) + text[i + 1 :] for i in range(len(text))]
    shorter = [text[:i] + text[i + 1 :] for i in range(len(text) - 3)]  # the end may be "} or "\n}
    longer = [text + b"\n", b" " + text, text.replace(b": ", b":  ", 1)]
    for damaged in (*changed, *shorter, *longer, b"", text + text):
        with pytest.raises(ChecksumError):
            loads(damaged)


def test_what_stands_before_counts_too() -> None:
    one, two = hashlib.sha256(b"one\n"), hashlib.sha256(b"two\n")
    line = dumps(VALUES, before=one)
    assert loads(line, before=one) == VALUES
    with pytest.raises(ChecksumError):
        loads(line, before=two)


@pytest.mark.parametrize("content", [{"sha256": "mine"}, {"miou": math.nan}])
def test_what_could_not_be_read_again_is_not_written(content: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"checksum's own|not JSON compliant"):
        dumps(content)


def test_the_tests_own_way_to_write_a_checksum_is_the_modules() -> None:
    assert loads(sealed('{"a": 1.50}')) == {"a": 1.5}
    assert loads(sealed("{}")) == {}


# Run folders and manifests


@pytest.fixture
def state(tmp_path: Path) -> SweepState:
    state = sweep_state(tmp_path / "runs", grid([0.0, 0.01, 0.05]))
    finish(state, state.runs[0])
    finish(state, state.runs[1])
    fail(state, state.runs[2], "nan")
    begin(state, "sqlite:///mlflow.db")
    return state


def folder_of(state: SweepState, number: int) -> Path:
    return state.plan.storage / state.runs[number].spec.training_key


def change_a_digit(path: Path) -> None:
    text = path.read_text()
    place = re.search(r"\d(?=[\d.]*[,\n])", text)  # of a number, not of a name or the checksum
    assert place is not None
    at = place.start()
    path.write_text(f"{text[:at]}{(int(text[at]) + 3) % 10}{text[at + 1 :]}")


def without_checksum(path: Path) -> None:
    path.write_text(re.sub(r',\s*"sha256": "\w+"', "", path.read_text()))


def with_other_space(path: Path) -> None:
    path.write_text(json.dumps(json.loads(path.read_bytes()), indent=2))


DAMAGES = {
    change_a_digit: "was changed after it was written",
    without_checksum: "has no checksum: another version wrote it",
    with_other_space: "was changed after it was written",
}


def all_ended(state: SweepState) -> list[EndedRun | None]:
    return [EndedRun.read(state, run, None) for run in state.runs]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize(
    ("number", "name"), [(0, "result.json"), (1, "metrics.json"), (2, "failure.json")]
)
def test_a_change_in_a_run_folder_is_refused_by_the_files_name(
    number: int, name: str, damage: Any, state: SweepState
) -> None:
    path = folder_of(state, number) / name
    damage(path)
    with pytest.raises(ConfigError) as refused:
        all_ended(state)
    said = str(refused.value)
    assert said.startswith(f"{path} must be what a training run wrote, but ")
    assert DAMAGES[damage] in said
    assert said.endswith("move the folder away, and the same command trains the run again")
    assert "\n" not in said


@pytest.mark.parametrize("name", ["result.json", "metrics.json"])
def test_a_file_of_another_run_is_refused_though_its_checksum_holds(
    name: str, state: SweepState
) -> None:
    one, other = folder_of(state, 0), folder_of(state, 1)
    (one / name).write_bytes((other / name).read_bytes())
    with pytest.raises(ConfigError, match=rf"{one / name} must .* it is of run {other.name}"):
        all_ended(state)


def test_what_ended_before_is_looked_at_whole_by_who_only_reads_the_outcome(
    state: SweepState,
) -> None:
    folder = RunFolder(state.plan.storage, folder_of(state, 0).name)
    change_a_digit(folder.path / "result.json")
    with pytest.raises(ConfigError, match=r"result\.json must be"):
        outcome(folder, state.runs[0].spec)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_change_in_a_manifest_is_refused_by_its_name(damage: Any, state: SweepState) -> None:
    path = state.plan.storage / "sweeps" / f"{state.plan.sweep_key}.json"
    damage(path)
    with pytest.raises(ConfigError) as refused:
        manifests(state.plan.storage)
    assert str(refused.value).startswith(f"{path}: must be the manifest that a sweep of version 2 ")
    assert DAMAGES[damage] in str(refused.value)


def test_a_manifest_under_another_sweeps_name_is_refused(state: SweepState) -> None:
    path = state.plan.storage / "sweeps" / f"{state.plan.sweep_key}.json"
    path.rename(path.with_name("0123456789abcdef.json"))
    with pytest.raises(
        ConfigError, match=f"0123456789abcdef.json: .* of sweep {state.plan.sweep_key}"
    ):
        manifests(state.plan.storage)


# What commands do with it


def run_publish(monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setattr("sys.argv", ["publish", *options])
    with pytest.raises(SystemExit) as end:
        sys.exit(publish.main())
    return int(str(end.value.code))


@pytest.mark.parametrize("name", ["config.json", "metrics.json", "result.json"])
def test_publishing_a_changed_digit_records_nothing_at_all(
    name: str,
    state: SweepState,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = sweep_state(state.plan.storage, grid([0.5]), axes=("lambda_adv", "swa_n"))
    finish(other, other.runs[0])
    begin(other, "sqlite:///mlflow.db")  # it is last, and the one before it is not told of either
    path = state.plan.storage / other.runs[0].spec.training_key / name
    change_a_digit(path)
    before = files_in(tmp_path)
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    code = run_publish(monkeypatch, "--storage", str(state.plan.storage), "--tracking-uri", store)
    assert code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path} must be what a training run wrote, but it was changed")
    assert said.count("\n") == 1
    assert files_in(tmp_path) == before


def files_in(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["config.json", "metrics.json", "result.json"])
@pytest.mark.parametrize("option", [[], ["--plan"]])
def test_a_sweep_that_is_started_again_refuses_it_before_anything_else(
    option: list[str],
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = small_config(precision="fp32")  # as a command settles it
    state = sweep_state(tmp_path / "runs", [base], base=base, data=datasets.inspect(base))
    finish(state, state.runs[0])
    path = state.plan.storage / state.runs[0].spec.training_key / name
    change_a_digit(path)
    before = files_in(tmp_path)
    sets = [part for setting in SMALL for part in ("--set", setting)]
    given = [*sets, "--storage", str(state.plan.storage), "--no-figures", *option]
    given += ["--tracking-uri", f"sqlite:///{tmp_path / 'mlflow.db'}"]
    options, own = read(sweep_parser("What?"), *given)
    with pytest.raises(SystemExit) as ended:
        answer(SweepScript(name="lambda_grid", axes=(), trials=lambda *_: [base]), options, own)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path} must be what a training run wrote, but it was changed")
    assert said.count("\n") == 1
    assert files_in(tmp_path) == before


@pytest.mark.parametrize("name", ["config.json", "result.json"])
def test_a_folder_with_a_changed_digit_is_not_repeated(name: str, state: SweepState) -> None:
    folder = folder_of(state, 0)
    change_a_digit(folder / name)
    with pytest.raises(ConfigError, match=f"{folder}: a run folder .* but {name} was changed"):
        read_run(folder)


def test_files_of_two_runs_are_not_repeated_as_one(state: SweepState) -> None:
    one, other = folder_of(state, 0), folder_of(state, 1)
    (one / "config.json").write_bytes((other / "config.json").read_bytes())
    with pytest.raises(ConfigError, match=f"config.json is of run {other.name} and result.json of"):
        read_run(one)
