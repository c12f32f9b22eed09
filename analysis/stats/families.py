"""Questions that were asked before the numbers were seen, each with all its comparisons as one.

- `against`: every setting with one that was named, as each lambda with 0.
- `gains`: a change within each training run, as averaged against raw weights, at each setting and
  over all of them.
- `compare`: two settings alone.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Generic

import numpy as np

from analysis.stats.blocks import (
    RESOLUTION,
    Blocks,
    Floats,
    Setting,
    fit_blocks,
    moderate,
)
from analysis.stats.comparisons import Comparison, contrasts, no_comparison
from analysis.stats.simultaneous import Kind, corrected_p, critical_value

Values = Mapping[int, float]  # by seed, as fractions


def against(
    reference: Setting, settings: Mapping[Setting, Values]
) -> dict[Setting, Comparison]:
    """Compare every other setting with one that was named before the numbers were seen.

    Contrasts within seeds, with moderated variances and intervals that hold for all comparisons at
    once (two-sided, after Dunnett). Settings that lack seeds are compared by the additive model.

    Args:
        reference: Key of the setting that the others are compared with.
        settings: Values by seed of each setting, that one among them; those that are not finite
            are left out and counted.
    """
    missing = {key: missing_values(values) for key, values in settings.items()}
    found: dict[Setting, Comparison] = {}
    if len(finite(settings[reference])):
        design = fit_blocks(settings)
        others = len(design.settings) - 1
        found = contrasts(
            design,
            reference,
            kinds={Kind.REFERENCE: others + 1},
            family=max(others, 1),
            missing=missing,
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


def gains(
    ones: Mapping[Setting, Values], others: Mapping[Setting, Values]
) -> Gains[Setting]:
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
    statistics = alone.effects / errors
    half = critical_value(Kind.SEPARATE, size, freedoms) * errors
    p = corrected_p(Kind.SEPARATE, size, statistics, freedoms)
    found = {
        key: Comparison(
            difference=float(alone.effects[i]),
            low=float(alone.effects[i] - half[i]),
            high=float(alone.effects[i] + half[i]),
            p_corrected=float(p[i]),
            error=float(errors[i]),
            freedom=float(freedoms[i]),
            family=size,
            paired=True,
            n=int(counts[i]),
            missing=missing[key],
        )
        for i, key in enumerate(alone.settings)
    }
    return {key: found.get(key, no_comparison(missing[key])) for key in changes}


def _overall(design: Blocks[Setting], missing: Mapping[Setting, int]) -> Comparison:
    """Return the mean change over all settings, whose replicates are the seeds."""
    here = np.isfinite(design.values)
    seeds = len(design.seeds)
    error, freedom = math.nan, math.nan
    mean = float(design.effects.mean())
    if seeds > 1:
        own, common, common_freedom = _seed_variance(design)
        spare = np.array([common_freedom])
        one = np.array([seeds - 1.0])
        borrowed = float(moderate(np.array([own]), one, np.array([common]), spare)[0])
        freedom = borrowed + seeds - 1
        variance = (borrowed * common + (seeds - 1) * own) / freedom
        error = math.sqrt(max(variance / seeds, RESOLUTION**2))
    at = np.array([freedom])
    half = float(critical_value(Kind.SEPARATE, 1, at)[0]) * error
    p = corrected_p(Kind.SEPARATE, 1, np.array([mean / error]), at)[0]
    return Comparison(
        difference=mean,
        low=mean - half,
        high=mean + half,
        p_corrected=float(p),
        error=error,
        freedom=freedom,
        family=1,
        paired=True,
        n=int(here.any(0).sum()),
        missing=sum(missing.values()),
    )


def _seed_variance(design: Blocks[Setting]) -> tuple[float, float, float]:
    """Return the variance of the seeds' means, what it were by the residuals alone, and its df."""
    here = np.isfinite(design.values)
    left = np.where(here, design.values - design.effects[:, None], 0.0)
    means: Floats = left.sum(0) / here.sum(0)
    own = float(means.var(ddof=1))
    if design.variances is None:
        return own, own, 0.0
    beside = float((1 / here.sum(0)).mean())
    return own, design.variances.common * beside, design.variances.common_freedom


def _effective_freedom(design: Blocks[Setting]) -> float:
    """Return the degrees of freedom of a pooled variance of changes that seeds have in common.

    Source: Satterthwaite's approximation to the sum of the mean squares of seeds and residuals.
    """
    size, seeds = len(design.settings), len(design.seeds)
    if design.variances is None or size < 2:
        return seeds - 1.0
    own, common, freedom = _seed_variance(design)
    parts = own, common * (size - 1)  # both over the number of settings
    spread = parts[0] ** 2 / (seeds - 1) + parts[1] ** 2 / max(freedom, 1)
    return (parts[0] + parts[1]) ** 2 / spread if spread > 0 else seeds - 1.0


def finite(values: Values) -> dict[int, float]:
    """Return the values that are finite, by seed."""
    return {seed: value for seed, value in values.items() if math.isfinite(value)}


def missing_values(values: Values) -> int:
    """Return how many of the values are not finite."""
    return len(values) - len(finite(values))
