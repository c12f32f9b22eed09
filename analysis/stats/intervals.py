"""Means over seeds and the intervals that belong to them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

METHOD = "95 % Student-t interval"
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A mean and its two-sided interval; `low` and `high` are NaN where one seed gives none."""

    n: int
    missing: int  # values left out because they were not finite
    mean: float
    low: float
    high: float


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
