"""The SWA study of section 4.3: mIoU against threshold, against n, and over both at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from analysis.figures.appearance import current_style
from analysis.figures.axes import (
    CAP_PT,
    MOST_CAPS,
    SettingAxis,
    draw_level,
    draw_means,
    handle,
    in_sight,
    number_label,
    room_pt,
    tick_few,
)
from analysis.figures.colors import LineStyle, contrast, line_styles
from analysis.figures.style import (
    DOUBLE_IN,
    LABELS,
    MIOU,
    RULES,
    SHORT,
    add_caption,
    add_legend,
    caption_missing,
    caption_mixed,
    caption_seeds,
    drawing,
    format_number,
    on_data,
)
from analysis.record.schema import RecordError
from analysis.record.sweep_data import Paper
from analysis.stats.rounding import fixed
from analysis.stats.selection import best_over
from analysis.stats.swa import raw_level, swa_table

CELL_PT = 7.5
RAW = LineStyle(color="0.35", marker="", linestyle=(0, (4, 2)))
MOST_ANNOTATED = 100  # cells of a heat map, above which none is annotated
# Widths of a cell, about, into which its mean and gain fit, and the share of the start, too.
NUMBERS_PT, START_PT = 24, 40
COLOURBAR_SHARE = 0.85  # of the width, what its colour bar leaves to a heat map
TOP_AXIS_PT = 30  # height of the axis of the start's share
# Section 4.3 studies SWA on the data set of Fig. 4.
PAPER_ON = ["voc2012"]
MEAN = ("mean", "ci_low", "ci_high")
GAIN = ("gain", "gain_low", "gain_high")
TITLED = {"swa_threshold": "the threshold", "swa_n": "n"}


def swa_threshold(trials: pd.DataFrame, paper: Paper, table: pd.DataFrame | None = None) -> Figure:
    """Draw mIoU against the threshold, one line per rule, each at its best n.

    Args:
        trials: A frame of an SWA study, with its `attrs`.
        paper: The paper's printed numbers; its point is drawn on its own data set only.
        table: What `swa_table` returned for the trials, where it is at hand.

    Raises:
        RecordError: As `swa_table` and `raw_level`.

    Source: section 4.3.
    """
    return _draw(trials, "swa_threshold", "swa_n", paper, table)


def swa_n(trials: pd.DataFrame, paper: Paper, table: pd.DataFrame | None = None) -> Figure:
    """Draw mIoU against n, one line per rule, each at its best threshold.

    Args:
        trials: A frame of an SWA study, with its `attrs`.
        paper: The paper's printed numbers; it prints none for a single n.
        table: What `swa_table` returned for the trials, where it is at hand.

    Raises:
        RecordError: As `swa_table` and `raw_level`.

    Source: section 4.3.
    """
    return _draw(trials, "swa_n", "swa_threshold", paper, table)


def _draw(
    trials: pd.DataFrame,
    along: str,
    held: str,
    paper: Paper,
    table: pd.DataFrame | None,
) -> Figure:
    table, raw = swa_table(trials) if table is None else table, raw_level(trials)
    rules = [rule for rule in RULES if (table["swa_rule"] == rule).any()]
    axis = SettingAxis(along, table[along].tolist())
    dataset = trials.attrs["dataset"]
    title = f"SWA: mIoU against {TITLED[along]} on {on_data(dataset, PAPER_ON)}"
    with drawing(trials, title, size=(DOUBLE_IN, 5.8)) as figure:
        upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 2))
        draw_level(upper, raw, RAW)
        lower.axhline(0, color=RAW.color, linestyle=RAW.linestyle, zorder=1.5)
        handles = [handle(RAW, "raw weights")]
        shares = None
        told, drawn = [], []
        for i, (rule, style) in enumerate(zip(rules, line_styles(len(rules)), strict=True)):
            of_rule = table[table["swa_rule"] == rule]
            best = float(best_over(of_rule, [held], [along], "mean")[0])
            rows = of_rule[of_rule[held] == best]
            places = [axis.place(v, i - (len(rules) - 1) / 2) for v in rows[along]]
            draw_means(upper, places, rows, style)
            _draw_gains(lower, places, rows, style)
            drawn.append(rows)
            handles.append(handle(style, f"{RULES[rule]}, {SHORT[held]} = {format_number(best)}"))
            told.append(_describe_best(rows, rule, along))
            if rule == "eq7":
                shares = rows.set_index(along)["start_share"]
        rows = 100 * pd.concat(drawn)[[*MEAN, *GAIN]].dropna(subset="mean")
        for panel, columns, level in ((upper, MEAN, 100 * raw.mean), (lower, GAIN, 0.0)):
            value, low, high = (rows[name].dropna() for name in columns)
            panel.set_ylim(in_sight([level, *value], [*zip(low, high, strict=True)]))
        tick_few(lower)
        axis.apply(lower)
        if shares is not None:
            kept = [_share(shares.get(value, np.nan)) for value in axis.labelled()]
            axis.add_top(upper, kept, "weight of the start left under Eq. 7")
        handles += _add_paper(upper, along, dataset, paper)
        upper.set_ylabel(MIOU)
        lower.set(xlabel=LABELS[along], ylabel="points above\nraw weights")
        add_legend(upper, handles, gap_pt=TOP_AXIS_PT * (shares is not None), in_row=3)
        seeds = caption_seeds(table["n_seeds"])
        band = "the band is the raw weights'" if raw.n > 1 else ""
        within = "below: gain within each training run, whose intervals hold all together"
        chosen = f"each rule at its best {SHORT[held]} over all {SHORT[along]}"
        missing = caption_missing(table.attrs["n_missing"])
        add_caption(figure, [seeds, band, within, chosen, missing, caption_mixed(trials)])
        figure.shows = (
            f"Highest mean mIoU, and gain over raw weights: {'; '.join(filter(None, told))}."
        )
    return figure


def _draw_gains(axes: Axes, xs: Sequence[float], rows: pd.DataFrame, style: LineStyle) -> None:
    """Draw gains over the raw weights in points, with their bars."""
    gain, low, high = (100 * rows[name] for name in GAIN)
    axes.errorbar(
        list(xs),
        gain,
        yerr=[gain - low, high - gain],
        color=style.color,
        marker=style.marker,
        linestyle=style.linestyle,
        elinewidth=1.0,
        capsize=CAP_PT if len(xs) <= MOST_CAPS else 0,
        zorder=3,
    )


def _describe_best(rows: pd.DataFrame, rule: str, along: str) -> str:
    """Return where a rule's mean is the highest, and by how much it gains there."""
    if rows["mean"].isna().all():
        return ""
    best = rows.loc[rows["mean"].idxmax()]
    return (
        f"{RULES.get(rule, rule)} {100 * best['mean']:.1f} % "
        f"({fixed(100 * best['gain'], 1, signed=True)} points) at "
        f"{SHORT[along]} = {format_number(best[along])}"
    )


