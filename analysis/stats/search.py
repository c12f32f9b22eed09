"""A search as a table of what was tried, and as a surface over two of its settings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.record.schema import RecordError, objectives_of
from analysis.stats.aggregation import is_logarithmic, over_seeds, varying

Numbers = NDArray[np.float64]

MOST_POINTS = 150  # those of more are thinned evenly: the time grows with their cube
JITTER = 1e-8
# A length scale is a share of the axis, and the noise one of the values' standard deviation; the
# priors keep few points from asking for a surface of needles, or for one without noise.
LENGTH, LENGTH_SPREAD = 0.4, 0.7
NOISE, NOISE_SPREAD = 0.5, 1.0
SEARCH, CONFIRM = "search", "confirm"
COMPLETE = "COMPLETE"


def is_search(trials: pd.DataFrame) -> bool:
    """Return whether a sampler suggested settings of the sweep."""
    return "ask" in trials and bool(trials["ask"].notna().any())


def search_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials of the search phase, those that were pruned or failed among them.

    Raises:
        RecordError: The sweep is no search, or no suggestion was completed.
    """
    if not is_search(trials):
        raise RecordError(f"sweep {trials.attrs['sweep']!r} is no search: no trial has an ask")
    kept = trials[(trials["phase"] == SEARCH) & trials["ask"].notna()]
    if not (_is_complete(kept) & kept[objectives_of(trials)[0]].notna()).any():
        asks = kept["ask"].nunique()
        raise RecordError(f"none of the search's {asks} suggestions has ended with an mIoU")
    return kept


def parameters(trials: pd.DataFrame) -> list[str]:
    """Return the settings that the search varied."""
    return varying(search_trials(trials))


def of_readout(trials: pd.DataFrame) -> list[str]:
    """Return those of the settings that differ within a suggestion: they cost no training."""
    kept = search_trials(trials)
    names = parameters(trials)
    within = kept.groupby("ask")[names].nunique().max()
    return [name for name in names if within[name] > 1]


def search_table(trials: pd.DataFrame) -> pd.DataFrame:
    """Return a row per suggestion: its best readout's objective, as a fraction, and settings.

    Args:
        trials: A frame of a search, with its `attrs`.

    Returns:
        Columns `ask`, `state` (`COMPLETE`, `PRUNED` or `FAIL`), `readouts` (how many of its
        training run stand in the record), the varied settings, `value`, NaN unless complete, and
        `best`, the highest value so far. Sorted by `ask`.

    Raises:
        RecordError: As `search_trials`.
    """
    kept = search_trials(trials)
    counted = kept["ask"].map(kept["ask"].value_counts())
    value = kept[objectives_of(trials)[0]].where(_is_complete(kept))
    kept = kept.assign(value=value, readouts=counted)
    kept = kept.sort_values(["ask", "value", "trial_key"], ascending=[True, False, True])
    table = kept.drop_duplicates("ask").rename(columns={"search_state": "state"})
    table = table[["ask", "state", "readouts", *parameters(trials), "value"]]
    table = table.astype({"ask": int}).reset_index(drop=True)
    return table.assign(best=table["value"].cummax().ffill())


def completed(trials: pd.DataFrame, parameter: str | None = None) -> pd.DataFrame:
    """Return where and how well the completed suggestions stand, with `ask` and `value`.

    Args:
        trials: A frame of a search.
        parameter: The setting that is looked at. A setting of the readout has a row per readout;
            for others, and None, the best readout of a training run stands for it.
    """
    if parameter in of_readout(trials):
        kept = search_trials(trials)
        whole = kept.assign(value=kept[objectives_of(trials)[0]].where(_is_complete(kept)))
    else:
        whole = search_table(trials)
    return whole[whole["value"].notna()]


def unit_scaled(name: str, values: pd.Series) -> NDArray[np.float64]:
    """Return a setting's numbers scaled to 0 to 1, along their logarithm where its axis is."""
    numbers = values.to_numpy(float)
    along = np.log10(numbers) if is_logarithmic(name, values) else numbers
    return np.asarray((along - along.min()) / (np.ptp(along) or 1.0))


