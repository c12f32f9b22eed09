"""Data sets that lie in files: which files, whether they are usable, what they hold.

A data set's own module says where its files are and how masks are read (`voc`, `sbd`, `segtrack`);
what all of them share stands here. A function that looks for faults takes a `report`, a handler
that each fault is given to; by default it raises the first. Shapes: H and W pixels, C classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainable.config.schema import ConfigError, TrialConfig, shown
from trainable.data.sources.images import Pixels, read_content, read_rgb
from trainable.data.sources.labels import VOID
from trainable.storage.bounded_reads import MOST_LIST, read_bounded

FaultHandler = Callable[[ConfigError], None]

MOST_NAME = 255  # bytes that file systems allow; a suffix comes on top
RESTORE_LIST = "restore the list that the data set ships"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One image and the files that its labels are read from."""

    image: Path
    masks: tuple[Path, ...]  # one for the whole image (VOC), or one per object (SegTrack-v2)
    classes: tuple[int, ...] = ()  # class of each mask, where there is one per object


def only_mask(masks: Sequence[Pixels], classes: tuple[int, ...]) -> Pixels:
    """Return the labels of an image whose one mask holds them."""
    return masks[0]


@dataclass(frozen=True, kw_only=True)
class FileTree:
    """The files of a data set.

    Attributes:
        root: The folder that all files lie in.
        train: The training images.
        val: The validation images.
        lists: The files that name the images.
        classes: The names of the classes, the background first.
        labels: What decides the labels besides the files and the code, such as what values of a
            mask stand for.
        read_mask: The function from a mask file and its content to uint8 [H, W].
        merge: The function from the masks of an image and their classes to labels uint8 [H, W]
            in 0..C-1 or VOID.
    """

    root: Path
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    lists: tuple[Path, ...]
    classes: tuple[str, ...]
    read_mask: Callable[[Path, bytes], Pixels]
    merge: Callable[[Sequence[Pixels], tuple[int, ...]], Pixels] = only_mask
    labels: str = ""

    @property
    def has_background(self) -> bool:
        """Whether the first class is what is no object."""
        return self.classes[0] == "background"

    @property
    def splits(self) -> dict[str, tuple[Sample, ...]]:
        """The images of each split, by its name."""
        return {"train": self.train, "val": self.val}

    def relative(self, path: Path) -> str:
        """Return a file's name in the tree, wherever that lies."""
        return path.relative_to(self.root).as_posix()


# For each split, by its name, the samples and the tree that says how they are read.
Splits = dict[str, tuple[FileTree, Sequence[Sample]]]


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """One image, uint8 [3, H, W], its labels, uint8 [H, W], and the SHA-256 of each of its files.

    `counts`, int64 [256], says how many pixels have each label.
    """

    image: Pixels
    labels: Pixels
    counts: NDArray[np.int64]
    digests: tuple[str, ...]


def fail(fault: ConfigError) -> None:
    """Raise a fault: the handler for those who need all files to be right."""
    raise fault


def data_root(config: TrialConfig, *holds: str, inside: str = "") -> Path:
    """Return the folder that `config.data_root` names; see `folder`.

    Raises:
        ConfigError: No folder is named, or it lacks one of `holds`.
    """
    if not config.data_root:
        raise ConfigError(
            f"dataset={config.dataset} lies in files and needs {_option('--data-root', holds)}"
        )
    return folder("--data-root", config.data_root, *holds, inside=inside)


def folder(option: str, name: str, *holds: str, inside: str = "") -> Path:
    """Return the folder that an option of the command line names.

    Args:
        option: The option, for a message.
        name: The folder that was given for it.
        holds: The names of the folders that must lie in it.
        inside: The name of a folder in it that is returned instead where it exists.

    Raises:
        ConfigError: The folder lacks one of `holds`.
    """
    root = Path(name).expanduser()
    if inside and (root / inside).is_dir():
        root /= inside
    for part in holds:
        if not (root / part).is_dir():
            way_out = f"give {_option(option, holds)}"
            if (near := _near(root, holds)) is not None:
                way_out = f"name {near}, which has it"
            raise ConfigError(f"{root / part}: the folder must exist; {way_out}")
    return root


def _near(root: Path, holds: Sequence[str]) -> Path | None:
    """Return a folder one level below, or up to three above, that holds what a root must."""
    below = [one for one in sorted(root.iterdir()) if one.is_dir()] if root.is_dir() else []
    near = [*below, *root.absolute().parents[:3]]
    return next((one for one in near if all((one / part).is_dir() for part in holds)), None)


def _option(option: str, holds: Iterable[str]) -> str:
    return f"`{option} DIR`, where DIR is the folder that holds {', '.join(holds)}"