def _add_paper(axes: Axes, along: str, dataset: str, paper: Paper) -> list[Line2D]:
    """Draw the paper's best threshold, the one point of its study that it prints."""
    points = [
        point
        for point in paper["fig4"]["points"]
        if point["lambda_adv"] == 0 and point["weights"] == "swa"
    ]
    if along != "swa_threshold" or dataset != paper["fig4"]["dataset"]:
        return []
    star: dict[str, Any] = {"marker": "*", "markerfacecolor": "none", "linestyle": "none"}
    axes.plot([0] * len(points), [p["miou"] for p in points], color="0.2", markersize=13, **star)
    return [handle(LineStyle(color="0.2", marker="*", linestyle="none"), "paper", **star)]


def swa_heatmap(trials: pd.DataFrame, rule: str, table: pd.DataFrame | None = None) -> Figure:
    """Draw the mIoU of a rule over n and threshold as annotated cells.

    Each cell names the mean in percent and its difference in points to the raw weights of the same
    training runs; under Eq. 7 also the weight of the start that is left. More than `MOST_ANNOTATED`
    cells could not be read, and the colours alone are drawn.

    Args:
        trials: A frame of an SWA study, with its `attrs`.
        rule: The rule of averaging that is shown.
        table: What `swa_table` returned for the trials, where it is at hand.

    Raises:
        RecordError: As `swa_table`; or no finished trial has the rule.
    """
    whole = swa_table(trials) if table is None else table
    table = whole[whole["swa_rule"] == rule]
    if table.empty:
        known = ", ".join(sorted(whole["swa_rule"].unique()))
        raise RecordError(f"no finished trial has swa_rule={rule}; there are: {known}")
    grid = {
        name: table.pivot_table(index="swa_n", columns="swa_threshold", values=name, dropna=False)
        for name in ("mean", "gain", "start_share")
    }
    mean = 100 * grid["mean"]
    title = f"SWA, {RULES.get(rule, rule)}: mIoU [%] on {on_data(trials.attrs['dataset'])}"
    size = (max(4.4, 1.6 + 0.82 * mean.shape[1]), max(4.2, 1.9 + 0.52 * mean.shape[0]))
    if mean.size > MOST_ANNOTATED:
        size = (DOUBLE_IN, DOUBLE_IN)
    with drawing(trials, title, size=size) as figure:
        axes = figure.subplots()
        axes.grid(visible=False)
        image = axes.imshow(mean, aspect="auto", origin="lower", cmap="cividis")
        cell_pt = COLOURBAR_SHARE * room_pt(axes) / mean.shape[1]
        annotated = mean.size <= MOST_ANNOTATED and cell_pt >= NUMBERS_PT
        # In a paper's column a row has room for two lines.
        with_start = (
            annotated and rule != "uniform" and cell_pt >= START_PT and figure.style.has_words
        )
        if annotated:
            _annotate(axes, image, grid, with_start=with_start)
        axes.set_xticks(range(mean.shape[1]), [number_label(value) for value in mean.columns])
        axes.set_yticks(range(mean.shape[0]), [number_label(value) for value in mean.index])
        axes.set(xlabel=LABELS["swa_threshold"], ylabel=LABELS["swa_n"])
        figure.colorbar(image, ax=axes, label="mIoU [%]")
        cells = "per cell: mean mIoU over seeds"
        cells += ", difference to the raw weights in points" if annotated else ""
        start = "weight of the start left" if with_start else ""
        # A heat map has no bars: the table beside it has the intervals.
        seeds = f"{format_number(table['n_seeds'].max())} seeds at most; intervals are in the table"
        dropped = caption_missing(whole.attrs["n_missing"])
        add_caption(figure, [cells, start, seeds, dropped, caption_mixed(trials)])
        figure.shows = _describe_cells(table)
    return figure


