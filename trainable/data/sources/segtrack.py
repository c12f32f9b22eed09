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

import dataclasses
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from trainable.config.loading import PRESET_DIR, read_yaml
from trainable.config.schema import ConfigError, TrialConfig
from trainable.data.sources import file_tree
from trainable.data.sources.images import Pixels, open_mask, to_rgb
from trainable.data.sources.labels import VOID
from trainable.data.sources.source import FileSource

TABLE_DIR = PRESET_DIR / "segtrack"
SUFFIXES = (".bmp", ".png")
UNCERTAIN = 128  # stands for 1 to 254 in a mask


def index(
    config: TrialConfig, report: file_tree.FaultHandler = file_tree.fail
) -> file_tree.FileTree:
    """Return the frames of the videos on disk, split by `segtrack_split` and `data_seed`.

    Raises:
        ConfigError: A folder or list is missing, or the class table does not fit the videos.
    """
    root = file_tree.data_root(config, "JPEGImages", "GroundTruth", "ImageSets")
    table_file = TABLE_DIR / f"{config.segtrack_classes}.yaml"
    table: dict[str, list[str]] = read_yaml(table_file)
    classes = ("background", *dict.fromkeys(name for names in table.values() for name in names))
    train: list[file_tree.Sample] = []
    val: list[file_tree.Sample] = []
    lists: list[Path] = []
    for path, folder, stems in _videos(root, report):
        lists.append(path)
        video = path.stem
        if video not in table:
            report(
                ConfigError(
                    f"{path}: {table_file} must list the objects of the video, but knows only "
                    f"{', '.join(table)}; add it there, or take the video away"
                )
            )
            continue
        objects = _objects(root / "GroundTruth" / folder, table[video], table_file, report)
        if not objects:
            continue
        indices = tuple(classes.index(name) for name in table[video])
        chosen = val_frames(
            len(stems), split=config.segtrack_split, seed=f"{config.data_seed} {video}"
        )
        images = _by_stem(root / "JPEGImages" / folder, stems)
        masks = zip(*(_by_stem(path, stems) for path in objects), strict=True)
        for number, (image, mask) in enumerate(zip(images, masks, strict=True)):
            sample = file_tree.Sample(image=image, masks=mask, classes=indices)
            (val if number in chosen else train).append(sample)
    return file_tree.FileTree(
        root=root,
        train=tuple(train),
        val=tuple(val),
        lists=tuple(lists),
        classes=classes,
        read_mask=read_mask,
        merge=merge,
    )


def survey(config: TrialConfig, report: file_tree.FaultHandler) -> tuple[str, file_tree.Splits]:
    """Return what the data root is by every class table, in words, and its splits by the config's.

    Raises:
        ConfigError: As `index`.
    """
    names = sorted(path.stem for path in TABLE_DIR.glob("*.yaml"))
    trees = {
        name: index(dataclasses.replace(config, segtrack_classes=name), report) for name in names
    }
    tables = ", ".join(f"{name} has {len(tree.classes)} classes" for name, tree in trees.items())
    kind = (
        f"SegTrack-v2 ({tables}); read as segtrack_classes={config.segtrack_classes}, "
        f"segtrack_split={config.segtrack_split}"
    )
    return kind, file_tree.checked_splits(trees[config.segtrack_classes], report)


def _is_root(root: Path) -> bool:
    return (root / "GroundTruth").is_dir()


def val_frames(count: int, *, split: str, seed: str) -> set[int]:
    """Return which of `count` frames validate: a fifth, rounded, and at least one."""
    draw = random.Random(seed)  # nosec B311  # no secret
    fifth = max(1, round(count / 5))
    if split == "interleave":
        return set(draw.sample(range(count), fifth))
    start = draw.randrange(count - fifth + 1)
    return set(range(start, start + fifth))


