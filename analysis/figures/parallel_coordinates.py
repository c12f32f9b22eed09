"""Parallel coordinates of a search: a line per training run through all its settings."""

from __future__ import annotations

import math

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures.colors import LINE_STYLES
from analysis.figures.search import BIASED, add_search_caption, at_words, title_on, varied
from analysis.figures.style import drawing, format_value, objective_label, short_label
from analysis.stats.aggregation import is_logarithmic
from analysis.stats.search import completed, parameters

# The darker part, each of whose colours has a contrast of 3 to white.
DARK = ListedColormap(matplotlib.colormaps["cividis"](np.linspace(0, 0.6, 256)))
FEW = 6  # values that are each labelled
MARKS = 4  # labelled values on an axis of numbers
TICK_SIZE = 7


def search_parallel(trials: pd.DataFrame) -> Figure:
    """Draw each completed suggestion as a line through its settings to its value.

    Args:
        trials: A frame of a search, with its `attrs`.

    Raises:
        RecordError: As `search_table`; or no setting was varied.
    """
    names = varied(parameters(trials))
    points = completed(trials).sort_values("value")
    values = 100 * points["value"].to_numpy()
    label = objective_label(trials)
    with drawing(trials, title_on("Settings of the search", trials)) as figure:
        axes = figure.subplots()
        axes.grid(visible=False)
        columns = [points[name] for name in names] + [100 * points["value"]]
        placed = [_places(str(column.name), column) for column in columns]
        ys = np.column_stack([heights for heights, _ in placed])
        lines = [np.column_stack([np.arange(len(columns)), row]) for row in ys]
        drawn = LineCollection(lines, cmap=DARK, array=values, linewidths=0.9, alpha=0.8)
        axes.add_collection(drawn)
        axes.plot(range(len(columns)), ys[-1], color=LINE_STYLES[1].color, linewidth=2.2)
        for x, (_, marks) in enumerate(placed):
            axes.axvline(x, color="0.2", linewidth=0.8, zorder=3)
            for height, text in marks:
                box = {"facecolor": "white", "alpha": 0.8, "pad": 0.8, "linewidth": 0}
                axes.text(
                    x + 0.03, height, text, fontsize=TICK_SIZE, va="center", bbox=box, zorder=4
                )
        axes.set(xlim=(-0.1, len(columns) - 0.6), ylim=(-0.04, 1.04))
        axes.set_xticks(
            range(len(columns)),
            [*(short_label(name) for name in names), label.removeprefix("validation ")],
        )
        axes.set_yticks([])
        axes.set_xlabel("setting, each on its own scale")
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.tick_params(length=0)
        figure.colorbar(drawn, ax=axes, label=label)
        runs = f"{len(points)} training runs, each at its best readout; bold: the best of them"
        add_search_caption(figure, trials, [runs, BIASED])
        best = points.iloc[-1]
        figure.shows = (
            f"The best of {len(points)} training runs, {values[-1]:.1f} %, has "
            f"{at_words(best, names)}"
        )
    return figure


def _places(name: str, values: pd.Series) -> tuple[NDArray[np.float64], list[tuple[float, str]]]:
    """Return heights between 0 and 1, and the heights and words of what is labelled."""
    if not pd.api.types.is_numeric_dtype(values):
        known = sorted(values.unique())
        step = 1 / max(1, len(known) - 1)
        return np.array([known.index(v) * step for v in values]), [
            (i * step, format_value(value)) for i, value in enumerate(known)
        ]
    is_log = is_logarithmic(name, values)
    along = np.log10(values.to_numpy(float)) if is_log else values.to_numpy(float)
    low, high = float(along.min()), float(along.max())
    span = (high - low) or 1.0
    known = sorted({*along.tolist()})
    if len(known) <= FEW:
        words = [format_value(value) for value in sorted({*values.tolist()})]
        return (along - low) / span, [
            ((at - low) / span, word) for at, word in zip(known, words, strict=True)
        ]
    marks = np.linspace(low, high, MARKS).tolist()
    digits = max(0, 2 - math.floor(math.log10(span)))
    labels = [f"{10**mark:.2g}" if is_log else f"{round(mark, digits):g}" for mark in marks]
    return (along - low) / span, [((m - low) / span, t) for m, t in zip(marks, labels, strict=True)]
