"""Layouts that need no `dataset.yaml`, each as its makers write it, in a few pixels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from own_trees import config_of, describe, write_image, write_mask, write_pairs
from trees import write_list

from trainable.config.schema import ConfigError
from trainable.data import datasets
from trainable.data.check import check
from trainable.data.datasets import DataSet
from trainable.data.sources.labels import VOID


def loaded(root: Path, cache: Path) -> DataSet:
    return datasets.load(config_of(root, cache_dir=str(cache)))


def rows_of(data: DataSet, number: int = 0) -> list[int]:
    return [int(one) for one in data.train.run(number, number + 1)[1][0][:, 0]]


def cityscapes(root: Path) -> None:
    for split in ("train", "val"):
        name = f"{split}/ulm/ulm_000001_000019"
        write_image(root / f"leftImg8bit/{name}_leftImg8bit.png")
        write_mask(root / f"gtFine/{name}_gtFine_labelIds.png", 7, 26, 4)
        write_mask(root / f"gtFine/{name}_gtFine_color.png", (1, 2, 3), (4, 5, 6))
        (root / f"gtFine/{name}_gtFine_polygons.json").write_text("{}")


def ade20k(root: Path) -> None:
    for split in ("training", "validation"):
        write_image(root / f"images/{split}/ADE_{split}_1.jpg")
        write_mask(root / f"annotations/{split}/ADE_{split}_1.png", 0, 1, 150)
    rows = "".join(f"{n}\t0.1\t1\t1\t1\tname{n}, other\n" for n in range(1, 151))
    (root / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tStuff\tName\n" + rows)


def camvid(root: Path) -> None:
    for number in range(4):
        write_image(root / f"701_StillsRaw_full/0001TP_{number}.png")
        write_mask(root / f"LabeledApproved_full/0001TP_{number}_L.png", (64, 128, 64), (0, 0, 0))
    (root / "label_colors.txt").write_text("64 128 64\tAnimal\n192 0 128\tArchway\n0 0 0\t\tVoid\n")


def camvid_of_segnet(root: Path) -> None:
    for split in ("train", "val", "test"):
        write_image(root / f"{split}/0001TP_{split}.png")
        write_mask(root / f"{split}annot/0001TP_{split}.png", 0, 10, 11)


def labelme(root: Path) -> None:
    write_pairs(root, 0, 1, VOID, images="JPEGImages", masks="SegmentationClassPNG", kind=".jpg")
    (root / "class_names.txt").write_text("_background_\ncat\n")


def voc_like(root: Path) -> None:
    write_pairs(root, 0, 1, VOID, images="JPEGImages", masks="SegmentationClass", kind=".jpg")
    (root / "class_names.txt").write_text("background\ncat\n")
    write_list(root / "ImageSets/Segmentation/train.txt", ["a0", "a1", "a2"])
    write_list(root / "ImageSets/Segmentation/val.txt", ["a3"])


@pytest.mark.parametrize(
    ("write", "classes", "first", "rows"),
    [
        (cityscapes, 19, ("road", "sidewalk"), [0, 13, VOID] * 2),
        (ade20k, 150, ("name1", "name2"), [VOID, 0, 149] * 2),
        (camvid, 2, ("Animal", "Archway"), [0, VOID] * 3),
        (camvid_of_segnet, 11, ("sky", "building"), [0, 10, VOID] * 2),
        (labelme, 2, ("background", "cat"), [0, 1, VOID] * 2),
        (voc_like, 2, ("background", "cat"), [0, 1, VOID] * 2),
    ],
)
def test_a_layout_of_its_makers_needs_no_file(
    tmp_path: Path,
    write: Callable[[Path], None],
    classes: int,
    first: tuple[str, ...],
    rows: list[int],
) -> None:
    root = tmp_path / "data"
    write(root)
    data = loaded(root, tmp_path / "cache")
    assert len(data.classes) == classes
    assert data.classes[:2] == first
    assert rows_of(data) == rows
    assert len(data.val) >= 1
    about, findings = check(root)
    assert "a data set of your own" in about[0]
    assert findings == []


def test_lists_of_vocs_layout_are_its_splits(tmp_path: Path) -> None:
    voc_like(tmp_path / "data")
    data = loaded(tmp_path / "data", tmp_path / "cache")
    assert (len(data.train), len(data.val)) == (3, 1)


@pytest.mark.parametrize(
    ("values", "classes", "rows"),
    [
        ((0, 255), ("background", "object"), [0, 1] * 3),
        ((0, 1, 255), ("background", "class 1"), [0, 1, VOID] * 2),
        ((3, 9), ("class 3", "class 9"), [0, 1] * 3),
    ],
)
@pytest.mark.parametrize("pattern", ["{split}/{kind}", "{kind}/{split}", "{kind}"])
def test_images_beside_masks_have_a_class_for_each_value(
    tmp_path: Path,
    pattern: str,
    values: tuple[int, ...],
    classes: tuple[str, ...],
    rows: list[int],
) -> None:
    root = tmp_path / "data"
    for split in ("train", "val"):
        images, masks = (pattern.format(kind=kind, split=split) for kind in ("images", "masks"))
        write_pairs(root, *values, count=3, images=images, masks=masks)
    data = loaded(root, tmp_path / "cache")
    assert data.classes == classes
    assert rows_of(data) == rows


def test_a_root_one_level_too_high_is_found_and_one_too_low_is_said(tmp_path: Path) -> None:
    root = describe(write_pairs(tmp_path / "data/own", 0, 1), "classes: [sky, road]\n")
    assert loaded(root.parent, tmp_path / "cache").classes == ("sky", "road")
    assert check(root.parent)[1] == []
    with pytest.raises(ConfigError, match=rf"but does not; name {root}, which holds one$"):
        loaded(root / "images", tmp_path / "cache")


def test_a_folder_of_nothing_is_refused_with_the_command_that_describes_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"trainable\.prepare init"):
        loaded(tmp_path, tmp_path / "cache")


def test_too_many_values_are_no_classes(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "data", 0, 1, count=2)
    from PIL import Image

    grey = np.arange(300, dtype=np.uint16).reshape(6, 50)
    for number in range(2):
        write_image(root / f"images/a{number}.png")
        Image.fromarray(grey).save(root / f"masks/a{number}.png")
    with pytest.raises(ConfigError, match="at most 255 values, but hold 300"):
        loaded(root, tmp_path / "cache")
