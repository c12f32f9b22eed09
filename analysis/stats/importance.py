"""How much each setting of a search mattered, beside how much chance alone would give it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.inference.simultaneous import LEVEL
from analysis.record.schema import RecordError
from analysis.stats.rounding import count, p_value
from analysis.stats.search import completed, of_readout, parameters, unit_scaled

LEAST_TRIALS = 10  # suggestions; an importance of fewer says nothing
PERMUTATIONS = 999
NEIGHBOURS = 6  # suggestions in a row among which values are permuted
AT_ONCE = 100  # permutations held in memory
SEED = 0
SAME = 1e-9  # values, or shares, that differ by less differ by the order of adding up
ABOVE, CHANCE = "above chance", "not distinguishable from chance"
MOST_NAMED = 3
Values = NDArray[np.float64]


def importance_table(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the share of a search's differences that each setting accounts for, and chance's.

    A setting's share is the R² of the values on a parabola in the setting alone, along its
    logarithm where its axis is logarithmic; for words, on the mean of each. Settings that change
    the training are compared over training runs, each standing for its best readout. There chance
    is what permuted values give, each permuted among about `NEIGHBOURS` suggestions that follow
    each other: a sampler that homes in draws good values and like settings late, which is no
    effect of the settings. Settings of the readout are compared over all readouts, each value less
    its training run's mean; there chance is what runs give whose signs are flipped at random,
    since readouts of one run are alike. Both ask for the largest share over the settings, so that
    with probability 0.95 no setting is above chance where none matters.

    Args:
        trials: A frame of a search, with its `attrs`.

    Returns:
        Columns `kind` (`training` or `readout`), `parameter`, `share`, `chance` (the largest share
        of 95 % of the permuted searches), `p` (corrected over all settings), `verdict` (`ABOVE` or
        `CHANCE`), `n_suggestions` and `n_values`; sorted by kind and share, the largest first.

    Raises:
        RecordError: Fewer than `LEAST_TRIALS` suggestions were completed, all are equally good, or
            no setting was varied.

    Source: Anderson and Legendre (1999), "An empirical comparison of permutation methods for
    tests of partial regression coefficients"; Winkler et al. (2014), "Permutation inference for
    the general linear model" (exchangeability blocks, sign flips, the largest statistic).
    """
    readout = of_readout(trials)
    kinds = {"training": [p for p in parameters(trials) if p not in readout], "readout": readout}
    kinds = {kind: names for kind, names in kinds.items() if names}
    if not kinds:
        raise RecordError("the search varied no setting, so none has an importance")
    random, is_flat = np.random.default_rng(SEED), True
    rows: list[dict[str, object]] = []
    for kind, names in kinds.items():
        points = completed(trials, names[0]).dropna(subset=names).sort_values("ask", kind="stable")
        values, asks = points["value"].to_numpy(float), points["ask"].to_numpy()
        if kind == "readout":
            values = values - points.groupby("ask")["value"].transform("mean").to_numpy()
        suggestions = len(np.unique(asks))
        _check(suggestions)
        if np.ptp(values) < SAME:  # float noise is no effect
            values = np.zeros_like(values)
        is_flat = is_flat and not values.any()
        spaces = [_space(name, points[name]) for name in names]
        by_chance = (
            _flipped(values, asks, random) if kind == "readout" else _permuted(values, random)
        )
        largest = np.concatenate([_shares(some, spaces).max(axis=1) for some in by_chance])
        likely = 1 - (1 - LEVEL) / len(kinds)
        chance = float(np.quantile(largest, likely, method="higher"))
        for name, share in zip(names, _shares(values[None], spaces)[0].tolist(), strict=True):
            as_large = int((largest >= share - SAME).sum())
            p = min(1.0, len(kinds) * (as_large + 1) / (len(largest) + 1))
            rows.append(
                {"kind": kind, "parameter": name, "share": share, "chance": chance, "p": p}
                | {"verdict": ABOVE if p <= 1 - LEVEL + SAME else CHANCE}
                | {"n_suggestions": suggestions, "n_values": len(values)}
            )
    if is_flat:
        raise RecordError("all suggestions are equally good, so no setting has an importance")
    order = ["kind", "share", "parameter"]
    return pd.DataFrame(rows).sort_values(order, ascending=[False, False, True], ignore_index=True)


