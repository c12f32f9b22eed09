"""What the labels of a split look like as a whole: what cannot be right, and what is suspect.

A mask with colours for labels, or with another data set's labels, decodes without a fault. Much of
it a mask file gives away by itself (`voc`, `segtrack`); the rest shows in what all masks of a split
hold together. What cannot be right is refused. What may be right but seldom is, is a warning, which
goes with the data to everyone who reads its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trainable.config.schema import ConfigError
from trainable.data.sources import file_tree
from trainable.data.sources.labels import VOID

SUSPECT_SHARE = 1 / 20  # of a split's images
# Labels that begin at 1 leave 0 to little or nothing, and have the background, which is most, at 1.
MOST_AT_0, LEAST_AT_1 = 0.1, 0.5  # of the pixels that count


@dataclass(kw_only=True)
class LabelCheck:
    """The labels of a split, taken in image by image.

    Attributes:
        tree: The data set.
        split: The name of the split.
        counts: Pixels of each label in all images, int64 [256].
        images: The number of images taken in.
        binary: Masks that hold 0 and VOID alone; VOC has at least one object in each.
        background_only: Images without an object.
        without_background: Images that are objects all over.
    """

    tree: file_tree.FileTree
    split: str
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(VOID + 1, dtype=np.int64))
    images: int = 0
    binary: list[str] = field(default_factory=list)
    background_only: list[str] = field(default_factory=list)
    without_background: list[str] = field(default_factory=list)

    def add(self, sample: file_tree.Sample, counts: NDArray[np.int64]) -> None:
        """Take in an image.

        Args:
            sample: The files of the image.
            counts: The number of its pixels that have each label, int64 [256].
        """
        self.images += 1
        self.counts += counts
        name = self.tree.relative(sample.masks[0])
        has_objects = bool(counts[1:VOID].any())
        if not has_objects and counts[0]:
            # A mask per object is black and white by itself: its folder tells the class. And where
            # the values of masks are described, so is void.
            is_binary = counts[VOID] and not sample.classes and not self.tree.labels
            (self.binary if is_binary else self.background_only).append(name)
        elif has_objects and not counts[0]:
            self.without_background.append(name)

    def check(self, report: file_tree.FaultHandler = file_tree.fail) -> None:
        """Report what cannot be right: a split of void, or of masks that are black and white."""
        file_tree.check_counts(self.tree, self.split, self.counts, report)
        if self.images and len(self.binary) == self.images:
            report(
                ConfigError(
                    f"{self.tree.root}: the masks of the {self.split} split must hold labels 0 to "
                    f"{len(self.tree.classes) - 1}, but hold 0 and {VOID} alone ({VOID} is void, "
                    f"not an object; the first is {self.binary[0]}); restore the masks that the "
                    "data set ships"
                )
            )

    def warnings(self) -> list[str]:
        """Return what is suspect, one line each; a data set without void is not."""
        held = np.flatnonzero(self.counts[:VOID])
        shares = self.counts[:VOID] / max(1, self.counts[:VOID].sum())
        said = []
        if self.binary:
            said.append(
                f"{self._some(self.binary)} hold 0 and {VOID} alone, as a mask in black and white "
                f"does, where {VOID} is void"
            )
        if len(held) == 1:
            only = self.tree.classes[held[0]] if held[0] < len(self.tree.classes) else held[0]
            said.append(f"all pixels that count are of one class, {only}")
            return self._lines(said)
        if not self.tree.has_background:
            return self._lines(said)
        if self._is_off_by_one(shares):
            said.append(
                f"label 1 has {shares[1]:.1%} and label 0 has {shares[0]:.1%} of the pixels that "
                "count: labels that begin at 1 are off by one, 0 is the background"
            )
        elif self._is_suspect(self.without_background):
            said.append(f"{self._some(self.without_background)} have no background")
        if self._is_suspect(self.background_only):
            said.append(f"{self._some(self.background_only)} have nothing but background")
        return self._lines(said)

    def _is_off_by_one(self, shares: NDArray[np.float64]) -> bool:
        if not self.counts[0]:
            return bool(self.counts[1])
        return bool(shares[0] < MOST_AT_0 and shares[1] >= LEAST_AT_1)

    def _is_suspect(self, images: list[str]) -> bool:
        return len(images) >= SUSPECT_SHARE * self.images > 0

    def _some(self, masks: list[str]) -> str:
        return f"{len(masks):,} of {self.images:,} masks (the first is {masks[0]})"

    def _lines(self, said: list[str]) -> list[str]:
        return [f"{self.split}: {line}" for line in said]


def warnings_of(train: LabelCheck, val: LabelCheck) -> list[str]:
    """Return what is suspect in two splits, and what the one that validates has alone."""
    alone = np.flatnonzero((val.counts[:VOID] > 0) & (train.counts[:VOID] == 0))
    names = [val.tree.classes[label] for label in alone if label < len(val.tree.classes)]
    said = [*train.warnings(), *val.warnings()]
    held = val.counts[: len(val.tree.classes)] + train.counts[: len(val.tree.classes)]
    nowhere = [name for name, count in zip(val.tree.classes, held, strict=True) if not count]
    if nowhere and val.tree.labels:  # who described the masks named one that is not there
        said.append(f"no mask has a pixel of {', '.join(nowhere)}")
    if names and train.images:
        said.append(f"{val.split}: no image of {train.split} has its {', '.join(names)}")
    return said
