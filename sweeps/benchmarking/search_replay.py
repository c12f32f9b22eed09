"""Measure how many training runs exhaustive readouts save a search, on a table of real runs.

The table holds a grid of settings of the demo, each trained once with all readouts. A replay takes
the value of each suggestion from the table, so that a search is repeated with many seeds at no
cost, in both ways to treat readouts: `exhaustive` sees the best readout of a run, `sampled` the one
that it suggested.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from scipy import stats

from analysis.record.schema import OBJECTIVE
from sweeps.execution.display import LiveDisplay
from sweeps.execution.executor import execute, ray_slots
from sweeps.execution.resources import Resources
from sweeps.joint_search import axes
from sweeps.planning.plan import make_plan
from sweeps.planning.state import SweepState
from sweeps.search.method import Method
from sweeps.search.source import FixedRuns
from sweeps.search.spaces.axes import Choice
from sweeps.search.spaces.space import READOUTS, Space
from sweeps.search.study import COMPLETE, PRUNED, ReplayableStudy
from trainable.cli.options import ConfigOptions, add_config_options, config_of, whole
from trainable.config.schema import TrialConfig, Value
from trainable.data import datasets
from trainable.runs.results import Result, summary

WITHIN = 0.002  # mIoU: 0.2 points
REPLAYS = 20
# A replay that found nothing by then has gone through the table many times.
MAX_ASKS = 400
CONFIDENCE = 0.95
# 4 x 3 x 3 settings over joint_search's space: 36 runs, 6 minutes on two cores.
LAMBDAS = (0.0005, 0.006, 0.08, 1.0)
FACTORS = (0.25, 1.0, 4.0)  # of the preset's learning rates

Cell = tuple[Value, ...]  # a setting, or a readout, by the values of its axes


@dataclass(frozen=True, kw_only=True)
class Table:
    """The training runs of a grid, by their setting.

    Attributes:
        axes: The axes of the grid, by field; those of the readout come last.
        values: For each setting, the mIoU of each readout, from 0 to 1; empty where training
            diverged.
    """

    axes: Mapping[str, Choice]
    values: Mapping[Cell, Mapping[Cell, float]]

    @property
    def best(self) -> float:
        """The largest mIoU of the table."""
        return max(value for by_readout in self.values.values() for value in by_readout.values())


def replay(table: Table, readouts: str, seed: int, config: TrialConfig) -> int:
    """Return how many training runs a TPE search needs to come within 0.2 points of the best.

    A setting that is suggested again costs no run. A search that does not get there within
    MAX_ASKS suggestions counts as one that trained the whole table.

    Args:
        table: The table with the values of all settings.
        readouts: How readouts are treated, one of READOUTS.
        seed: The seed of the search.
        config: The base config of the table.
    """
    space = Space(axes=table.axes, readouts=readouts)
    method = Method(sampler="tpe", scheduler="none", seed=seed)
    study = ReplayableStudy(method, space, config)
    trained: set[Cell] = set()
    for number in range(MAX_ASKS):
        values = space.values(study.ask())
        cell = tuple(values[name] for name in space.training)
        trained.add(cell)
        found = table.values[cell]
        if not found:
            study.tell(number, PRUNED)
            continue
        readout = tuple(values[name] for name in space.suggested if name not in space.training)
        value = found[readout] if readout else max(found.values())
        if value >= table.best - WITHIN:
            return len(trained)
        study.tell(number, COMPLETE, [value])
    return len(table.values)


def table_space(base: TrialConfig) -> Space:
    """Return the space of a table: the readouts of joint_search, and a grid over its training."""
    grid = {
        "lambda_adv": Choice(LAMBDAS),
        "lr_generator": Choice(tuple(base.lr_generator * factor for factor in FACTORS)),
        "lr_discriminator": Choice(tuple(base.lr_discriminator * factor for factor in FACTORS)),
    }
    readouts = {k: axis for k, axis in axes(base).items() if isinstance(axis, Choice)}
    return Space(axes=grid | readouts)


def plan_table(base: TrialConfig, storage: Path) -> SweepState:
    """Return the plan of the training runs of a table."""
    space = table_space(base)
    configs = [
        config for values in space.training_grid() for config in space.siblings(base, values)
    ]
    names = tuple(space.axes)
    data = datasets.inspect(base)
    asked = make_plan("search_table", base=base, axes=names, data=data, storage=storage)
    return SweepState.of(asked, configs)


def read_table(state: SweepState) -> Table:
    """Return the table that the run folders of a plan hold."""
    space = table_space(state.plan.base)
    values: dict[Cell, dict[Cell, float]] = {}
    for run in state.runs:
        found = state.outcome(run)
        by_readout = values.setdefault(_cell(run.spec.config, space.training), {})
        if not isinstance(found, Result):
            continue  # it diverged
        for trial in run.trials:
            readout = _cell(trial.config, [k for k in space.axes if k not in space.training])
            by_readout[readout] = summary(found, trial.config.readout)[OBJECTIVE]
    choices = {name: axis for name, axis in space.axes.items() if isinstance(axis, Choice)}
    return Table(axes=choices, values=values)


@dataclass(frozen=True, kw_only=True)
class SearchReplayOptions(ConfigOptions):
    """The options of `search`.

    Attributes:
        benchmark: The name of the benchmark.
        storage: The folder of run folders.
        replays: How many searches there are, each with its seed.
    """

    benchmark: str
    storage: str
    replays: int


def search(options: SearchReplayOptions) -> dict[str, Any]:
    """Return the training runs that either way needs, over many searches; train what is missing."""
    base = config_of(options)
    state = plan_table(base, Path(options.storage).resolve())
    if state.pending():
        _train(state)
    table = read_table(state)
    runs = {
        way: [replay(table, way, seed, base) for seed in range(options.replays)] for way in READOUTS
    }
    return {
        "table": {"runs": len(table.values), "readouts": len(state.trials) // len(state.runs)},
        "best": table.best,
        "within": WITHIN,
        **{way: _in_numbers(runs[way]) for way in READOUTS},
    }


def add_search(subcommands: Any) -> None:
    """Add the subcommand that `search` answers."""
    parser = subcommands.add_parser("search", help="training runs that exhaustive readouts save")
    add_config_options(parser)
    parser.add_argument(
        "--storage", default="runs/", metavar="DIR", help="folder of run folders (default: runs/)"
    )
    parser.add_argument(
        "--replays",
        type=whole(),
        default=REPLAYS,
        metavar="N",
        help=f"searches, each with its seed (default: {REPLAYS})",
    )


def _train(state: SweepState) -> None:
    pending = state.pending()
    resources = Resources(
        address=None, cpus_per_trial=1, gpus_per_trial=None, max_concurrent=None, time_budget_s=None
    )
    with open(os.devnull, "w") as nowhere, ray_slots(resources, len(pending)) as slots:
        screen = LiveDisplay(
            console=Console(file=nowhere), title=state.plan.name, total=len(pending), done=0
        )
        execute(state, FixedRuns(pending), slots, screen, lambda run, cause: None)


def _cell(config: TrialConfig, names: Iterable[str]) -> Cell:
    return tuple(getattr(config, name) for name in names)


def _in_numbers(runs: Sequence[int]) -> dict[str, Any]:
    """Return median and its 95 % interval, from order statistics: no shape is assumed."""
    ordered = sorted(runs)
    below = int(stats.binom.ppf((1 - CONFIDENCE) / 2, len(ordered), 0.5))
    low, high = ordered[max(0, below - 1)], ordered[min(len(ordered) - below, len(ordered) - 1)]
    return {"median": median(ordered), "ci_low": low, "ci_high": high, "runs": list(runs)}
