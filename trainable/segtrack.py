"""SegTrack-v2, frames of videos with one mask per object.

    JPEGImages/<folder>/<stem>           png or bmp, mixed, within a video too
    GroundTruth/<folder>/<stem>          one object
    GroundTruth/<folder>/<k>/<stem>      several objects, k = 1, 2, ...
    ImageSets/<video>.txt                first line <folder>, then the stems

No split is published. Class mIoU needs every class on both sides, so frames are split, not videos:
`interleave` draws one frame in five, whose neighbours, near duplicates, stay in training (a known
leak, which flatters the numbers); `block` takes a contiguous fifth of each video and leaks only at
its ends.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainable import files
from trainable.config import ConfigError, TrialConfig
from trainable.config_files import PRESET_DIR, read_yaml
from trainable.losses import VOID

TABLE_DIR = PRESET_DIR / "segtrack"
SUFFIXES = (".bmp", ".png")


def index(config: TrialConfig) -> files.FileTree:
    """Return the frames of the videos on disk, split by `segtrack_split` and `data_seed`.

    Raises:
        ConfigError: A folder, list or frame is missing, or the class table does not fit the videos.
    """
    root = files.data_root(config, "JPEGImages", "GroundTruth", "ImageSets")
    table_file = TABLE_DIR / f"{config.segtrack_classes}.yaml"
    table: dict[str, list[str]] = read_yaml(table_file)
    classes = ("background", *dict.fromkeys(name for names in table.values() for name in names))
    train: list[files.Sample] = []
    val: list[files.Sample] = []
    for video, folder, stems in _videos(root):
        if video not in table:
            raise ConfigError(
                f"{root}/ImageSets/{video}.txt: {table_file} must list the objects of the video, "
                f"but knows only {', '.join(table)}; add it there, or take the video away"
            )
        objects = _objects(root / "GroundTruth" / folder, table[video], table_file)
        images = _by_stem(root / "JPEGImages" / folder, stems)
        masks = zip(*(_by_stem(path, stems) for path in objects), strict=True)
        indices = tuple(classes.index(name) for name in table[video])
        chosen = val_frames(
            len(stems), split=config.segtrack_split, seed=f"{config.data_seed} {video}"
        )
        for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
            sample = files.Sample(image=image, masks=mask, classes=indices)
            (val if number in chosen else train).append(sample)
    return files.FileTree(
        root=root, train=tuple(train), val=tuple(val), classes=classes, read_labels=read_labels
    )


def val_frames(count: int, *, split: str, seed: str) -> set[int]:
    """Return which of `count` frames validate: a fifth, rounded, and at least one."""
    draw = random.Random(seed)
    fifth = max(1, round(count / 5))
    if split == "interleave":
        return set(draw.sample(range(count), fifth))
    start = draw.randrange(count - fifth + 1)
    return set(range(start, start + fifth))


def read_labels(sample: files.Sample) -> NDArray[np.uint8]:
    """Return the class of the last object that is certain at each pixel.

    A mask is 255 on its object and 0 off it; a value between is uncertain, which makes a pixel
    VOID where no object is certain.
    """
    masks = np.stack([np.array(files.read_image(path).convert("RGB")) for path in sample.masks])
    certain = (masks == 255).all(axis=-1)
    uncertain = (masks > 0).any(axis=-1) & ~certain
    labels = np.where(uncertain.any(axis=0), VOID, 0).astype(np.uint8)
    for where, label in zip(certain, sample.classes, strict=True):
        labels[where] = label
    return labels


def _videos(root: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Yield name, folder and stems of each video on disk, in the order of the names."""
    present = {path.name for path in (root / "JPEGImages").iterdir() if path.is_dir()}
    for path in sorted((root / "ImageSets").glob("*.txt")):
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{path}: must be a readable list of frames, but {error}; restore it"
            ) from error
        folder, *stems = [line for line in lines if line] or [""]
        folder = folder.strip("/")
        # `all.txt` lists the videos, not frames.
        if path.stem != "all" and folder in present and stems:
            present.discard(folder)
            yield path.stem, folder, list(dict.fromkeys(stems))
    if present:
        folder = min(present)
        raise ConfigError(
            f"{root}/JPEGImages/{folder}: a list in {root}/ImageSets must name the folder in its "
            "first line and frames below, but none does; restore the list, or take the folder away"
        )


def _objects(folder: Path, names: list[str], table_file: Path) -> list[Path]:
    """Return the folder of each object's masks, in the order of the class table."""
    found = [path.name for path in folder.glob("*") if path.is_dir() and path.name.isdecimal()]
    expected = [str(k) for k in range(1, len(names) + 1)]
    if not found and len(names) == 1:
        return [folder]
    if set(found) != set(expected):
        raise ConfigError(
            f"{folder}: must hold the object folders {', '.join(expected)} as in {table_file}, "
            f"but holds {', '.join(sorted(found, key=int)) or 'none'}; make the two agree"
        )
    return [folder / name for name in expected]


def _by_stem(folder: Path, stems: list[str]) -> list[Path]:
    # Where a stem has both kinds, the order of the suffixes lets png win.
    found = {
        path.stem: path
        for suffix in SUFFIXES
        for path in sorted(folder.glob("*"))
        if path.suffix.lower() == suffix
    }
    for stem in stems:
        if stem not in found:
            raise ConfigError(
                f"{folder / stem}: a file with this stem and a suffix of {', '.join(SUFFIXES)} "
                "must exist; restore it, or take the stem off the list in ImageSets"
            )
    return [found[stem] for stem in stems]
