"""Tiny trees in the exact layouts of the real data sets, whose licences forbid shipping them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

Pixels = NDArray[np.uint8]

VOC_LABELS = (0, 3, 15)  # background, bird, person: dark, middle, bright
VOC_SIZES = ((90, 120), (40, 56), (72, 64), (120, 90))  # height, width; some below a crop of 64


def write_voc_tree(root: Path, *, train: int = 4, val: int = 2) -> Path:
    """Write `train` and `val` patches of two photographs as Pascal VOC 2012, and return `root`."""
    voc = root / "VOCdevkit" / "VOC2012"
    lists = voc / "ImageSets" / "Segmentation"
    for folder in (voc / "JPEGImages", voc / "SegmentationClass", lists):
        folder.mkdir(parents=True)
    names = [f"2007_{number:06d}" for number in range(train + val)]
    for number, name in enumerate(names):
        image = photograph_patch(number, VOC_SIZES[number % len(VOC_SIZES)])
        Image.fromarray(image).save(voc / "JPEGImages" / f"{name}.jpg")
        mask = Image.fromarray(labels_of(image)).convert("P")
        mask.putpalette(voc_palette())
        mask.save(voc / "SegmentationClass" / f"{name}.png")
    for split, stems in (("train", names[:train]), ("val", names[train:])):
        (lists / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems))
    return root


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
