"""Data sets that lie in files: which files, whether they are usable, what they hold.

A data set's own module says where its files are and how labels are read (`voc`, `segtrack`); what
all of them share stands here. Shapes: N images, C classes, H and W pixels.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from trainable.config import ConfigError, TrialConfig
from trainable.losses import VOID

MEAN_COLOUR = (124, 116, 104)  # ImageNet's mean, RGB, rounded: what lies around an image


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image and the files that its labels are read from."""

    image: Path
    masks: tuple[Path, ...]  # one for the whole image (VOC), or one per object (SegTrack-v2)
    classes: tuple[int, ...] = ()  # class of each mask, where there is one per object


@dataclass(frozen=True, kw_only=True)
class FileTree:
    """The files of a data set; `read_labels` gives uint8 [H, W] in 0..C-1 or VOID.

    Raises:
        ConfigError: A split is empty.
    """

    root: Path
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    classes: tuple[str, ...]
    read_labels: Callable[[Sample], NDArray[np.uint8]]

    def __post_init__(self) -> None:
        for name, samples in (("train", self.train), ("val", self.val)):
            if not samples:
                raise ConfigError(
                    f"{self.root}: the {name} split must hold at least one image, but is empty; "
                    "add images to its list"
                )


def data_root(config: TrialConfig, *holds: str) -> Path:
    """Return the folder that `config.data_root` names.

    Args:
        config: The trial.
        holds: The folders that must lie in it.

    Raises:
        ConfigError: No folder is named, or it lacks one of `holds`.
    """
    way_out = f"`--data-root DIR`, where DIR is the folder that holds {', '.join(holds)}"
    if not config.data_root:
        raise ConfigError(f"dataset={config.dataset} lies in files and needs {way_out}")
    root = Path(config.data_root).expanduser()
    for name in holds:
        if not (root / name).is_dir():
            raise ConfigError(f"{root / name}: the folder must exist; give {way_out}")
    return root


def check(tree: FileTree) -> None:
    """Decode every image and mask once, and refuse the first, in list order, that is not usable.

    Raises:
        ConfigError: A file is missing or not an image, a mask has not its image's size, or a label
            is neither a class nor VOID.
    """

    def check_one(sample: Sample) -> None:
        _read(tree, sample)

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(check_one, tree.train + tree.val):
            pass


def fingerprint(tree: FileTree) -> str:
    """Return what identifies the content, 16 hex digits.

    It follows from the bytes, names and order of the files, the classes and the split, not from
    where the tree lies.
    """

    def content(sample: Sample) -> list[tuple[str, str]]:
        paths = (sample.image, *sample.masks)
        return [(path.relative_to(tree.root).as_posix(), _sha256(path)) for path in paths]

    digest = hashlib.sha256(json.dumps(tree.classes).encode())
    with ThreadPoolExecutor() as pool:
        for name, samples in (("train", tree.train), ("val", tree.val)):
            for sample, contents in zip(samples, pool.map(content, samples), strict=True):
                digest.update(json.dumps([name, contents, sample.classes]).encode())
    return digest.hexdigest()[:16]


def decode(tree: FileTree, samples: Sequence[Sample]) -> dict[str, Tensor]:
    """Read samples into tensors as large as the largest of them, each image at the top left.

    Returns:
        `images` uint8 [N, 3, H, W] RGB with MEAN_COLOUR around them, `labels` uint8 [N, H, W] with
        VOID around them, `sizes` int64 [N, 2], each image's own height and width.

    Raises:
        ConfigError: As `check`.
    """
    with ThreadPoolExecutor() as pool:
        sizes = torch.tensor(list(pool.map(lambda sample: _size(sample.image), samples)))
        height, width = sizes.amax(dim=0).tolist()
        mean = torch.tensor(MEAN_COLOUR, dtype=torch.uint8).view(1, 3, 1, 1)
        images = mean.repeat(len(samples), 1, height, width)
        labels = torch.full((len(samples), height, width), VOID, dtype=torch.uint8)

        def fill(index: int) -> None:
            image, label = (torch.from_numpy(array) for array in _read(tree, samples[index]))
            h, w = label.shape
            images[index, :, :h, :w] = image.permute(2, 0, 1)
            labels[index, :h, :w] = label

        for _ in pool.map(fill, range(len(samples))):
            pass
    return {"images": images, "labels": labels, "sizes": sizes}


def read_image(path: Path) -> Image.Image:
    """Decode an image file, in the mode it has.

    Raises:
        ConfigError: The file is missing or not an image.
    """
    with _opened(path) as image:
        image.load()
        return image


def _read(tree: FileTree, sample: Sample) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the image, [H, W, 3], and its labels, [H, W], checked against each other."""
    image = np.array(read_image(sample.image).convert("RGB"))
    height, width = image.shape[:2]
    for mask in sample.masks:
        h, w = _size(mask)
        if (h, w) != (height, width):
            raise ConfigError(
                f"{mask}: a mask must have its image's size, {width}x{height}, but has {w}x{h}; "
                "restore the mask of this image"
            )
    labels = tree.read_labels(sample)
    wrong = labels[(labels >= len(tree.classes)) & (labels != VOID)]
    if wrong.size:
        raise ConfigError(
            f"{sample.masks[0]}: labels must lie in 0..{len(tree.classes) - 1} or be {VOID} "
            f"(void), but got {wrong.min()}; restore the mask that the data set ships"
        )
    return image, labels


def _size(path: Path) -> tuple[int, int]:
    """Return height and width from the file's header."""
    with _opened(path) as image:
        return image.height, image.width


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as image:
            yield image
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: the file must exist; restore it, or take its name off the list"
        ) from error
    # Pillow raises SyntaxError and ValueError, too, for broken files.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"{path}: must be an image that Pillow can read, but {reason}; restore the file"
        ) from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
