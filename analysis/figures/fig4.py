"""Fig. 4: mIoU against the weight of the adversarial loss."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.axes import LambdaAxis
from analysis.figures.style import (
    LABELS,
    MIOU,
    SERIES,
    Series,
    add_caption,
    add_legend,
    caption_missing,
    caption_mixed,
    caption_seeds,
    drawing,
    on_data,
)
from analysis.record.sweep_data import Paper
from analysis.stats.aggregation import one_per_seed, over_seeds

STAR: dict[str, Any] = {
    "marker": "*",
    "markersize": 13,
    "markerfacecolor": "none",
    "markeredgewidth": 1.1,
    "linestyle": "none",
    "zorder": 4,
}


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
    kept = one_per_seed(trials, ["lambda_adv"], "Fig. 4", numbers=["lambda_adv"])
    metrics = {weights: series.metric for weights, series in SERIES.items()}
    return over_seeds(kept.astype({"lambda_adv": float}), ["lambda_adv"], metrics)


def fig4(trials: pd.DataFrame, paper: Paper) -> Figure:
    """Draw mIoU against lambda, with and without SWA, with intervals over seeds.

    Args:
        trials: A frame as `load_trials` returns it, with its `attrs`.
        paper: The paper's printed numbers; its points are drawn on its own data set only.

    Raises:
        RecordError: As `fig4_table`.

    Source: Fig. 4 and section 4.3.
    """
    table = fig4_table(trials)
    dataset, own = trials.attrs["dataset"], paper["fig4"]["dataset"]
    printed = paper["fig4"]["points"] if own == dataset else []
    axis = LambdaAxis.over([*table["lambda_adv"], *(point["lambda_adv"] for point in printed)])
    with drawing(trials, f"Fig. 4 on {on_data(dataset, [own])}") as figure:
        axes = figure.subplots()
        for weights, series in SERIES.items():
            _draw_series(axes, axis, table[table["weights"] == weights], series)
        for point in printed:
            series = SERIES[point["weights"]]
            x = axis.place(point["lambda_adv"], 3 * series.side)  # beside our own marker
            axes.plot([x], [point["miou"]], color=series.color, **STAR)
        axis.apply(axes)
        axes.set(xlabel=LABELS["lambda_adv"], ylabel=MIOU)
        add_legend(axes, _handles(with_paper=bool(printed)))
        missing = caption_missing(table.attrs["n_missing"])
        add_caption(figure, [caption_seeds(table["n_seeds"]), missing, caption_mixed(trials)])
    return figure


def _draw_series(axes: Axes, axis: LambdaAxis, rows: pd.DataFrame, series: Series) -> None:
    rows = rows.assign(x=[axis.place(value, series.side) for value in rows["lambda_adv"]])
    rows[["mean", "ci_low", "ci_high"]] *= 100
    # The line stops at the break: between 0 and the smallest lambda there is no scale.
    line = rows[rows["lambda_adv"] > 0]
    axes.plot(line["x"], line["mean"], color=series.color, linestyle=series.linestyle)
    axes.errorbar(
        rows["x"],
        rows["mean"],
        yerr=[rows["mean"] - rows["ci_low"], rows["ci_high"] - rows["mean"]],
        color=series.color,
        marker=series.marker,
        linestyle="none",
        elinewidth=1.0,
        capsize=3,
        zorder=3,
    )


def _handles(*, with_paper: bool) -> list[Line2D]:
    handles = [
        Line2D([], [], color=s.color, marker=s.marker, linestyle=s.linestyle, label=s.label)
        for s in SERIES.values()
    ]
    if with_paper:
        handles.append(Line2D([], [], color="0.2", label="paper", **STAR | {"markersize": 10}))
    return handles