def confirmed(trials: pd.DataFrame) -> pd.DataFrame:
    """Return mean and interval over the fresh seeds of each setting that was trained again.

    Returns:
        Columns of the settings, `n_seeds`, `mean`, `ci_low` and `ci_high`, the best first; empty
        where none was.
    """
    again = trials[(trials["phase"] == CONFIRM) & (trials["status"] == "FINISHED")]
    names = parameters(trials)
    objective = objectives_of(trials)[0]
    if again[objective].isna().all():
        return pd.DataFrame(columns=[*names, "n_seeds", "mean", "ci_low", "ci_high"])
    table = over_seeds(again, names, {"swa": objective}).drop(columns="weights")
    return table.sort_values("mean", ascending=False, ignore_index=True)


def _is_complete(kept: pd.DataFrame) -> pd.Series:
    return (kept["search_state"] == COMPLETE) & (kept["status"] == "FINISHED")


@dataclass(frozen=True, eq=False)
class Surface:
    """Heights [m] of a surface and their standard errors, in the unit of the values."""

    height: Numbers
    error: Numbers


def fit_surface(points: Numbers, values: Numbers, at: Numbers) -> Surface:
    """Return the posterior of a Gaussian process, with a length scale for each setting.

    The kernel is squared-exponential with noise; length scales, noise and height are those of the
    highest posterior density, whose log-normal priors stand at the top of this module.

    Args:
        points: [n, 2], each setting scaled to 0 to 1.
        values: [n], finite and not all equal.
        at: [m, 2], where the heights are wanted, on the same scale.

    Source: Rasmussen and Williams (2006), "Gaussian Processes for Machine Learning", section 5.4.1.
    """
    from scipy.linalg import cho_solve

    if len(values) > MOST_POINTS:
        kept = np.linspace(0, len(values) - 1, MOST_POINTS).round().astype(int)
        points, values = points[kept], values[kept]
    centre, scale = values.mean(), values.std()
    heights = (values - centre) / scale
    logs = fit_scales(points, heights)
    low, across = _factor(points, logs), _kernel(at, points, logs)
    mean = across @ cho_solve((low, True), heights)
    known = (across * cho_solve((low, True), across.T).T).sum(axis=1)
    error = np.sqrt(np.maximum(np.exp(2 * logs[2]) - known, 0))
    return Surface(height=centre + scale * mean, error=scale * error)


def fit_scales(points: Numbers, heights: Numbers) -> Numbers:
    """Return the logarithms [4] of both length scales, the surface's deviation and the noise's.

    Args:
        points: [n, 2], each setting scaled to 0 to 1.
        heights: [n], with mean 0 and deviation 1.
    """
    from scipy.linalg import cho_solve
    from scipy.optimize import minimize

    begin = np.log([LENGTH, LENGTH, 1.0, NOISE])
    spread = np.array([LENGTH_SPREAD, LENGTH_SPREAD, 1.0, NOISE_SPREAD])

    def loss(logs: Numbers) -> float:
        low = _factor(points, logs)
        fit = heights @ cho_solve((low, True), heights) / 2 + np.log(np.diag(low)).sum()
        return float(fit + (((logs - begin) / spread) ** 2).sum() / 2)

    bounds = [(start - 4 * s, start + 3 * s) for start, s in zip(begin, spread, strict=True)]
    return np.asarray(minimize(loss, begin, method="L-BFGS-B", bounds=bounds).x)


def _factor(points: Numbers, logs: Numbers) -> Numbers:
    """Return the lower Cholesky factor [n, n] of the covariance of noisy heights."""
    from scipy.linalg import cholesky

    noise = (np.exp(2 * logs[3]) + JITTER) * np.eye(len(points))
    return np.asarray(cholesky(_kernel(points, points, logs) + noise, lower=True))


def _kernel(one: Numbers, other: Numbers, logs: Numbers) -> Numbers:
    far = (((one[:, None] - other) / np.exp(logs[:2])) ** 2).sum(axis=2)
    return np.asarray(np.exp(2 * logs[2] - far / 2))
