"""Data sets decoded once per node, in a cache folder, as arrays that all its processes map.

    <cache>/
        lock                     held by the one process that decodes
        tree-<signature>.json    which entry a tree on disk is, so that a start reads no image
        <fingerprint>-<code>/    an entry: what a content is, decoded by this code
            {train,val}.images   uint8, one image after the other, each [3, h, w]
            {train,val}.labels   uint8, one mask after the other, each [h, w]
            sizes.json           height and width of each image
        <signature>.partial/     an entry in the making; what a kill leaves goes at the next one

The fingerprint follows from every byte; the signature from names, sizes and times of change alone,
so that a start costs a look at each file instead of reading all. The price: a file that changed but
kept size and time goes unseen until the folder is deleted, which may be done at any time.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import PIL
import torch
from torch import Tensor

from trainable.config import ConfigError, TrialConfig
from trainable.files import Decoded, FileTree, Sample, decode
from trainable.images import UndecodableError
from trainable.label_check import LabelCheck, warnings_of
from trainable.locks import FileLock
from trainable.parallel import in_order
from trainable.run_folder import write_atomically

# The modules whose text decides what decoding gives; so does Pillow.
DECODING_MODULES = (
    "decoded", "files", "images", "label_check", "palette", "sbd", "segtrack", "voc",
)  # fmt: skip
Sizes = dict[str, list[list[int]]]  # for each split, height and width of each image


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A decoded data set on disk.

    Attributes:
        folder: Where its arrays lie.
        fingerprint: What identifies its content, 16 hex digits.
        skipped: Images of the tree that were left out, since they cannot be decoded.
        warnings: What is suspect about its labels, one line each.
        sizes: Height and width of each image.
    """

    folder: Path
    fingerprint: str
    skipped: tuple[str, ...]
    warnings: tuple[str, ...]
    sizes: Sizes

    def split(self, name: str) -> tuple[Tensor, Tensor, Tensor]:
        """Map a split: images uint8 [3 * P], labels uint8 [P] of P pixels, sizes int64 [N, 2]."""
        sizes = self.sizes[name]
        images, labels = (
            torch.from_file(str(path), shared=False, size=count, dtype=torch.uint8)
            for path, count in _arrays(self.folder, name, sizes)
        )
        return images, labels, torch.tensor(sizes)


def entry_of(tree: FileTree, config: TrialConfig) -> Entry:
    """Return the decoded form of a tree; the first process of a node makes it, others wait.

    Raises:
        ConfigError: A file is not usable, a split has no pixel that counts, or the cache folder
            cannot be written.
    """
    folder = cache_folder(config)
    signature = _signature(tree, config)
    try:
        entry = _known(folder, signature)
        if entry is None:
            with _locked(folder):
                entry = _known(folder, signature) or _add(folder, signature, tree, config)
    except OSError as error:
        raise ConfigError(
            f"{folder}: the folder of decoded data must be writable and have room, but "
            f"{error.strerror or error}; name another with `--set cache_dir=DIR`"
        ) from error
    return entry


def cache_folder(config: TrialConfig) -> Path:
    """Return the folder of decoded data that a config names, or the user's."""
    if config.cache_dir:
        return Path(config.cache_dir).expanduser()
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "pixelwise-adversarial"


