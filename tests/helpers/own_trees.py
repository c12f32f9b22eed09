"""Trees of images and masks as people and makers have them, of a few pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from trainable.config.schema import TrialConfig
from trainable.data.folders.description import NAME

SIZE = (6, 8)  # height, width


def write_image(path: Path, value: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*SIZE, 3), value, dtype=np.uint8)).save(path)


def write_mask(path: Path, *values: Any, mode: str | None = None) -> None:
    """Write a mask whose rows hold these values in turn, numbers or colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [values[row % len(values)] for row in range(SIZE[0])]
    kind = np.uint16 if np.max(rows) > 255 else np.uint8
    pixels = np.repeat(np.array(rows, dtype=kind)[:, None], SIZE[1], axis=1)
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path)


def write_pairs(
    root: Path,
    *values: Any,
    count: int = 5,
    images: str = "images",
    masks: str = "masks",
    suffix: str = "",
    kind: str = ".png",
) -> Path:
    """Write so many images a0, a1, ... with masks that hold all values, and return `root`."""
    for number in range(count):
        write_image(root / images / f"a{number}{kind}", value=10 * number)
        write_mask(root / masks / f"a{number}{suffix}.png", *values)
    return root


def describe(root: Path, text: str) -> Path:
    (root / NAME).write_text(text)
    return root


def config_of(root: Path, **values: Any) -> TrialConfig:
    return TrialConfig(dataset="folder", data_root=str(root), **values)