def read_list(
    path: Path,
    report: FaultHandler = fail,
    *,
    way_out: str = RESTORE_LIST,
    names: Callable[[str], bool] | None = None,
) -> list[str]:
    """Return the lines of a list that are not blank, each once, in their order.

    A line names files of the tree: one that would lead elsewhere is left out.

    Args:
        path: The list.
        report: The handler of the faults: that the list cannot be read, and each line that is
            left out.
        way_out: The end of a message: what to do about a fault.
        names: Says whether a line is as it should be; None stands for `is_name`.
    """
    lines = []
    for number, line in enumerate(read_lines(path, report, way_out=way_out), start=1):
        if not line or (names or is_name)(line):
            lines.append(line)
        else:
            report(
                ConfigError(
                    f"{path}, line {number}: must be the name of a file in the data set, without "
                    f"folders and control characters, but got {shown(line)}; {way_out}"
                )
            )
    return list(dict.fromkeys(filter(None, lines)))


def is_name(text: str) -> bool:
    """Return whether a text is the name of one file or folder, which leads nowhere else."""
    return (
        text not in ("", ".", "..")
        and len(text) <= MOST_NAME
        and text.isprintable()
        and not {"/", "\\"} & set(text)
    )


def read_lines(
    path: Path, report: FaultHandler = fail, *, way_out: str = RESTORE_LIST
) -> list[str]:
    """Return the lines of a list without the space round them, as `read_list`, blank ones too."""
    try:
        return [
            line.strip() for line in read_bounded(path, MOST_LIST).decode("utf-8-sig").splitlines()
        ]
    except OSError as error:
        reason = str(error.strerror)
    except UnicodeDecodeError as error:
        reason = f"byte {error.start} is not UTF-8"
    report(ConfigError(f"{path}: must be a readable list of image names, but {reason}; {way_out}"))
    return []


def check_splits(tree: FileTree, report: FaultHandler = fail) -> None:
    """Report a split without images, and every image that is in both."""
    for name, samples in tree.splits.items():
        if not samples:
            report(
                ConfigError(
                    f"{tree.root}: the {name} split must hold at least one image, but is empty; "
                    "add images to its list"
                )
            )
    trained = {sample.image for sample in tree.train}
    for sample in tree.val:
        if sample.image in trained:
            report(
                ConfigError(
                    f"{sample.image}: an image must be in one split, but is in train and val; "
                    "take it off one of the lists"
                )
            )


def checked_splits(tree: FileTree, report: FaultHandler) -> Splits:
    """Return the splits of a tree, after `check_splits`."""
    check_splits(tree, report)
    return {name: (tree, samples) for name, samples in tree.splits.items()}


def check_counts(
    tree: FileTree, name: str, counts: NDArray[np.int64], report: FaultHandler = fail
) -> None:
    """Report a split in which no pixel counts: its metrics would not be numbers.

    Args:
        tree: The data set.
        name: The name of the split.
        counts: The number of its pixels that have each label, int64 [256].
        report: The handler of the fault that all of them are VOID.
    """
    if not counts[:VOID].any():
        report(
            ConfigError(
                f"{tree.root}: the {name} split must have pixels that count, but all of its usable "
                f"masks are void ({VOID}); restore them"
            )
        )


def decode(tree: FileTree, sample: Sample, report: FaultHandler = fail) -> Decoded | None:
    """Read the files of a sample, each once, decode them and report all that is wrong with them.

    Returns:
        None where a fault was reported and that did not raise.
    """
    faults: list[ConfigError] = []
    digests: list[str] = []

    def note(fault: ConfigError) -> None:
        faults.append(fault)
        report(fault)

    def attempt(path: Path, read: Callable[[Path, bytes], Pixels]) -> Pixels | None:
        try:
            content = read_content(path)
            digests.append(hashlib.sha256(content).hexdigest())
            return read(path, content)
        except ConfigError as fault:
            note(fault)
            return None

    image = attempt(sample.image, read_rgb)
    masks = [attempt(path, tree.read_mask) for path in sample.masks]
    usable = [mask for mask in masks if mask is not None]
    if image is not None:
        for path, mask in zip(sample.masks, masks, strict=True):
            if mask is not None and mask.shape != image.shape[:2]:
                note(_wrong_size(path, mask, image))
    if len(usable) < len(masks) or len({mask.shape for mask in usable}) > 1:
        return None
    labels = tree.merge(usable, sample.classes)
    counts = np.bincount(labels.ravel(), minlength=VOID + 1)
    wrong = [label for label in np.flatnonzero(counts[:VOID]) if label >= len(tree.classes)]
    if wrong:
        note(
            ConfigError(
                f"{sample.masks[0]}: labels must lie in 0..{len(tree.classes) - 1} or be {VOID} "
                f"(void), but got {', '.join(map(str, wrong))}; "
                "restore the mask that the data set ships"
            )
        )
    if faults or image is None:
        return None
    image = np.ascontiguousarray(image.transpose(2, 0, 1))
    return Decoded(image=image, labels=labels, counts=counts, digests=tuple(digests))


def _wrong_size(path: Path, mask: Pixels, image: Pixels) -> ConfigError:
    (h, w), (height, width) = mask.shape, image.shape[:2]
    return ConfigError(
        f"{path}: a mask must have its image's size, {width}x{height}, but has {w}x{h}; "
        "restore the mask of this image"
    )
