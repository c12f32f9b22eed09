"""Tiny trees in the exact layouts of the real data sets, whose licences forbid shipping them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

Pixels = NDArray[np.uint8]

VOC = "VOCdevkit/VOC2012"
LISTS = f"{VOC}/ImageSets/Segmentation"
SBD_PARTS = ("Boundaries", "Segmentation", "CategoriesPresent")
VOC_LABELS = (0, 3, 15)  # background, bird, person: dark, middle, bright
VOC_SIZES = ((90, 120), (40, 56), (72, 64), (120, 90))  # height, width; some below a crop of 64


def write_voc_tree(root: Path, *, train: int = 4, val: int = 2, aug: bool = True) -> Path:
    """Write `train` and `val` patches of two photographs as Pascal VOC 2012, and return `root`.

    With `aug` the training images, and one of SBD's, lie in SegmentationClassAug, too.
    """
    names = [voc_name(number) for number in range(train + val)]
    for name in names:
        write_voc_pair(root, name)
    write_list(root / LISTS / "train.txt", names[:train])
    write_list(root / LISTS / "val.txt", names[train:])
    if aug:
        names_aug = [*names[:train], voc_name(train + val)]
        for name in names_aug:
            write_voc_pair(root, name, masks="SegmentationClassAug")
        write_list(root / LISTS / "train_aug.txt", names_aug)
    return root


def write_voc_pair(root: Path, name: str, *, masks: str = "SegmentationClass") -> None:
    """Write the patch that a name stands for, and its labels as a palette PNG."""
    image = voc_image(name)
    images, masks_folder = root / VOC / "JPEGImages", root / VOC / masks
    for folder in (images, masks_folder):
        folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(images / f"{name}.jpg")
    mask = Image.fromarray(labels_of(image)).convert("P")
    mask.putpalette(voc_palette())
    mask.save(masks_folder / f"{name}.png")


def write_sbd_tree(root: Path, *, train: Iterable[int], val: Iterable[int]) -> Path:
    """Write patches as SBD, by the numbers that VOC's names have, and return `root`.

    Where VOC has an object SBD has the same without the void pixels, and class 1 added in a corner.
    """
    for folder in ("img", "cls"):
        (root / folder).mkdir(parents=True)
    for split, numbers in (("train", train), ("val", val)):
        names = [voc_name(number) for number in numbers]
        for name in names:
            image = voc_image(name)
            Image.fromarray(image).save(root / "img" / f"{name}.jpg")
            write_sbd_mask(root / "cls" / f"{name}.mat", sbd_labels_of(image))
        write_list(root / f"{split}.txt", names)
    return root


def write_sbd_mask(path: Path, labels: Pixels, *, compressed: bool = True) -> None:
    """Write MATLAB's 1 x 1 struct array, with a sparse boundary for each class, as SBD ships it."""
    import scipy.io
    import scipy.sparse

    content = np.empty((1, 1), dtype=[(part, object) for part in SBD_PARTS])
    boundaries = np.empty((20, 1), dtype=object)
    for label in range(20):
        boundaries[label, 0] = scipy.sparse.csc_matrix(labels == label + 1)
    present = np.unique(labels[labels > 0])[:, None]
    content[0, 0] = (boundaries, labels, present)
    scipy.io.savemat(path, {"GTcls": content}, do_compression=compressed)


def write_list(path: Path, lines: Iterable[str]) -> None:
    """Write one line each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def voc_name(number: int) -> str:
    """Return the name of patch `number`, as VOC names images."""
    return f"2007_{number:06d}"


def voc_image(name: str) -> Pixels:
    """Return the patch that a name stands for, before it is a JPEG."""
    number = int(name.partition("_")[2])
    return photograph_patch(number, VOC_SIZES[number % len(VOC_SIZES)])


def write_segtrack_tree(root: Path, *, frames: int = 10) -> Path:
    """Write the videos `birdfall` (one object) and `bmx` (two), and return `root`."""
    for video, objects in (("birdfall", 1), ("bmx", 2)):
        images, masks = root / "JPEGImages" / video, root / "GroundTruth" / video
        mask_folders = [masks] if objects == 1 else [masks / str(k + 1) for k in range(objects)]
        for folder in (images, *mask_folders, root / "ImageSets"):
            folder.mkdir(parents=True, exist_ok=True)
        stems = [f"{video}_{number:05d}" for number in range(frames)]
        for number, stem in enumerate(stems):
            image = photograph_patch(number, (40, 56))
            suffix = (".png", ".bmp")[number % 2]
            Image.fromarray(image).save(images / f"{stem}{suffix}")
            for k, folder in enumerate(mask_folders):
                mask_suffix = (".png", ".bmp")[k]
                Image.fromarray(object_mask(k)).save(folder / f"{stem}{mask_suffix}")
        lines = [f"{video}/", *stems]
        (root / "ImageSets" / f"{video}.txt").write_text("".join(f"{line}\n" for line in lines))
    (root / "ImageSets" / "all.txt").write_text("birdfall\nbmx\n")
    return root


def photograph_patch(number: int, size: tuple[int, int]) -> Pixels:
    """Return patch `number` of the photographs, every third pixel, uint8 [height, width, 3]."""
    photograph = photographs()[number % 2]
    height, width = size
    top, left = 13 * number % 60, 29 * number % 240
    return photograph[top:, left:][: 3 * height : 3, : 3 * width : 3]


@cache
def photographs() -> list[Pixels]:
    """Return scikit-learn's two photographs, uint8 [427, 640, 3]."""
    return list(load_sample_images().images)


def labels_of(image: Pixels) -> Pixels:
    """Return VOC labels by brightness, void on the outermost two pixels and between regions."""
    region = np.digitize(image.mean(axis=-1), (85, 170))
    labels: Pixels = np.array(VOC_LABELS, dtype=np.uint8)[region]
    labels[:, 1:][region[:, 1:] != region[:, :-1]] = 255
    inner = np.zeros(labels.shape, dtype=bool)
    inner[2:-2, 2:-2] = True
    labels[~inner] = 255
    return labels


def sbd_labels_of(image: Pixels) -> Pixels:
    """Return VOC labels as SBD has them: no void, and aeroplane in the top left corner."""
    labels = labels_of(image)
    labels[labels == 255] = 0
    labels[:4, :4] = 1
    return labels


def object_mask(number: int) -> Pixels:
    """Return an RGB mask [40, 56, 3]: object 0 left, object 1 right, columns 20 to 30 in both.

    An uncertain column stands left and right of each object.
    """
    left, right = ((5, 30), (20, 50))[number]
    mask = np.zeros((40, 56, 3), dtype=np.uint8)
    mask[10:30, left:right] = 255
    mask[10:30, [left - 1, right]] = 128
    return mask


def voc_palette() -> list[int]:
    """Return VOC's 256 colours as r, g, b, r, ...: the bits of an index, spread over channels."""
    bits = [
        [
            sum((index >> (3 * bit + channel) & 1) << (7 - bit) for bit in range(8))
            for channel in range(3)
        ]
        for index in range(256)
    ]
    return [value for colour in bits for value in colour]
