"""Figures as the report shows them: without the words that stand beside them on the page."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Literal

from matplotlib.figure import Figure
from PIL import Image

from analysis.figures.appearance import DescribedFigure
from analysis.report.files import PNG_COMPRESSION, PNG_DPI, render

MOST_SVG_BYTES = 400_000  # above it, a picture of pixels opens faster
POINTS_PER_INCH = 72
# What matplotlib writes of an SVG's size.
_SIZE = re.compile(r'width="([\d.]+)pt" height="([\d.]+)pt" viewBox="0 0 \1 \2"')


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture and the size it was drawn for.

    Attributes:
        content: The file.
        kind: Subtype of its media type.
        width_pt: Width in points, 1/72 inch.
        height_pt: Height in points.
    """

    content: bytes
    kind: Literal["png", "svg+xml"]
    width_pt: float
    height_pt: float


def picture_of(figure: Figure, *, svg: bytes | None = None) -> Picture:
    """Return a figure without its title and its caption.

    Args:
        figure: Drawn and laid out.
        svg: The figure as an SVG file, where there is one.
    """
    svg = render(figure, "svg") if svg is None else svg
    bottom, top = figure.body if isinstance(figure, DescribedFigure) else (0.0, 1.0)
    if len(svg) > MOST_SVG_BYTES:
        return _cropped_png(render(figure, "png"), bottom, top)
    return _cropped_svg(svg, bottom, top)


def _cropped_svg(svg: bytes, bottom: float, top: float) -> Picture:
    """Return the part of a drawing between two heights, as shares of the whole from below.

    The drawing stays as it is: only the window on it is smaller.
    """
    text = svg.decode()
    found = _SIZE.search(text)
    if found is None:
        raise ValueError("an SVG of matplotlib must name its size")
    width, whole = float(found[1]), float(found[2])
    above, height = round(whole * (1 - top), 2), round(whole * (top - bottom), 2)
    window = f'width="{width:g}pt" height="{height:g}pt" viewBox="0 {above:g} {width:g} {height:g}"'
    content = f"{text[: found.start()]}{window}{text[found.end() :]}".encode()
    return Picture(content=content, kind="svg+xml", width_pt=width, height_pt=height)


def _cropped_png(png: bytes, bottom: float, top: float) -> Picture:
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        width, height = image.size
        upper, lower = round(height * (1 - top)), round(height * (1 - bottom))
        image.crop((0, upper, width, lower)).save(
            buffer, "png", compress_level=PNG_COMPRESSION, dpi=(PNG_DPI, PNG_DPI)
        )
    scale = POINTS_PER_INCH / PNG_DPI
    return Picture(
        content=buffer.getvalue(),
        kind="png",
        width_pt=width * scale,
        height_pt=(lower - upper) * scale,
    )