def describe_importance(table: pd.DataFrame) -> str:
    """Return in a sentence without its stop which settings mattered more than by chance.

    Args:
        table: What `importance_table` returned.
    """
    asked = count(int(table["n_suggestions"].max()), "suggestion")
    above = table[table["verdict"] == ABOVE].sort_values("p", kind="stable")
    if above.empty:
        first = table.sort_values("p", kind="stable").iloc[0]
        return (
            f"None of {count(len(table), 'setting')} is distinguishable from chance in {asked}; "
            f"{first['parameter']} comes nearest with a share of {first['share']:.2f} "
            f"({p_value(first['p'])})"
        )
    named = [
        f"{name} {share:.2f}"
        for name, share in zip(above["parameter"], above["share"], strict=True)
    ]
    if len(named) > MOST_NAMED:
        named[MOST_NAMED:] = [f"{len(named) - MOST_NAMED} more"]
    others = len(table) - len(above)
    return (
        f"Above chance in {asked}, by R² alone: {', '.join(named)} (corrected p at most "
        f"{above['p'].max():.2g}); {count(others, 'other setting')} not distinguishable from chance"
    )


def _check(suggestions: int) -> None:
    if suggestions < LEAST_TRIALS:
        raise RecordError(
            f"an importance needs {LEAST_TRIALS} completed suggestions, but there are "
            f"{suggestions}; resume the search"
        )


def _space(name: str, values: pd.Series) -> Values:
    """Return orthonormal columns [n, k] that span what a setting alone can say, without the mean.

    For numbers these are a line and a parabola; for words, whether it is each of them.
    """
    if pd.api.types.is_numeric_dtype(values):
        degree = min(2, values.nunique() - 1)
        columns = np.vander(unit_scaled(name, values), degree + 1, increasing=True)
    else:
        columns = np.column_stack([values == word for word in sorted(values.unique())]).astype(
            float
        )
        columns[:, 0] = 1.0
    return np.asarray(np.linalg.qr(columns)[0][:, 1:])


def _shares(values: Values, spaces: list[Values]) -> Values:
    """Return R² [searches, settings] of values [searches, n] in each space, 0 of equal ones."""
    centred = values - values.mean(axis=1, keepdims=True)
    whole = np.maximum((centred**2).sum(axis=1), np.finfo(float).tiny)
    return np.column_stack([((centred @ space) ** 2).sum(axis=1) / whole for space in spaces])


def _permuted(values: Values, random: np.random.Generator) -> Iterator[Values]:
    """Yield values [some, n] of suggestions in their order, permuted among neighbours."""
    blocks = np.array_split(values, max(1, round(len(values) / NEIGHBOURS)))
    for some in _some():
        copies = [np.tile(block, (some, 1)) for block in blocks]
        yield np.hstack([random.permuted(block, axis=1) for block in copies])


def _flipped(
    values: Values, asks: NDArray[np.generic], random: np.random.Generator
) -> Iterator[Values]:
    """Yield values [some, n] of readouts, those of each training run with one random sign."""
    of_run = np.unique(asks, return_inverse=True)[1]
    for some in _some():
        signs = 2.0 * random.integers(0, 2, size=(some, of_run.max() + 1)) - 1
        yield values * signs[:, of_run]


def _some() -> Iterator[int]:
    """Yield how many permutations to make at once, all in all `PERMUTATIONS`."""
    for begun in range(0, PERMUTATIONS, AT_ONCE):
        yield min(AT_ONCE, PERMUTATIONS - begun)
