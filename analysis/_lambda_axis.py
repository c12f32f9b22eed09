"""The axis of Fig. 4: logarithmic, with a place of its own for lambda 0."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullFormatter


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
