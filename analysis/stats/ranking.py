"""Which setting of a sweep is the best, and how the others stand to it at the seeds there are.

The driver's screen, the record's parent run, the tables of the report and a race ask here, so that
all of them give one answer. Replace `rank` to judge by another test.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import ge
from typing import Generic

import numpy as np

from analysis.inference.blocks import Blocks, Setting, finite, fit_blocks
from analysis.inference.sequential import alpha_of
from analysis.inference.simultaneous import Kind, critical_over
from analysis.record.schema import Race
from analysis.stats.comparisons import (
    Comparison,
    at_once,
    differences,
    no_comparison,
    statistics_of,
)
from analysis.stats.families import missing_values
from analysis.stats.intervals import Interval, mean_share


@dataclass(frozen=True, kw_only=True)
class Ranking(Generic[Setting]):
    """The settings of a sweep, the best first, and the comparison of each other one with the best.

    Attributes:
        order: The best setting, then the others by their means as the additive model of settings
            and seeds has them; those without a finite value come last.
        best_values: Values of the best setting at all its seeds.
        gains: Each other setting less the best, with simultaneous intervals.
    """

    order: Sequence[Setting]
    best_values: Mapping[int, float]
    gains: Mapping[Setting, Comparison]

    @property
    def best(self) -> Setting:
        """The best setting."""
        return self.order[0]

    @property
    def best_interval(self) -> Interval:
        """Mean and interval of the best setting over all its seeds."""
        return mean_share(self.best_values.values())

    @property
    def contenders(self) -> Sequence[Setting]:
        """The settings of which the best may be any: itself and all that are not lower.

        A 95 % confidence set for the best setting.
        """
        return [key for key in self.order if self.against_best(key) != "lower"]

    @property
    def not_distinguishable(self) -> int:
        """How many other settings the seeds do not tell from the best."""
        return sum(not gain.distinguishable for gain in self.gains.values())

    @property
    def smallest_found(self) -> float:
        """The true difference to the best, as a fraction, that these seeds would have shown.

        With a power of 0.8, and the median over the settings, which differ in seeds and noise; NaN
        where none has an interval.
        """
        found = sorted(gain.smallest_found for gain in self.gains.values() if gain.n > 1)
        return found[len(found) // 2] if found else math.nan

    def against_best(self, setting: Setting) -> str:
        """Return how a setting stands to the best, in one or two words.

        One with few seeds is not called the best, however high it lies.
        """
        if setting not in self.gains:
            return "best"
        gain = self.gains[setting]
        if not gain.distinguishable:
            return "not distinguishable"
        return "lower" if gain.difference < 0 else "higher"


def rank(
    settings: Mapping[Setting, Mapping[int, float]], *, race: Race | None = None
) -> Ranking[Setting] | None:
    """Rank settings over all their seeds and compare each with the best of them.

    The same seeds have picked the best, and any setting could have come out best. So a setting is
    lower if its difference to the best exceeds what the largest of all pairs among those that may
    still be the best would reach by noise, and what the largest difference to one setting would.

    Args:
        settings: Values by seed of each setting. Of equally good ones the first stands first: see
            `in_order`.
        race: The race that gave the settings their seeds, if one did: its verdicts hold whenever
            it stops.

    Returns:
        The ranking; None where no setting has a finite value.

    Source: single-step max-T, begun again with the settings that remain, as in J. P. Romano and
    M. Wolf, "Stepwise multiple testing as formalized data snooping", 2005.
    """
    if not any(finite(values) for values in settings.values()):
        return None
    design = fit_blocks(settings)
    best = _best(design)
    alpha = alpha_of(race, len(design.settings), design.most_seeds)
    missing = {key: missing_values(values) for key, values in settings.items()}
    to_best = differences(design, best, missing)
    found = at_once(to_best, _families(to_best, alpha), family=max(len(to_best), 1), alpha=alpha)
    effects = dict(zip(design.settings, design.effects.tolist(), strict=True))
    return Ranking(
        order=sorted(
            settings, key=lambda key: (key != best, key not in effects, -effects.get(key, 0.0))
        ),
        best_values=finite(settings[best]),
        gains={
            key: found.get(key, no_comparison(missing[key] + missing[best]))
            for key in settings
            if key != best
        },
    )


def best_of(settings: Mapping[Setting, Mapping[int, float]]) -> Setting:
    """Return the setting with the highest mean, by the model that allows for missing seeds.

    A setting with fewer than half the seeds of another, or with a single one where others have
    more, does not win by its luck.

    Args:
        settings: Values by seed of each setting; at least one. Of equally good ones the first is
            the best.
    """
    if not any(finite(values) for values in settings.values()):
        return next(iter(settings))
    return _best(fit_blocks(settings))


def _best(design: Blocks[Setting]) -> Setting:
    seeds = np.isfinite(design.values).sum(1)
    enough = (2 * seeds >= seeds.max()) & (seeds >= min(seeds.max(), 2))
    return design.settings[int(np.where(enough, design.effects, -np.inf).argmax())]


def _families(to_best: Mapping[Setting, Comparison], alpha: float) -> dict[Kind, int]:
    """Return the families that a setting must stand out of to be called lower than the best."""
    statistics, freedoms = statistics_of(to_best.values())
    size = remaining = len(to_best) + 1
    while True:
        kinds = {Kind.PAIRS: remaining, Kind.REFERENCE: size}
        critical = critical_over(kinds, freedoms, alpha=alpha)
        fewer = 1 + int((~(-statistics > critical)).sum())
        if fewer >= remaining:
            return kinds
        remaining = fewer


def not_dominated(
    points: Mapping[Setting, Sequence[float]], costs: Sequence[bool]
) -> list[Setting]:
    """Return the settings of the Pareto front: no other is as good in all objectives at once.

    Of several settings with the same values the first stands for all; one with a value that is not
    finite is left out.

    Args:
        points: The values of each setting, one per objective.
        costs: Of each objective, whether the smaller value is the better one.

    Returns:
        The best in the first objective first.
    """
    heights = {
        key: [-value if cost else value for value, cost in zip(values, costs, strict=True)]
        for key, values in points.items()
        if all(map(math.isfinite, values))
    }
    front: list[Setting] = []
    for key in sorted(heights, key=lambda one: heights[one], reverse=True):
        # Sorted, so that none that comes later can beat one that came before.
        if not any(all(map(ge, heights[other], heights[key])) for other in front):
            front.append(key)
    return front


def in_order(values: Iterable[object]) -> tuple[tuple[int, float, str], ...]:
    """Return what the settings of a sweep are sorted by: numbers by size, then texts.

    Args:
        values: The values of one setting on the axes of its sweep.
    """
    return tuple(
        (0, float(value), "") if isinstance(value, int | float) else (1, 0.0, str(value))
        for value in values
    )
