"""The files of a data set of one's own, and what the values of its masks stand for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from trainable.config.schema import ConfigError, shown
from trainable.data.sources import file_tree
from trainable.data.sources.images import Pixels, open_mask

NAME = "dataset.yaml"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp")
VAL_FRACTION = 0.2
SPLITS = ("train", "val")
Samples = tuple[file_tree.Sample, ...]
Key = str  # of an image and its mask: path in their folders, without suffix


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a `dataset.yaml` says.

    Attributes:
        classes: The names of the classes.
        labels: The label of each mask value, a class's index or VOID.
        in_colour: Whether the values are colours, 65536 * r + 256 * g + b.
        images: Folder or pattern of the images.
        masks: The same of the masks.
        image_suffix: What an image's stem has that is not in its mask's.
        mask_suffix: What a mask's stem has after its image's.
        mask_folder_suffix: What the folder of a split's masks has after that of its images.
        splits: A list or a folder for `train` and `val`; empty for a seeded split.
        val_fraction: The share of the images that validate in a seeded split.
    """

    classes: tuple[str, ...]
    labels: Mapping[int, int]
    in_colour: bool = False
    images: str = "images"
    masks: str = "masks"
    image_suffix: str = ""
    mask_suffix: str = ""
    mask_folder_suffix: str = ""
    splits: Mapping[str, str] = field(default_factory=dict)
    val_fraction: float = VAL_FRACTION

    def tree(self, root: Path, seed: int, report: file_tree.FaultHandler) -> file_tree.FileTree:
        """Return the files of both splits.

        Args:
            root: The folder that holds them.
            seed: Decides a split by `val_fraction`.
            report: The handler of faults: images without a mask, names in a list without an image.
        """
        train, val = self._split(root, seed, report)
        values = "colours" if self.in_colour else "values"
        return file_tree.FileTree(
            root=root,
            train=train,
            val=val,
            lists=tuple(root / one for one in self.splits.values() if (root / one).is_file()),
            classes=self.classes,
            read_mask=partial(read_mask, self),
            labels=json.dumps([values, sorted(self.labels.items())]),
        )

    def _split(
        self, root: Path, seed: int, report: file_tree.FaultHandler
    ) -> tuple[Samples, Samples]:
        if self.splits and all(self._is_folder(root, one) for one in self.splits.values()):
            train, val = (self._in_folder(root, self.splits[name], report) for name in SPLITS)
            return train, val
        pairs = self.pairs(root, report)
        if not self.splits:
            chosen = _drawn(pairs, self.val_fraction, seed)
            named = {"train": [key for key in pairs if key not in chosen], "val": list(chosen)}
        else:
            named = {name: _listed(root / one, pairs, report) for name, one in self.splits.items()}
        train, val = (tuple(pairs[key] for key in named[name]) for name in SPLITS)
        return train, val

    def _is_folder(self, root: Path, name: str) -> bool:
        return any((root / one).is_dir() for one in (name, f"{self.images}/{name}"))

    def _in_folder(self, root: Path, name: str, report: file_tree.FaultHandler) -> Samples:
        """Return a split's pairs, whose folder lies in those of images and masks or holds them."""
        if (root / self.images / name).is_dir():
            images, masks = f"{self.images}/{name}", f"{self.masks}/{name}"
        elif self.mask_folder_suffix:
            images, masks = name, f"{name}{self.mask_folder_suffix}"
        else:
            images, masks = f"{name}/{self.images}", f"{name}/{self.masks}"
        return tuple(self.pairs(root, report, images=images, masks=masks).values())

    def pairs(
        self,
        root: Path,
        report: file_tree.FaultHandler,
        *,
        images: str | None = None,
        masks: str | None = None,
    ) -> dict[Key, file_tree.Sample]:
        """Return images with their masks, in the order of their names."""
        found = _files(root, images or self.images)
        theirs = _files(root, masks or self.masks)
        pairs = {}
        for stem, image in found.items():
            key = stem.removesuffix(self.image_suffix)
            mask = theirs.get(key + self.mask_suffix)
            if mask is None:
                report(
                    ConfigError(
                        f"{image}: an image must have a mask, but {masks or self.masks} has no "
                        f"file {key}{self.mask_suffix}.*; add it, or take the image away"
                    )
                )
            else:
                pairs[key] = file_tree.Sample(image=image, masks=(mask,))
        return pairs


