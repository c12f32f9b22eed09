"""Many comparisons as one family: corrected for their number."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from analysis.stats.comparisons import Comparison, compare

Setting = TypeVar("Setting", bound=Hashable)


def holm(p_values: Sequence[float], family: int | None = None) -> list[float]:
    """Return the p-values after Holm's correction, in the order given; NaN stays NaN.

    Args:
        p_values: One per comparison; NaN where no test was possible, which counts as none.
        family: Number of comparisons among which these are, where the others are not at hand.
            Each then takes its rank among those at hand, which is never too low a multiplier.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    given = np.asarray(p_values, dtype=float)
    tested = np.flatnonzero(np.isfinite(given))
    order = tested[np.argsort(given[tested], kind="stable")]
    factors = (len(order) if family is None else family) - np.arange(len(order))
    corrected = given.copy()
    corrected[order] = np.minimum(np.maximum.accumulate(given[order] * factors), 1)
    return [float(p) for p in corrected]


def against(
    reference: Setting, settings: Mapping[Setting, Mapping[int, float]]
) -> dict[Setting, Comparison]:
    """Compare every other setting with one that was named before the numbers were seen.

    The family is all these comparisons.

    Args:
        reference: Key of the setting that the others are compared with.
        settings: Values by seed of each setting, that one among them.
    """
    found = {
        key: compare(values, settings[reference])
        for key, values in settings.items()
        if key != reference
    }
    return corrected(found)


def corrected(
    comparisons: Mapping[Setting, Comparison], family: int | None = None
) -> dict[Setting, Comparison]:
    """Return the comparisons as a family, each with its p-value after Holm's correction.

    Args:
        comparisons: Those of one question.
        family: As in `holm`.
    """
    p_values = [comparison.p for comparison in comparisons.values()]
    size = sum(math.isfinite(p) for p in p_values) if family is None else family
    return {
        key: dataclasses.replace(comparison, p_corrected=p, family=max(size, 1))
        for (key, comparison), p in zip(
            comparisons.items(), holm(p_values, family=size), strict=True
        )
    }
