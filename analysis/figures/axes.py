"""Axes of numeric settings, and lines of means with their intervals upon them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator

from analysis.figures.colors import LineStyle
from analysis.figures.style import format_number
from analysis.stats.aggregation import is_logarithmic
from analysis.stats.intervals import Interval

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
        """Return the coordinate of a value, moved `aside` steps to the right."""
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
        axes.set_xticklabels([format_number(value) for value in ticks])
        axes.xaxis.set_minor_locator(FixedLocator(self.values))
        axes.xaxis.set_minor_formatter(NullFormatter())
        pad = PAD_SHARE * self._span
        ends = self._along(self.values[0]) - pad, self._along(self.values[-1]) + pad
        axes.set_xlim(self._back(ends[0]), self._back(ends[1]))

    def add_top(self, axes: Axes, labels: Sequence[str], title: str) -> None:
        """Write one label for each labelled value on a second axis above."""
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


@dataclass(frozen=True, kw_only=True)
class LambdaAxis:
    """A logarithmic axis with a place of its own for 0, left of the smallest positive value."""

    positive: tuple[float, ...]
    has_zero: bool

    @classmethod
    def over(cls, values: Iterable[float]) -> LambdaAxis:
        """Return the axis that has a place for each of the values."""
        found = sorted(set(values))
        return cls(positive=tuple(v for v in found if v > 0), has_zero=0.0 in found)

    @property
    def decades(self) -> float:
        """Width of the positive part, at least half a decade."""
        if not self.positive:
            return 0.5
        return max(0.5, math.log10(self.positive[-1] / self.positive[0]))

    @property
    def smallest(self) -> float:
        """Left end of the positive part."""
        return self.positive[0] if self.positive else 1.0

    def place(self, value: float, side: int = 0) -> float:
        """Return the x coordinate of a lambda, moved a little to one side."""
        x = value if value > 0 else self.smallest / 10 ** (0.22 * self.decades)
        return float(x * 10 ** (0.008 * self.decades * side))

    def labelled(self) -> list[float]:
        """Return the values whose labels have room beside each other."""
        kept: list[float] = []
        for value in self.positive:
            if not kept or math.log10(value / kept[-1]) >= 0.1 * self.decades:
                kept.append(value)
        return [0.0, *kept] if self.has_zero else kept

    def apply(self, axes: Axes) -> None:
        """Set scale, limits, ticks and the mark of the break on the axes."""
        labelled = self.labelled()
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(FixedLocator([*self.positive]))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_locator(FixedLocator([self.place(value) for value in labelled]))
        axes.set_xticklabels([f"{value:g}" for value in labelled])
        pad = 10 ** (0.08 * self.decades)
        first = 0.0 if self.has_zero or not self.positive else self.smallest
        last = self.positive[-1] if self.positive else 0.0
        axes.set_xlim(self.place(first) / pad, self.place(last) * pad)
        if self.has_zero and self.positive:
            middle = math.sqrt(self.place(0.0) * self.smallest)
            _mark_break(axes, (self.place(middle, -1), self.place(middle, 1)))


def _mark_break(axes: Axes, ends: tuple[float, float]) -> None:
    """Cut the axis line between two x coordinates and put a slanted stroke at each."""
    at: dict[str, Any] = {
        "transform": axes.get_xaxis_transform(),
        "clip_on": False,
        "zorder": 5,
        "linestyle": "-",
    }
    axes.plot(ends, (0, 0), color="white", linewidth=3, **at)
    for x in ends:
        axes.plot((x,), (0,), marker=[(-0.5, -1), (0.5, 1)], color="black", markersize=8, **at)


def draw_means(
    axes: Axes, xs: Sequence[float], rows: pd.DataFrame, style: LineStyle, **changes: Any
) -> None:
    """Draw means in percent with bars from `ci_low` to `ci_high`; no bar where these are NaN."""
    mean, low, high = (100 * rows[name] for name in ("mean", "ci_low", "ci_high"))
    options: dict[str, Any] = {
        "color": style.color,
        "marker": style.marker,
        "linestyle": style.linestyle,
        "elinewidth": 1.0,
        "capsize": 3,
        "zorder": 3,
    }
    axes.errorbar(list(xs), mean, yerr=[mean - low, high - mean], **options | changes)


def draw_level(axes: Axes, found: Interval, style: LineStyle) -> None:
    """Draw a mean as a level across the axes, its interval as a band."""
    axes.axhline(100 * found.mean, color=style.color, linestyle=style.linestyle, zorder=1.5)
    if not math.isnan(found.low):
        axes.axhspan(100 * found.low, 100 * found.high, color=style.color, alpha=0.13, lw=0)


def handle(style: LineStyle, label: str, **changes: Any) -> Line2D:
    """Return the legend's entry of a line."""
    options = {"color": style.color, "marker": style.marker, "linestyle": style.linestyle}
    return Line2D([], [], label=label, **options | changes)
