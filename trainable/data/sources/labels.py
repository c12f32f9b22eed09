"""Masks as Pascal VOC has them, palette images whose indices are the labels, and overlays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

COLOURS = 256
OPACITY = 0.6  # of the colours on an overlay


def palette() -> list[int]:
    """Return the colours of labels 0 to 255 as r, g, b, r, ..., as a palette PNG stores them.

    From the lowest bit upwards, a label's bits go in turn to red, green and blue, and there from
    the highest bit downwards: 0 is black, 1 dark red, 255 (void) nearly white.

    Source: VOCdevkit, `VOClabelcolormap.m`.
    """
    return [_channel(label >> channel) for label in range(COLOURS) for channel in range(3)]


def _channel(bits: int) -> int:
    return sum((bits >> 3 * place & 1) << 7 - place for place in range(8))


def mask_image(labels: NDArray[np.uint8]) -> Image.Image:
    """Return labels [H, W] as an image of mode P."""
    mask = Image.fromarray(labels).convert("P")
    mask.putpalette(palette())
    return mask


def lay_over(image: Image.Image, mask: Image.Image) -> Image.Image:
    """Return the image with a mask's colours over it, its background as it is."""
    coloured = Image.blend(image, mask.convert("RGB"), OPACITY)
    is_object = Image.fromarray(np.array(mask) != 0)
    return Image.composite(coloured, image, is_object)


VOID = 255  # Pascal VOC's label for object borders; also what lies outside a crop
