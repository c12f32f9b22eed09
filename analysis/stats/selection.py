"""The best of many settings: how much of its lead is luck, and its mean without that luck."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic

import numpy as np
from numpy.typing import NDArray

from analysis.inference.blocks import Setting, finite
from analysis.stats.intervals import Interval, mean_share
from analysis.stats.ranking import best_of
from analysis.stats.rounding import count, fixed

if TYPE_CHECKING:
    import pandas as pd

Value = str | float  # of a field of the config

LEAST_SEEDS = 4  # each half then has two
MOST_SPLITS = 1000


@dataclass(frozen=True, kw_only=True)
class Selection(Generic[Setting]):
    """The setting with the highest mean, its mean as it stands and without that luck."""

    best: Setting
    candidates: int
    left_out: int  # settings that lack a seed which the candidates have
    naive: Interval  # over the seeds that have picked it: biased upward
    corrected: float  # chosen on one half of the seeds, read on the other; NaN: impossible
    splits: int

    def describe(self) -> str:
        """Return in a sentence without its stop what the best one's mean owes to being picked."""
        seen = "The best setting's mean is optimistic, since the same seeds have picked it"
        if math.isnan(self.corrected):
            return f"{seen}; fewer than {LEAST_SEEDS} seeds cannot correct it"
        return (
            f"{seen}; picked on one half of the seeds and read on the other it is "
            f"{fixed(100 * self.corrected, 1)} %, over {count(self.splits, 'split')}"
        )


def choose(settings: Mapping[Setting, Mapping[int, float]]) -> Selection[Setting]:
    """Choose the setting with the highest mean, and correct its mean for having been chosen.

    Every split of the seeds into two halves chooses a setting on the one (the larger, where the
    number is odd) and reads that setting on the other; the mean over the splits is unbiased for
    the true mean of what such a choice picks.

    Args:
        settings: Values by seed of each setting, one of them finite. Candidates are the best and
            all settings that have every seed of it.
    """
    first = best_of(settings)
    seeds_of_best = sorted(finite(settings[first]))
    kept = {
        key: [by_seed[seed] for seed in seeds_of_best]
        for key, by_seed in settings.items()
        if finite(by_seed).keys() >= {*seeds_of_best}
    }
    keys, values = [*kept], np.array([*kept.values()])
    best = keys.index(first)
    seeds = values.shape[1]
    splits = _splits(seeds) if seeds >= LEAST_SEEDS else np.empty((0, 0), dtype=bool)
    return Selection(
        best=keys[best],
        candidates=len(keys),
        left_out=len(settings) - len(keys),
        naive=mean_share(values[best]),
        corrected=_cross_fitted(values, splits) if len(splits) else math.nan,
        splits=len(splits),
    )


def best_over(
    rows: pd.DataFrame, settings: Sequence[str], over: Sequence[str], value: str
) -> tuple[Value, ...]:
    """Return the values of some settings with the highest mean over all others and the seeds.

    What was tried of one value alone does not win by it: see `best_of`.

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


def _cross_fitted(values: NDArray[np.float64], chooses: NDArray[np.bool_]) -> float:
    """Return the mean of what each split chooses, read on the seeds that did not choose.

    Args:
        values: [settings, seeds].
        chooses: [splits, seeds].
    """
    picked = values[(values @ chooses.T).argmax(axis=0)]  # [splits, seeds]
    return float(picked[~chooses].mean())
