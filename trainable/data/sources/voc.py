"""Pascal VOC 2012 in `VOCdevkit/VOC2012`, by itself or with SBD's masks for training.

    JPEGImages/<id>.jpg
    SegmentationClass/<id>.png              palette PNGs whose indices are the labels
    SegmentationClassAug/<id>.png           VOC's and SBD's masks in one folder
    ImageSets/Segmentation/{train,val,train_aug}.txt

`train_aug` (section 4: 10,582 images) is built by `python -m trainable.prepare voc-aug`; the
ready-made download is as good, whose list may be called `trainaug.txt` and name two paths a line.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from trainable.config.schema import ConfigError, TrialConfig
from trainable.data.sources import file_tree
from trainable.data.sources.images import Pixels, open_mask
from trainable.data.sources.labels import palette
from trainable.data.sources.source import FileSource

FOLDER = "VOCdevkit/VOC2012"
LISTS = f"{FOLDER}/ImageSets/Segmentation"
IMAGES = f"{FOLDER}/JPEGImages"
MASKS, MASKS_AUG = f"{FOLDER}/SegmentationClass", f"{FOLDER}/SegmentationClassAug"
CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip
BUILD_AUG = (
    "build it with `python -m trainable.prepare voc-aug --voc DIR --sbd DIR --out DIR`, or train "
    "on VOC's own images with `--set voc_train=train`"
)


def index(
    config: TrialConfig, report: file_tree.FaultHandler = file_tree.fail
) -> file_tree.FileTree:
    """Return the files that `val.txt` and the list of `config.voc_train` name.

    Raises:
        ConfigError: The folder, a list or the folder of SBD's masks is missing.
    """
    root = file_tree.data_root(config, FOLDER)
    train, val = (root / LISTS / f"{name}.txt" for name in ("train", "val"))
    masks, way_out = MASKS, file_tree.RESTORE_LIST
    if config.voc_train == "train_aug":
        masks, train, way_out = MASKS_AUG, list_aug(root), BUILD_AUG
        if not (root / masks).is_dir():
            report(ConfigError(f"{root / masks}: the folder must exist; {way_out}"))
    return file_tree.FileTree(
        root=root,
        train=_samples(
            root, masks, file_tree.read_list(train, report, way_out=way_out, names=_is_line)
        ),
        val=_samples(root, MASKS, file_tree.read_list(val, report, names=_is_line)),
        lists=(train, val),
        classes=CLASSES,
        read_mask=read_mask,
    )


def survey(config: TrialConfig, report: file_tree.FaultHandler) -> tuple[str, file_tree.Splits]:
    """Return what the data root is, in words, and its splits, `train_aug` among them if it can be.

    Raises:
        ConfigError: As `index`.
    """
    own, with_sbd = (dataclasses.replace(config, voc_train=name) for name in ("train", "train_aug"))
    splits = file_tree.checked_splits(index(own, report), report)
    root = file_tree.data_root(config, FOLDER)
    if not ((root / MASKS_AUG).exists() or list_aug(root).exists()):
        return "Pascal VOC 2012, without SBD's masks (train_aug)", splits
    splits["train_aug"] = file_tree.checked_splits(index(with_sbd, report), report)["train"]
    return "Pascal VOC 2012, with SBD's masks (train_aug)", splits


def _is_root(root: Path) -> bool:
    return (root / FOLDER).is_dir()


def read_mask(path: Path, content: bytes) -> Pixels:
    """Return the indices of a palette PNG: they are the labels, 255 is void.

    Raises:
        ConfigError: The mask cannot be decoded, or holds colours, or indices of other colours than
            VOC's or grey.
    """
    mask = open_mask(path, content)
    if mask.mode not in ("P", "L"):
        raise ConfigError(
            f"{path}: a mask must be a palette or grey PNG (mode P or L) whose indices are the "
            f"labels, but has mode {mask.mode}; restore the mask that the data set ships"
        )
    labels = np.asarray(mask)
    if mask.mode == "P":
        _check_colours(path, labels, mask.getpalette("RGB") or [])
    return labels


def _check_colours(path: Path, labels: Pixels, colours: list[int]) -> None:
    """Refuse labels that are places in a palette of one's own, as many programs save a picture.

    Args:
        path: The path of the mask.
        labels: The indices of its pixels.
        colours: Its palette as r, g, b, r, ...; it may end before an index.

    Raises:
        ConfigError: A label has neither VOC's colour nor the grey of its number.
    """
    wanted = palette()
    for label in np.unique(labels).tolist():
        colour = colours[3 * label : 3 * label + 3]
        if len(colour) == 3 and colour not in (wanted[3 * label : 3 * label + 3], [label] * 3):
            raise ConfigError(
                f"{path}: label {label} of a palette mask must have VOC's colour "
                f"{wanted[3 * label : 3 * label + 3]} or the grey of its number, but has {colour}: "
                "its indices are places in a palette, not labels; restore the mask that the data "
                "set ships"
            )


def list_aug(root: Path) -> Path:
    """Return the list of `train_aug`, under the name that is there."""
    ours, ready_made = (root / LISTS / name for name in ("train_aug.txt", "trainaug.txt"))
    return ready_made if ready_made.exists() and not ours.exists() else ours


def _is_line(line: str) -> bool:
    """Return whether a line of a list is the name of an image, or two paths inside of the tree."""
    paths = line.split(maxsplit=1)
    if len(paths) < 2 or "/" not in line:
        return file_tree.is_name(line)
    return all(file_tree.is_name(part) for path in paths for part in path.lstrip("/").split("/"))


def _samples(root: Path, masks: str, lines: Iterable[str]) -> tuple[file_tree.Sample, ...]:
    samples = []
    for line in lines:
        paths = line.split(maxsplit=1)
        if len(paths) == 2 and "/" in line:  # as in the ready-made list
            image, mask = (root / FOLDER / path.lstrip("/") for path in paths)
        else:
            image, mask = root / IMAGES / f"{line}.jpg", root / masks / f"{line}.png"
        samples.append(file_tree.Sample(image=image, masks=(mask,)))
    return tuple(samples)


SOURCE = FileSource(
    title="Pascal VOC 2012", holds=FOLDER, is_root=_is_root, index=index, survey=survey
)
