"""Measure what the platform itself costs, beside its stock parts; each prints one JSON object.

    python -m sweeps.benchmark trials [--trials 1000]
    python -m sweeps.benchmark swa
    python -m sweeps.benchmark record [--trials 64]
    python -m sweeps.benchmark mlflow-table [--trials 1000]
    python -m sweeps.benchmark driver-scale [--slots 64 --slots 1000]
    python -m sweeps.benchmark planning [--trials 100000] [--runs 10000]
    python -m sweeps.benchmark search --set iterations=120 --set eval_every=60

`trials` runs empty trials on both sides, each side with two slots of this machine and a record in
MLflow on SQLite: ours through planner, source, searcher and warm actors, and the stock way, Tune's
function API with OptunaSearch and MLflowLoggerCallback. The start of Ray is left out on both.
`swa` sets the SWA grid beside one training run per trial, of which it trains a sample. `search`
counts the training runs that a search needs if each run carries all readouts, and if the sampler
chooses one readout per run. `record` measures what following trials that report once a second costs
the driver and its MLflow store, `driver-scale` how many slots a driver carries, `planning` how long
large sweeps take to plan. `mlflow-table` opens the view of a sweep in Chromium and measures the
time until MLflow shows its first row.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from sweeps.benchmarking.driver_scale import (
    DriverScaleOptions,
    add_driver_scale,
    driver_scale,
    rss_mb,
)
from sweeps.benchmarking.planning import PlanningOptions, add_planning, planning
from sweeps.benchmarking.record_load import RecordLoadOptions, add_record_load, record_load
from sweeps.benchmarking.search_replay import SearchReplayOptions, add_search, search
from sweeps.benchmarking.swa_cost import SwaCostOptions, add_swa, swa_cost
from sweeps.benchmarking.table_time import TableTimeOptions, add_table_time, table_time
from sweeps.execution.display import LiveDisplay
from sweeps.execution.executor import execute, ray_slots
from sweeps.execution.resources import Resources
from sweeps.planning.plan import PlannedRun, make_plan
from sweeps.planning.state import SweepState
from sweeps.record.publisher import Publisher
from sweeps.search.source import FixedRuns
from trainable.cli.options import OK, command, ended_by_signals, whole
from trainable.cli.parsed_options import read_options
from trainable.cli.parser import Parser
from trainable.config.loading import load_config
from trainable.data import datasets

SLOTS = 2
STOCK_TRIALS = 20  # of the stock side, at most: it takes seconds a trial
RSS_EVERY = 100  # trials between two looks at the driver's memory


@dataclass(frozen=True, kw_only=True)
class TrialsOptions:
    """The options of `trials`.

    Attributes:
        benchmark: The name of the benchmark.
        trials: How many empty trials the platform runs.
    """

    benchmark: str
    trials: int


@ended_by_signals()
@command
def main() -> int:
    """Run the benchmark that the command line names, and return the exit code."""
    parsed = parser().parse_args()
    if parsed.benchmark == "trials":
        numbers = trials(read_options(TrialsOptions, parsed))
    elif parsed.benchmark == "record":
        numbers = record_load(read_options(RecordLoadOptions, parsed))
    elif parsed.benchmark == "driver-scale":
        numbers = driver_scale(read_options(DriverScaleOptions, parsed))
    elif parsed.benchmark == "planning":
        numbers = planning(read_options(PlanningOptions, parsed))
    elif parsed.benchmark == "mlflow-table":
        numbers = table_time(read_options(TableTimeOptions, parsed))
    elif parsed.benchmark == "swa":
        numbers = swa_cost(read_options(SwaCostOptions, parsed))
    else:
        numbers = search(read_options(SearchReplayOptions, parsed))
    sys.stdout.write(f"{json.dumps(numbers, indent=1)}\n")
    return OK


def trials(options: TrialsOptions) -> dict[str, Any]:
    """Return seconds per empty trial and slot of both sides, their ratio, and our memory."""
    stock_trials = min(options.trials, STOCK_TRIALS)
    with tempfile.TemporaryDirectory() as folder:
        wall_s, rss_mb = _ours(Path(folder), options.trials)
        stock_wall_s = _stock(Path(folder), stock_trials)
    ours, stock = wall_s * SLOTS / options.trials, stock_wall_s * SLOTS / stock_trials
    return {
        "slots": SLOTS,
        "ours": {
            "trials": options.trials,
            "s_per_trial_and_slot": ours,
            "driver_rss_mb": rss_mb,
        },
        "stock": {"trials": stock_trials, "s_per_trial_and_slot": stock},
        "ratio": stock / ours,
    }


def _ours(folder: Path, count: int) -> tuple[float, dict[int, float]]:
    """Return seconds, and the driver's memory in MB by the number of trials done."""
    base = load_config()
    asked = make_plan(
        "benchmark", base=base, axes=(), data=datasets.inspect(base), storage=folder / "runs"
    )
    state = SweepState.of(asked, [dataclasses.replace(base, seed=seed) for seed in range(count)])
    grown_mb: dict[int, float] = {}
    ended = 0

    def note(run: PlannedRun, cause: str | None) -> None:
        nonlocal ended
        ended += 1
        if ended % RSS_EVERY == 0:
            grown_mb[ended] = rss_mb()
        publisher.publish(run, cause)

    resources = Resources(
        address=None, cpus_per_trial=1, gpus_per_trial=0, max_concurrent=SLOTS, time_budget_s=None
    )
    with open(os.devnull, "w") as nowhere, ray_slots(resources, count) as slots:
        screen = LiveDisplay(console=Console(file=nowhere), title="benchmark", total=count, done=0)
        from sweeps.benchmarking.empty_trainable import EmptyTrainable

        started = time.perf_counter()
        publisher = Publisher(state, f"sqlite:///{folder}/ours.db", warnings.warn)
        with publisher:
            execute(state, FixedRuns(state.runs), slots, screen, note, trainable=EmptyTrainable)
        return time.perf_counter() - started, grown_mb