def read_mask(path: Path, content: bytes) -> Pixels:
    """Return where an object is: 255 on it, 0 off it, UNCERTAIN at any colour between.

    Raises:
        ConfigError: As `images.open_mask`, or it is transparent somewhere, or has one colour that
            is not white: a label, not an object.
    """
    image = open_mask(path, content)
    if image.has_transparency_data and np.asarray(image.convert("RGBA"))[..., 3].min() < 255:
        raise ConfigError(
            f"{path}: a mask must be opaque, but is transparent somewhere, which may be how it "
            "tells the object; save it as black and white"
        )
    colours = to_rgb(path, image)
    _check_white(path, colours)
    lowest, highest = colours.min(axis=-1), colours.max(axis=-1)
    return np.where(lowest == 255, 255, np.where(highest == 0, 0, UNCERTAIN)).astype(np.uint8)


def _check_white(path: Path, colours: Pixels) -> None:
    present = np.unique(colours.reshape(-1, 3), axis=0)
    objects = present[present.any(axis=1)]
    if len(objects) == 1 and objects[0].min() < 255:
        raise ConfigError(
            f"{path}: the object of a mask must be white, but its one colour is "
            f"{objects[0].tolist()}; restore the mask that the data set ships, or save it as black "
            "and white"
        )


def merge(masks: Sequence[Pixels], classes: tuple[int, ...]) -> Pixels:
    """Return the class of the last object that is certain at each pixel.

    A pixel is VOID where no object is certain and one is uncertain.
    """
    uncertain = np.stack([mask == UNCERTAIN for mask in masks]).any(axis=0)
    labels = np.where(uncertain, VOID, 0).astype(np.uint8)
    for mask, label in zip(masks, classes, strict=True):
        labels[mask == 255] = label
    return labels


def _is_line(line: str) -> bool:
    """Return whether a line is a frame, or a video with slashes round it as the lists have it."""
    return file_tree.is_name(line.strip("/"))


def _videos(root: Path, report: file_tree.FaultHandler) -> Iterator[tuple[Path, str, list[str]]]:
    """Yield list, folder and stems of each video on disk, in the order of the names."""
    present = {path.name for path in (root / "JPEGImages").iterdir() if path.is_dir()}
    for path in sorted((root / "ImageSets").glob("*.txt")):
        folder, *stems = file_tree.read_list(path, report, names=_is_line) or [""]
        folder = folder.strip("/")
        # `all.txt` lists the videos, not frames.
        if path.stem != "all" and folder in present and stems:
            present.discard(folder)
            yield path, folder, stems
    for folder in sorted(present):
        report(
            ConfigError(
                f"{root}/JPEGImages/{folder}: a list in {root}/ImageSets must name the folder in "
                "its first line and frames below, but none does; restore the list, or take the "
                "folder away"
            )
        )


def _objects(
    folder: Path, names: list[str], table_file: Path, report: file_tree.FaultHandler
) -> list[Path]:
    """Return the folder of each object's masks, in the order of the class table."""
    found = [path.name for path in folder.glob("*") if path.is_dir() and path.name.isdecimal()]
    expected = [str(k) for k in range(1, len(names) + 1)]
    if not found and len(names) == 1:
        return [folder]
    if set(found) == set(expected):
        return [folder / name for name in expected]
    report(
        ConfigError(
            f"{folder}: must hold the object folders {', '.join(expected)} as in {table_file}, "
            f"but holds {', '.join(sorted(found, key=int)) or 'none'}; make the two agree"
        )
    )
    return []


def _by_stem(folder: Path, stems: list[str]) -> list[Path]:
    """Return the file of each stem; one that is missing goes by a name with both suffixes."""
    # Where a stem has both kinds, the order of the suffixes lets png win.
    found = {
        path.stem: path
        for suffix in SUFFIXES
        for path in sorted(folder.glob("*"))
        if path.suffix.lower() == suffix
    }
    return [found.get(stem, folder / f"{stem}{{{','.join(SUFFIXES)}}}") for stem in stems]


SOURCE = FileSource(
    title="SegTrack-v2",
    holds="JPEGImages, GroundTruth and ImageSets",
    is_root=_is_root,
    index=index,
    survey=survey,
)
