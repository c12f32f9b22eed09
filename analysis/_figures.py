"""The paper's figures, each a pure function from a frame of trials to a `Figure`."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis._frames import METRICS, RecordError
from analysis._intervals import METHOD, student_t
from analysis._lambda_axis import LambdaAxis

STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 5.5,
    "pdf.fonttype": 42,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.06,
}
# Columns in which two trials differ by nature.
_OWN = ["trial_key", "training_key", "run_id", "status", *METRICS]
TITLES = {
    "shapes": "shapes (generated, not the paper's data)",
    "sbd": "SBD (the paper's is on Pascal VOC 2012)",
    "segtrackv2": "SegTrack-v2 (the paper's is on Pascal VOC 2012)",
    "voc2012": "Pascal VOC 2012",
}


@dataclass(frozen=True, kw_only=True)
class Series:
    """How one kind of weights is read from a frame and drawn."""

    metric: str
    label: str
    color: str
    marker: str
    linestyle: Literal["-", "--"]
    side: int  # direction in which it is moved so that two error bars do not hide each other


# Source: Paul Tol, "Colour schemes", high-contrast; it keeps its order of lightness in grey.
SERIES = {
    "raw": Series(
        metric="val/miou",
        label="without SWA",
        color="#BB5566",
        marker="o",
        linestyle="--",
        side=-1,
    ),
    "swa": Series(
        metric="swa/miou",
        label="with SWA",
        color="#004488",
        marker="s",
        linestyle="-",
        side=1,
    ),
}
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
    finished = _one_per_seed(trials)
    rows: list[dict[str, Any]] = []
    missing = 0
    for value, group in finished.groupby("lambda_adv"):
        for weights, series in SERIES.items():
            found = student_t(group[series.metric])
            missing += found.missing
            rows.append(
                {
                    "lambda_adv": float(value),
                    "weights": weights,
                    "n_seeds": found.n,
                    "mean": found.mean,
                    "ci_low": found.low,
                    "ci_high": found.high,
                }
            )
    table = pd.DataFrame(rows).sort_values(["lambda_adv", "weights"], ignore_index=True)
    if table["mean"].isna().all():
        raise RecordError(f"none of the {len(finished)} finished trials has a finite mIoU")
    table.attrs["n_missing"] = missing
    return table


def fig4(trials: pd.DataFrame, paper: Mapping[str, Any]) -> Figure:
    """Draw mIoU against lambda, with and without SWA, with intervals over seeds.

    Args:
        trials: A frame as `load_trials` returns it, with its `attrs`.
        paper: The paper's printed numbers; its points are drawn on its own data set only.

    Raises:
        RecordError: As `fig4_table`.

    Source: Fig. 4 and section 4.3.
    """
    table = fig4_table(trials)
    dataset = trials.attrs["dataset"]
    printed = paper["fig4"]["points"] if paper["fig4"]["dataset"] == dataset else []
    axis = LambdaAxis.over([*table["lambda_adv"], *(point["lambda_adv"] for point in printed)])
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.subplots()
        for weights, series in SERIES.items():
            _draw_series(axes, axis, table[table["weights"] == weights], series)
        for point in printed:
            series = SERIES[point["weights"]]
            x = axis.place(point["lambda_adv"], 3 * series.side)  # beside our own marker
            axes.plot([x], [point["miou"]], color=series.color, **STAR)
        axis.apply(axes)
        axes.set_xlabel(r"$\lambda$, weight of the adversarial loss")
        axes.set_ylabel("mIoU on the validation set [%]")
        figure.suptitle(f"Fig. 4 on {TITLES.get(dataset, dataset)}", x=0.01, ha="left", fontsize=11)
        _add_legend(axes, with_paper=bool(printed))
        _add_stamp(axes, trials)
        caption = textwrap.fill(_caption(trials, table), 112)
        figure.supxlabel(caption, x=0.01, ha="left", fontsize=7.5, color="0.3")
    return figure


def _one_per_seed(trials: pd.DataFrame) -> pd.DataFrame:
    finished = trials[trials["status"] == "FINISHED"]
    point = ["lambda_adv", "seed"]
    for name in point:
        if name not in finished or not pd.api.types.is_numeric_dtype(finished[name]):
            raise RecordError(f"every trial must have a number as param {name}")
    if finished[point].isna().any(axis=None):
        raise RecordError("every trial must have the params lambda_adv and seed")
    twice = finished[finished.duplicated(point, keep=False)]
    if len(twice):
        value, seed = twice.iloc[0][point]
        same = twice[(twice["lambda_adv"] == value) & (twice["seed"] == seed)]
        differing = [name for name in same.columns.difference(_OWN) if same[name].nunique() > 1]
        raise RecordError(
            f"Fig. 4 takes one trial per lambda_adv and seed, but {len(same)} share "
            f"lambda_adv={value:g}, seed={seed:g}; they differ in {', '.join(differing)}"
        )
    return finished


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


def _add_legend(axes: Axes, *, with_paper: bool) -> None:
    handles = [
        Line2D([], [], color=s.color, marker=s.marker, linestyle=s.linestyle, label=s.label)
        for s in SERIES.values()
    ]
    if with_paper:
        handles.append(Line2D([], [], color="0.2", label="paper", **STAR | {"markersize": 10}))
    axes.legend(
        handles=handles,
        ncols=len(handles),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.2,
        handlelength=2.8,
    )


def _add_stamp(axes: Axes, trials: pd.DataFrame) -> None:
    done, asked = int((trials["status"] == "FINISHED").sum()), trials.attrs["trials_total"]
    if done < asked:
        box = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": "black"}
        text = f"{done} of {asked} trials"
        axes.text(1, 1.03, text, transform=axes.transAxes, ha="right", weight="bold", bbox=box)


def _caption(trials: pd.DataFrame, table: pd.DataFrame) -> str:
    """Say how many seeds, which interval, what was left out, and what is mixed."""
    least, most = int(table["n_seeds"].min()), int(table["n_seeds"].max())
    if most < 2:
        parts = ["One seed, which gives no interval"]
    else:
        seeds = f"{most} seeds" if least == most else f"{least} to {most} seeds"
        but = ", absent where there is one seed" if (table["n_seeds"] == 1).any() else ""
        parts = [f"Mean over {seeds}", f"bars: {METHOD} over seeds{but}"]
    if missing := table.attrs["n_missing"]:
        parts.append(f"{missing} value{'s' * (missing != 1)} not finite, left out")
    finished = trials[trials["status"] == "FINISHED"]
    for name in ("code_version", "data_fingerprint"):
        found = sorted(value[:12] for value in finished[name].unique())
        if len(found) > 1:
            told = f"{len(found)} {name.replace('_', ' ')}s ({', '.join(found)})"
            parts.append(f"the trials come from {told} and may not compare")
    return "; ".join(parts) + "."
