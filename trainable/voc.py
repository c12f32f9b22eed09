"""Pascal VOC 2012: `VOCdevkit/VOC2012/{JPEGImages,SegmentationClass,ImageSets/Segmentation}`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainable import files
from trainable.config import ConfigError, TrialConfig

FOLDER = "VOCdevkit/VOC2012"
CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip


def index(config: TrialConfig) -> files.FileTree:
    """Return the files that the lists `train.txt` and `val.txt` name.

    Raises:
        ConfigError: The folder or a list is missing, or a list is empty.
    """
    root = files.data_root(config, FOLDER)
    return files.FileTree(
        root=root,
        train=_samples(root, "train"),
        val=_samples(root, "val"),
        classes=CLASSES,
        read_labels=read_labels,
    )


def read_labels(sample: files.Sample) -> NDArray[np.uint8]:
    """Return the indices of a palette PNG: they are the labels, 255 is void.

    Raises:
        ConfigError: The mask holds colours, not indices.
    """
    path = sample.masks[0]
    mask = files.read_image(path)
    if mask.mode not in ("P", "L"):
        raise ConfigError(
            f"{path}: a mask must be a palette or grey PNG (mode P or L) whose indices are the "
            f"labels, but has mode {mask.mode}; restore the mask that the data set ships"
        )
    return np.array(mask)


def _samples(root: Path, image_set: str) -> tuple[files.Sample, ...]:
    # Imported here: it costs a second and the embedded data set does without.
    from torchvision.datasets import VOCSegmentation

    try:
        listed = VOCSegmentation(root, year="2012", image_set=image_set, download=False)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{root / FOLDER}/ImageSets/Segmentation/{image_set}.txt: must be a readable list of "
            f"image names, but {error}; restore the list that the data set ships"
        ) from error
    return tuple(
        files.Sample(image=Path(image), masks=(Path(mask),))
        for image, mask in zip(listed.images, listed.masks, strict=True)
        if Path(image).suffix  # torchvision makes `.jpg` of a blank line
    )
