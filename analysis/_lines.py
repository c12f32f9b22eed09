"""Lines of means with their intervals, and the axes of settings that they stand on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from analysis._palette import Look
from analysis._points import is_logarithmic
from analysis._style import number

LABEL_SHARE = 0.07  # of the axis, which a tick's label takes at least
ASIDE_SHARE = 0.009  # of the axis, by which lines are moved so that their bars do not hide others
PAD_SHARE = 0.06


class SettingAxis:
    """Where the values of one numeric setting stand: evenly, or by their logarithm.

    Args:
        name: The setting.
        values: All values that are drawn.
    """

    def __init__(self, name: str, values: Sequence[float]) -> None:
        self.values = sorted({float(value) for value in values})
        self.is_log = is_logarithmic(name, self.values)

    def place(self, value: float, aside: float = 0) -> float:
        """Return the coordinate of a value, moved by so many steps to the right."""
        return self._back(self._along(value) + aside * ASIDE_SHARE * self._span)

    def labelled(self) -> list[float]:
        """Return the values whose labels have room beside each other."""
        kept: list[float] = []
        for value in self.values:
            if not kept or self._along(value) - self._along(kept[-1]) >= LABEL_SHARE * self._span:
                kept.append(value)
        return kept

    def apply(self, axes: Axes) -> None:
        """Set scale, limits and ticks: one at each value, labelled where there is room."""
        if self.is_log:
            axes.set_xscale("log")
        ticks = self.labelled()
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.set_xticklabels([number(value) for value in ticks])
        axes.xaxis.set_minor_locator(FixedLocator(self.values))
        axes.xaxis.set_minor_formatter(NullFormatter())
        pad = PAD_SHARE * self._span
        ends = self._along(self.values[0]) - pad, self._along(self.values[-1]) + pad
        axes.set_xlim(self._back(ends[0]), self._back(ends[1]))

    def add_top(self, axes: Axes, labels: Sequence[str], title: str) -> None:
        """Write something of each labelled value on a second axis above."""
        top = axes.twiny()
        top.set_xscale(axes.get_xscale())
        top.set_xlim(axes.get_xlim())
        top.xaxis.set_major_locator(FixedLocator(self.labelled()))
        top.xaxis.set_minor_locator(NullLocator())
        top.set_xticklabels(labels, fontsize=7.5)
        top.set_xlabel(title, fontsize=7.5)
        top.spines["top"].set_visible(True)

    @property
    def _span(self) -> float:
        return self._along(self.values[-1]) - self._along(self.values[0]) or 1.0

    def _along(self, value: float) -> float:
        return math.log10(value) if self.is_log else float(value)

    def _back(self, place: float) -> float:
        return 10**place if self.is_log else place


def draw_means(
    axes: Axes, xs: Sequence[float], rows: pd.DataFrame, look: Look, **changes: Any
) -> None:
    """Draw means in percent with bars from `ci_low` to `ci_high`; no bar where these are NaN."""
    mean, low, high = (100 * rows[name] for name in ("mean", "ci_low", "ci_high"))
    style: dict[str, Any] = {
        "color": look.color,
        "marker": look.marker,
        "linestyle": look.linestyle,
        "elinewidth": 1.0,
        "capsize": 3,
        "zorder": 3,
    }
    axes.errorbar(list(xs), mean, yerr=[mean - low, high - mean], **style | changes)


def draw_level(axes: Axes, row: Any, look: Look) -> None:
    """Draw a mean as a level across the axes, its interval as a band."""
    axes.axhline(100 * row.mean, color=look.color, linestyle=look.linestyle, zorder=1.5)
    if not math.isnan(row.ci_low):
        axes.axhspan(100 * row.ci_low, 100 * row.ci_high, color=look.color, alpha=0.13, lw=0)


def handle(look: Look, words: str, **changes: Any) -> Line2D:
    """Return the legend's entry of a line."""
    style = {"color": look.color, "marker": look.marker, "linestyle": look.linestyle}
    return Line2D([], [], label=words, **style | changes)
