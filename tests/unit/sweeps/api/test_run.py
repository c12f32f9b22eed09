"""A sweep from Python: what it answers, raises and leaves, without a Ray that trains."""

from __future__ import annotations

import asyncio
import errno
import json
import math
import shutil
import signal
import threading
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from record_helpers import fail, finish
from small import SMALL
from store_helpers import parent_of

from analysis import load_trials
from sweeps import Sweep, SweepError, SweepState, from_file, log_range, run
from sweeps.api.options import keyword_parser
from sweeps.driver import session
from sweeps.execution.lifeline import RayGoneError
from sweeps.execution.progress import ExecutionStats
from sweeps.execution.resources import ExecutorError, Slots
from sweeps.record.mlflow_store import create_database
from trainable.config.schema import ConfigError

BASE: dict[str, Any] = {}
for setting in SMALL:
    key, _, text = setting.partition("=")
    BASE[key] = text if text[0].isalpha() and text != "true" else json.loads(text)
WIDTHS = Sweep(name="width", base=BASE, axes={"generator_width": [4, 6]}, seeds=2)

Training = Callable[[SweepState], ExecutionStats]


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of MLflow's, which takes seconds to make."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    create_database(path)
    return path


@pytest.fixture
def here(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, which is the current one."""
    shutil.copy(empty_store, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def trained(here: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let every run be trained at once; return how many each execution trained."""
    counts: list[int] = []

    def train(state: SweepState) -> ExecutionStats:
        counts.append(len(state.pending()))
        for one in state.pending():
            finish(state, one)
        return ExecutionStats()

    executed_by(train, monkeypatch)
    return counts


def executed_by(train: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    slots = Slots(count=1, cpus=1.0, gpus=0.0, time_budget_s=None)
    monkeypatch.setattr(session, "ray_slots", lambda *_: nullcontext(slots))

    def execute(
        state: SweepState,
        _source: object,
        _slots: object,
        _screen: object,
        on_outcome: Any,
        **_: Any,
    ) -> ExecutionStats:
        execution = train(state)
        for one in state.runs:
            if state.outcome(one) is not None:
                on_outcome(one, None)
        return execution

    monkeypatch.setattr(session, "execute", execute)


def answered(sweep: Sweep = WIDTHS, **options: Any) -> Any:
    return run(sweep, no_figures=True, no_model=True, **options)


@pytest.mark.usefixtures("trained")
def test_the_answer_has_the_best_setting_and_a_frame_of_trials() -> None:
    answer = answered(quiet=True)
    # record_helpers.miou_of: 0.5025 + seed / 100 + 0.02 + 0.002 for seeds 0 and 1
    assert answer.best.point == {"generator_width": 4}
    assert answer.best.mean == pytest.approx(0.5295)
    low, high = answer.best.interval
    assert (low + high) / 2 == pytest.approx(0.5295)
    assert high - low == pytest.approx(2 * 12.706 * 0.005, rel=1e-3)
    trials = answer.trials
    assert [*trials.columns[:4]] == ["generator_width", "seed", "status", "cause"]
    assert [*zip(trials["generator_width"], trials["seed"], strict=True)] == [
        *((4, 0), (4, 1), (6, 0), (6, 1))
    ]
    assert set(trials["status"]) == {"FINISHED"}
    assert list(trials["swa/miou"]) == pytest.approx([0.5245, 0.5345] * 2)
    assert [*answer.settings["generator_width"]] == [4, 6]
    assert answer.settings["mean/swa/miou"][0] == answer.best.mean
    assert (answer.why_partial, answer.report) == ("", None)


def test_what_python_has_begun_a_shell_goes_on_with_and_the_other_way_round(
    trained: list[int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = answered(seeds=1)
    assert first.settings["ci_low/swa/miou"].dtype == float  # though one seed gives none
    WIDTHS.to_yaml("width.yaml")
    words = ["from_file.py", "width.yaml", "--json", "--no-figures", "--no-model"]
    monkeypatch.setattr("sys.argv", words)
    capsys.readouterr()
    assert from_file.main() == 0
    said = json.loads(capsys.readouterr().out)
    third = answered(Sweep.from_yaml("width.yaml"))
    assert trained == [2, 2]  # and the third had nothing left to train
    assert {first.sweep_key, said["sweep_key"], third.sweep_key} == {first.sweep_key}
    assert (said["trials"], len(third.trials)) == (4, 4)
    assert said["best"]["point"] == third.best.point
    assert set(first.trials["trial_key"]) < set(third.trials["trial_key"])


@pytest.mark.usefixtures("trained")
def test_the_record_says_with_which_command_a_shell_goes_on(capsys: Any) -> None:
    answered(seeds=1, max_concurrent=2, set={"device": "cpu"})
    (path,) = Path("runs/sweeps").glob("*.json")
    command = json.loads(path.read_text())["commands"]
    assert len(command) == 1
    assert "-m sweeps.from_file width.yaml" in command[0]
    assert command[0].endswith(
        "--no-figures --no-model --seeds=1 --max-concurrent=2 '--set=device=\"cpu\"'"
    )
    assert "width on shapes: 2 trials" in capsys.readouterr().out


@pytest.mark.usefixtures("trained")
def test_a_program_that_changes_its_folder_or_deletes_the_record_gets_a_new_one(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = here / "there"
    there.mkdir()
    shutil.copy("mlflow.db", there)
    for folder in (here, there):
        monkeypatch.chdir(folder)
        answer = answered(seeds=1)
        uri = f"sqlite:///{folder}/mlflow.db"
        assert len(load_trials(uri, answer.sweep_key, cache=False)) == 2
    Path("mlflow.db").unlink()
    answer = answered()
    assert len(load_trials(uri, answer.sweep_key, cache=False)) == 4


@pytest.mark.usefixtures("trained")
def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    answered(quiet=True)
    assert capsys.readouterr() == ("", "")


def test_a_plan_trains_nothing(trained: list[int], capsys: pytest.CaptureFixture[str]) -> None:
    answered(seeds=1)
    capsys.readouterr()
    answer = answered(plan=True)
    assert trained == [2]
    assert "training runs" in capsys.readouterr().out
    assert sorted(answer.trials["status"]) == ["FINISHED", "FINISHED", "SCHEDULED", "SCHEDULED"]


def test_trials_that_failed_raise_an_error_with_the_answer_of_the_others(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(state: SweepState) -> ExecutionStats:
        first, *others = state.pending()
        fail(state, first, "loss_mce is nan")
        for one in others:
            finish(state, one)
        return ExecutionStats()

    executed_by(train, monkeypatch)
    words = r"^1 training run of 4 failed, the first at generator_width=4 seed=0: loss_mce is nan;"
    with pytest.raises(SweepError, match=words) as end:
        answered()
    assert end.value.answer is not None
    trials = end.value.answer.trials
    assert sorted(trials["status"]) == ["FAILED", "FINISHED", "FINISHED", "FINISHED"]
    failed = trials[trials["status"] == "FAILED"].iloc[0]
    assert failed["cause"] == "loss_mce is nan"
    assert math.isnan(failed["swa/miou"])
    assert end.value.answer.best is not None


def test_a_budget_that_ends_it_raises_an_error_with_the_answer_so_far(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(state: SweepState) -> ExecutionStats:
        finish(state, state.pending()[0])
        return ExecutionStats(spent="time budget of 1 s")

    executed_by(train, monkeypatch)
    words = r"ended by its time budget of 1 s: 3 training runs left; .*to_yaml\('width.yaml'\)"
    with pytest.raises(SweepError, match=words) as ended:
        answered(time_budget=1)
    assert ended.value.answer is not None
    assert ended.value.answer.why_partial == "time budget of 1 s"
    assert sorted(ended.value.answer.trials["status"]) == ["FINISHED", *["SCHEDULED"] * 3]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RayGoneError("the Ray cluster is lost"), "the Ray cluster is lost; what was trained"),
        (OSError(errno.ENOSPC, "full", "/runs"), "/runs has no room"),
    ],
)
def test_a_machine_that_fails_raises_an_error_with_the_answer_so_far(
    error: Exception, words: str, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(state: SweepState) -> ExecutionStats:
        finish(state, state.pending()[0])
        raise error

    executed_by(train, monkeypatch)
    with pytest.raises(SweepError, match=words) as ended:
        answered()
    assert ended.value.__cause__ is error
    assert ended.value.answer is not None
    assert ended.value.answer.best is not None


def test_an_interrupt_is_one_and_the_record_says_so(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(state: SweepState) -> ExecutionStats:
        raise KeyboardInterrupt

    executed_by(train, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        answered()
    assert parent_of(f"sqlite:///{here}/mlflow.db").data.tags["why_partial"] == "interrupted"


def test_a_ray_that_cannot_be_had_and_an_error_of_ours_are_told_apart(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    def refuse(state: SweepState) -> ExecutionStats:
        raise ExecutorError("no such node")

    executed_by(refuse, monkeypatch)
    with pytest.raises(ConfigError, match="no such node"):
        answered()

    def odd(state: SweepState) -> ExecutionStats:
        raise ZeroDivisionError

    executed_by(odd, monkeypatch)
    with pytest.raises(ZeroDivisionError):
        answered()


def test_it_leaves_signals_alone_and_runs_in_any_thread_and_beside_an_event_loop(
    trained: list[int],
) -> None:
    heeded = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(answered(seeds=1)))
    thread.start()
    thread.join()

    async def cell() -> Any:
        return answered()

    found.append(asyncio.run(cell()))
    assert [len(answer.trials) for answer in found] == [2, 4]
    assert trained == [2, 2]
    assert {one: signal.getsignal(one) for one in heeded} == heeded


BAD_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown": ({"time_buget": 3}, "unknown option 'time_buget'; did you mean 'time_budget'"),
    "of a shell": ({"json": True}, "unknown option 'json'"),
    "of a search": ({"asks": 3}, "a grid names its points and takes no --asks"),
    "no value": ({"seeds": True}, "--seeds must have a value"),
    "a value": ({"plan": 3}, "--plan must be True or False"),
    "out of bounds": ({"seeds": 0}, "--seeds: must be a whole number from 1"),
    "no number": ({"time_budget": "soon"}, "--time-budget: must be a number above 0"),
    "standard input": ({"tracking_uri": "-"}, "--tracking-uri must be a URI"),
    "no mapping": ({"set": 3}, "--set must be a mapping"),
    "no field": ({"set": {"nothing": 3}}, "unknown key 'nothing'"),
    "both": ({"preset": "demo", "config": "a.yaml"}, "not allowed with"),
}


@pytest.mark.parametrize("case", BAD_OPTIONS)
def test_options_that_cannot_be_taken_are_refused_and_nothing_is_written(
    case: str, trained: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    options, words = BAD_OPTIONS[case]
    with pytest.raises(ConfigError, match=words) as refused:
        answered(**options)
    assert "\n" not in str(refused.value)
    assert capsys.readouterr().err == ""
    assert (trained, [path.name for path in Path().iterdir()]) == ([], ["mlflow.db"])


def test_keywords_are_the_words_of_a_command_line() -> None:
    parser = keyword_parser()
    words = parser.words(
        {
            "point": [{"lambda_adv": 0.05, "adversarial": "none"}, "swa_n=3"],
            "warm_start": ["a", "b"],
            "no_reuse": "mine",
            "no_model": True,
            "no_figures": False,
            "gpus_per_trial": "auto",
            "address": None,
            "cpus_per_trial": 2,
            "set": {"weights": "a b", "mirror": True},
        }
    )
    read = parser.parse_args(words)
    assert read.points == ["lambda_adv=0.05,adversarial=none", "swa_n=3"]
    assert read.warm_start == ["a", "b"]
    assert (read.no_reuse, read.no_model, read.no_figures) == ("mine", True, False)
    assert (read.gpus_per_trial, read.address, read.cpus_per_trial) == ("auto", None, 2.0)
    assert read.overrides == ['weights="a b"', "mirror=true"]


@pytest.mark.usefixtures("trained")
def test_a_search_is_refused_by_the_rules_of_a_space() -> None:
    rates = Sweep(name="rates", base=BASE, search={"lr_generator": log_range(-1, 1)})
    with pytest.raises(ConfigError, match="`low > 0` must hold for lr_generator"):
        answered(rates, asks=3)
