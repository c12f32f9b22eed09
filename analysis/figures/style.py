"""What all figures share: sizes, fonts, titles, stamps, and the sentences of their captions."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import matplotlib
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

from analysis.figures.appearance import DescribedFigure, current_style
from analysis.figures.axes import BESIDE_TWO_EM, room_pt, thin_labels
from analysis.figures.colors import LINE_STYLES
from analysis.record.schema import OBJECTIVE, objectives_of
from analysis.record.version_mix import describe_mixtures
from analysis.stats.datasets import GENERATED, NAMES
from analysis.stats.intervals import METHOD

Handle = Artist | tuple[Artist, ...]  # what a legend shows
DOUBLE_IN = 6.4  # width of a figure over two columns of a paper
TITLE_SIZE = 11
CAPTION_SIZE = 7.5
LEGEND_GAP_PT = 2
TITLE_CHARS_PER_IN = 12.5
CAPTION_CHARS_PER_IN = 17.5
STAMP_IN = 1.4  # width that a stamp takes from the title

LABELS = {
    "lambda_adv": r"$\lambda$, weight of the adversarial loss",
    "swa_n": r"$n$, iterations between two averagings",
    "swa_threshold": r"$th_\mathrm{swa}$, share of training before averaging",
    "swa_rule": "rule of averaging",
    "lr_generator": "learning rate of the generator",
    "lr_discriminator": "learning rate of the discriminator",
}
SHORT = {
    "lambda_adv": r"$\lambda$",
    "swa_n": r"$n$",
    "swa_threshold": r"$th_\mathrm{swa}$",
    "swa_rule": "rule",
    "lr_generator": "lr (gen.)",
    "lr_discriminator": "lr (disc.)",
}
RULES = {"eq7": "Eq. 7", "uniform": "uniform", "ema": "EMA"}
MIOU = "validation mIoU [%]"


def objective_label(trials: pd.DataFrame) -> str:
    """Return the label of an axis of what a sweep's settings are ranked by."""
    objective = objectives_of(trials)[0]
    return MIOU if objective == OBJECTIVE else f"{objective} [%]"


@dataclass(frozen=True, kw_only=True)
class Series:
    """How the raw or the averaged weights are read from a frame of trials and drawn."""

    metric: str
    label: str
    color: str
    marker: str
    linestyle: Literal["-", "--"]
    side: int  # direction in which it is moved so that two error bars do not hide each other


SERIES = {
    "raw": Series(
        metric="val/miou",
        label="without SWA",
        color=LINE_STYLES[1].color,
        marker="o",
        linestyle="--",
        side=-1,
    ),
    "swa": Series(
        metric="swa/miou",
        label="with SWA",
        color=LINE_STYLES[0].color,
        marker="s",
        linestyle="-",
        side=1,
    ),
}


def axis_label(field: str) -> str:
    """Return the label of an axis of a config field."""
    return LABELS.get(field, field)


def short_label(field: str) -> str:
    """Return a config field's label where there is little room."""
    return SHORT.get(field, field)


def on_data(dataset: str, paper_on: Sequence[str] = ()) -> str:
    """Return the data set's name, with a warning where the paper's figure is on another.

    Args:
        dataset: Name as in the config.
        paper_on: Data sets of the paper's own figure; none where the paper has no such figure.
    """
    name = NAMES.get(dataset, dataset)
    if dataset in GENERATED:
        return f"{name} (generated, not the paper's data)"
    if paper_on and dataset not in paper_on:
        return f"{name} (the paper's is on {' and '.join(NAMES[other] for other in paper_on)})"
    return name


def done_of(trials: pd.DataFrame) -> int:
    """Return how many trials the sweep is done with: finished, or stopped by its scheduler."""
    done = trials["status"] == "FINISHED"
    if "search_state" in trials:
        done |= trials["search_state"] == "PRUNED"
    return int(done.sum())


