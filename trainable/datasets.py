"""Data sets as uint8 tensors in memory, with the fingerprint that names their content.

Shapes: N images, H and W the largest height and width in the split, C classes.
    images uint8 [N, 3, H, W], labels uint8 [N, H, W] in 0..C-1 or VOID, sizes int64 [N, 2]
Images smaller than H x W lie at the top left; the rest holds the mean colour and VOID.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from trainable import files, segtrack, shapes, voc
from trainable.config import TrialConfig

FILE_DATASETS = {"voc2012": voc.index, "segtrackv2": segtrack.index}


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images and labels of one split, and each image's own height and width in pixels."""

    images: Tensor
    labels: Tensor
    sizes: Tensor

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set ready to train on; `classes[0]` is the background."""

    train: Split
    val: Split
    classes: tuple[str, ...]
    fingerprint: str


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """What a plan needs to know of a data set: its content's name, 16 hex digits, its classes."""

    fingerprint: str
    classes: tuple[str, ...]


def inspect(config: TrialConfig) -> DataFacts:
    """Check the data that `config` names, every file of it, without keeping it in memory.

    Raises:
        ConfigError: A folder, list, image or mask is missing or not usable; the file is named.
    """
    if config.dataset == "shapes":
        data = load(config)
        return DataFacts(fingerprint=data.fingerprint, classes=data.classes)
    tree = FILE_DATASETS[config.dataset](config)
    files.check(tree)
    return DataFacts(fingerprint=files.fingerprint(tree), classes=tree.classes)


def load(config: TrialConfig) -> DataSet:
    """Read or generate the data set that `config` names.

    Raises:
        ConfigError: As `inspect`.
    """
    classes: tuple[str, ...]
    if config.dataset == "shapes":
        train, val = shapes.generate(config)
        splits = [
            Split(images=images, labels=labels, sizes=_full_sizes(labels))
            for images, labels in (train, val)
        ]
        digest = hashlib.sha256()
        for split in splits:
            digest.update(split.images.numpy().tobytes())
            digest.update(split.labels.numpy().tobytes())
        classes, content = shapes.CLASSES, digest.hexdigest()[:16]
    else:
        tree = FILE_DATASETS[config.dataset](config)
        splits = [Split(**files.decode(tree, samples)) for samples in (tree.train, tree.val)]
        classes, content = tree.classes, files.fingerprint(tree)
    return DataSet(train=splits[0], val=splits[1], classes=classes, fingerprint=content)


def _full_sizes(labels: Tensor) -> Tensor:
    return torch.tensor(labels.shape[1:]).expand(len(labels), 2)
