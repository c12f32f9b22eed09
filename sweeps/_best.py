"""The best point of a sweep: highest mean of the averaged weights' mIoU over seeds."""

from __future__ import annotations

import dataclasses
from typing import Any

from scipy import stats

from sweeps._plan import Plan
from trainable.config import EXECUTION_FIELDS
from trainable.identity import key_of
from trainable.training_run import summary

CONFIDENCE = 0.95
REPORTED = ("swa/miou", "val/miou")


def best_point(plan: Plan) -> dict[str, Any] | None:
    """Return the best setting of the trials that have numbers, None when none has.

    Returns:
        `point`, the setting's values on the sweep's axes; `best/seeds`, how many; `best/others`,
        how many other settings there are, and `best/not_distinguishable`, how many of them differ
        from it by less than the 95 % interval of the differences paired by seed (no correction
        for the number of comparisons; a single seed rules none out); for `swa/miou` and
        `val/miou` the mean and the ends of the two-sided 95 % Student-t interval over seeds, as
        `mean/...`, `ci_low/...`, `ci_high/...`; the ends are None for a single seed.
    """
    settings: dict[str, dict[int, dict[str, float]]] = {}
    points: dict[str, dict[str, Any]] = {}
    for run in plan.runs:
        found = plan.outcome(run)
        if found is None or found[0] != "result":
            continue
        for trial in run.trials:
            values = dataclasses.asdict(trial.config)
            setting = key_of(
                {k: v for k, v in values.items() if k not in (*EXECUTION_FIELDS, "seed")}
            )
            metrics = summary(found[1], trial.config.readout)
            settings.setdefault(setting, {})[trial.config.seed] = metrics
            points[setting] = {axis: values[axis] for axis in plan.axes}
    if not settings:
        return None
    scores = {
        key: {seed: metrics["swa/miou"] for seed, metrics in by_seed.items()}
        for key, by_seed in settings.items()
    }
    best = max(scores, key=lambda key: _mean(list(scores[key].values())))
    others = [scores[key] for key in scores if key != best]
    found_best: dict[str, Any] = {
        "point": points[best],
        "best/seeds": len(settings[best]),
        "best/others": len(others),
        "best/not_distinguishable": sum(not _differs(scores[best], other) for other in others),
    }
    for name in REPORTED:
        over_seeds = [metrics[name] for metrics in settings[best].values()]
        low, high = _interval(over_seeds)
        found_best[f"mean/{name}"] = _mean(over_seeds)
        found_best[f"ci_low/{name}"], found_best[f"ci_high/{name}"] = low, high
    return found_best


def _differs(one: dict[int, float], other: dict[int, float]) -> bool:
    """Return whether the interval of the differences, paired by seed, leaves out 0."""
    low, high = _interval([one[seed] - other[seed] for seed in one.keys() & other.keys()])
    return low is not None and high is not None and not low <= 0 <= high


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _interval(values: list[float]) -> tuple[float | None, float | None]:
    if len(values) < 2:
        return None, None
    mean, error = _mean(values), float(stats.sem(values))
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * error
    return mean - half, mean + half
