"""Searches without training: a closed form for mIoU, and a driver that a kill can end anywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from record_helpers import BASE, DATA, fail, finish

from sweeps.planning.plan import PlannedRun, make_plan
from sweeps.planning.state import SweepState
from sweeps.search.event_log import EventLog
from sweeps.search.method import Method
from sweeps.search.optuna_source import SearchSource
from sweeps.search.spaces.axes import Axis, Choice, Range
from sweeps.search.spaces.space import Space
from sweeps.search.suggestions import Search
from trainable.config.schema import Readout, TrialConfig

AXES: dict[str, Axis] = {
    "lambda_adv": Range(0.0005, 1.0, log=True),
    "lr_generator": Range(0.005, 0.08, log=True),
    "swa_n": Choice((1, 5, 20)),
    "swa_threshold": Choice((0.0, 0.5)),
}
DIVERGES_AT = 0.06  # lr_generator
CRASHES_AT = 0.3  # lambda_adv


class KilledError(Exception):
    """The driver is gone."""


def miou(config: TrialConfig, readout: Readout) -> tuple[float, float]:
    """Return val/miou and swa/miou: a hill over lambda and learning rate, n=5 and 0.5 on top."""
    lambda_adv = max(config.lambda_adv, 1e-4)  # also of the baseline
    far = math.log10(lambda_adv / 0.02) ** 2 + math.log10(config.lr_generator / 0.02) ** 2
    val = 0.7 - 0.05 * far + 0.001 * config.seed
    return val, val + 0.02 * (readout.swa_n == 5) + 0.01 * readout.swa_threshold


def search_of(
    *,
    sampler: str = "tpe",
    scheduler: str = "none",
    readouts: str = "exhaustive",
    axes: dict[str, Axis] | None = None,
    **changes: Any,
) -> Search:
    values: dict[str, Any] = {"asks": 8, "confirm": 0, "seeds": 2} | changes
    return Search(
        space=Space(axes=axes or AXES, readouts=readouts),
        method=Method(sampler=sampler, scheduler=scheduler, seed=BASE.seed),
        **values,
    )


def empty_sweep(
    storage: Path, base: TrialConfig = BASE, axes: tuple[str, ...] = (), **asked: Any
) -> SweepState:
    axes = axes or tuple(AXES)
    plan = make_plan("joint_search", base=base, axes=axes, data=DATA, storage=storage, **asked)
    return SweepState(plan)


def begin(storage: Path, search: Search, state: SweepState | None = None) -> SearchSource:
    source = SearchSource(state or empty_sweep(storage), search)
    source.__enter__()
    return source


def leave(source: SearchSource) -> None:
    source.__exit__(None, None, None)


def studies(storage: Path) -> list[optuna.Study]:
    """The studies of one search in a storage's database: of its suggestions, of the readouts."""
    database = f"sqlite:///{storage / 'optuna.db'}"
    names = sorted(optuna.get_all_study_names(database))
    return [optuna.load_study(study_name=name, storage=database) for name in names]


def validations(config: TrialConfig) -> list[tuple[int, float]]:
    """Return those of `record_helpers.history_of`, whose mIoU follows from the iteration."""
    final = miou(config, config.readout)[0]
    steps = range(config.eval_every, config.iterations + 1, config.eval_every)
    return [(step, final * step / config.iterations) for step in steps]


def drive(source: SearchSource, *, slots: int = 2, tick: Callable[[], None] = lambda: None) -> None:
    """Train what a source gives, `slots` at a time, a validation at a time.

    Whose validation comes next follows from what was reported, not from when a driver began: so
    runs report and end in the same order with a kill and without. Odd asks are half as quick.

    Args:
        source: Gives runs.
        slots: Runs under way at a time.
        tick: Called wherever a kill may come.
    """
    under_way: list[PlannedRun] = []
    while True:
        while len(under_way) < slots and (run := source.suggest()) is not None:
            under_way.append(run)
        if not under_way:
            assert source.exhausted
            return
        run = min(under_way, key=lambda run: _turn(source, run))
        # Like a worker that resumes from a checkpoint: from the first validation on.
        reported = len(_reports(source, run)) + 1
        stop = False
        for iteration, value in validations(run.spec.config)[:reported]:
            stop = source.on_result(run, iteration, value)
        if not stop and reported <= len(validations(run.spec.config)):
            continue
        under_way.remove(run)
        cause = None if stop else _end(source.state, run)
        tick()
        source.on_complete(run, cause)


def _reports(source: SearchSource, run: PlannedRun) -> dict[int, float]:
    asks = [ask for ask in source.asks if ask.training_key == run.spec.training_key]
    return asks[0].reports if asks else dict(validations(run.spec.config))


def _turn(source: SearchSource, run: PlannedRun) -> tuple[int, int]:
    numbers = [ask.number for ask in source.asks if ask.training_key == run.spec.training_key]
    number = numbers[0] if numbers else len(source.asks)
    return len(_reports(source, run)) * (1 + number % 2), number


def _end(state: SweepState, run: PlannedRun) -> str | None:
    config = run.spec.config
    if config.lambda_adv > CRASHES_AT:
        return "its worker died"
    if config.lr_generator > DIVERGES_AT:
        fail(state, run, "loss_mce is nan")
    else:
        finish(state, run, miou, history=history(config))
    return None


def history(config: TrialConfig) -> list[dict[str, float]]:
    return [
        {"iteration": step, "time": 1.7e9 + step, "val/miou": value, "train/loss_mce": 1.0}
        for step, value in validations(config)
    ]


def told(source: SearchSource) -> list[tuple[Any, ...]]:
    """Return what each ask suggested and how it ended."""
    return [(ask.values, ask.reports, ask.state, ask.scores) for ask in source.asks]


class Killer:
    """Raises at the n-th place where a kill may come: after a line of the log, or a run's end."""

    def __init__(self, at: int) -> None:
        self.left = at

    def tick(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KilledError

    def arm(self, log: EventLog) -> None:
        append = log.append

        def append_and_tick(event: Any) -> None:
            append(event)
            self.tick()

        log.append = append_and_tick  # type: ignore[method-assign]