def _describe_cells(table: pd.DataFrame) -> str:
    """Return the highest and the lowest cell, with their gains."""
    known = table.dropna(subset="mean")
    ends = dict.fromkeys((known["mean"].idxmax(), known["mean"].idxmin())) if len(known) else {}
    cells = [
        f"{100 * row['mean']:.1f} % at {SHORT['swa_n']} = {format_number(row['swa_n'])}, "
        f"{SHORT['swa_threshold']} = {format_number(row['swa_threshold'])}, "
        f"{fixed(100 * row['gain'], 1, signed=True)} points over raw weights"
        for row in (known.loc[end] for end in ends)
    ]
    return f"mIoU is {', down to '.join(cells)}." if cells else ""


def _annotate(
    axes: Axes, image: AxesImage, grid: Mapping[str, pd.DataFrame], *, with_start: bool
) -> None:
    """Write mean, gain and share of the start into each cell, in white where that reads better."""
    mean = 100 * grid["mean"]
    size = min(CELL_PT, current_style().small_pt)
    for row, column in np.ndindex(*mean.shape):
        text = _cell(*(grid[name].iat[row, column] for name in grid), with_start=with_start)
        red, green, blue, _ = image.to_rgba(mean.iat[row, column])
        on = contrast((red, green, blue))
        colour = "white" if on > contrast("black") / on else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)


def _cell(mean: float, gain: float, share: float, *, with_start: bool) -> str:
    if np.isnan(mean):
        return "\N{EN DASH}"
    start = f"\nstart {_share(share)}" if with_start else ""
    numbers = f"{100 * mean:.1f}\n{fixed(100 * gain, 1, signed=True)}"
    return numbers.replace("-", "\N{MINUS SIGN}") + start


def _share(share: float) -> str:
    """Return a share in percent, empty where it is unknown; only 0 and 1 read as 0 and 100 %."""
    if np.isnan(share):
        return ""
    if 0 < share < 0.01 or 0.99 < share < 1:
        return "<1 %" if share < 0.5 else ">99 %"
    return f"{100 * share:.0f} %"