@contextmanager
def drawing(
    trials: pd.DataFrame, title: str, *, size: tuple[float, float] = (DOUBLE_IN, 4.2)
) -> Iterator[DescribedFigure]:
    """Yield a new figure with its title and, over an unfinished sweep, a stamp that says so.

    Args:
        trials: The frame that is drawn, for its `attrs`.
        title: What the figure shows and on which data.
        size: Width and height in inches on a screen; in a paper's column both are smaller.
    """
    style = current_style()
    with matplotlib.rc_context(style.rc):
        figure = DescribedFigure(style, title, size)
        done, asked = done_of(trials), trials.attrs["trials_total"]
        if style.has_words:
            room = figure.get_figwidth() - STAMP_IN * (done < asked)
            wrapped = textwrap.fill(title, int(room * TITLE_CHARS_PER_IN))
            figure.words_above = figure.suptitle(wrapped, x=0.01, ha="left", fontsize=TITLE_SIZE)
        if done < asked:
            _stamp(figure, f"{done} of {asked} trials")
        yield figure
        # Laid out now: a layout that is made again moves by fractions of a point.
        figure.draw_without_rendering()
        figure.set_layout_engine(None)  # with "none", each save would draw twice
        thin_labels(figure)


def _stamp(figure: DescribedFigure, text: str) -> None:
    if not figure.style.has_words:  # where a title would stand, which keeps its room free
        figure.suptitle(text, x=0.98, ha="right", weight="bold", fontsize="medium")
        return
    box = {"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": "black"}
    corner = figure.transFigure + ScaledTranslation(-6 / 72, -6 / 72, figure.dpi_scale_trans)
    figure.text(1, 1, text, transform=corner, ha="right", va="top", weight="bold", bbox=box)


def add_caption(figure: Figure, parts: Sequence[str]) -> None:
    """Give the figure its caption: the sentences that are not empty."""
    caption = "; ".join(part for part in parts if part)
    caption = caption[:1].upper() + caption[1:] + "."
    if isinstance(figure, DescribedFigure):
        figure.caption = caption
        if not figure.style.has_words:
            return
    wrapped = textwrap.fill(caption, int(figure.get_figwidth() * CAPTION_CHARS_PER_IN))
    words = figure.supxlabel(wrapped, x=0.01, ha="left", fontsize=CAPTION_SIZE, color="0.3")
    if isinstance(figure, DescribedFigure):
        figure.words_below = words


def add_legend(
    axes: Axes, handles: Sequence[Handle], *, gap_pt: float = 0, in_row: int = 4
) -> None:
    """Put the legend above the axes, in as many columns as have room, `in_row` at most.

    `gap_pt` leaves room for what stands there already.
    """
    up = ScaledTranslation(0, (gap_pt + LEGEND_GAP_PT) / 72, axes.figure.dpi_scale_trans)
    room = room_pt(axes, BESIDE_TWO_EM)
    for columns in range(min(in_row, len(handles)), 0, -1):
        legend = axes.legend(
            handles=handles,
            ncols=columns,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            bbox_transform=axes.transAxes + up,
            borderaxespad=0,
            handlelength=2.6,
            columnspacing=1.2,
        )
        if 72 * legend.get_window_extent().width / axes.figure.dpi <= room:
            return


def caption_seeds(counts: pd.Series, drawn: str = "bars") -> str:
    """Return how many seeds a mean is over, and what the bars or the band are."""
    least, most = int(counts.min()), int(counts.max())
    if most < 2:
        return "one seed, which gives no interval"
    seeds = f"{most} seeds" if least == most else f"{least} to {most} seeds"
    but = ", absent where there is one seed" if (counts == 1).any() else ""
    return f"mean over {seeds}; {drawn}: {METHOD} over seeds{but}"


def caption_missing(missing: int) -> str:
    """Return how many values were not finite, empty where all are."""
    return f"{missing} value{'s' * (missing != 1)} not finite, left out" if missing else ""


def caption_mixed(drawn: pd.DataFrame) -> str:
    """Return which versions of code or data, or kinds of machines, the trials mix, if any."""
    return "; ".join(describe_mixtures(drawn))


def format_number(value: float) -> str:
    """Return a setting's number with up to six digits, without trailing zeros."""
    return f"{value:g}"


def format_value(value: object) -> str:
    """Return a setting's value, number or text, for a tick or a legend."""
    return format_number(value) if isinstance(value, int | float) else str(value)
