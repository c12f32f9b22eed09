"""Axes of settings with labels that have room, and means with their intervals upon them."""

from __future__ import annotations

import itertools
import json
import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Protocol

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import Bbox

from analysis.figures.appearance import current_style
from analysis.figures.colors import LineStyle
from analysis.stats.aggregation import is_logarithmic
from analysis.stats.intervals import Interval

ASIDE_SHARE = 0.009  # of the axis, by which lines are moved so that their bars do not hide others
PAD_SHARE = 0.06
LEAST_PAD = 0.005  # of the value, where all are alike
NAME_ASIDE = 0.06  # of the distance of two names
CAP_PT, MOST_CAPS = 3, 12  # size of the caps of bars, and of how many that have room for them
MOST_MARKED = 100  # means side by side; those of more would hide each other
MOST_TICKS = 4  # on the vertical axis of a low panel
GAP_PT = 3.0  # between two labels, at least
DIGITS = 3  # of a number that a tick names in full
# Of a figure's width, what stands left and right of its axes; the other for a label of two lines.
BESIDE_EM, BESIDE_TWO_EM = 5.5, 7.5
NUMBER = re.compile(r"[<>]?[\d.e+-]+( %)?|")  # as the label of a tick
MOST_LETTERS = 18  # of a name that stands upright


class SettingAxis:
    """Where the values of one numeric setting stand: evenly, or by their logarithm.

    Args:
        name: The setting.
        values: All values that are drawn.
    """

    def __init__(self, name: str, values: Sequence[float]) -> None:
        self.values = sorted({float(value) for value in values})
        self.is_log = is_logarithmic(name, self.values)

    def joined(self, values: Sequence[float]) -> list[float]:
        """Return the values that a line may join: all."""
        return [*values]

    def place(self, value: float, aside: float = 0) -> float:
        """Return the coordinate of a value, moved `aside` steps to the right."""
        return self._back(self._along(value) + aside * ASIDE_SHARE * self._span)

    def labelled(self) -> list[float]:
        """Return the values that are labelled where there is room."""
        return whole(self.values, is_log=self.is_log)

    def apply(self, axes: Axes) -> None:
        """Set scale, limits and ticks: one at each value, labelled where there is room."""
        if self.is_log:
            axes.set_xscale("log")
        ticks = self.labelled()
        axes.xaxis.set_major_locator(FixedLocator(ticks))
        axes.set_xticklabels([number_label(value) for value in ticks])
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
        small = current_style().small_pt
        top.set_xticklabels(labels, fontsize=small)
        top.set_xlabel(title, fontsize=small)
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

    def joined(self, values: Sequence[float]) -> list[float]:
        """Return the values that a line may join: between 0 and the others there is no scale."""
        return [value for value in values if value > 0]

    def place(self, value: float, aside: float = 0) -> float:
        """Return the coordinate of a lambda, moved `aside` steps to the right."""
        x = value if value > 0 else self.smallest / 10 ** (0.22 * self.decades)
        return float(x * 10 ** (0.008 * self.decades * aside))

    def labelled(self) -> list[float]:
        """Return the values that are labelled where there is room."""
        return [*([0.0] if self.has_zero else []), *whole(self.positive, is_log=True)]

    def apply(self, axes: Axes) -> None:
        """Set scale, limits, ticks and the mark of the break on the axes."""
        labelled = self.labelled()
        axes.set_xscale("log")
        axes.xaxis.set_minor_locator(FixedLocator([*self.positive]))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.xaxis.set_major_locator(FixedLocator([self.place(value) for value in labelled]))
        axes.set_xticklabels([number_label(value) for value in labelled])
        pad = 10 ** (0.08 * self.decades)
        first = 0.0 if self.has_zero or not self.positive else self.smallest
        last = self.positive[-1] if self.positive else 0.0
        axes.set_xlim(self.place(first) / pad, self.place(last) * pad)
        if self.has_zero and self.positive:
            middle = math.sqrt(self.place(0.0) * self.smallest)
            _mark_break(axes, (self.place(middle, -1), self.place(middle, 1)))