def _files(root: Path, place: str) -> dict[Key, Path]:
    """Return the image files of a folder or a pattern by their keys, in order.

    Raises:
        ConfigError: There is none, or two have one key.
    """
    is_folder = (root / place).is_dir()
    top = root / (place if is_folder else place.partition("*")[0].rpartition("/")[0])
    paths = sorted((root / place).rglob("*") if is_folder else root.glob(place))
    found: dict[Key, Path] = {}
    for path in paths:
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        if not is_folder and not path.is_relative_to(top):
            top = root
        key = path.relative_to(top).with_suffix("").as_posix()
        if key in found:
            raise ConfigError(
                f"{path}: names without suffix must differ, but {found[key].name} is there, too; "
                "take one of them away"
            )
        found[key] = path
    if not found:
        raise ConfigError(
            f"{root / place}: must be a folder or a pattern of {', '.join(IMAGE_SUFFIXES)} files, "
            f"but has none; name it in {NAME}"
        )
    return found


def _drawn(keys: Iterable[Key], share: float, seed: int) -> dict[Key, None]:
    """Return the images that validate: those whose hash with the seed is least, in their order."""
    order = sorted(keys, key=lambda key: hashlib.sha256(f"{seed} {key}".encode()).digest())
    count = min(max(1, round(share * len(order))), len(order) - 1)
    chosen = set(order[:count])
    return {key: None for key in keys if key in chosen}


def _listed(
    path: Path, pairs: Mapping[Key, file_tree.Sample], report: file_tree.FaultHandler
) -> list[Key]:
    """Return the keys that a list names, with or without folders and suffixes."""
    way_out = f"mend the list, or `splits` in {NAME}"
    by_name: dict[str, list[Key]] = {}
    for key in pairs:
        by_name.setdefault(PurePosixPath(key).name, []).append(key)
    keys = []
    for line in file_tree.read_list(path, report, way_out=way_out, names=_is_line):
        bare = PurePosixPath(line.replace("\\", "/").split("\t")[0])
        if bare.suffix.lower() in IMAGE_SUFFIXES:
            bare = bare.with_suffix("")
        wanted = bare.as_posix()
        found = [wanted] if wanted in pairs else by_name.get(bare.name, [])
        if len(found) == 1:
            keys.append(found[0])
            continue
        why = f"{len(found)} images are called so" if found else "no image with a mask is"
        report(ConfigError(f"{path}: {shown(line)} must name one image, but {why}; {way_out}"))
    return list(dict.fromkeys(keys))


def _is_line(line: str) -> bool:
    return all(file_tree.is_name(part) for part in line.replace("\\", "/").strip("/").split("/"))


def read_mask(description: Description, path: Path, content: bytes) -> Pixels:
    """Return the labels that a mask's values stand for, uint8 [H, W].

    Raises:
        ConfigError: The mask cannot be decoded, holds colours where values are said or the other
            way round, or a value that `dataset.yaml` does not have.
    """
    values = mask_values(path, content, in_colour=description.in_colour)
    found, places = np.unique(values, return_inverse=True)
    unknown = [value for value in found.tolist() if value not in description.labels]
    if unknown:
        listed = ", ".join(named(value, in_colour=description.in_colour) for value in unknown[:5])
        raise ConfigError(
            f"{path}: a mask must hold values of `classes` and `ignore` in {NAME}, but holds "
            f"{listed}; add them there, or mend the mask"
        )
    table = np.array([description.labels[value] for value in found.tolist()], dtype=np.uint8)
    return table[places].reshape(values.shape)


def mask_values(path: Path, content: bytes, *, in_colour: bool) -> NDArray[np.int64]:
    """Return what a mask holds at each pixel: its value, or its colour as one number.

    Raises:
        ConfigError: It cannot be decoded, or holds colours where values are said.
    """
    mask = open_mask(path, content)
    if in_colour:
        red, green, blue = np.moveaxis(np.asarray(mask.convert("RGB")).astype(np.int64), -1, 0)
        colours: NDArray[np.int64] = red << 16 | green << 8 | blue
        return colours
    if mask.mode == "1":
        mask = mask.convert("L")
    pixels = np.asarray(mask)
    if pixels.ndim == 3:
        grey = pixels[..., :1]
        if mask.mode not in ("RGB", "RGBA", "LA") or (
            mask.mode != "LA" and (pixels[..., :3] != grey).any()
        ):
            raise ConfigError(
                f"{path}: a mask must hold values, but holds colours (mode {mask.mode}); give "
                f"`classes` in {NAME} as `name: [r, g, b]`, or save the mask in grey"
            )
        pixels = grey[..., 0]
    values: NDArray[np.int64] = pixels.astype(np.int64)
    return values


def number_of(red: int, green: int, blue: int) -> int:
    """Return a colour as one number, as `Description.labels` has it."""
    return red << 16 | green << 8 | blue


def channels_of(number: int) -> list[int]:
    """Return the colour that `number_of` gave a number for."""
    return [number >> 16, number >> 8 & 255, number & 255]


def named(value: int, *, in_colour: bool) -> str:
    """Return a mask's value, or its colour, for a message."""
    return str(channels_of(value)) if in_colour else str(value)
