"""Which difference seeds would show, before they are trained, and how many would show one."""

from __future__ import annotations

import functools
import math

import numpy as np

from analysis.inference.blocks import fit_blocks
from analysis.inference.simultaneous import Floats, Kind, critical_over

LEAST_DRAWS, MOST_DRAWS, COMPARISONS = 60, 300, 1200  # of sweeps, and comparisons in all of them
POWER = 0.8  # chance to find a difference that is named as the smallest
SEED = 20191208  # any; the same draws for every plan
MOST_SETTINGS = 72  # that are drawn; of more, the critical value alone grows, and hardly
MOST_DRAWN = 40  # seeds that are drawn: of more, a difference falls with their root
MOST_SEEDS = 10_000  # that `seeds_for` tries


def smallest_found(settings: int, seeds: int, deviation: float) -> float:
    """Return the difference to the best that a sweep would show with a power of 0.8.

    Of a setting that is so much lower than the best, where the others lie in between. It follows
    from sweeps that are drawn and judged as `analysis.stats.ranking.rank` does, so that the doubt
    about their noise, which few seeds leave, is in it.

    Args:
        settings: How many are compared, each with all seeds.
        seeds: Of each setting.
        deviation: Standard deviation of a run's value from its setting and its seed.

    Returns:
        The difference in the deviation's unit; NaN where two settings or two seeds are lacking.
    """
    if settings < 2 or seeds < 2:
        return math.nan
    drawn = min(seeds, MOST_DRAWN)
    return deviation * _smallest_found(settings, drawn) * math.sqrt(drawn / seeds)


@functools.lru_cache(maxsize=64)
def _smallest_found(settings: int, seeds: int) -> float:
    rng = np.random.default_rng(SEED)
    drawn = min(settings, MOST_SETTINGS)
    needed = []
    for _ in range(min(max(LEAST_DRAWS, COMPARISONS // (drawn - 1)), MOST_DRAWS)):
        values = rng.normal(size=(drawn, seeds)).tolist()
        design = fit_blocks({i: dict(enumerate(row)) for i, row in enumerate(values)})
        errors, freedoms = design.errors(0)
        # About one of those in between is told apart as well, and leaves the pairs.
        critical = _critical(settings, settings - 1, freedoms)
        # A true difference is found if it exceeds the interval and what noise takes from it.
        needed += (critical * errors + design.effects - design.effects[0])[1:].tolist()
    return float(np.quantile(needed, POWER))


def seeds_for(difference: float, settings: int, deviation: float, *, contenders: int) -> int | None:
    """Return how many seeds of every setting would have the `smallest_found` of a comparison.

    Of `analysis.stats.comparisons.Comparison.smallest_found`: for the noise that was seen.

    Args:
        difference: The smallest difference that is to be found with a power of 0.8, above 0.
        settings: How many are compared.
        deviation: Standard deviation of a run's value, in the difference's unit.
        contenders: How many of the settings may still be the best.

    Returns:
        The number, at least 2; None where no reasonable one would do.
    """
    low, high = 1, 2
    while not _found(settings, high, contenders) * deviation <= difference:
        low, high = high, 2 * high
        if low > MOST_SEEDS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        enough = _found(settings, middle, contenders) * deviation <= difference
        low, high = (low, middle) if enough else (middle, high)
    return high


def _found(settings: int, seeds: int, contenders: int) -> float:
    """Return the smallest difference that is found, for a deviation of 1 that is known."""
    from scipy.special import stdtrit

    freedom = np.array([(settings - 1.0) * (seeds - 1)])
    critical = _critical(settings, contenders, freedom)
    return float((critical[0] + stdtrit(freedom, POWER)[0]) * math.sqrt(2 / seeds))


def _critical(settings: int, contenders: int, freedom: Floats) -> Floats:
    """Return the critical values of `analysis.stats.ranking.rank`."""
    return critical_over({Kind.PAIRS: contenders, Kind.REFERENCE: settings}, freedom)
