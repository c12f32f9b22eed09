"""Questions that were asked before the numbers were seen, each with all its comparisons as one.

- `against`: every setting with one that was named, as each lambda with 0.
- `gains`: a change within each training run, as averaged against raw weights, at each setting and
  over all of them.
- `in_pairs`: every setting with every other.
- `compare`: two settings alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic

import numpy as np

from analysis.inference.blocks import (
    RESOLUTION,
    Blocks,
    Floats,
    Setting,
    finite,
    fit_blocks,
)
from analysis.inference.sequential import alpha_of
from analysis.inference.simultaneous import Kind
from analysis.record.schema import Race
from analysis.stats.comparisons import (
    Comparison,
    at_once,
    differences,
    no_comparison,
    without_interval,
)

Values = Mapping[int, float]  # by seed, as fractions


def against(
    reference: Setting, settings: Mapping[Setting, Values], *, race: Race | None = None
) -> dict[Setting, Comparison]:
    """Compare every other setting with one that was named before the numbers were seen.

    Contrasts within seeds, with moderated variances and intervals that hold for all comparisons at
    once (two-sided, after Dunnett). Settings that lack seeds are compared by the additive model.

    Args:
        reference: Key of the setting that the others are compared with.
        settings: Values by seed of each setting, that one among them; those that are not finite
            are left out and counted.
        race: The race that gave the settings their seeds, if one did: what is said holds whenever
            it stops.
    """
    missing = {key: missing_values(values) for key, values in settings.items()}
    found: dict[Setting, Comparison] = {}
    if len(finite(settings[reference])):
        design = fit_blocks(settings)
        others = len(design.settings) - 1
        found = at_once(
            differences(design, reference, missing),
            {Kind.REFERENCE: others + 1},
            family=max(others, 1),
            alpha=alpha_of(race, len(design.settings), design.most_seeds),
        )
    return {
        key: found.get(key, no_comparison(missing[key] + missing[reference]))
        for key in settings
        if key != reference
    }


def compare(one: Values, other: Values) -> Comparison:
    """Compare two settings alone: Student's paired t-test over the seeds that both have.

    Where fewer than two are shared, Welch's t-test over all seeds. With one seed there is a
    difference and nothing else.

    Args:
        one: Value of each seed, as fractions; those that are not finite are left out and counted.
        other: The same of the other setting.
    """
    return against("other", {"one": one, "other": other})["one"]


@dataclass(frozen=True, kw_only=True)
class Gains(Generic[Setting]):
    """A change within each training run, at each setting and over all of them.

    Attributes:
        each: By setting, intervals simultaneous over the settings.
        overall: The mean over the settings, by its seeds alone.
    """

    each: Mapping[Setting, Comparison]
    overall: Comparison


def gains(ones: Mapping[Setting, Values], others: Mapping[Setting, Values]) -> Gains[Setting]:
    """Return by how much the first values of a run exceed the second, by setting and overall.

    Args:
        ones: Values by seed of each setting, as of averaged weights.
        others: The same runs' other values, as of raw weights.
    """
    changes = {
        key: {seed: value - others[key].get(seed, math.nan) for seed, value in values.items()}
        for key, values in ones.items()
    }
    missing = {key: missing_values(values) for key, values in changes.items()}
    if not any(finite(values) for values in changes.values()):
        nothing = {key: no_comparison(missing[key]) for key in changes}
        return Gains(each=nothing, overall=no_comparison(sum(missing.values())))
    design = fit_blocks(changes)
    return Gains(each=_each(design, changes, missing), overall=_overall(design, missing))


def _each(
    design: Blocks[Setting], changes: Mapping[Setting, Values], missing: Mapping[Setting, int]
) -> dict[Setting, Comparison]:
    alone = fit_blocks(changes, paired=False)
    counts = np.isfinite(alone.values).sum(1)
    size = len(alone.settings)
    errors, freedoms = (np.full(size, math.nan) for _ in range(2))
    if alone.variances is not None:
        errors = np.sqrt(np.maximum(alone.variances.moderated / counts, RESOLUTION**2))
        # What the seeds give to all settings alike counts once, however many settings show it.
        freedoms = np.minimum(
            alone.variances.freedom, np.maximum(counts - 1, _effective_freedom(design))
        )
    bare = {
        key: without_interval(
            difference=float(alone.effects[i]),
            error=float(errors[i]),
            freedom=float(freedoms[i]),
            paired=True,
            n=int(counts[i]),
            missing=missing[key],
        )
        for i, key in enumerate(alone.settings)
    }
    found = at_once(bare, {Kind.SEPARATE: size}, family=size)
    return {key: found.get(key, no_comparison(missing[key])) for key in changes}


def _overall(design: Blocks[Setting], missing: Mapping[Setting, int]) -> Comparison:
    """Return the mean change over all settings with Student's interval over its seeds."""
    change = design.effects.mean() + _seed_means(design)
    seeds = len(change)
    error = math.nan
    if seeds > 1:
        error = max(float(change.std(ddof=1)) / math.sqrt(seeds), RESOLUTION)
    bare = without_interval(
        difference=float(change.mean()),
        error=error,
        freedom=seeds - 1.0,
        paired=True,
        n=seeds,
        missing=sum(missing.values()),
    )
    return at_once({"all": bare}, {Kind.SEPARATE: 1}, family=1)["all"]


def _seed_means(design: Blocks[Setting]) -> Floats:
    """Return by how much all settings lie above their effects at each seed, on average, [n]."""
    left = design.values - design.effects[:, None]
    means: Floats = np.nanmean(left, axis=0)
    return means


def _effective_freedom(design: Blocks[Setting]) -> float:
    """Return the degrees of freedom of a pooled variance of changes that seeds have in common.

    Source: Satterthwaite's approximation to the sum of the mean squares of seeds and residuals.
    """
    size, seeds = len(design.settings), len(design.seeds)
    if design.variances is None or size < 2:
        return seeds - 1.0
    # The two parts of one change's variance: of the seed, and of the run.
    freedom = design.variances.common_freedom
    parts = float(_seed_means(design).var(ddof=1)), design.variances.common * (1 - 1 / size)
    spread = parts[0] ** 2 / (seeds - 1) + parts[1] ** 2 / freedom
    return (parts[0] + parts[1]) ** 2 / spread if spread > 0 else seeds - 1.0


def in_pairs(settings: Mapping[Setting, Values]) -> dict[tuple[Setting, Setting], Comparison]:
    """Compare settings two by two, with intervals that hold for all pairs at once.

    Contrasts within seeds, with moderated variances (after Tukey).

    Args:
        settings: Values by seed of each setting.

    Returns:
        Each later setting less each before it, the last one's first.
    """
    missing = {key: missing_values(values) for key, values in settings.items()}
    design = fit_blocks(settings) if any(map(finite, settings.values())) else None
    order = [*settings]
    found: dict[tuple[Setting, Setting], Comparison] = {}
    for place, other in enumerate(order):
        compared: dict[Setting, Comparison] = {}
        if design is not None and other in design.settings:
            size = len(design.settings)
            compared = at_once(
                differences(design, other, missing),
                {Kind.PAIRS: size},
                family=size * (size - 1) // 2,
            )
        for one in reversed(order[place + 1 :]):
            found[one, other] = compared.get(one, no_comparison(missing[one] + missing[other]))
    return found


def missing_values(values: Values) -> int:
    """Return how many of the values are not finite."""
    return len(values) - len(finite(values))
