"""The settings of a sweep with their numbers over seeds; `analysis.stats.ranking` ranks them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from analysis.record.schema import OBJECTIVE, is_cost
from analysis.stats.intervals import Interval, mean_of_metric
from analysis.stats.ranking import Ranking, best_of, in_order, not_dominated, rank
from analysis.stats.rounding import count
from sweeps.planning.objectives import measure
from sweeps.planning.plan import PlannedRun, Trial, format_setting
from sweeps.planning.state import SweepState
from trainable.config.schema import DEFAULTS, EXECUTION_FIELDS, TrialConfig, Value
from trainable.runs.keys import key_of
from trainable.runs.results import Result

SETTING_FIELDS = sorted(DEFAULTS.keys() - {*EXECUTION_FIELDS, "seed"})


def reported(objectives: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics that are told of a setting, the one that it is ranked by first."""
    return tuple(dict.fromkeys((*objectives, OBJECTIVE, "val/miou")))


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """A point of a sweep with its numbers over seeds.

    Attributes:
        config: The config of one of its trials, whose seed is not read.
        metrics: The metrics of each trial by their recorded names, by seed.
        objectives: Metrics that it is judged by; the first ranks it.
    """

    config: TrialConfig
    metrics: Mapping[int, Mapping[str, float]]
    objectives: tuple[str, ...] = (OBJECTIVE,)

    def by_seed(self, name: str | None = None) -> dict[int, float]:
        """Return the values of a metric by seed, without a name of the one that ranks it."""
        return {seed: metrics[name or self.objectives[0]] for seed, metrics in self.metrics.items()}

    def interval(self, name: str | None = None) -> Interval:
        """Return the mean of a metric over all seeds of the setting, with its interval."""
        return mean_of_metric(name or self.objectives[0], self.by_seed(name).values())

    def point(self, axes: Iterable[str]) -> dict[str, Value]:
        """Return its values on the axes."""
        return {axis: getattr(self.config, axis) for axis in axes}


def setting_key(config: TrialConfig) -> str:
    """Return what the trials of a setting have in common: all but seed and execution."""
    return key_of({name: getattr(config, name) for name in SETTING_FIELDS})


def settings_of(state: SweepState, runs: Iterable[PlannedRun] | None = None) -> list[Setting]:
    """Return the settings of the trials that have numbers, by their values on the sweep's axes.

    Where a search trained its best settings again with other seeds, those seeds alone count: the
    best of many on one seed owes part of its value to that seed.

    Args:
        state: The state of the sweep.
        runs: The runs that count; None are all that are known, also of earlier commands.
    """
    return settings_among(
        (
            MeasuredTrial(config=trial.config, metrics=metrics, phase=_phase(state, trial) or "")
            for trial, metrics in _numbers_of(state, state.known_runs if runs is None else runs)
        ),
        state.plan.axes,
        state.plan.objectives,
    )


@dataclass(frozen=True, kw_only=True)
class MeasuredTrial:
    """A trial that has numbers.

    Attributes:
        config: Its config.
        metrics: Its metrics by their recorded names.
        phase: `search` or `confirm`, empty outside searches.
    """

    config: TrialConfig
    metrics: Mapping[str, float]
    phase: str = ""


def settings_among(
    trials: Iterable[MeasuredTrial],
    axes: Sequence[str],
    objectives: tuple[str, ...] = (OBJECTIVE,),
) -> list[Setting]:
    """Return the settings of some trials, by their values on the axes; see `settings_of`."""
    measured = list(trials)
    confirmed = [trial for trial in measured if trial.phase == "confirm"]
    configs: dict[str, TrialConfig] = {}
    metrics: dict[str, dict[int, Mapping[str, float]]] = {}
    for trial in confirmed or measured:
        key = setting_key(trial.config)
        configs.setdefault(key, trial.config)
        metrics.setdefault(key, {})[trial.config.seed] = trial.metrics
    settings = [
        Setting(config=configs[key], metrics=metrics[key], objectives=objectives)
        for key in sorted(configs)
    ]
    return sorted(settings, key=lambda setting: in_order(setting.point(axes).values()))


def rank_settings(
    state: SweepState, runs: Iterable[PlannedRun] | None = None
) -> Ranking[Setting] | None:
    """Return the settings of the trials that have numbers, ranked; None where none has.

    Args:
        state: The state of the sweep.
        runs: As in `settings_of`.
    """
    settings = settings_of(state, runs)
    return rank({setting: setting.by_seed() for setting in settings}, race=state.race)


def is_confirmed(state: SweepState) -> bool:
    """Return whether a search of the sweep has numbers of a setting at other seeds than its own."""
    return any(_phase(state, t) == "confirm" for t, _ in _numbers_of(state, state.known_runs))


def describe_leader(state: SweepState) -> str:
    """Return in words the setting with the best mean so far, empty where none has numbers.

    It compares nothing, and so costs little beside `rank_settings`, whose best setting it is.
    """
    settings = settings_of(state)
    if not settings:
        return ""
    best = best_of({setting: setting.by_seed() for setting in settings})
    found = best.interval()
    point = format_setting(best.config, state.plan.axes)
    return f"{best.objectives[0]} {found.mean:.4f} over {count(found.n, 'seed')} at {point}"


