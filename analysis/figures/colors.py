"""Colours: Pascal VOC's for masks, and colour-blind-safe ones for lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.colors import to_hex, to_rgb
from matplotlib.typing import ColorType
from numpy.typing import NDArray

VOID = 255
LABELS = 256


@dataclass(frozen=True, kw_only=True)
class LineStyle:
    """Colour, marker and dashes that tell one line from the others, also in grey."""

    color: str
    marker: str
    linestyle: str | tuple[int, tuple[int, ...]]  # a name, or offset and on-off lengths in points


# Source: Paul Tol, "Colour schemes": of high-contrast, bright and vibrant those colours that stand
# out from white by 3 to 1 at least; marker and dashes tell the lines apart in grey.
LINE_STYLES = (
    LineStyle(color="#004488", marker="s", linestyle="-"),
    LineStyle(color="#BB5566", marker="o", linestyle="--"),
    LineStyle(color="#997700", marker="^", linestyle="-."),
    LineStyle(color="#228833", marker="D", linestyle=(0, (1, 1))),
    LineStyle(color="#AA3377", marker="v", linestyle=(0, (6, 1, 1, 1, 1, 1))),
    LineStyle(color="#009988", marker="P", linestyle=(0, (5, 3))),
    LineStyle(color="#777777", marker="X", linestyle=(0, (1, 3))),
)
ARM_STYLES: dict[str, LineStyle] = {
    "none": LINE_STYLES[1],
    "standard": LINE_STYLES[2],
    "pixelwise": LINE_STYLES[0],
}


LEAST_CONTRAST = 3.0  # of a line on its background: WCAG 2.2, success criterion 1.4.11


def contrast(color: ColorType) -> float:
    """Return how much a colour stands out from white, between 1 and 21.

    Source: WCAG 2.2, "contrast ratio" and "relative luminance".
    """
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in to_rgb(color)
    ]
    luminance = sum(
        share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True)
    )
    return 1.05 / (luminance + 0.05)


def muted(color: str) -> str:
    """Return the lightest tint of a colour that still stands out from white."""
    rgb = np.array(to_rgb(color))
    tints = (to_hex(rgb + (1 - rgb) * share) for share in np.linspace(1, 0, 101))
    return next(tint for tint in tints if contrast(tint) >= LEAST_CONTRAST)


def line_styles(count: int) -> Sequence[LineStyle]:
    """Return a line style for each of `count` lines; they repeat where there are not enough."""
    return [LINE_STYLES[i % len(LINE_STYLES)] for i in range(count)]


def voc_colours() -> NDArray[np.uint8]:
    """Return the colour [256, 3] of each label: 0 black, 1 dark red, 255 (void) nearly white.

    From the lowest bit upwards, a label's bits go in turn to red, green and blue, and there from
    the highest bit downwards.

    Source: VOCdevkit, `VOClabelcolormap.m`.
    """
    labels = np.arange(LABELS)
    colours = np.zeros((LABELS, 3), dtype=np.uint8)
    for place in range(3):
        for channel in range(3):
            bit = labels >> (3 * place + channel) & 1
            colours[:, channel] |= (bit << (7 - place)).astype(np.uint8)
    return colours
