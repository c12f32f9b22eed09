"""The embedded data set `shapes`: generated scenes with textured, overlapping objects.

Colour is only a hint of the class and texture none, so a network has to learn form and context;
small objects, occlusion and pixel noise keep it from being solved. As in Pascal VOC, objects have
a void border. Every image follows from (data_seed, split, index) alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainable.config.schema import TrialConfig
from trainable.data.sources.labels import VOID
from trainable.data.sources.source import GeneratedSource

Array = NDArray[np.float32]

CLASSES = ("background", "disc", "square", "triangle", "ring", "cross", "bar")
OBJECTS = (2, 5)  # least and most objects in a scene
RADIUS = (0.13, 0.27)  # of an object, as a share of the image's side
NOISE = 0.06  # standard deviation of the pixel noise, on a scale of 0 to 1
HUE_SPREAD = 0.05  # standard deviation of an object's hue round its class's, in turns


def generate(config: TrialConfig) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Generate the training and the validation split.

    Returns:
        For each split, images uint8 [N, 3, H, W] and labels uint8 [N, H, W], with H = W =
        `config.image_px` and N = `config.train_images` or `config.val_images`.
    """
    counts = (config.train_images, config.val_images)
    splits = []
    for split, count in enumerate(counts):
        scenes = [_scene(config.image_px, (config.data_seed, split, i)) for i in range(count)]
        images, labels = zip(*scenes, strict=True)
        splits.append((torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels))))
    return splits[0], splits[1]


def _scene(side: int, key: tuple[int, int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(key)
    rows, columns = np.mgrid[0:side, 0:side].astype(np.float32) / side + 0.5 / side
    image = _colour(rng.random(), 0.35, rng.uniform(0.3, 0.7)) * _texture(rng, rows, columns)
    labels = np.zeros((side, side), dtype=np.uint8)
    for _ in range(rng.integers(OBJECTS[0], OBJECTS[1] + 1)):
        label = int(rng.integers(1, len(CLASSES)))
        radius = rng.uniform(*RADIUS)
        centre = rng.uniform(0.1, 0.9, size=2)
        angle = rng.uniform(0, 2 * np.pi)
        down, right = rows - centre[0], columns - centre[1]
        u = (right * np.cos(angle) + down * np.sin(angle)) / radius
        v = (down * np.cos(angle) - right * np.sin(angle)) / radius
        inside = _FORMS[label](u, v)
        hue = label / len(CLASSES) + rng.normal(0, HUE_SPREAD)
        colour = _colour(hue, rng.uniform(0.4, 0.8), rng.uniform(0.5, 0.9))
        image = np.where(inside, colour * _texture(rng, rows, columns), image)
        labels[inside] = label
    image = image + rng.normal(0, NOISE, size=image.shape)
    pixels = (np.clip(image, 0, 1) * 255).astype(np.uint8)
    return pixels, _with_void_border(labels)


def _with_void_border(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return labels with VOID on the two pixels beside every change of class."""
    border = np.zeros(labels.shape, dtype=bool)
    down = labels[1:] != labels[:-1]
    right = labels[:, 1:] != labels[:, :-1]
    border[1:] |= down
    border[:-1] |= down
    border[:, 1:] |= right
    border[:, :-1] |= right
    return np.where(border, np.uint8(VOID), labels)


def _texture(rng: np.random.Generator, rows: Array, columns: Array) -> Array:
    """Return stripes of random direction, wavelength and contrast, float [1, H, W] round 1."""
    angle, phase = rng.uniform(0, 2 * np.pi, size=2)
    frequency = rng.uniform(3, 12)
    wave = np.sin(2 * np.pi * frequency * (rows * np.sin(angle) + columns * np.cos(angle)) + phase)
    stripes: Array = 1 + rng.uniform(0.05, 0.3) * wave[None]
    return stripes


def _colour(hue: float, saturation: float, value: float) -> Array:
    """Return an RGB colour, float [3, 1, 1] in 0..1, from hue (in turns), saturation and value."""
    turns = (hue + np.array([0, 2 / 3, 1 / 3])) % 1
    ramp = np.clip(np.abs(turns * 6 - 3) - 1, 0, 1)
    colour: Array = (value * (1 - saturation + saturation * ramp))[:, None, None]
    return colour


# Whether points with coordinates u, v (in radii from the centre, turned) lie in the object.
_FORMS: dict[int, Callable[[Array, Array], NDArray[np.bool_]]] = {
    1: lambda u, v: u**2 + v**2 < 1,
    2: lambda u, v: np.maximum(abs(u), abs(v)) < 0.85,
    3: lambda u, v: (v < 0.6) & (abs(u) * 1.73 < v + 1),
    4: lambda u, v: abs(u**2 + v**2 - 0.65) < 0.35,
    5: lambda u, v: (np.minimum(abs(u), abs(v)) < 0.3) & (np.maximum(abs(u), abs(v)) < 1),
    6: lambda u, v: (abs(u) < 1.2) & (abs(v) < 0.35),
}

SOURCE = GeneratedSource(classes=CLASSES, generate=generate)
