"""A race of settings over more and more seeds, whose verdicts hold whenever it stops.

Who looks after every round finds a difference sooner or later, also where there is none. So each
look has a level of its own, and all of them together err in 5 % of races at most: the level rises
with the square of the share of the seeds that are there (as the boundaries between Pocock's and
O'Brien and Fleming's), and its height follows from draws of whole races without any difference.

Source: S. K. Wang and A. A. Tsiatis, "Approximately optimal one-parameter boundaries for group
sequential trials", 1987.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from analysis.inference.simultaneous import ALPHA
from analysis.record.schema import Race

# 1 (most saved where differences are large) to 4 (most power at the limit): 2 loses little of
# either, see `python -m analysis.benchmark race`.
RISE = 2.0
MOST_LOOKS = 40  # a race of more seeds gives several in a round
DRAWS = 20_000
SEED = 20191207  # any; the same draws for every race
MOST_SIZE = 64  # settings that are drawn: of more, the looks hang together alike


def looks_of(race: Race) -> tuple[int, ...]:
    """Return how many seeds the settings that may be the best have at each look of a race."""
    step = max(1, math.ceil((race.limit - race.first) / (MOST_LOOKS - 1)))
    return (*range(race.first, race.limit, step), race.limit)


def alpha_of(race: Race | None, size: int, seeds: int) -> float:
    """Return the chance to err that one look may have: 0.05, or in a race its share of it.

    Args:
        race: The race that gave the settings their seeds, None without one.
        size: How many settings are compared.
        seeds: Most seeds that one of them has at this look.
    """
    if race is None:
        return ALPHA
    share: float = min(seeds / race.limit, 1.0) ** RISE
    return share * _last_alpha(min(size, MOST_SIZE), looks_of(race))


@functools.lru_cache(maxsize=64)
def _last_alpha(size: int, looks: tuple[int, ...]) -> float:
    """Return the level of the last look, so that all looks together err in 5 % of races."""
    shares = (np.array(looks) / looks[-1]) ** RISE
    statistics = _drawn(max(size, 2), looks)
    ranks = (-statistics).argsort(axis=1).argsort(axis=1) + 1
    least = (ranks / DRAWS / shares[:, None]).min(axis=0)
    return float(np.quantile(least, ALPHA))


def _drawn(size: int, looks: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the largest difference in standard errors at each look, [looks, draws].

    Of equal settings in blocks, all of them at every look, with their pooled variance.
    """
    rng = np.random.default_rng(SEED)
    means, squares, had = np.zeros((DRAWS, size)), np.zeros(DRAWS), 0
    found = []
    for seeds in looks:
        more = seeds - had
        change = rng.normal(0, 1 / math.sqrt(more), (DRAWS, size)) - means
        within = (size - 1) * (more - 1)
        if within:
            squares += rng.chisquare(within, DRAWS)
        squares += change.var(axis=1) * size * had * more / seeds
        means += change * more / seeds
        had = seeds
        error = np.sqrt(2 * squares / ((size - 1) * (seeds - 1)) / seeds)
        found.append(np.ptp(means, axis=1) / error)
    return np.array(found)