@dataclass(frozen=True, kw_only=True)
class BestPoint:
    """What is said of the best setting of a sweep.

    Attributes:
        point: The values of the setting on the sweep's axes.
        seeds: Over how many seeds the settings were ranked.
        others: How many other settings there are.
        not_distinguishable: How many of them these seeds do not tell from it.
        smallest_found: The true difference to it, as a fraction, that these seeds would have shown
            with a power of 0.8; NaN where one seed shows none.
        metrics: The mean of each metric that is reported over those seeds, with its interval; the
            first is of the objective that settings are ranked by.
    """

    point: Mapping[str, Value]
    seeds: int
    others: int
    not_distinguishable: int
    smallest_found: float
    metrics: Mapping[str, Interval]

    @property
    def objective(self) -> str:
        """The metric that settings are ranked by."""
        return next(iter(self.metrics))

    @property
    def mean(self) -> float:
        """The mean of the metric that settings are ranked by, as a fraction."""
        return self.metrics[self.objective].mean

    @property
    def interval(self) -> tuple[float, float]:
        """The ends of the mean's 95 % interval, NaN for a single seed."""
        found = self.metrics[self.objective]
        return found.low, found.high

    def numbers(self) -> dict[str, float | None]:
        """Return what the record holds of it: counts as `best/...`, and the means' numbers."""
        counts = ("seeds", "others", "not_distinguishable")
        numbers: dict[str, float | None] = {f"best/{name}": getattr(self, name) for name in counts}
        numbers["best/smallest_found"] = _known(self.smallest_found)
        for name, found in self.metrics.items():
            numbers |= interval_numbers(name, found)
        return numbers

    def as_primitives(self) -> dict[str, object]:
        """Return what a program is told of it."""
        return {"point": dict(self.point), **self.numbers()}


def best_point(state: SweepState) -> BestPoint | None:
    """Return the best setting of the trials that have numbers, None where none has."""
    return best_of_ranking(rank_settings(state), state.plan.axes)


def best_of_ranking(ranking: Ranking[Setting] | None, axes: Sequence[str]) -> BestPoint | None:
    """Return what is said of the best of some settings, None where there is none.

    Args:
        ranking: The ranking of the sweep's settings.
        axes: The config fields that the sweep varies.
    """
    if ranking is None:
        return None
    values = {name: ranking.best.by_seed(name) for name in reported(ranking.best.objectives)}
    return BestPoint(
        point=ranking.best.point(axes),
        seeds=len(ranking.best_values),
        others=len(ranking.gains),
        not_distinguishable=ranking.not_distinguishable,
        smallest_found=ranking.smallest_found,
        metrics={
            name: mean_of_metric(name, (by_seed[seed] for seed in ranking.best_values))
            for name, by_seed in values.items()
        },
    )


def pareto_front(ranking: Ranking[Setting]) -> list[Setting]:
    """Return the settings that no other beats in the means of all objectives at once.

    The best in the first objective comes first. Of one objective, it is the best alone.
    """
    objectives = ranking.best.objectives
    if len(objectives) == 1:
        return [ranking.best]
    means = {one: [one.interval(name).mean for name in objectives] for one in ranking.order}
    return not_dominated(means, [is_cost(name) for name in objectives])


def interval_numbers(name: str, found: Interval) -> dict[str, float | None]:
    """Return a metric's mean and the ends of its two-sided 95 % interval by their recorded names.

    They are `mean/...`, `ci_low/...` and `ci_high/...`; the ends are None for a single seed.
    """
    numbers = {"mean": found.mean, "ci_low": found.low, "ci_high": found.high}
    return {f"{end}/{name}": _known(value) for end, value in numbers.items()}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def best_by_axis(ranking: Ranking[Setting], axes: Iterable[str]) -> dict[str, list[Setting]]:
    """Return, for each axis that varies, the best setting with each of its values.

    Args:
        ranking: The ranking of the sweep's settings.
        axes: The config fields that the sweep varies.
    """
    tables: dict[str, list[Setting]] = {}
    for axis in axes:
        found: dict[Value, list[Setting]] = {}
        for setting in ranking.order:
            found.setdefault(getattr(setting.config, axis), []).append(setting)
        if len(found) > 1:
            values = sorted(found, key=lambda value: in_order([value]))
            tables[axis] = [_best_among(ranking, found[value]) for value in values]
    return tables


def _best_among(ranking: Ranking[Setting], settings: Sequence[Setting]) -> Setting:
    """Return the best of some settings: that of the sweep, where it is one of them."""
    if ranking.best in settings:
        return ranking.best
    return best_of({setting: setting.by_seed() for setting in settings})


def _numbers_of(
    state: SweepState, runs: Iterable[PlannedRun]
) -> Iterator[tuple[Trial, dict[str, float]]]:
    for run in runs:
        found = state.outcome(run)
        if isinstance(found, Result):
            objectives = state.plan.objectives
            yield from ((t, measure(found, t.config.readout, objectives)) for t in run.trials)


def _phase(state: SweepState, trial: Trial) -> str | None:
    return state.tags.get(trial.trial_key, {}).get("phase")