def _known(folder: Path, signature: str) -> Entry | None:
    """Return the entry of a tree that was decoded before, None where there is none, or no more."""
    try:
        found = json.loads(_record(folder, signature).read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    fingerprint: str = found["fingerprint"]
    place = folder / f"{fingerprint}-{code_version()}"
    sizes = _whole(place)
    if sizes is None:
        return None
    return Entry(
        folder=place,
        fingerprint=fingerprint,
        skipped=tuple(found["skipped"]),
        warnings=tuple(found["warnings"]),
        sizes=sizes,
    )


def _whole(place: Path) -> Sizes | None:
    """Return the sizes of an entry's images, None where it or part of its arrays is missing."""
    try:
        sizes: Sizes = json.loads((place / "sizes.json").read_bytes())
        fits = [
            path.stat().st_size == count
            for name, split in sizes.items()
            for path, count in _arrays(place, name, split)
        ]
    except (FileNotFoundError, ValueError):
        return None
    return sizes if all(fits) else None


def _arrays(place: Path, name: str, split: list[list[int]]) -> list[tuple[Path, int]]:
    """Return the files of a split, images and labels, and how many bytes each has."""
    pixels = sum(height * width for height, width in split)
    return [(place / f"{name}.images", 3 * pixels), (place / f"{name}.labels", pixels)]


def _add(folder: Path, signature: str, tree: FileTree, config: TrialConfig) -> Entry:
    """Decode a tree into an entry, written aside and then moved, and return it."""
    for stale in folder.glob("*.partial"):
        shutil.rmtree(stale)
    temporary = folder / f"{signature}.partial"
    temporary.mkdir()
    try:
        record = _write(temporary, tree, skip=config.skip_bad_images)
        place = folder / f"{record['fingerprint']}-{code_version()}"
        # The same content may have been decoded at another place, and damaged since.
        if _whole(place) is None:
            shutil.rmtree(place, ignore_errors=True)
            temporary.rename(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    write_atomically(_record(folder, signature), json.dumps(record).encode())
    entry = _known(folder, signature)
    assert entry is not None
    return entry


def _write(folder: Path, tree: FileTree, *, skip: bool) -> dict[str, Any]:
    """Decode a tree into a folder and return `fingerprint`, `skipped` and `warnings` of `Entry`."""
    digest = hashlib.sha256(json.dumps(tree.classes).encode())
    sizes: Sizes = {}
    skipped: list[str] = []
    checks = {name: LabelCheck(tree=tree, split=name) for name in tree.splits}

    def attempt(sample: Sample) -> Decoded | None:
        try:
            return decode(tree, sample)
        except UndecodableError as error:
            if not skip:
                way_out = "or leave such images out with `--set skip_bad_images=true`"
                raise ConfigError(f"{error}, {way_out}") from error
            return None

    for name, samples in tree.splits.items():
        sizes[name] = []
        with (
            (folder / f"{name}.images").open("wb") as images,
            (folder / f"{name}.labels").open("wb") as labels,
            in_order(attempt, samples, f"decoding {name}") as results,
        ):
            for sample, decoded in zip(samples, results, strict=True):
                if decoded is None:
                    skipped.append(tree.relative(sample.image))
                    continue
                images.write(decoded.image.tobytes())
                labels.write(decoded.labels.tobytes())
                sizes[name].append(list(decoded.labels.shape))
                checks[name].add(sample, decoded.counts)
                names = map(tree.relative, (sample.image, *sample.masks))
                contents = list(zip(names, decoded.digests, strict=True))
                digest.update(json.dumps([name, contents, sample.classes]).encode())
            for file in (images, labels):
                file.flush()
                os.fsync(file.fileno())
        checks[name].check()
    (folder / "sizes.json").write_text(json.dumps(sizes))
    return {
        "fingerprint": digest.hexdigest()[:16],
        "skipped": skipped,
        "warnings": warnings_of(checks["train"], checks["val"]),
    }


def _signature(tree: FileTree, config: TrialConfig) -> str:
    """Return what a tree on disk is known by, from a look at each of its files."""
    digest = hashlib.sha256(json.dumps([tree.classes, config.skip_bad_images]).encode())
    for name, samples in tree.splits.items():
        for sample in samples:
            looks = [(tree.relative(path), *_look(path)) for path in (sample.image, *sample.masks)]
            digest.update(json.dumps([name, looks, sample.classes]).encode())
    return digest.hexdigest()[:16]


def _look(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return 0, 0  # decoding says what is wrong
    return status.st_size, status.st_mtime_ns


@cache
def code_version() -> str:
    """Return the hash of what decodes, 8 hex digits."""
    digest = hashlib.sha256(PIL.__version__.encode())
    for name in DECODING_MODULES:
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()[:8]


def _record(folder: Path, signature: str) -> Path:
    return folder / f"tree-{signature}.json"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a cache folder, made if need be; a process that ends gives it back."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock", math.inf):
        yield
