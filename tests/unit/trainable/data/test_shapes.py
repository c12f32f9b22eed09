"""The embedded data set: what it follows from, what it holds, and its void borders."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainable.config.loading import load_config
from trainable.config.schema import TrialConfig
from trainable.data.sources import shapes
from trainable.data.sources.labels import VOID


def config_of(**values: Any) -> TrialConfig:
    sizes = {"image_px": 32, "train_images": 12, "val_images": 8}
    return TrialConfig(dataset="shapes", **sizes | values)


def tensors(config: TrialConfig) -> list[Tensor]:
    return [tensor for split in shapes.generate(config) for tensor in split]


def test_images_and_labels_have_the_sizes_of_the_config() -> None:
    found = tensors(config_of(image_px=20, train_images=3, val_images=2))
    assert [tuple(t.shape) for t in found] == [
        (3, 3, 20, 20),
        (3, 20, 20),
        (2, 3, 20, 20),
        (2, 20, 20),
    ]
    assert {t.dtype for t in found} == {torch.uint8}
    assert len(set(found[0].flatten().tolist())) > 100  # pixels use the range of a byte


def test_the_same_config_gives_the_same_images() -> None:
    for one, two in zip(tensors(config_of()), tensors(config_of()), strict=True):
        assert torch.equal(one, two)


def test_every_image_depends_on_the_data_seed() -> None:
    for one, two in zip(tensors(config_of()), tensors(config_of(data_seed=1)), strict=True):
        assert (one != two).flatten(1).any(dim=1).all()


def test_an_image_does_not_depend_on_how_many_there_are_or_on_the_training() -> None:
    few, many = tensors(config_of(train_images=2)), tensors(config_of(seed=5, iterations=1))
    for one, two in zip(few, many, strict=True):
        assert torch.equal(one, two[: len(one)])


def test_no_image_stands_twice_within_or_across_splits_and_data_seeds() -> None:
    configs = [config_of(data_seed=data_seed, train_images=60) for data_seed in (0, 1)]
    images = torch.cat([images for config in configs for images, _ in shapes.generate(config)])
    assert len({image.numpy().tobytes() for image in images}) == 2 * (60 + 8)


def test_both_splits_of_the_demo_hold_every_class() -> None:
    assert len(shapes.CLASSES) >= 1 + 5
    for _, labels in shapes.generate(load_config()):
        assert set(labels.flatten().tolist()) == {*range(len(shapes.CLASSES)), VOID}


def test_void_lies_on_both_sides_of_every_change_of_class_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with_void = tensors(config_of())[1].numpy()
    monkeypatch.setattr(shapes, "_with_void_border", lambda labels: labels)
    drawn = tensors(config_of())[1].numpy()
    border = np.stack([beside_a_change(labels) for labels in drawn])
    assert border.any(axis=(1, 2)).all()
    np.testing.assert_array_equal(with_void, np.where(border, VOID, drawn))


def beside_a_change(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return where one of a pixel's four neighbours has another class."""
    side = len(labels)
    padded = np.pad(labels, 1, mode="edge")
    steps = ((0, 1), (2, 1), (1, 0), (1, 2))
    neighbours = [padded[down : down + side, right : right + side] for down, right in steps]
    found: NDArray[np.bool_] = np.any([labels != other for other in neighbours], axis=0)
    return found
