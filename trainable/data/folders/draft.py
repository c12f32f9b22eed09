"""The draft of a `dataset.yaml`: what a folder of images and masks seems to hold, and what is odd.

A person completes it; nothing is drafted over a file that is there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

from trainable.config.schema import ConfigError
from trainable.data.folders.description import (
    IMAGE_SUFFIXES,
    NAME,
    VAL_FRACTION,
    Description,
    channels_of,
    mask_values,
    named,
)
from trainable.data.folders.layouts import KINDS, LAYOUTS, described
from trainable.data.sources import file_tree
from trainable.data.sources.images import read_content, read_rgb
from trainable.data.sources.labels import VOID
from trainable.data.sources.parallel import in_order
from trainable.storage.files import write_atomically

MASK_FOLDERS = ("masks", "mask", "labels", "annotations", "SegmentationClass", "gt")
IMAGE_FOLDERS = ("images", "image", "imgs", "JPEGImages", "photos")
MOST_COLOURS = 64


@dataclass(kw_only=True)
class Look:
    """What the masks of a folder hold.

    Attributes:
        values: Pixels of each value; of each colour where any mask has colours.
        in_colour: Whether any mask has.
        sizes: How many images have each width and height.
        odd: What is wrong with a file or with all of them, one line each.
    """

    values: Counter[int] = field(default_factory=Counter)
    in_colour: bool = False
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)


def draft(root: Path) -> tuple[Path, list[str]]:
    """Write the draft of a folder's `dataset.yaml`.

    Returns:
        The file, and lines that say what was found and what looks odd.

    Raises:
        ConfigError: The file is there already, the folder needs none, or it holds no images beside
            masks.
    """
    path = root / NAME
    if path.exists():
        raise ConfigError(f"{path}: is there already; edit it, or take it away for a new draft")
    for title, layout in LAYOUTS.items():
        if layout(root) is not None:
            raise ConfigError(
                f"{root}: is {title} and needs no {NAME}; train on it with `--set dataset=folder "
                f"--data-root {root}`"
            )
    unread = _places(root)
    faults: list[ConfigError] = []
    pairs = list(unread.pairs(root, faults.append).values())
    look = _look(pairs)
    look.odd += [str(fault).rpartition("; ")[0] for fault in faults]
    write_atomically(path, _text(unread, look).encode())
    return path, _report(unread, pairs, look)


def _places(root: Path) -> Description:
    """Return where images and masks lie, and what a mask's stem has besides."""
    folders = {one.name.lower(): one.name for one in root.iterdir() if one.is_dir()}
    found = {}
    for kind, names in zip(KINDS, (IMAGE_FOLDERS, MASK_FOLDERS), strict=True):
        there = [folders[name.lower()] for name in names if name.lower() in folders]
        if not there:
            raise ConfigError(
                f"{root}: must hold a folder of {kind}, called one of {', '.join(names)}, but "
                f"holds {', '.join(sorted(folders.values())) or 'none'}; rename it, or write {NAME}"
            )
        found[kind] = there[0]
    return Description(
        classes=(),
        labels={},
        images=found["images"],
        masks=found["masks"],
        mask_suffix=_suffix(root / found["images"], root / found["masks"]),
    )


def _suffix(images: Path, masks: Path) -> str:
    """Return what most masks' stems have after an image's."""
    stems = {path.stem for path in images.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES}
    ends: Counter[str] = Counter()
    for path in masks.rglob("*"):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            cuts = (path.stem[:end] for end in range(len(path.stem), 0, -1))
            stem = next((cut for cut in cuts if cut in stems), None)
            if stem is not None:
                ends[path.stem.removeprefix(stem)] += 1
    return ends.most_common(1)[0][0] if ends else ""


