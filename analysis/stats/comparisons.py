"""The difference of two settings over seeds, with what the noise of the seeds allows to say."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.stats.intervals import LEVEL
from analysis.stats.rounding import count, decimals, fixed, p_value

POWER = 0.8  # chance to see the difference as large as it looks, at the seeds named
MOST_SEEDS = 1000
UNPAIRED = "Welch's t-test, since no two seeds are shared"

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The mean difference of two settings and its two-sided test; NaN where one seed gives none.

    `low` and `high` are the ends of the 95 % interval of this comparison alone; `p_corrected` is
    the p-value after Holm over the `family` of comparisons it stands in.
    """

    difference: float  # first minus second, as a fraction
    low: float
    high: float
    p: float
    p_corrected: float
    family: int  # comparisons corrected for, this one among them
    paired: bool  # whether the differences were taken seed by seed
    n: int  # pairs of seeds; unpaired, the seeds of the setting that has fewer
    missing: int  # values left out: not finite, or without a partner of the same seed
    scatter: float  # standard deviation of the difference between one seed of each
    freedom: float  # degrees of freedom that each seed after the first adds

    @property
    def distinguishable(self) -> bool:
        """Whether the corrected test finds a difference at the 5 % level."""
        return self.p_corrected < 1 - LEVEL

    @property
    def seeds_needed(self) -> int | None:
        """Seeds of each setting that show a difference like this one with a power of 0.8.

        The true difference and scatter are taken to be those observed, which is itself a guess
        from few seeds; the level is 5 % over the number of comparisons. None where there is no
        scatter to go by, or where more than 1,000 seeds are needed.
        """
        if self.n < 2:
            return None
        counts = range(2, MOST_SEEDS + 1)
        first = bisect.bisect_left(counts, POWER, key=self.power)
        return counts[first] if first < len(counts) else None

    def power(self, seeds: int) -> float:
        """Return the chance to find a true difference like this one with so many seeds of each."""
        from scipy.special import nctdtr, stdtrit

        if self.scatter == 0:
            return float(self.difference != 0)
        freedom = self.freedom * (seeds - 1)
        critical = stdtrit(freedom, 1 - (1 - LEVEL) / self.family / 2)
        shift = abs(self.difference) / self.scatter * math.sqrt(seeds)
        below, above = nctdtr(freedom, shift, [-critical, critical])
        return float(1 - above + below)

    def describe(self, one: str, other: str) -> str:
        """Return in a sentence without its stop how the first setting compares with the second.

        Args:
            one: Name of the first setting, as a subject.
            other: Name of the second.
        """
        if not self.n:
            return f"{one} and {other} cannot be compared: one of them has no finished trial"
        if self.n < 2:
            size = fixed(100 * self.difference, 1, signed=True)
            return (
                f"{one} and {other} cannot be told apart by one seed (difference {size} points, "
                "no interval)"
            )
        if self.scatter == 0 and self.difference == 0:
            return f"{one} and {other} are equal at each of the {self.n} seeds"
        if not self.distinguishable:
            return (
                f"{one} and {other} are not distinguishable at these seeds "
                f"(difference {self._size(signed=True)} points, {self._evidence()}); "
                f"{self._needed()} would be needed for a difference as seen"
            )
        side = "above" if self.difference > 0 else "below"
        return f"{one} is {self._size()} points {side} {other} ({self._evidence()})"

    def _size(self, *, signed: bool = False) -> str:
        size = self.difference if signed else abs(self.difference)
        return fixed(100 * size, self.places, signed=signed)

    @property
    def places(self) -> int:
        """Decimals of the difference in points; one at least, so that an end near 0 has a sign."""
        return max(decimals(100 * (self.high - self.difference)), 1)

    def _evidence(self) -> str:
        low, high = (fixed(100 * end, self.places) for end in (self.low, self.high))
        corrected = f" after Holm over {self.family:,} comparisons" if self.family > 1 else ""
        unpaired = "" if self.paired else f", {UNPAIRED}"
        seeds = count(self.n, "seed")
        if self.missing:
            seeds += f" ({count(self.missing, 'value')} left out)"
        return f"95 % {low} to {high}, {seeds}, {p_value(self.p_corrected)}{corrected}{unpaired}"

    def _needed(self) -> str:
        seeds = self.seeds_needed
        return f"more than {MOST_SEEDS:,} seeds" if seeds is None else f"about {seeds} seeds"


