"""How much each setting of a search mattered, by two of optuna's evaluators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.record.schema import RecordError
from analysis.stats.aggregation import is_logarithmic
from analysis.stats.search import completed, of_readout, parameters

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

LEAST_TRIALS = 10  # an importance of fewer says nothing
MOST_TRIALS = 500  # fANOVA takes minutes for thousands
SEED = 0  # of fANOVA's random forest
TREES = 32  # of its forest; the default, 64, takes twice as long
MOST_FOREST = 200  # values that grow fANOVA's forest, whose time rises faster than their number
METHODS = {"ped_anova": "PED-ANOVA", "fanova": "fANOVA"}


def importance_table(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the share of each setting in what the search's values come from.

    Settings that change the training are compared over training runs, each standing for its best
    readout; settings of the readout over all readouts, each value less its training run's mean, so
    that a run with many readouts weighs no more than it should. Each kind adds up to 1. Of more
    than `MOST_TRIALS` values that many are taken, spread evenly over the search.

    Args:
        trials: A frame of a search, with its `attrs`.

    Returns:
        Columns `kind` (`training` or `readout`), `parameter`, `ped_anova`, `fanova`; the number
        of values there are, `n_all`, of those compared, `n`, and of those of fANOVA, `n_forest`.
        Sorted by kind and PED-ANOVA, the largest first.

    Raises:
        RecordError: Fewer than `LEAST_TRIALS` suggestions were completed, all are equally good, or
            no setting was varied.
    """
    readout = of_readout(trials)
    kinds = {"training": [p for p in parameters(trials) if p not in readout], "readout": readout}
    rows: list[dict[str, object]] = []
    for kind, names in kinds.items():
        if not names:
            continue
        points = completed(trials, names[0])
        if kind == "readout":
            points = points.assign(
                value=points["value"] - points.groupby("ask")["value"].transform("mean")
            )
        whole, points = len(points), _thinned(points)
        shares = _shares(points, names)
        rows += [
            {"kind": kind, "parameter": name, "n": len(points)}
            | {"n_all": whole, "n_forest": min(MOST_FOREST, len(points))}
            | {method: found[name] for method, found in shares.items()}
            for name in names
        ]
    if not rows:
        raise RecordError("the search varied no setting, so none has an importance")
    table = pd.DataFrame(rows)[["kind", "parameter", *METHODS, "n", "n_forest", "n_all"]]
    order = ["kind", "ped_anova", "parameter"]
    return table.sort_values(order, ascending=[False, False, True], ignore_index=True)


def _thinned(points: pd.DataFrame) -> pd.DataFrame:
    at = np.linspace(0, len(points) - 1, min(MOST_TRIALS, len(points))).round().astype(int)
    return points.sort_values("ask", kind="stable").iloc[at]


def _shares(points: pd.DataFrame, names: list[str]) -> dict[str, dict[str, float]]:
    if len(points) < LEAST_TRIALS:
        raise RecordError(
            f"an importance needs {LEAST_TRIALS} completed suggestions, but there are "
            f"{len(points)}; resume the search"
        )
    if points["value"].nunique() < 2:
        raise RecordError("all suggestions are equally good, so no setting has an importance")
    from optuna.importance import (
        FanovaImportanceEvaluator,
        PedAnovaImportanceEvaluator,
        get_param_importances,
    )

    few = points if len(points) <= MOST_FOREST else points.sample(MOST_FOREST, random_state=SEED)
    evaluators: dict[str, Any] = {
        "ped_anova": (points, PedAnovaImportanceEvaluator()),
        "fanova": (few.sort_index(), FanovaImportanceEvaluator(n_trees=TREES, seed=SEED)),
    }
    return {
        method: get_param_importances(_study(given, names), evaluator=evaluator, params=names)
        for method, (given, evaluator) in evaluators.items()
    }


def _study(points: pd.DataFrame, names: list[str]) -> Study:
    """Return the values as a study in memory; its space is what the values cover."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {name: _distribution(name, points[name]) for name in names}
    study = optuna.create_study(direction="maximize")
    columns = zip(*(points[name].tolist() for name in names), strict=True)
    for values, value in zip(columns, points["value"], strict=True):
        params = dict(zip(names, values, strict=True))
        study.add_trial(
            optuna.trial.create_trial(params=params, distributions=space, value=float(value))
        )
    return study


def _distribution(name: str, values: pd.Series) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if not pd.api.types.is_numeric_dtype(values):
        return CategoricalDistribution(sorted(values.unique()))
    low, high = float(values.min()), float(values.max())
    return FloatDistribution(low, high, log=is_logarithmic(name, values))
