"""Data sets as uint8 tensors, with the fingerprint that names their content.

Shapes: N images with P pixels in all, image i h x w of them; C classes.
    images uint8 [3 * P], labels uint8 [P] in 0..C-1 or VOID, sizes int64 [N, 2]
Each image is stored whole, [3, h, w], one after the other, so none is padded to another's size.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from trainable.config.schema import TrialConfig
from trainable.data.decoded_cache import entry_of
from trainable.data.sources import file_tree
from trainable.data.sources.labels import VOID
from trainable.data.sources.source import FileSource, GeneratedSource, source_of


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images and labels of one split, and each image's own height and width in pixels.

    The sizes lie on the CPU wherever the images are; files may stand behind the tensors.
    """

    images: Tensor
    labels: Tensor
    sizes: Tensor

    @classmethod
    def of_equal(cls, images: Tensor, labels: Tensor) -> Split:
        """Return the split of images [N, 3, H, W] with labels [N, H, W]."""
        sizes = torch.tensor(labels.shape[1:]).expand(len(labels), 2)
        return cls(images=images.flatten(), labels=labels.flatten(), sizes=sizes)

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def nbytes(self) -> int:
        """Bytes of images and labels."""
        return self.images.nbytes + self.labels.nbytes

    @cached_property
    def starts(self) -> list[int]:
        """How many pixels lie before each image, and after the last."""
        return [0, *accumulate(height * width for height, width in self.sizes.tolist())]

    def to(self, device: torch.device) -> Split:
        """Return the split with images and labels on a device."""
        return Split(images=self.images.to(device), labels=self.labels.to(device), sizes=self.sizes)

    def run(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        """View neighbours of equal size, `last` excluded, as [n, 3, h, w] and [n, h, w]."""
        start, end = self.starts[first], self.starts[last]
        height, width = self.sizes[first].tolist()
        images = self.images[3 * start : 3 * end].view(-1, 3, height, width)
        return images, self.labels[start:end].view(-1, height, width)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Copy the images at `indices`, int64 [n], to the top left of one canvas.

        Returns:
            `images` uint8 [n, 3, H, W] and `labels` uint8 [n, H, W], with the largest height and
            width among them, and zeros and VOID where an image does not reach.
        """
        height, width = self.sizes[indices].amax(dim=0).tolist()
        images = self.images.new_zeros(len(indices), 3, height, width)
        labels = self.labels.new_full((len(indices), height, width), VOID)
        for place, index in enumerate(indices.tolist()):
            image, label = self.run(index, index + 1)
            h, w = label.shape[1:]
            images[place, :, :h, :w] = image[0]
            labels[place, :h, :w] = label[0]
        return images, labels

    def equal_sized(self, most: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all images and labels in order, neighbours of equal size together up to `most`."""
        first, sizes = 0, self.sizes.tolist()
        for last in range(1, len(self) + 1):
            if last == len(self) or last - first == most or sizes[last] != sizes[first]:
                yield self.run(first, last)
                first = last


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set ready to train on; `classes[0]` is the background."""

    train: Split
    val: Split
    classes: tuple[str, ...]
    fingerprint: str

    @property
    def nbytes(self) -> int:
        """Bytes of all images and labels."""
        return self.train.nbytes + self.val.nbytes

    def to(self, device: torch.device) -> DataSet:
        """Return the data set with images and labels on a device."""
        return dataclasses.replace(self, train=self.train.to(device), val=self.val.to(device))


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """What a plan needs to know of a data set.

    Attributes:
        fingerprint: The name of the data set's content, 16 hex digits.
        classes: The names of its classes, the background first.
        skipped: Images left out, since they cannot be decoded (`skip_bad_images`).
        warnings: What is suspect about the labels, one line each (see `label_check`).
    """

    fingerprint: str
    classes: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def describe_skipped(self) -> str:
        """Return how many images were left out and the first of them, empty where none was."""
        if not self.skipped:
            return ""
        more = f" and {len(self.skipped) - 3} more" if len(self.skipped) > 3 else ""
        count = f"left out {len(self.skipped)} images that cannot be decoded: "
        return count + ", ".join(self.skipped[:3]) + more

    def describe(self) -> list[str]:
        """Return in a line each what is to be known before any number is believed."""
        return [*filter(None, [self.describe_skipped()]), *map("warning: {}".format, self.warnings)]


def inspect(config: TrialConfig) -> DataFacts:
    """Check the data that `config` names, every file of it, without keeping it in memory.

    Data in files is decoded into the cache, if it is not there: see `decoded`.

    Raises:
        ConfigError: A folder, list, image or mask is missing or not usable (the file is named), or
            the cache cannot be written.
    """
    source = source_of(config.dataset)
    if isinstance(source, GeneratedSource):
        data = _generated(source, config)
        return DataFacts(fingerprint=data.fingerprint, classes=data.classes)
    tree = _tree(source, config)
    entry = entry_of(tree, config)
    return DataFacts(
        fingerprint=entry.fingerprint,
        classes=tree.classes,
        skipped=entry.skipped,
        warnings=entry.warnings,
    )


def load(config: TrialConfig) -> DataSet:
    """Generate the data set that `config` names, or map its decoded files into memory.

    Raises:
        ConfigError: As `inspect`.
    """
    source = source_of(config.dataset)
    if isinstance(source, GeneratedSource):
        return _generated(source, config)
    tree = _tree(source, config)
    entry = entry_of(tree, config)
    train, val = (
        Split(images=images, labels=labels, sizes=sizes)
        for images, labels, sizes in map(entry.split, tree.splits)
    )
    return DataSet(train=train, val=val, classes=tree.classes, fingerprint=entry.fingerprint)


def _generated(source: GeneratedSource, config: TrialConfig) -> DataSet:
    train, val = (Split.of_equal(*split) for split in source.generate(config))
    digest = hashlib.sha256()
    for split in (train, val):
        digest.update(split.images.numpy().tobytes())
        digest.update(split.labels.numpy().tobytes())
    fingerprint = digest.hexdigest()[:16]
    return DataSet(train=train, val=val, classes=source.classes, fingerprint=fingerprint)


def _tree(source: FileSource, config: TrialConfig) -> file_tree.FileTree:
    tree = source.index(config, file_tree.fail)
    file_tree.check_splits(tree)
    return tree
