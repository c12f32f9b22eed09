"""The settings of a sweep over their seeds, the best first: highest mean of the averages' mIoU."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy import stats

from sweeps.planning.plan import Plan, Trial
from trainable.config.schema import EXECUTION_FIELDS, TrialConfig
from trainable.runs.keys import key_of
from trainable.runs.results import Result, summary

CONFIDENCE = 0.95
RANKED = "swa/miou"
REPORTED = (RANKED, "val/miou")


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A point of a sweep with its numbers over seeds.

    Attributes:
        config: Of one of its trials; the seed is not read.
        metrics: By seed.
    """

    config: TrialConfig
    metrics: Mapping[int, Mapping[str, float]]

    def mean(self, name: str = RANKED) -> float:
        """Return the mean of a metric over seeds."""
        return _mean([metrics[name] for metrics in self.metrics.values()])

    def interval(self, name: str = RANKED) -> tuple[float, float] | None:
        """Return the two-sided 95 % Student-t interval over seeds, None for a single seed."""
        return _interval([metrics[name] for metrics in self.metrics.values()])

    def differences(self, other: Setting) -> list[float]:
        """Return by how much it lies above another setting, at each seed that both have."""
        shared = self.metrics.keys() & other.metrics.keys()
        return [self.metrics[s][RANKED] - other.metrics[s][RANKED] for s in sorted(shared)]

    def overlaps(self, other: Setting) -> bool:
        """Return whether the two intervals overlap; that of a single seed has no end."""
        one, two = self.interval(), other.interval()
        return one is None or two is None or (one[0] <= two[1] and two[0] <= one[1])

    def point(self, axes: Iterable[str]) -> dict[str, Any]:
        """Return its values on the axes."""
        return {axis: getattr(self.config, axis) for axis in axes}


def setting_key(config: TrialConfig) -> str:
    """Return what the trials of a setting have in common: all but seed and execution."""
    values = dataclasses.asdict(config)
    return key_of({k: v for k, v in values.items() if k not in (*EXECUTION_FIELDS, "seed")})


def settings_of(plan: Plan) -> list[Setting]:
    """Return the settings of the trials that have numbers, the best first.

    Where a search trained its best settings again with other seeds, those seeds alone count: the
    best of many on one seed owes part of its value to that seed.
    """
    numbers: list[tuple[Trial, dict[str, float]]] = []
    for run in plan.runs:
        found = plan.outcome(run)
        if isinstance(found, Result):
            numbers += [(t, summary(found, t.config.readout)) for t in run.trials]
    confirmed = [pair for pair in numbers if _phase(plan, pair[0]) == "confirm"]
    configs: dict[str, TrialConfig] = {}
    metrics: dict[str, dict[int, dict[str, float]]] = {}
    for trial, values in confirmed or numbers:
        key = setting_key(trial.config)
        configs.setdefault(key, trial.config)
        metrics.setdefault(key, {})[trial.config.seed] = values
    found_settings = [Setting(config=configs[key], metrics=metrics[key]) for key in configs]
    return sorted(found_settings, key=lambda setting: -setting.mean())


def best_point(plan: Plan) -> dict[str, Any] | None:
    """Return the best setting of the trials that have numbers, as `best_among` does."""
    return best_among(settings_of(plan), plan.axes)


def best_among(settings: Sequence[Setting], axes: Sequence[str]) -> dict[str, Any] | None:
    """Return what is said of the best setting, None where there is none.

    Args:
        settings: As `settings_of` returns them, the best first.
        axes: Of the sweep.

    Returns:
        `point`, the setting's values on the sweep's axes; `best/seeds`, how many; `best/others`,
        how many other settings there are, and `best/not_distinguishable`, how many of them
        `lower_than_best` does not tell from it; for `swa/miou` and `val/miou` the mean and the
        ends of the two-sided 95 % Student-t interval over seeds, as `mean/...`, `ci_low/...`,
        `ci_high/...`; the ends are None for a single seed.
    """
    if not settings:
        return None
    best, others = settings[0], settings[1:]
    described: dict[str, Any] = {
        "point": best.point(axes),
        "best/seeds": len(best.metrics),
        "best/others": len(others),
        "best/not_distinguishable": len(others) - sum(lower_than_best(settings)),
    }
    for name in REPORTED:
        low, high = best.interval(name) or (None, None)
        described |= {f"mean/{name}": best.mean(name), f"ci_low/{name}": low}
        described[f"ci_high/{name}"] = high
    return described


def lower_than_best(settings: Sequence[Setting]) -> list[bool]:
    """Return of each setting whether it lies below the best beyond the noise of the seeds.

    Judged at 5 % by t-tests paired by seed, after Holm: any setting could have come out best, so
    the family is all pairs of settings that can be compared, as in the tables of the report. A
    single seed tells none apart.

    Args:
        settings: As `settings_of` returns them, the best first.
    """
    differences = [settings[0].differences(setting) for setting in settings]
    tested = {k: _p_value(found) for k, found in enumerate(differences) if k and len(found) > 1}
    family = (len(tested) + 1) * len(tested) // 2
    lower, corrected = [False] * len(settings), 0.0
    for rank, k in enumerate(sorted(tested, key=lambda k: tested[k])):
        corrected = max(corrected, tested[k] * (family - rank))
        lower[k] = corrected < 1 - CONFIDENCE and _mean(differences[k]) > 0
    return lower


def best_by_axis(settings: Sequence[Setting], axes: Iterable[str]) -> dict[str, list[Setting]]:
    """Return, for each axis that varies, the best setting with each of its values.

    Args:
        settings: As `settings_of` returns them, the best first.
        axes: Of the sweep.
    """
    tables: dict[str, list[Setting]] = {}
    for axis in axes:
        first: dict[Any, Setting] = {}
        for setting in settings:
            first.setdefault(getattr(setting.config, axis), setting)
        if len(first) > 1:
            tables[axis] = [first[value] for value in sorted(first)]
    return tables


def _phase(plan: Plan, trial: Trial) -> str | None:
    return plan.tags.get(trial.trial_key, {}).get("phase")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _p_value(differences: Sequence[float]) -> float:
    """Return the chance of a mean so far from 0, either way, where there is no difference."""
    mean, error = _mean(differences), float(stats.sem(differences))
    if error == 0:
        return float(mean == 0)
    return 2 * float(stats.t.sf(abs(mean) / error, len(differences) - 1))


def _interval(values: Sequence[float]) -> tuple[float, float] | None:
    if len(values) < 2:
        return None
    mean, error = _mean(values), float(stats.sem(values))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return mean - half, mean + half