def compare(one: Mapping[int, float], other: Mapping[int, float]) -> Comparison:
    """Compare two settings by their values of each seed.

    With two or more seeds in common, a paired t-test on the differences, over those seeds alone:
    what a seed gives to both settings (initialisation, batches, crops) cancels. With fewer,
    Welch's t-test over all seeds. From two seeds on the first is exact where the differences are
    normal, the second nearly so where the values are. With one seed there is a difference and
    nothing else.

    Args:
        one: Value of each seed, as fractions; those that are not finite are left out and counted.
        other: The same of the other setting.
    """
    first, second = finite(one), finite(other)
    given = len(one) + len(other)
    shared = sorted(first.keys() & second.keys())
    fewest = min(len(first), len(second))
    if len(shared) > 1 or (shared and fewest < 2):
        differences = np.array([first[seed] - second[seed] for seed in shared])
        n, scatter = len(shared), _deviation(differences)
        return _tested(
            float(differences.mean()),
            error=scatter / math.sqrt(n),
            freedom=n - 1,
            paired=True,
            n=n,
            missing=given - 2 * n,
            scatter=scatter,
        )
    return _welch(
        np.array([*first.values()]),
        np.array([*second.values()]),
        missing=given - len(first) - len(second),
    )


def finite(values: Mapping[int, float]) -> dict[int, float]:
    """Return the values that are finite, by seed."""
    return {seed: value for seed, value in values.items() if math.isfinite(value)}


def _deviation(values: Floats) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan


def _welch(first: Floats, second: Floats, *, missing: int) -> Comparison:
    fewest = min(len(first), len(second))
    difference = float(first.mean() - second.mean()) if fewest else math.nan
    spread = np.array([_deviation(first), _deviation(second)]) ** 2
    seeds = np.array([len(first), len(second)])
    error, scatter, freedom, per_seed = (math.nan,) * 4
    if fewest > 1:
        shares = spread / seeds
        error, scatter = math.sqrt(shares.sum()), math.sqrt(spread.sum())
        # Source: Welch-Satterthwaite, as seen and with as many seeds on either side.
        freedom, per_seed = float(seeds.min() - 1), 1.0
        if error > 0:
            freedom = float(shares.sum() ** 2 / (shares**2 / (seeds - 1)).sum())
            per_seed = float(spread.sum() ** 2 / (spread**2).sum())
    return _tested(
        difference,
        error=error,
        freedom=freedom,
        paired=False,
        n=fewest,
        missing=missing,
        scatter=scatter,
        per_seed=per_seed,
    )


def _tested(
    difference: float,
    *,
    error: float,
    freedom: float,
    paired: bool,
    n: int,
    missing: int,
    scatter: float,
    per_seed: float = 1.0,
) -> Comparison:
    """Return the comparison with its t-test; values without any scatter differ or do not."""
    # The functions behind `scipy.stats.t`, whose import takes three times as long.
    from scipy.special import stdtr, stdtrit

    half = p = math.nan
    if n > 1:
        half = float(stdtrit(freedom, (1 + LEVEL) / 2)) * error
        p = float(2 * stdtr(freedom, -abs(difference) / error)) if error else float(not difference)
    return Comparison(
        difference=difference,
        low=difference - half,
        high=difference + half,
        p=p,
        p_corrected=p,
        family=1,
        paired=paired,
        n=n,
        missing=missing,
        scatter=scatter,
        freedom=per_seed,
    )
