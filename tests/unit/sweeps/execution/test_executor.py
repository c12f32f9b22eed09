"""The executor: whatever becomes of a worker, each run ends once, and the source knows how."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from record_helpers import grid, sweep_state
from rich.console import Console
from small import small_config, spec_of
from training_helpers import numbers, train
from tune_helpers import Scripted

from sweeps.execution import executor, tune_hooks
from sweeps.execution.cluster import room
from sweeps.execution.display import LiveDisplay
from sweeps.execution.executor import MAX_RETRIES, RAY_SETTINGS, execute
from sweeps.execution.in_flight import RunsInFlight
from sweeps.execution.progress import ExecutionStats
from sweeps.execution.resources import (
    HANG_TIMEOUT_S,
    REPORTS_PER_S,
    ExecutorError,
    Resources,
    Slots,
    slots_of,
)
from sweeps.execution.tune_hooks import TuneCallback
from sweeps.planning.packing import largest, measure, share
from sweeps.planning.plan import PlannedRun, make_plan
from sweeps.planning.state import SweepState
from trainable.data import datasets
from trainable.ray_trainable import REPORT_S
from trainable.runs.folder import RunFolder

RESOURCES = Resources(
    address=None, cpus_per_trial=1, gpus_per_trial=None, max_concurrent=None, time_budget_s=None
)


def resources(**changes: Any) -> Resources:
    return Resources(**{**vars(RESOURCES), **changes})


# How many fit


def test_runs_fit_where_a_node_has_room_for_one_whole() -> None:
    nodes = [{"CPU": 3.0}, {"CPU": 3.0}]
    assert slots_of(nodes, resources(cpus_per_trial=2), wanted=9).count == 2
    assert slots_of(nodes, resources(cpus_per_trial=0.1), wanted=99).count == 60
    with pytest.raises(ExecutorError, match="needs 4 CPUs and 0 GPUs, but the largest of 2 nodes"):
        slots_of(nodes, resources(cpus_per_trial=4), wanted=9)


def test_shares_of_gpus_fit_by_gpu_and_by_cpu() -> None:
    nodes = [{"CPU": 8.0, "GPU": 1.0}, {"CPU": 2.0, "GPU": 1.0}]
    assert slots_of(nodes, RESOURCES, wanted=9).gpus == 1.0
    assert slots_of(nodes, RESOURCES, wanted=9).count == 2
    assert slots_of(nodes, resources(gpus_per_trial=0.25), wanted=9).count == 4 + 2
    with pytest.raises(ExecutorError, match="needs 1 CPUs and 2 GPUs"):
        slots_of(nodes, resources(gpus_per_trial=2), wanted=9)


def test_auto_needs_a_gpu_to_measure_on() -> None:
    with pytest.raises(ExecutorError, match="auto needs a GPU to measure on, but there is none"):
        slots_of([{"CPU": 8.0}], resources(gpus_per_trial="auto"), wanted=9)
    node = {"CPU": 8.0, "GPU": 1.0}
    assert slots_of([node], resources(gpus_per_trial="auto"), wanted=9).gpus == 1.0


def test_workers_report_as_often_together_however_many_there_are() -> None:
    few, many = (slots_of([{"CPU": n}], RESOURCES, wanted=9999) for n in (4.0, 1000.0))
    assert few.report_s < REPORT_S  # the least that a worker leaves between two reports
    assert 1 < many.report_s < 30
    assert many.count / many.report_s == pytest.approx(REPORTS_PER_S)


GB = 1e9


@pytest.mark.parametrize(
    ("reserved", "cpus", "cpus_per_trial", "runs"),
    [
        (10 * GB, 64, 1, 6),  # 80 / (1.15 * 10 + 0.6) = 6.6
        (10 * GB, 4, 1, 4),
        (10 * GB, 4, 2, 2),
        (45 * GB, 64, 1, 1),
        (200 * GB, 64, 1, 1),
    ],
)
def test_as_many_runs_share_a_gpu_as_its_memory_and_the_cpus_allow(
    reserved: float, cpus: float, cpus_per_trial: float, runs: int
) -> None:
    taken = share(reserved, 80 * GB, cpus=cpus, gpus=1, cpus_per_trial=cpus_per_trial)
    assert int(1 / taken) == runs
    assert room([{"CPU": 640.0, "GPU": 1.0}], 1, taken) == runs


def test_shares_are_of_one_gpu_where_a_node_has_several() -> None:
    assert share(GB, 80 * GB, cpus=8, gpus=4, cpus_per_trial=1) == 0.5


def test_the_largest_run_is_measured_and_where_there_is_none_the_base(tmp_path: Path) -> None:
    few, many = grid([0.01], seeds=(0,)), grid([0.01], seeds=(1,))
    many += [dataclasses.replace(many[0], swa_n=n) for n in (3, 7, 9)]
    state = sweep_state(tmp_path, few + many)
    assert largest(state).config.seed == 1
    assert len(largest(state).readouts) == 4
    nothing = sweep_state(tmp_path, [])
    assert largest(nothing).config == nothing.plan.base.canonical()


@pytest.mark.gpu
def test_a_probe_reads_what_a_training_reserves() -> None:
    reserved, total = measure(spec_of(small_config(device="cuda")).to_primitives())
    assert 0 < reserved < total


# What becomes of runs, with Ray


@pytest.fixture(scope="module")
def _ray() -> Iterator[None]:
    """A Ray that believes in one GPU."""
    os.environ.update(RAY_SETTINGS)
    import ray

    ray.init(
        address="local", num_cpus=2, num_gpus=1, include_dashboard=False, log_to_driver=False,
        logging_level=logging.ERROR,
    )  # fmt: skip
    yield
    ray.shutdown()


def trainable_of(step: Any) -> type:
    """Return a trainable whose `step(config, tries)` says what a report has besides the usual."""
    from ray import tune

    class Stub(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.given = config | {"spec": json.loads(config["spec"])}
            self.steps = 0

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.setup(new_config)
            return True

        def step(self) -> dict[str, Any]:
            self.steps += 1
            usual = {"run_iteration": 1, "val/miou": 0.5, "validations": [], "rows": []}
            report: dict[str, Any] = step(self.given, self.steps)
            return usual | {"busy_s": 1.0, "rss_gb": os.getpid(), "done": True} | report

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            pass

        def load_checkpoint(self, checkpoint: Any) -> None:
            pass

    return Stub


def executed(
    state: SweepState, source: Scripted, trainable: type, **slots: Any
) -> tuple[ExecutionStats, list[str]]:
    """Execute and return what the screen said, too."""
    lines = io.StringIO()
    screen = LiveDisplay(
        console=Console(file=lines, width=400), title="", total=len(state.runs), done=0
    )
    taken = {"count": 2, "cpus": 1, "gpus": 0, "time_budget_s": None, **slots}
    outcomes = []
    execution = execute(
        state,
        source,
        Slots(**taken),
        screen,
        lambda run, cause: outcomes.append((run.spec.config.seed, cause)),
        trainable=trainable,
    )
    assert outcomes == source.ends
    return execution, lines.getvalue().splitlines()


def seeds(folder: Path, count: int) -> SweepState:
    return sweep_state(folder, grid([0.01], seeds=range(count)))


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_a_run_without_gpu_memory_is_tried_with_twice_the_share_up_to_a_whole_gpu(
    tmp_path: Path,
) -> None:
    needs = [0.25, 0.5, 9.0]

    def step(config: dict[str, Any], _: int) -> dict[str, Any]:
        with (Path(config["storage"]) / "tried").open("a") as file:
            file.write(f"{config['spec']['config']['seed']} {config['gpu_share']}\n")
        enough = config["gpu_share"] >= needs[config["spec"]["config"]["seed"]]
        return {} if enough else {"out_of_memory": "CUDA out of memory"}

    state = seeds(tmp_path, 3)
    source = Scripted(state.runs)
    execution, lines = executed(state, source, trainable_of(step), gpus=0.25)
    tried = sorted((tmp_path / "tried").read_text().splitlines())
    assert tried == ["0 0.25", "1 0.25", "1 0.5", "2 0.25", "2 0.5", "2 1.0"]
    assert [end[0] for end in source.ends] == [0, 1, 2]
    assert "lower batch_size or crop_px" in str(source.ends[-1][1])
    assert list(execution.causes) == [state.runs[2].spec.training_key]
    assert len(lines) == 3
    assert execution.gpu_s == 3 * 0.25 + 2 * 0.5 + 1


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_a_run_that_its_source_stops_ends_and_its_warm_worker_takes_the_next(
    tmp_path: Path,
) -> None:
    def step(config: dict[str, Any], steps: int) -> dict[str, Any]:
        miou = 0.1 if config["spec"]["config"]["seed"] == 0 else 0.9
        return {"validations": [[steps, miou]], "done": steps == 3}

    state = seeds(tmp_path, 3)
    source = Scripted(state.runs, bar=0.2)
    execution, lines = executed(state, source, trainable_of(step), count=1)
    assert source.told == [(0, 1, 0.1)] + [(seed, i, 0.9) for seed in (1, 2) for i in (1, 2, 3)]
    assert source.ends == [(0, None), (1, None), (2, None)]
    assert lines[0].startswith("[1/3] lambda_adv=0.01 seed=0: no more of it is wanted; 00:")
    assert execution.busy_s == 1 + 3 + 3


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_many_runs_are_trained_by_one_tuner_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "RUNS_OF_A_SLOT", 2)
    workers = tmp_path / "workers"

    def step(config: dict[str, Any], _: int) -> dict[str, Any]:
        with workers.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return {}

    state = seeds(tmp_path, 5)
    source = Scripted(state.runs)
    executed(state, source, trainable_of(step), count=1)
    assert source.ends == [(seed, None) for seed in range(5)]
    first, second, third, fourth, fifth = workers.read_text().split()
    assert first == second != third == fourth != fifth


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_a_tuner_may_have_its_fill_of_what_the_source_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Waiting(Scripted):
        def on_complete(self, run: PlannedRun, cause: str | None) -> None:
            super().on_complete(run, cause)
            self.will_be_exhausted = True

    def step(config: dict[str, Any], _: int) -> dict[str, Any]:
        return {} if config["gpu_share"] == 0.5 else {"out_of_memory": "CUDA out of memory"}

    monkeypatch.setattr(executor, "RUNS_OF_A_SLOT", 1)
    state = seeds(tmp_path, 1)
    source = Waiting(state.runs, exhausted=False)
    executed(state, source, trainable_of(step), count=1, gpus=0.25)
    assert source.ends == [(0, None)]


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_gpu_hours_end_an_execution_cleanly(tmp_path: Path) -> None:
    state = seeds(tmp_path, 4)
    source = Scripted(state.runs)
    trainable = trainable_of(lambda config, steps: {"busy_s": 3600.0})
    execution, _ = executed(state, source, trainable, count=1, gpus=0.5, gpu_hours=1.0)
    assert execution.spent == "budget of 1 GPU hours"
    assert len(source.ends) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_a_worker_that_hangs_is_killed_and_its_run_retried_to_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver's clock jumps over the silence, so that no honest step is as long as that."""
    from trainable.ray_trainable import SegmentationTrainable

    class HangsOnce(SegmentationTrainable):
        def step(self) -> dict[str, Any]:
            hung = self._run_storage / "hung"
            if not hung.exists():
                hung.touch()
                time.sleep(60)
                (self._run_storage / "survived").touch()
            return super().step()

    base = small_config()
    asked = make_plan(
        "hung", base=base, axes=(), data=datasets.inspect(base), storage=tmp_path / "runs"
    )
    state = SweepState.of(asked, [base])
    state.plan.storage.mkdir()
    hung, now = state.plan.storage / "hung", time.monotonic
    clock = SimpleNamespace(monotonic=lambda: now() + (HANG_TIMEOUT_S if hung.exists() else 0.0))
    monkeypatch.setattr(tune_hooks, "time", clock)
    spec = state.runs[0].spec
    source = Scripted(state.runs)
    executed(state, source, HangsOnce)
    assert source.ends == [(0, None)]
    assert not (state.plan.storage / "survived").exists()
    train(spec, tmp_path / "straight")
    assert numbers(spec, state.plan.storage) == numbers(spec, tmp_path / "straight")


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_a_run_that_hangs_at_every_try_fails_with_a_cause_that_says_so(tmp_path: Path) -> None:
    state = seeds(tmp_path, 1)
    source = Scripted(state.runs)
    trainable = trainable_of(lambda config, steps: time.sleep(3600))
    execution, lines = executed(state, source, trainable, hang_timeout_s=1.0)
    ((_, cause),) = source.ends
    assert "sent no report for 1 s and was killed, as often as it was tried" in str(cause)
    assert list(execution.causes.values()) == [cause]
    assert "FAILED" in lines[0]


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_a_worker_that_fails_is_retried_and_then_its_cause_is_passed_on(tmp_path: Path) -> None:
    def step(config: dict[str, Any], _: int) -> dict[str, Any]:
        with (Path(config["storage"]) / "tried").open("a") as file:
            file.write("x")
        raise ValueError("the disk is on fire")

    state = seeds(tmp_path, 1)
    source = Scripted(state.runs)
    executed(state, source, trainable_of(step))
    assert "the disk is on fire" in str(source.ends[0][1])
    assert (tmp_path / "tried").read_text() == "xxx"
    assert RunFolder(tmp_path, state.runs[0].spec.training_key).read("failure") is None


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
@pytest.mark.parametrize("seed", [0, 1])  # the first has a new worker, the second its worker
def test_a_run_whose_worker_dies_before_it_begins_is_tried_again(seed: int, tmp_path: Path) -> None:
    usual = trainable_of(lambda config, steps: {})

    class DiesOnce(usual):  # type: ignore[misc, valid-type]
        def setup(self, config: dict[str, Any]) -> None:
            super().setup(config)
            died = Path(config["storage"]) / "died"
            if self.given["spec"]["config"]["seed"] == seed and not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    source = Scripted(seeds(tmp_path, 2).runs)
    executed(seeds(tmp_path, 2), source, DiesOnce, count=1)
    assert (tmp_path / "died").exists()
    assert sorted(source.ends) == [(0, None), (1, None)]