def _look(pairs: Sequence[file_tree.Sample]) -> Look:
    """Read every image and every mask once."""
    look = Look()

    def read(sample: file_tree.Sample) -> tuple[Counter[int], bool, tuple[int, int], str]:
        (path,) = sample.masks
        try:
            height, width = read_rgb(sample.image, read_content(sample.image)).shape[:2]
            content = read_content(path)
            try:
                values, in_colour = mask_values(path, content, in_colour=False), False
            except ConfigError:
                values, in_colour = mask_values(path, content, in_colour=True), True
        except ConfigError as fault:
            return Counter(), False, (0, 0), str(fault).rpartition("; ")[0]
        odd = ""
        if values.shape != (height, width):
            odd = (
                f"{path}: is of {values.shape[1]}x{values.shape[0]}, its image of {width}x{height}"
            )
        found, counts = np.unique(values, return_counts=True)
        return (
            Counter(dict(zip(found.tolist(), counts.tolist(), strict=True))),
            in_colour,
            (width, height),
            odd,
        )

    with in_order(read, list(pairs), "looking at images and masks") as results:
        for counts, in_colour, size, odd in results:
            if in_colour and not look.in_colour:
                look.in_colour, look.values = True, Counter()
            if in_colour == look.in_colour:
                look.values += counts
            look.sizes[size] += size != (0, 0)
            look.odd += [odd] if odd else []
    return look


def _text(unread: Description, look: Look) -> str:
    """Return the draft, with a comment where a person must decide."""
    lines = ["# A draft: give the classes their names, and check what is ignored."]
    ignore: list[int] = []
    if look.in_colour:
        shown = [value for value, _ in look.values.most_common(MOST_COLOURS)]
        classes: dict[str, object] = {
            f"class {place}": channels_of(value) for place, value in enumerate(sorted(shown))
        }
    else:
        values = sorted(look.values)
        description = described(values, {})
        by_label = {label: value for value, label in description.labels.items() if label != VOID}
        classes = {name: by_label[label] for label, name in enumerate(description.classes)}
        ignore = [value for value in values if description.labels.get(value) == VOID]
    lines += ["classes:", *(f"  {_flow(name)}: {_flow(one)}" for name, one in classes.items())]
    given: dict[str, object] = {"images": unread.images, "masks": unread.masks}
    if unread.mask_suffix:
        given["mask_suffix"] = unread.mask_suffix
    given |= {"splits": {"val_fraction": VAL_FRACTION}, "ignore": ignore}
    lines += [f"{key}: {_flow(value)}" for key, value in given.items()]
    return "\n".join(lines) + "\n"


def _flow(value: object) -> str:
    """Return a value as YAML has it in one line."""
    dumped = str(yaml.safe_dump(value, default_flow_style=True, width=10_000))
    return dumped.removesuffix("...\n").strip()


def _report(unread: Description, pairs: Sequence[file_tree.Sample], look: Look) -> list[str]:
    """Return what was found, and what looks odd."""
    total = sum(look.values.values()) or 1
    what = "colours" if look.in_colour else "values"
    shown = [
        f"{named(value, in_colour=look.in_colour)} {count / total:.2%}"
        for value, count in look.values.most_common(10)
    ]
    more = f" and {len(look.values) - 10} more" if len(look.values) > 10 else ""
    sizes = [f"{w}x{h}" for (w, h), _ in look.sizes.most_common(3) if w]
    lines = [
        f"{len(pairs):,} images with masks, of {', '.join(sizes)} pixels"
        + (f" and {len(look.sizes) - 3} more sizes" if len(look.sizes) > 3 else ""),
        f"{what} of the masks, by pixels: {', '.join(shown)}{more}",
    ]
    odd = list(look.odd)
    if sorted(look.values) == [0, VOID] and not look.in_colour:
        odd.append("masks hold 0 and 255 alone: 255 is taken as an object here, not as void")
    if look.in_colour:
        odd.append("masks hold colours: name each, and ignore those of borders and of blurring")
    if len(look.values) > MOST_COLOURS:
        odd.append(
            f"{len(look.values)} {what} are many: masks that were resized or compressed blur"
        )
    return [*lines, *(f"odd: {line}" for line in odd)]