def _stock(folder: Path, count: int) -> float:
    """Return the seconds that the stock parts take."""
    resources = Resources(
        address=None, cpus_per_trial=1, gpus_per_trial=0, max_concurrent=SLOTS, time_budget_s=None
    )
    uri = f"sqlite:///{folder}/stock.db"
    with ray_slots(resources, count):
        from ray import tune
        from ray.air.integrations.mlflow import MLflowLoggerCallback
        from ray.tune.search import ConcurrencyLimiter
        from ray.tune.search.optuna import OptunaSearch

        from sweeps.benchmarking.empty_trainable import empty_function

        search = OptunaSearch(metric="miou", mode="max", seed=0)
        started = time.perf_counter()
        tune.Tuner(
            tune.with_resources(empty_function, {"cpu": 1}),
            param_space={"x": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(
                num_samples=count, search_alg=ConcurrencyLimiter(search, max_concurrent=SLOTS)
            ),
            run_config=tune.RunConfig(
                name="stock",
                storage_path=str(folder / "stock"),
                verbose=0,
                callbacks=[MLflowLoggerCallback(tracking_uri=uri, experiment_name="stock")],
            ),
        ).fit()
        return time.perf_counter() - started


def parser() -> Parser:
    """Return the options of this command."""
    options = Parser(
        description=__doc__,
        module="sweeps.benchmark",
        example="trials --trials 1000",
    )
    subcommands = options.add_subparsers(dest="benchmark", required=True, metavar="BENCHMARK")
    of_trials = subcommands.add_parser("trials", help="seconds per empty trial, memory of many")
    of_trials.add_argument(
        "--trials",
        type=whole(),
        default=100,
        metavar="N",
        help=f"of ours (default: 100); the stock side runs {STOCK_TRIALS} at most",
    )
    add_swa(subcommands)
    add_record_load(subcommands)
    add_driver_scale(subcommands)
    add_planning(subcommands)
    add_table_time(subcommands)
    add_search(subcommands)
    return options


if __name__ == "__main__":
    sys.exit(main())
