"""The difference of two settings over seeds, with what the noise of the seeds allows to say."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from analysis.inference.blocks import Blocks, Floats, Setting
from analysis.inference.planning import POWER
from analysis.inference.simultaneous import ALPHA, Kind, corrected_p, critical_over
from analysis.stats.rounding import MOST_DECIMALS, count, decimals, fixed, p_value

UNPAIRED = "unpaired, since too few seeds are shared"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The difference of two settings with its interval and verdict; NaN where one seed gives none.

    The interval is that of the verdict: simultaneous over the family, so that with 95 % all
    intervals of the family hold at once, and a difference counts if its interval leaves out 0.
    """

    difference: float  # first minus second, as a fraction
    low: float
    high: float
    p_corrected: float  # of the largest in the family, see `analysis.inference.simultaneous`
    error: float  # standard error of the difference
    freedom: float  # its degrees of freedom
    family: int  # comparisons that hold at once, this one among them
    paired: bool  # whether the seeds are taken as blocks
    n: int  # seeds of the setting that has fewer
    missing: int  # values of the two that are not finite

    @property
    def distinguishable(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    @property
    def smallest_found(self) -> float:
        """The true difference, as a fraction, that these seeds find with a power of 0.8.

        It follows from the noise and the number of seeds, not from the difference seen.
        """
        from scipy.special import stdtrit

        return self.half + float(stdtrit(self.freedom, POWER)) * self.error

    @property
    def places(self) -> int:
        """Decimals of the difference in points: one at least, more for an end that lies near 0."""
        places = max(decimals(100 * self.half), 1)
        ends = [abs(100 * end) for end in (self.low, self.high) if end]
        while places < MOST_DECIMALS and any(round(end, places) == 0 for end in ends):
            places += 1
        return places

    def describe(self, one: str, other: str) -> str:
        """Return in a sentence without its stop how the first setting compares with the second.

        Args:
            one: Name of the first setting, as a subject.
            other: Name of the second.
        """
        if not self.n:
            return f"{one} and {other} cannot be compared: one of them has no finished trial"
        size = fixed(100 * self.difference, self.places, signed=True)
        if math.isnan(self.half):
            return (
                f"{one} and {other} cannot be told apart by one seed ({size} points, no interval)"
            )
        if not self.distinguishable:
            return f"{one} and {other} are not distinguishable ({size} points, {self.evidence()})"
        side = "above" if self.difference > 0 else "below"
        return f"{one} is {size.lstrip('+-')} points {side} {other} ({self.evidence()})"

    def evidence(self) -> str:
        """Return interval, seeds and p-value, in points, for a sentence's brackets."""
        low, high = (fixed(100 * end, self.places) for end in (self.low, self.high))
        seeds = count(self.n, "seed")
        if self.missing:
            seeds += f", {count(self.missing, 'value')} missing"
        unpaired = "" if self.paired else f", {UNPAIRED}"
        return f"95 % {low} to {high}, {seeds}, {p_value(self.p_corrected)}{unpaired}"


def without_interval(
    *, difference: float, error: float, freedom: float, paired: bool, n: int, missing: int
) -> Comparison:
    """Return a difference that `at_once` has yet to judge; arguments as of `Comparison`."""
    return Comparison(
        difference=difference,
        low=math.nan,
        high=math.nan,
        p_corrected=math.nan,
        error=error,
        freedom=freedom,
        family=1,
        paired=paired,
        n=n,
        missing=missing,
    )


def no_comparison(missing: int) -> Comparison:
    """Return what is known of two settings of which one has no finite value: nothing."""
    unknown = math.nan
    return without_interval(
        difference=unknown, error=unknown, freedom=unknown, paired=False, n=0, missing=missing
    )


def differences(
    design: Blocks[Setting], reference: Setting, missing: Mapping[Setting, int]
) -> dict[Setting, Comparison]:
    """Return every other setting of a design less one of them, without their intervals.

    Args:
        design: The fitted settings.
        reference: The setting that is taken from all others.
        missing: Values that are not finite, of each setting.
    """
    row = design.index(reference)
    errors, freedoms = design.errors(row)
    seeds = np.isfinite(design.values).sum(1)
    return {
        key: without_interval(
            difference=float(design.effects[i] - design.effects[row]),
            error=float(errors[i]),
            freedom=float(freedoms[i]),
            paired=design.paired,
            n=int(min(seeds[i], seeds[row])),
            missing=missing[key] + missing[reference],
        )
        for i, key in enumerate(design.settings)
        if key != reference
    }


def at_once(
    comparisons: Mapping[Setting, Comparison],
    kinds: Mapping[Kind, int],
    *,
    family: int,
    alpha: float = ALPHA,
) -> dict[Setting, Comparison]:
    """Return comparisons with p-values and intervals that hold for all of them at once.

    Args:
        comparisons: Their differences, errors and degrees of freedom are read.
        kinds: The families whose critical values must be exceeded, with their sizes.
        family: How many comparisons the intervals hold for at once.
        alpha: As in `critical_value`.
    """
    statistics, freedoms = statistics_of(comparisons.values())
    critical = critical_over(kinds, freedoms, alpha=alpha)
    p = np.max(
        [corrected_p(k, size, statistics, freedoms, alpha=alpha) for k, size in kinds.items()], 0
    )
    return {
        key: dataclasses.replace(
            one,
            low=one.difference - float(critical[i]) * one.error,
            high=one.difference + float(critical[i]) * one.error,
            p_corrected=float(p[i]),
            family=family,
        )
        for i, (key, one) in enumerate(comparisons.items())
    }


def statistics_of(comparisons: Iterable[Comparison]) -> tuple[Floats, Floats]:
    """Return differences in standard errors and the degrees of freedom of these, each [K]."""
    found = [(one.difference, one.error, one.freedom) for one in comparisons]
    difference, error, freedom = np.array(found, dtype=float).reshape(-1, 3).T
    return difference / error, freedom