class NameAxis:
    """Where the values of a setting stand that are names: beside each other, in their order.

    Args:
        names: The values, each once.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)

    def joined(self, values: Sequence[str]) -> list[str]:
        """Return the values that a line may join: none, as names have no order."""
        del values
        return []

    def place(self, value: str, aside: float = 0) -> float:
        """Return the coordinate of a name, moved `aside` steps to the right."""
        return self.names.index(value) + NAME_ASIDE * aside

    def apply(self, axes: Axes) -> None:
        """Set limits and ticks, one at each name."""
        label_names(axes, self.names, BESIDE_TWO_EM)


class SomeAxis(Protocol):
    """What an axis over the values of a setting can do, be they numbers or names."""

    def place(self, value: Any, aside: float = 0) -> float:
        """Return the coordinate of a value, moved `aside` steps to the right."""

    def joined(self, values: Sequence[Any]) -> list[Any]:
        """Return the values that a line may join."""

    def apply(self, axes: Axes) -> None:
        """Set limits and ticks."""


def axis_over(name: str, values: Sequence[Any]) -> SomeAxis:
    """Return the axis that suits the values of a setting.

    It is logarithmic over decades, where 0 has a place of its own.

    Args:
        name: The setting.
        values: Numbers or names.
    """
    if any(isinstance(value, str) for value in values):
        return NameAxis(sorted(set(values)))
    positive = [value for value in values if value > 0]
    if min(values) == 0 and positive and is_logarithmic(name, positive):
        return LambdaAxis.over(values)
    return SettingAxis(name, values)


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


def whole(values: Sequence[float], *, is_log: bool) -> list[float]:
    """Return where labels may stand: at the values of few digits, where most are such.

    Along a logarithm it is else at the whole powers of ten between them, as on any such axis.
    """
    short = [v for v in values if math.isclose(float(f"{v:.{DIGITS}g}"), v, abs_tol=1e-12)]
    if 2 * len(short) >= len(values):
        return short
    if is_log:
        ends = math.ceil(math.log10(values[0]) - 1e-9), math.floor(math.log10(values[-1]) + 1e-9)
        powers = [10.0**power for power in range(ends[0], ends[1] + 1)]
        if len(powers) > 1:
            return powers
    return short if len(short) > 1 else [*values]


def number_label(value: float) -> str:
    """Return the label of a tick at a number."""
    return f"{value:.{DIGITS}g}"


def label_names(axes: Axes, names: Sequence[str], beside_em: float = BESIDE_EM) -> None:
    """Put a tick at 0, 1, ... for each name; long ones are broken, or stand upright.

    Args:
        axes: The axes, not laid out yet.
        names: The labels.
        beside_em: As of `room_pt`.
    """
    spaced = [spoken(name) for name in names]
    longest = max((word for name in spaced for word in name.split()), key=len, default="-")
    width = _width_pt(axes, longest) + GAP_PT
    room = room_pt(axes, beside_em) / (len(names) + 0.2)
    if width <= room:
        letters = int(room / width * len(longest))
        axes.set_xticks(range(len(names)), [textwrap.fill(name, letters) for name in spaced])
    else:
        half = MOST_LETTERS // 2
        cut = [n if len(n) <= MOST_LETTERS else f"{n[:half]}…{n[1 - half :]}" for n in names]
        axes.set_xticks(range(len(names)), cut, rotation=90)
        figure = axes.get_figure(root=True)
        if figure is not None:  # the panels keep their height
            wide, high = figure.get_size_inches()
            figure.set_size_inches(wide, high + max(_width_pt(axes, name) for name in cut) / 72)
    axes.set_xlim(-0.6, len(names) - 0.4)


def spoken(name: str) -> str:
    """Return the value of a field in words: its name, or the arguments in a mapping one by one."""
    if not name.startswith("{"):
        return name.replace("_", " ")
    try:
        return ", ".join(f"{key}={value}" for key, value in json.loads(name).items())
    except ValueError:  # a text that only looks so
        return name


def _width_pt(axes: Axes, text: str) -> float:
    """Return how wide a text is that stands at a tick, in points."""
    probe = axes.text(0, 0, text)
    width = 72 * probe.get_window_extent().width / axes.figure.dpi
    probe.remove()
    return float(width)


def room_pt(axes: Axes, beside_em: float = BESIDE_EM) -> float:
    """Return about how wide axes over the whole width of their figure will be, in points.

    Args:
        axes: The axes, not laid out yet.
        beside_em: What stands left and right of them, in letters' sizes.
    """
    width = 72 * axes.figure.bbox.width / axes.figure.dpi
    return float(width - beside_em * matplotlib.rcParams["font.size"])


def in_sight(values: Iterable[float], bars: Iterable[tuple[float, float]]) -> tuple[float, float]:
    """Return limits that show all values, and their bars as far as these do not press them flat.

    Args:
        values: Finite numbers, at least one.
        bars: Both ends of each; NaN where there is none.
    """
    shown = [*values]
    low, high = min(shown), max(shown)
    known = [bar for bar in bars if all(map(math.isfinite, bar))]
    if known:
        span = max(high - low, median(end - start for start, end in known))
        low = min(low, max(min(start for start, _ in known), low - span))
        high = max(high, min(max(end for _, end in known), high + span))
    pad = PAD_SHARE * (high - low) or LEAST_PAD * max(abs(high), 1)
    return low - pad, high + pad


def tick_few(axes: Axes) -> None:
    """Put a few ticks on the vertical axis of a low panel, however high its layout makes it."""
    axes.yaxis.set_major_locator(MaxNLocator(MOST_TICKS, steps=[1, 2, 5, 10]))


def thin_labels(figure: Figure) -> None:
    """Drop numbers that overlap others at ticks, of a figure that has been laid out.

    Of two it is the number with more digits that goes, or else the latter.
    """
    for axes, side in itertools.product(figure.axes, ("xaxis", "yaxis")):
        axis: Axis = getattr(axes, side)
        if isinstance(axis.get_major_locator(), FixedLocator):
            _thin(axis, GAP_PT * figure.dpi / 72)


def _thin(axis: Axis, gap: float) -> None:
    low, high = sorted(axis.get_view_interval())
    labels = [
        (tick.get_loc(), label)
        for tick in axis.get_major_ticks()
        for label in (tick.label1, tick.label2)
        if low <= tick.get_loc() <= high and label.get_visible()
    ]
    boxes = {loc: label.get_window_extent().padded(gap / 2) for loc, label in labels}
    texts = {loc: label.get_text() for loc, label in labels}
    if not all(map(NUMBER.fullmatch, texts.values())):
        return
    kept: dict[float, Bbox] = {}
    for loc in sorted(boxes, key=lambda place: (_digits(texts[place]), place)):
        if not any(boxes[loc].overlaps(box) for box in kept.values()):
            kept[loc] = boxes[loc]
    if len(kept) < len(boxes):
        axis.set_major_locator(FixedLocator(sorted(kept)))


def _digits(text: str) -> tuple[int, bool]:
    """Return by what a label's number is more or less round."""
    digits = text.partition("e")[0].replace(".", "").strip("0+-<> %")
    return len(digits), digits != "1"


def bars_of(count: int) -> dict[str, Any]:
    """Return how wide marks and bars may be of so many means side by side."""
    if count > MOST_MARKED:
        return {"markersize": 1.5, "elinewidth": 0.4, "linewidth": 0.6, "capsize": 0}
    return {"elinewidth": 1.0, "capsize": CAP_PT if count <= MOST_CAPS else 0}


def draw_means(
    axes: Axes, xs: Sequence[float], rows: pd.DataFrame, style: LineStyle, **changes: Any
) -> None:
    """Draw means in percent with bars from `ci_low` to `ci_high`; no bar where these are NaN."""
    mean, low, high = (100 * rows[name] for name in ("mean", "ci_low", "ci_high"))
    options: dict[str, Any] = {
        "color": style.color,
        "marker": style.marker,
        "linestyle": style.linestyle,
        "zorder": 3,
        **bars_of(len(xs)),
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
