"""Which setting of a sweep is the best, and how the others stand to it at the seeds there are.

The driver's screen, the record's parent run, the tables of the report and a race ask here, so that
all of them give one answer. Replace `rank` to judge by another test.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from analysis.stats.comparisons import Comparison, compare, finite
from analysis.stats.intervals import Interval, student_t
from analysis.stats.multiple_comparisons import corrected

Setting = TypeVar("Setting", bound=Hashable)


@dataclass(frozen=True, kw_only=True)
class Ranking(Generic[Setting]):
    """The settings of a sweep, the best first, and the comparison of each other one with the best.

    Attributes:
        order: The best setting, as `best_of` finds it, then the others by the mean of all their
            values; those without a finite value come last.
        best_values: Values of the best setting at the seeds over which the settings were ranked.
        gains: Each other setting less the best, corrected for the number of pairs.
    """

    order: Sequence[Setting]
    best_values: Mapping[int, float]
    gains: Mapping[Setting, Comparison]

    @property
    def best(self) -> Setting:
        """The best setting."""
        return self.order[0]

    @property
    def ranked_at(self) -> Sequence[int]:
        """The seeds over which the settings were ranked; the best one has them all."""
        return [*self.best_values]

    @property
    def best_interval(self) -> Interval:
        """Mean and interval of the best setting over the seeds at which settings were ranked."""
        return student_t(self.best_values.values())

    @property
    def not_distinguishable(self) -> int:
        """How many other settings the seeds do not tell from the best."""
        return sum(not gain.distinguishable for gain in self.gains.values())

    def against_best(self, setting: Setting) -> str:
        """Return how a setting stands to the best, in one or two words.

        Where settings lack seeds, one may lie above the best at those that both have.
        """
        if setting not in self.gains:
            return "best"
        gain = self.gains[setting]
        if not gain.distinguishable:
            return "not distinguishable"
        return "lower" if gain.difference < 0 else "higher"


def rank(settings: Mapping[Setting, Mapping[int, float]]) -> Ranking[Setting] | None:
    """Rank settings by their means over seeds and compare each with the best of them.

    The same seeds have picked the best, and any setting could have come out best: the family of
    the comparisons is all pairs of settings, of which they are some.

    Args:
        settings: Values by seed of each setting. Of equally good ones the first stands first: see
            `in_order`.

    Returns:
        The ranking; None where no setting has a finite value.
    """
    values = {key: finite(by_seed) for key, by_seed in settings.items()}
    if not any(values.values()):
        return None
    pool = rankable(settings) or values
    best = best_of(settings)
    found = {key: compare(settings[key], settings[best]) for key in settings if key != best}
    tested = 1 + sum(math.isfinite(comparison.p) for comparison in found.values())
    means = {key: student_t(by_seed.values()).mean for key, by_seed in values.items()}
    return Ranking(
        order=sorted(means, key=lambda key: (key != best, math.isnan(means[key]), -means[key])),
        best_values=pool[best],
        gains=corrected(found, family=tested * (tested - 1) // 2),
    )


def best_of(settings: Mapping[Setting, Mapping[int, float]]) -> Setting:
    """Return the setting with the highest mean, over equal seeds where there are such.

    Args:
        settings: Values by seed of each setting; at least one. Of equally good ones the first is
            the best.
    """
    pool = rankable(settings) or {key: finite(values) for key, values in settings.items()}
    means = {key: student_t(values.values()).mean for key, values in pool.items()}
    return max(means, key=lambda key: (math.isfinite(means[key]), means[key]))


def rankable(
    settings: Mapping[Setting, Mapping[int, float]],
) -> dict[Setting, dict[int, float]]:
    """Return the settings that can be ranked, each with the same seeds, none of them missing.

    A setting that failed at some seeds is left out, so that it does not win by its lucky ones;
    where most settings did, it is the seeds that are left out which not all of them have. Empty
    where they have no seed in common.
    """
    kept = {key: found for key, values in settings.items() if (found := finite(values))}
    seeds = sorted({seed for values in kept.values() for seed in values})
    whole = {key: values for key, values in kept.items() if len(values) == len(seeds)}
    if 2 * len(whole) < len(kept):
        shared = [seed for seed in seeds if all(seed in values for values in kept.values())]
        whole = kept if shared else whole
        seeds = shared or seeds
    return {key: {seed: values[seed] for seed in seeds} for key, values in whole.items()}


def in_order(values: Iterable[object]) -> tuple[tuple[int, float, str], ...]:
    """Return what the settings of a sweep are sorted by: numbers by size, then texts.

    Args:
        values: The values of one setting on the axes of its sweep.
    """
    return tuple(
        (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))
        for value in values
    )
