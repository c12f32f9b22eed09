"""The best of many settings: how much of its lead is luck, and its mean without that luck."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

import numpy as np
from numpy.typing import NDArray

from analysis.stats.intervals import LEVEL, Interval, student_t
from analysis.stats.ranking import Setting, best_of, rankable
from analysis.stats.rounding import count, describe_percent

if TYPE_CHECKING:
    import pandas as pd

Value = str | float  # of a field of the config

LEAST_SEEDS = 4  # each half then has two
MOST_SPLITS = 1000


@dataclass(frozen=True, kw_only=True)
class Selection(Generic[Setting]):
    """The setting with the highest mean, its mean as it stands and as other seeds confirm it."""

    best: Setting
    candidates: int
    left_out: int  # settings that lack a seed which the candidates have
    naive: Interval  # over the seeds that have picked it: biased upward
    corrected: Interval  # chosen on one half of the seeds, reported on the other; n=0: impossible
    splits: int

    def describe(self, name: str) -> str:
        """Return in a sentence without its stop what choosing the best is worth.

        Args:
            name: What the best setting is called.
        """
        seen = f"{name} is the best of {self.candidates:,} with {describe_percent(self.naive)}"
        if self.candidates < 2:
            return f"{name} is the only setting, with {describe_percent(self.naive)}"
        if not self.corrected.n:
            return (
                f"{seen}, which is optimistic: the same seeds have picked it, and with fewer than "
                f"{LEAST_SEEDS} seeds this cannot be corrected"
            )
        return (
            f"{seen}, which is optimistic; choosing on one half of the seeds and reporting on the "
            f"other gives {describe_percent(self.corrected)}, over {count(self.splits, 'split')}"
        )


def choose(settings: Mapping[Setting, Mapping[int, float]]) -> Selection[Setting]:
    """Choose the setting with the highest mean, and correct its mean for having been chosen.

    Every split of the seeds into two halves chooses a setting on the one (the larger, where the
    number is odd) and reads that setting on the other; the mean over the splits is unbiased for
    the true mean of what such a choice picks. Its interval takes the mean variance over all seeds
    of the settings chosen, with n - 1 degrees of freedom: Student's where all splits agree, and
    wider than needed where they do not (its coverage was never below 95 % in simulations).

    Args:
        settings: Values by seed of each setting; those that `rankable` keeps are candidates.

    Raises:
        ValueError: The settings have no seed in common.
    """
    kept = rankable(settings)
    if not kept:
        raise ValueError("the settings have no seed in common")
    keys, values = [*kept], np.array([[*by_seed.values()] for by_seed in kept.values()])
    best = keys.index(best_of(kept))
    seeds = values.shape[1]
    splits = _splits(seeds) if seeds >= LEAST_SEEDS else np.empty((0, 0), dtype=bool)
    return Selection(
        best=keys[best],
        candidates=len(keys),
        left_out=len(settings) - len(keys),
        naive=student_t(values[best]),
        corrected=_cross_fitted(values, splits) if len(splits) else student_t([]),
        splits=len(splits),
    )


def best_over(
    rows: pd.DataFrame, settings: Sequence[str], over: Sequence[str], value: str
) -> tuple[Value, ...]:
    """Return the values of some settings with the highest mean over all others and the seeds.

    What was tried of one value alone does not win by it: see `rankable`.

    Args:
        rows: Trials, or means of them.
        settings: Columns of the settings that are chosen.
        over: Columns that tell their rows apart: other settings, and seeds.
        value: Column of what is to be high.
    """
    cells = rows.assign(_cell=rows.groupby([*over]).ngroup())
    found = {
        key: dict(zip(group["_cell"].tolist(), group[value].tolist(), strict=True))
        for key, group in cells.groupby([*settings])
    }
    return best_of(found)


def _splits(n: int) -> NDArray[np.bool_]:
    """Return which seeds choose, [splits, n]: all halves, or the n windows of a ring of seeds.

    Either way every seed is read in as many splits as every other.
    """
    half = n - n // 2
    if math.comb(n, half) <= MOST_SPLITS:
        halves = itertools.combinations(range(n), half)
        return np.array([np.isin(range(n), picked) for picked in halves])
    window = np.arange(n) < half
    return np.array([np.roll(window, start) for start in range(n)])


def _cross_fitted(values: NDArray[np.float64], chooses: NDArray[np.bool_]) -> Interval:
    """Return the mean of what each split chooses, read on the seeds that did not choose.

    Args:
        values: [settings, seeds].
        chooses: [splits, seeds].
    """
    from scipy.special import stdtrit

    n = values.shape[1]
    picked = values[(values @ chooses.T).argmax(axis=0)]  # [splits, seeds]
    mean = float(picked[~chooses].mean())
    error = math.sqrt(picked.var(axis=1, ddof=1).mean() / n)
    half = float(stdtrit(n - 1, (1 + LEVEL) / 2)) * error
    return Interval(n=n, missing=0, mean=mean, low=mean - half, high=mean + half)