def test_threads_take_turns_often_while_runs_are_trained_and_as_before_after_that() -> None:
    before = sys.getswitchinterval()
    with executor._prompt_turns():
        assert sys.getswitchinterval() == pytest.approx(executor.SWITCH_S)
    assert sys.getswitchinterval() == before


def test_workers_that_hang_are_looked_for_once_in_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each report of each worker ends a step: a look at all of them then costs their square."""
    looks: list[float] = []
    monkeypatch.setattr(TuneCallback, "_kill_hung", lambda self, now: looks.append(now))
    state = seeds(tmp_path, 1)
    screen = LiveDisplay(console=Console(file=io.StringIO()), title="", total=1, done=0)
    callback = TuneCallback(
        state,
        RunsInFlight(source=Scripted(state.runs)),
        screen,
        ExecutionStats(),
        lambda run, cause: None,
        gpus=0,
        hang_timeout_s=9,
    )
    for now in (100.0, 100.5, 101.1, 101.2):
        monkeypatch.setattr(time, "monotonic", lambda now=now: now)
        callback.on_step_end(1, [])
    assert looks == [100.0, 101.1]


@dataclasses.dataclass
class Unbegun:
    """A Tune trial whose worker died before it began."""

    key: str
    num_failures: int
    error_file: str | None = None

    def __str__(self) -> str:
        return self.key


def unbegun(key: str, failures: int) -> Any:
    return Unbegun(key, failures)


def test_a_run_that_never_begins_fails_after_as_many_tries_as_others(tmp_path: Path) -> None:
    state = seeds(tmp_path, 1)
    key = state.runs[0].spec.training_key
    lines = io.StringIO()
    screen = LiveDisplay(console=Console(file=lines, width=400), title="", total=1, done=0)
    source = Scripted(state.runs)
    in_flight = RunsInFlight(source=source)
    execution = ExecutionStats()
    callback = TuneCallback(
        state, in_flight, screen, execution, lambda run, cause: None, gpus=0, hang_timeout_s=9
    )
    for failures in (1, 1):  # of a warm worker, which Tune does not replace
        assert in_flight.suggest() is state.runs[0]
        callback.on_trial_error(1, [], unbegun(key, failures))
        assert in_flight.has_requeued
        assert not in_flight.empty
        assert source.ends == []
    assert in_flight.suggest() is state.runs[0]
    callback.on_trial_error(1, [], unbegun(key, MAX_RETRIES + 1))
    assert (in_flight.has_requeued, in_flight.empty) == (False, True)
    assert source.ends == [(0, "its worker died")]
    assert execution.causes == {key: "its worker died"}
    assert "FAILED: its worker died" in lines.getvalue()
