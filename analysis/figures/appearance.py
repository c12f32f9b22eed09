"""How figures look: on a screen, or in a column of a paper. The user's own settings have no say."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
from matplotlib.figure import Figure
from matplotlib.text import Text

Font = Literal["serif", "sans"]
# matplotlib ships these, so that a figure has the same letters on every machine.
FONTS: dict[Font, dict[str, Any]] = {
    "serif": {"font.family": ["STIXGeneral"], "mathtext.fontset": "stix"},
    "sans": {"font.family": ["DejaVu Sans"], "mathtext.fontset": "dejavusans"},
}
WINDOWS = ("backend", "backend_fallback", "interactive", "toolbar")  # which no file depends on
LOOK: dict[str, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 5.5,
    "pdf.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "pixelwise-adversarial-sweeps",  # its ids are random otherwise
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.06,
}
IN_COLUMN: dict[str, Any] = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.5,
    "figure.constrained_layout.w_pad": 0.02,
    "figure.constrained_layout.h_pad": 0.02,
}
COLUMN_IN = 3.3  # width of a column of a two-column paper
COLUMN_HEIGHT_SHARE = 0.6  # of the height on a screen, where title and caption take their part
PHONE_HEIGHT_SHARE = 0.72  # of it on a phone, which is held upright


@dataclass(frozen=True, kw_only=True)
class Style:
    """How figures look.

    Attributes:
        rc: All settings of matplotlib, but for those of its windows.
        width_in: Width of every figure in inches; None for the one that suits what is drawn.
        height_share: Height of a figure as a share of its height on a screen.
        has_words: Whether title and caption stand in the picture.
        small_pt: Size of the least important words, in points.
    """

    rc: dict[Any, Any]
    width_in: float | None = None
    height_share: float = 1.0
    has_words: bool = True
    small_pt: float = 7.5

    def size(self, on_screen: tuple[float, float]) -> tuple[float, float]:
        """Return width and height in inches of a figure that has these on a screen."""
        width, height = on_screen
        return self.width_in or width, height * self.height_share


@functools.cache
def screen_style() -> Style:
    """Return how figures look unless asked otherwise: with their title and caption."""
    return Style(rc=_settings(FONTS["sans"], LOOK))


def paper_style(*, font: Font = "serif") -> Style:
    """Return how figures look in one column of a paper: 3.3 inches, neither title nor caption.

    Args:
        font: `serif` for letters like Times, `sans` for those without feet.

    Source: the layout of tueplots, a dict of settings per venue.
    """
    return Style(
        rc=_settings(FONTS[font], LOOK, IN_COLUMN),
        width_in=COLUMN_IN,
        height_share=COLUMN_HEIGHT_SHARE,
        has_words=False,
        small_pt=IN_COLUMN["font.size"],
    )


def phone_style() -> Style:
    """Return how figures look on a phone, a column wide, where the page around them has words."""
    return dataclasses.replace(paper_style(font="sans"), height_share=PHONE_HEIGHT_SHARE)


def _settings(*layers: Mapping[str, Any]) -> dict[Any, Any]:
    """Return matplotlib's own defaults, whatever a matplotlibrc says, changed by these layers."""
    own: dict[Any, Any] = {
        name: value for name, value in matplotlib.rcParamsDefault.items() if name not in WINDOWS
    }
    for layer in layers:
        own |= layer
    return own


_style: ContextVar[Style | None] = ContextVar("style", default=None)


def current_style() -> Style:
    """Return the style in which figures are drawn now."""
    return _style.get() or screen_style()


@contextmanager
def styled(style: Style) -> Iterator[None]:
    """Draw the figures made within in a style.

        with figures.styled(figures.paper_style(font="sans")):
            figures.fig4(trials, load_paper()).savefig("fig4.pdf")

    Args:
        style: As `screen_style` or `paper_style` return it.
    """
    token = _style.set(style)
    try:
        yield
    finally:
        _style.reset(token)


class DescribedFigure(Figure):
    """A figure with the words that belong to it, which is saved as it was drawn.

    Attributes:
        style: How it looks.
        title: What is drawn and on which data; it may have formulas of LaTeX between dollars.
        caption: Seeds, method of the interval, what is left out or mixed; formulas as in the title.
        shows: What came out, in one sentence: read out to those who do not see the picture.
        words_above: The title, where it stands in the picture.
        words_below: The caption, where it stands in the picture.
    """

    def __init__(self, style: Style, title: str, size: tuple[float, float]) -> None:
        super().__init__(figsize=style.size(size), layout="constrained")
        self.style = style
        self.title = title
        self.caption = ""
        self.shows = ""
        self.words_above: Text | None = None
        self.words_below: Text | None = None

    @property
    def body(self) -> tuple[float, float]:
        """From and to which share of the height, seen from below, neither title nor caption is."""
        height = self.bbox.height
        above, below = self.words_above, self.words_below
        bottom = 0.0 if below is None else below.get_window_extent().y1 / height
        return bottom, 1.0 if above is None else above.get_window_extent().y0 / height

    def draw(self, renderer: Any) -> None:
        """Draw the figure as matplotlib does, but by the settings of its style alone."""
        with matplotlib.rc_context(self.style.rc):
            super().draw(renderer)

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """Save the figure as matplotlib does, but by the settings of its style alone."""
        with matplotlib.rc_context(self.style.rc):
            super().savefig(*args, **kwargs)
