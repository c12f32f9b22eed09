"""Means over seeds and the intervals that belong to them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from analysis.inference.simultaneous import LEVEL
from analysis.record.schema import is_cost

METHOD = "95 % Student-t interval"


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean and its two-sided interval; `low` and `high` are NaN where one seed gives none."""

    n: int
    missing: int  # values left out because they were not finite
    mean: float
    low: float
    high: float


def mean_share(values: Iterable[float]) -> Interval:
    """Return the mean of an mIoU or another share, whose interval ends at 0 and 1.

    Args:
        values: As of `student_t`.
    """
    found = student_t(values)
    if found.n < 2:
        return found
    return dataclasses.replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def mean_of_metric(name: str, values: Iterable[float]) -> Interval:
    """Return the mean of a recorded metric: of a cost, whose interval ends at 0, or of a share.

    Args:
        name: The recorded name of the metric.
        values: As of `student_t`.
    """
    if not is_cost(name):
        return mean_share(values)
    found = student_t(values)
    return found if found.n < 2 else dataclasses.replace(found, low=max(found.low, 0.0))


def student_t(values: Iterable[float]) -> Interval:
    """Return the mean over seeds with its two-sided 95 % Student-t interval.

    Args:
        values: One value per seed; those that are not finite are left out and counted.
    """
    # The quantile function behind `scipy.stats.t.ppf`, whose import takes three times as long.
    from scipy.special import stdtrit

    given = np.asarray(list(values), dtype=float)
    kept = np.sort(given[np.isfinite(given)])  # no digit follows from the order of the trials
    n = len(kept)
    mean = float(kept.mean()) if n else math.nan
    half = math.nan
    if n > 1:
        half = float(stdtrit(n - 1, (1 + LEVEL) / 2) * kept.std(ddof=1) / math.sqrt(n))
    return Interval(n=n, missing=len(given) - n, mean=mean, low=mean - half, high=mean + half)
