"""Critical values of several comparisons at once: the distribution of the largest of them, drawn.

A family of comparisons errs if its largest statistic does, so that its distribution under "no
difference anywhere" corrects all of them at once (single-step max-T). What the comparisons have in
common makes the largest one smaller, and the draws know it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from enum import Enum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEVEL = 0.95  # of every interval, and of a family's

ALPHA = 1 - LEVEL  # chance of a family to err
DRAWS = 50_000
SEED = 20191206  # any; the same draws for every family
FREEDOMS = np.array([1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 16, 24, 40, 80, 200, 1000.0])


class Kind(Enum):
    """How the comparisons of a family hang together.

    Attributes:
        PAIRS: Of all settings, the largest difference: the best is found and compared at once.
        REFERENCE: Of all others with one that was named before.
        SEPARATE: Each on its own, as averaged against raw weights at each setting.
    """

    PAIRS = "pairs"
    REFERENCE = "reference"
    SEPARATE = "separate"


def critical_value(kind: Kind, size: int, freedom: Floats, *, alpha: float = ALPHA) -> Floats:
    """Return by how many standard errors a difference must exceed 0 to count.

    The chance that one of a family does without cause is `alpha` at most; a single comparison is
    Student's, whose chance is `alpha`.

    Args:
        kind: Of the family.
        size: Settings of `PAIRS`, the reference among them in `REFERENCE`, comparisons of
            `SEPARATE`.
        freedom: Degrees of freedom of each comparison's error, [K]; NaN stays NaN.
        alpha: That chance: 5 %, or what one look of a race may have of it.
    """
    from scipy.special import stdtrit

    if _alone(kind, size):
        alone: Floats = stdtrit(freedom, 1 - alpha / 2)
        return alone
    rank = min(math.ceil((1 - alpha) * DRAWS), DRAWS - 1)
    return np.exp(_between(freedom, lambda at: np.log(_drawn(kind, size, at)[rank])))


def critical_over(kinds: Mapping[Kind, int], freedom: Floats, *, alpha: float = ALPHA) -> Floats:
    """Return the largest critical value of several families, each with its size."""
    found: Floats = np.max(
        [critical_value(kind, size, freedom, alpha=alpha) for kind, size in kinds.items()], 0
    )
    return found


def corrected_p(
    kind: Kind, size: int, statistic: Floats, freedom: Floats, *, alpha: float = ALPHA
) -> Floats:
    """Return the chance of a statistic as large anywhere in the family, were nothing different.

    It is raised by what `alpha` is below 5 %, so that it is below 0.05 just where `critical_value`
    is exceeded.

    Args:
        kind: As in `critical_value`.
        size: As in `critical_value`.
        statistic: Differences in standard errors, [K]; their sign does not matter.
        freedom: Degrees of freedom of each, [K].
        alpha: As in `critical_value`.
    """
    from scipy.special import stdtr

    if _alone(kind, size):
        alone: Floats = np.minimum(2 * ALPHA / alpha * stdtr(freedom, -np.abs(statistic)), 1)
        return alone
    given = np.abs(statistic)

    def tails(at: float) -> Floats:
        above: Floats = 1 - np.searchsorted(_drawn(kind, size, at), given) / DRAWS
        return above

    p = np.minimum(_between(freedom, tails) * ALPHA / alpha, 1)
    return np.where(np.isnan(given), np.nan, p)


def _alone(kind: Kind, size: int) -> bool:
    """Return whether the family is one comparison, for which Student's t needs no draws."""
    return size <= (1 if kind is Kind.SEPARATE else 2)


def _between(freedom: Floats, of_freedom: Callable[[float], Floats]) -> Floats:
    """Interpolate between the tabled degrees of freedom by their logarithm."""
    given = np.clip(np.asarray(freedom, dtype=float), FREEDOMS[0], FREEDOMS[-1])
    known = np.where(np.isnan(given), FREEDOMS[0], given)
    below = np.clip(np.searchsorted(FREEDOMS, known, side="right") - 1, 0, len(FREEDOMS) - 2)
    low, high = (np.full(known.shape, np.nan) for _ in range(2))
    share = np.log(known / FREEDOMS[below]) / np.log(FREEDOMS[below + 1] / FREEDOMS[below])
    for ends, step in ((low, 0), (high, 1)):
        for at in np.unique(below + step):
            here = below + step == at
            if step and not (share[here] > 0).any():
                ends[here] = 0.0
                continue
            ends[here] = np.broadcast_to(of_freedom(float(FREEDOMS[at])), known.shape)[here]
    return np.where(np.isnan(given), np.nan, low * (1 - share) + high * share)


@functools.lru_cache(maxsize=256)
def _drawn(kind: Kind, size: int, freedom: float) -> Floats:
    """Return sorted draws of the largest statistic of a family without any difference, [draws]."""
    return np.sort(_largest(kind, size) / _scale(freedom))


@functools.lru_cache(maxsize=32)
def _scale(freedom: float) -> Floats:
    """Return the drawn errors over the true one, at quantiles that cover the whole evenly."""
    from scipy.special import chdtri

    quantiles = (np.random.default_rng(SEED).permutation(DRAWS) + 0.5) / DRAWS
    scale: Floats = np.sqrt(chdtri(freedom, quantiles) / freedom)
    return scale


@functools.lru_cache(maxsize=32)
def _largest(kind: Kind, size: int) -> Floats:
    """Return draws of the largest difference in true standard errors.

    The largest and the smallest of many normal numbers follow from two uniform ones, so that the
    cost does not depend on the size.
    """
    from scipy.special import ndtri

    first, second, third = np.random.default_rng(SEED + 1).random((3, DRAWS))
    if kind is Kind.SEPARATE:
        return -np.asarray(ndtri((1 - first ** (1 / size)) / 2))
    others = size if kind is Kind.PAIRS else size - 1
    top = first ** (1 / others)
    high, low = ndtri(top), ndtri(top * (1 - second ** (1 / (others - 1))))
    if kind is Kind.PAIRS:
        return np.asarray((high - low) / math.sqrt(2))
    reference = ndtri(third)
    return np.asarray(np.maximum(high - reference, reference - low) / math.sqrt(2))
