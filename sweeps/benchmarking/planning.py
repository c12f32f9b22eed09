"""Measure how long large sweeps take to plan: `python -m sweeps.benchmark planning`.

Trials are planned in this process, of an empty storage: first the configs that a script makes, then
the runs that answer them. The commands are whole processes, `lambda_grid.py --plan` with many
seeds, imports included: on an empty storage, where it times a few iterations besides, and where
all of its runs are done, by folders whose runs were played (`played_runs`). What a command that is
given again does before it trains and records, `--plan` does, too.
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess  # nosec B404  # words, no shell
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps import lambda_grid
from sweeps.benchmarking.driver_scale import rss_mb
from sweeps.planning.plan import PlannedRun, make_plan
from sweeps.planning.state import SweepState
from trainable.cli.options import whole
from trainable.config.loading import load_config
from trainable.config.schema import TrialConfig
from trainable.data import datasets

READOUTS = 72  # of a run, where trials share one
DONE = re.compile(r"done already: +(\d+)")


@dataclass(frozen=True, kw_only=True)
class PlanningOptions:
    """The options of `planning`.

    Attributes:
        benchmark: The name of the benchmark.
        trials: How many trials are planned in this process.
        runs: How many runs the commands have at least.
    """

    benchmark: str
    trials: int
    runs: int


def add_planning(subparsers: Any) -> None:
    """Add the subcommand to those of `sweeps.benchmark`."""
    parser = subparsers.add_parser("planning", help="seconds and memory to plan large sweeps")
    parser.add_argument(
        "--trials", type=whole(), default=100_000, metavar="N", help="default: 100000"
    )
    parser.add_argument("--runs", type=whole(), default=10_000, metavar="N", help="default: 10000")


def planning(options: PlanningOptions) -> dict[str, Any]:
    """Return seconds and memory of the plans, and seconds of the commands."""
    base = load_config(overrides=["precision=fp32"])
    return {
        "trials": options.trials,
        "one_trial_a_run": _planned(lambda i: dataclasses.replace(base, seed=i), options.trials),
        "72_trials_a_run": _planned(
            lambda i: dataclasses.replace(base, seed=i // READOUTS, swa_n=1 + i % READOUTS),
            options.trials,
        ),
        "commands": _commands(-(-options.runs // len(lambda_grid.LAMBDAS))),
    }


def _planned(config: Callable[[int], TrialConfig], count: int) -> dict[str, float]:
    """Return what it takes to plan so many trials, and to make their configs before."""
    with tempfile.TemporaryDirectory() as folder:
        before_mb, began = rss_mb(), time.perf_counter()
        configs = [config(i) for i in range(count)]
        made = time.perf_counter()
        state = _state(configs, Path(folder))
        planned = time.perf_counter()
        return {
            "runs": len(state.runs),
            "configs_s": made - began,
            "planned_s": planned - made,
            "mb": rss_mb() - before_mb,
        }


def _state(configs: Sequence[TrialConfig], storage: Path) -> SweepState:
    base = load_config()
    plan = make_plan(
        lambda_grid.SWEEP.name,
        base=base,
        axes=lambda_grid.SWEEP.axes,
        data=datasets.inspect(base),
        storage=storage,
        auto_precision="fp32",
    )
    return SweepState.of(plan, configs)


def _commands(seeds: int) -> dict[str, float]:
    """Return the seconds of `--plan` where nothing is done, and where all is."""
    base = load_config()
    configs = [
        dataclasses.replace(base, lambda_adv=value, seed=seed)
        for seed in range(seeds)
        for value in lambda_grid.LAMBDAS
    ]
    with tempfile.TemporaryDirectory() as folder:
        storage = Path(folder) / "runs"
        empty_s = _plan_command(storage, seeds, done=0)
        for run in _state(configs, storage).runs:
            _play(run, storage)
        done_s = _plan_command(storage, seeds, done=len(configs))
    return {"runs": len(configs), "plan_s": empty_s, "plan_of_done_runs_s": done_s}


def _play(run: PlannedRun, storage: Path) -> None:
    """Leave the folder of a run that is done."""
    from sweeps.benchmarking.played_runs import RUN_S, PlayedRun

    text = json.dumps(run.spec.to_primitives())
    played = PlayedRun({"spec": text, "storage": str(storage), "report_s": RUN_S})
    while not played.step()["done"]:
        pass


def _plan_command(storage: Path, seeds: int, *, done: int) -> float:
    """Return the seconds of `--plan`.

    Raises:
        RuntimeError: It does not find as many runs done as there are.
    """
    command = [sys.executable, str(lambda_grid.__file__), "--plan", "--seeds", str(seeds)]
    command += ["--storage", str(storage), "--tracking-uri", f"sqlite:///{storage.parent}/m.db"]
    began = time.perf_counter()
    answer = subprocess.run(  # nosec B603  # words, no shell
        command, capture_output=True, text=True, check=False, cwd=storage.parent
    )
    took_s = time.perf_counter() - began
    found = DONE.search(answer.stdout)
    if found is None or int(found[1]) != done:
        raise RuntimeError(f"--plan must find {done} runs done, but said {answer.stderr[-500:]}")
    return took_s
