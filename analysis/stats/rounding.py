"""Numbers as text, with no more digits than their interval allows."""

from __future__ import annotations

import math

from analysis.stats.intervals import Interval

DASH = "—"
MOST_DECIMALS = 3


def decimals(half: float) -> int:
    """Return how many decimals a number deserves whose interval reaches `half` to either side.

    The half width keeps two significant digits where they begin below 3.55, one above; without
    an interval (NaN) one decimal stands, as in most of the paper's percentages.

    Source: Particle Data Group, Review of Particle Physics, Introduction, "Rounding".
    """
    if math.isnan(half):
        return 1
    if half < 1e-6:  # float noise
        return 2
    exponent = math.floor(math.log10(half))
    significant = 2 if half / 10**exponent < 3.55 else 1
    return min(max(significant - 1 - exponent, 0), MOST_DECIMALS)


def fixed(value: float, places: int, *, signed: bool = False) -> str:
    """Return the value with so many decimals; what rounds to zero has no sign."""
    rounded = round(value, places) + 0.0
    return f"{rounded:{'+' if signed and rounded else ''}.{places}f}"


def percent(found: Interval) -> str:
    """Return a fraction's mean in percent, with plus and minus where several seeds give it."""
    if not found.n:
        return DASH
    low, mean, high = (100 * value for value in (found.low, found.mean, found.high))
    half = high - mean
    places = decimals(half)
    if math.isnan(half):
        return f"{fixed(mean, places)} ({count(found.n, 'seed')})"
    if found.low <= 0 or found.high >= 1:  # which end it before its other side does
        return f"{fixed(mean, places)} ({fixed(low, places)} to {fixed(high, places)})"
    return f"{fixed(mean, places)} ± {fixed(half, places)}"


def describe_percent(found: Interval) -> str:
    """Return a fraction's mean in percent with the ends of its interval, for a sentence."""
    if found.n < 2:
        mean = fixed(100 * found.mean, 1)
        return f"{mean} % (1 seed, no interval)" if found.n else "no finished trial"
    places = decimals(100 * (found.high - found.mean))
    mean, low, high = (fixed(100 * v, places) for v in (found.mean, found.low, found.high))
    return f"{mean} % (95 % {low} to {high}, {count(found.n, 'seed')})"


def p_value(p: float) -> str:
    """Return a p-value as `p = 0.02`, or as a bound where it is smaller than 0.001."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def count(number: int, noun: str) -> str:
    """Return the number with its noun, in the plural where there is not one."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def format_value(value: object) -> str:
    """Return a setting's value without needless digits."""
    return f"{value:g}" if isinstance(value, float) else str(value)
