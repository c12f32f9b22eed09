"""What a sweep asks of a script before it begins, and how it ends when it is interrupted."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from driver_helpers import SETS, options, question
from record_helpers import sweep_state
from sealing import sealed
from small import small_config
from store_helpers import parent_of

from sweeps.driver import session, sweep
from sweeps.driver.options import sweep_parser
from sweeps.driver.script import SweepScript
from sweeps.driver.start import run_sweep
from sweeps.driver.sweep import answer
from sweeps.execution.lifeline import RayGoneError
from sweeps.execution.nodes import NodeFacts, facts_here
from sweeps.execution.progress import ExecutionStats
from sweeps.execution.resources import Slots
from sweeps.search.source import FixedRuns
from trainable.cli.streams import OutputClosed
from trainable.config.schema import ConfigError, TrialConfig
from trainable.data import datasets


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (question([]), "must have at least one trial, but mine has none"),
        (question([{}], axes=("lamda_adv",)), "did you mean 'lambda_adv'?"),
        (question([{}, {"image_px": 32}]), "one data set, but a trial of mine has image_px=32"),
    ],
)
def test_a_script_that_cannot_be_answered_is_refused_and_nothing_is_written(
    asked: SweepScript, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        answer(asked, *options(tmp_path))
    assert ended.value.code == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_script_is_given_the_options_that_it_added_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parser = sweep_parser("What?")
    parser.add_argument("--widths", nargs="+", type=int)
    given = []

    def trials(
        base: TrialConfig, seeds: Iterable[int], options: argparse.Namespace
    ) -> list[TrialConfig]:
        given.append(options)
        return [base]

    paths = ["--storage", str(tmp_path / "runs"), "--tracking-uri", f"sqlite:///{tmp_path}/m.db"]
    argv = ["mine.py", "--widths", "8", "12", "--plan", *SETS, *paths]
    monkeypatch.setattr("sys.argv", argv)
    assert run_sweep(SweepScript(name="mine", axes=(), trials=trials), parser) == 0
    assert given == [argparse.Namespace(widths=[8, 12])]


@pytest.mark.parametrize("name", ["result.json", "failure.json"])
def test_a_damaged_run_folder_is_refused_by_its_name(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = small_config(precision="fp32")  # as a command settles it
    state = sweep_state(tmp_path / "runs", [base], base=base, data=datasets.inspect(base))
    path = state.plan.storage / state.runs[0].spec.training_key / name
    path.parent.mkdir(parents=True)
    path.write_bytes(sealed(json.dumps({"val": {}, "training_key": path.parent.name})))
    with pytest.raises(SystemExit) as ended:
        answer(question([{}]), *options(tmp_path))
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {path} must be what a training run wrote, but there is no '")
    assert said.count("\n") == 1


def test_a_storage_that_cannot_be_made_after_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"\(--storage\) must be writable, but .* cannot be made"):
        session.make_storage(tmp_path / "file" / "runs")


class Refusing(FixedRuns):
    """A source that another process drives already."""

    def __enter__(self) -> None:
        raise ConfigError("a search must have one driver")

    def __exit__(self, *_: object) -> None:
        pass


def test_a_source_that_refuses_to_begin_leaves_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slots = Slots(count=1, cpus=1.0, gpus=0.0, time_budget_s=None)
    monkeypatch.setattr(session, "ray_slots", lambda *_: nullcontext(slots))
    asked = dataclasses.replace(question([{}]), source=lambda state, *_: Refusing(state.pending()))
    with pytest.raises(SystemExit) as ended:
        answer(asked, *options(tmp_path))
    assert ended.value.code == 2
    assert capsys.readouterr().err == "error: a search must have one driver\n"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("step", ["_plan", "_train"])
def test_an_interruption_at_any_step_names_the_command_that_goes_on(
    step: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sweep, step, interrupt)
    monkeypatch.setattr("sys.argv", ["mine.py", "--seeds", "2"])
    assert answer(question([{}]), *options(tmp_path)) == 130
    assert capsys.readouterr().out.rstrip().endswith("mine.py --seeds 2")


@pytest.mark.parametrize(
    ("error", "code", "why"),
    [(KeyboardInterrupt(), 130, "interrupted"), (RayGoneError("lost"), 1, "Ray died")],
)
def test_a_session_that_ends_early_says_why_in_the_record(
    error: BaseException, code: int, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: Any, **__: Any) -> None:
        raise error

    slots = Slots(count=1, cpus=1.0, gpus=0.0, time_budget_s=None)
    monkeypatch.setattr(session, "ray_slots", lambda *_: nullcontext(slots))
    monkeypatch.setattr(session, "execute", end)
    assert answer(question([{}]), *options(tmp_path)) == code
    tags = parent_of(f"sqlite:///{tmp_path}/m.db").data.tags
    assert (tags["state"], tags["why_partial"]) == ("partial", why)


def test_a_session_whose_output_is_closed_is_recorded_as_interrupted_and_ends_by_sigpipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: Any, **__: Any) -> None:
        raise OutputClosed

    def by_sigpipe() -> None:
        raise SystemExit(141)

    slots = Slots(count=1, cpus=1.0, gpus=0.0, time_budget_s=None)
    monkeypatch.setattr(session, "ray_slots", lambda *_: nullcontext(slots))
    monkeypatch.setattr(session, "execute", end)
    monkeypatch.setattr("trainable.cli.streams._end_by_sigpipe", by_sigpipe)
    with pytest.raises(SystemExit) as ended:
        answer(question([{}]), *options(tmp_path))
    assert ended.value.code == 141
    tags = parent_of(f"sqlite:///{tmp_path}/m.db").data.tags
    assert (tags["state"], tags["why_partial"]) == ("partial", "interrupted")


GPU_NODE = dataclasses.replace(facts_here("one"), gpus=("NVIDIA T4",), capabilities=("7.5",))


def answered_by(
    nodes: tuple[NodeFacts, ...], gpus: float, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> list[Any]:
    """Answer with a cluster of these nodes; return the plans that were to be executed."""
    slots = Slots(count=1, cpus=1.0, gpus=gpus, time_budget_s=None, nodes=nodes)
    monkeypatch.setattr(session, "ray_slots", lambda *_: nullcontext(slots))
    plans: list[Any] = []

    def execute(state: Any, *_: Any, **__: Any) -> ExecutionStats:
        plans.append(state)
        return ExecutionStats()

    monkeypatch.setattr(session, "execute", execute)
    answer(question([{}]), *options(folder, "--address", "head:6379", "--no-figures"))
    return plans


@pytest.mark.parametrize(("gpus", "precision"), [(1.0, "fp16"), (0.0, "fp32")])
def test_precision_auto_is_what_it_means_on_the_nodes_that_train(
    gpus: float,
    precision: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sweep, "auto_precision", lambda device: "bf16")
    (state,) = answered_by((GPU_NODE,), gpus, tmp_path, monkeypatch)
    assert {run.spec.config.precision for run in state.runs} == {precision}
    assert state.plan.base.precision == state.plan.auto_precision == precision
    assert not any("precision=auto was taken" in note for note in state.notes)
    assert f"precision=auto is {precision} on the nodes that train" in capsys.readouterr().out


def test_precision_auto_that_means_the_same_here_and_there_is_not_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (state,) = answered_by((GPU_NODE,), 0.0, tmp_path, monkeypatch)
    assert state.notes == []
    assert "precision=auto" not in capsys.readouterr().out


def test_precision_auto_that_means_two_things_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = dataclasses.replace(GPU_NODE, name="two", gpus=("NVIDIA A10",), capabilities=("8.6",))
    with pytest.raises(SystemExit) as ended:
        answered_by((GPU_NODE, newer), 1.0, tmp_path, monkeypatch)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "bf16 on NVIDIA A10 of two, fp16 on NVIDIA T4 of one" in said
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
