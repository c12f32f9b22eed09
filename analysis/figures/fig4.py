"""Fig. 4: mIoU against the weight of the adversarial loss."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.axes import LambdaAxis
from analysis.figures.metric_vs_axis import draw_over, means_over
from analysis.figures.style import on_data
from analysis.record.sweep_data import Paper
from analysis.stats.aggregation import one_per_seed


def fig4_table(trials: pd.DataFrame) -> pd.DataFrame:
    """Return mIoU, as a fraction, over the seeds of each lambda, with and without SWA.

    Args:
        trials: A frame as `load_trials` returns it; only its finished trials count.

    Returns:
        Columns `lambda_adv`, `weights` (`raw` or `swa`), `n_seeds`, `mean`, `ci_low`, `ci_high`,
        sorted by the first two. `attrs["n_missing"]` counts the values that were not finite.

    Raises:
        RecordError: A trial names no lambda or seed, two trials share both, or none has an mIoU.
    """
    return means_over(_kept(trials), "lambda_adv")


def fig4(trials: pd.DataFrame, paper: Paper) -> Figure:
    """Draw mIoU against lambda, with and without SWA, and its differences from lambda = 0.

    Args:
        trials: A frame as `load_trials` returns it, with its `attrs`.
        paper: The paper's printed numbers; its points are drawn on its own data set only.

    Raises:
        RecordError: As `fig4_table`.

    Source: Fig. 4 and section 4.3.
    """
    dataset, own = trials.attrs["dataset"], paper["fig4"]["dataset"]
    printed = paper["fig4"]["points"] if own == dataset else []
    return draw_over(
        trials,
        _kept(trials),
        "lambda_adv",
        axis_of=LambdaAxis.over,
        title=f"Fig. 4 on {on_data(dataset, [own])}",
        points=[(point["lambda_adv"], point["weights"], point["miou"]) for point in printed],
    )


def _kept(trials: pd.DataFrame) -> pd.DataFrame:
    kept = one_per_seed(trials, ["lambda_adv"], "Fig. 4", numbers=["lambda_adv"])
    return kept.astype({"lambda_adv": float})
