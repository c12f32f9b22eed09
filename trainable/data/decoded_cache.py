"""Data sets decoded once per node, in a cache folder, as arrays that all its processes map.

    <cache>/
        lock                     held by the one process that decodes
        tree-<signature>.json    which entry a tree on disk is, so that a start reads no image
        <fingerprint>-<code>/    an entry: what a content is, decoded by this code
            {train,val}.images   uint8, one image after the other, each [3, h, w]
            {train,val}.labels   uint8, one mask after the other, each [h, w]
            index.json           height and width of each image, and checksums of the arrays
        <signature>.partial/     an entry in the making; what a kill leaves goes at the next one

The fingerprint follows from every byte; the signature from names, sizes and times of change alone,
so that a start costs a look at each file instead of reading all. The price: a file that changed but
kept size and time goes unseen until the folder is deleted, which may be done at any time. That no
array changed since it was written is checked in samples at each start, and in whole by
`python -m trainable.prepare check`; what did is decoded again.
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
from typing import TypedDict

import PIL
import torch
from torch import Tensor

from trainable.config.schema import ConfigError, TrialConfig
from trainable.data.sources.file_tree import Decoded, FileTree, Sample, decode
from trainable.data.sources.images import UndecodableError
from trainable.data.sources.label_check import LabelCheck, warnings_of
from trainable.data.sources.parallel import in_order
from trainable.storage import json_files
from trainable.storage.block_checksums import SAMPLED, block_digests, check_blocks
from trainable.storage.files import hash_of, write_atomically
from trainable.storage.json_files import ChecksumError
from trainable.storage.locks import FileLock, say_on_stderr
from trainable.storage.user_cache import user_cache

Sizes = dict[str, list[list[int]]]  # for each split, height and width of each image


class EntryRecord(TypedDict):
    """What the cache notes of a tree: the name of its entry and what else `Entry` has."""

    entry: str
    fingerprint: str
    skipped: list[str]
    warnings: list[str]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A decoded data set on disk.

    Attributes:
        folder: The folder that holds the arrays.
        fingerprint: The hash of the data set's content, 16 hex digits.
        skipped: Images of the tree that were left out, since they cannot be decoded.
        warnings: What is suspect about the labels, one line each.
        sizes: The height and width of each image, by split.
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
        entry, fault = _look_up(folder, signature, SAMPLED)
        if entry is None:
            if fault:
                say_on_stderr(f"{fault}; decoding the data again")
            with _locked(folder):
                # What was damaged another process may have decoded anew; samples may miss it.
                entry, _ = _look_up(folder, signature, None if fault else SAMPLED)
                entry = entry or _add(folder, signature, tree, config)
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
    return user_cache("pixelwise-adversarial")


def check_cache(folder: Path) -> tuple[int, list[str]]:
    """Check all that this code decoded into a cache folder, every byte of it.

    Returns:
        How many entries there are, and a line for each that is not as it was written.
    """
    places = sorted(folder.glob(f"*-{code_version()}"))
    faults = []
    for place in places:
        try:
            _sizes(place, None)
        except ChecksumError as error:
            faults.append(f"{error}; delete {place}, and the next start decodes the data again")
        except OSError as error:
            faults.append(f"{error.filename or place} cannot be read: {error.strerror}")
    return len(places), faults


def _look_up(folder: Path, signature: str, sampled: int | None) -> tuple[Entry | None, str]:
    """Return the entry of a tree that was decoded before, and what is wrong where one should be.

    Args:
        folder: The cache folder.
        signature: The signature of the tree.
        sampled: The number of blocks of the arrays to check, None for all.
    """
    record = _record(folder, signature)
    try:
        found = json_files.loads(record.read_bytes(), name=str(record))
        if found["signature"] != signature:
            raise ChecksumError(f"{record} is of the tree {found['signature']}")
        place = folder / found["entry"]
        if found["entry"] != _entry_name(found["fingerprint"]) or not place.exists():
            return None, ""  # of other code, or deleted
        entry = Entry(
            folder=place,
            fingerprint=found["fingerprint"],
            skipped=tuple(found["skipped"]),
            warnings=tuple(found["warnings"]),
            sizes=_sizes(place, sampled),
        )
    except FileNotFoundError:
        return None, ""
    except ChecksumError as error:
        return None, str(error)
    return entry, ""


def _sizes(place: Path, sampled: int | None) -> Sizes:
    """Return the sizes of an entry's images, once index and arrays are known to be as written.

    Raises:
        ChecksumError: They are not.
    """
    index = place / "index.json"
    try:
        found = json_files.loads(index.read_bytes(), name=str(index))
        if found["entry"] != place.name:
            raise ChecksumError(f"{index} is of the entry {found['entry']}")
        sizes: Sizes = found["sizes"]
        for name, split in sizes.items():
            for path, count in _arrays(place, name, split):
                if path.stat().st_size != count:
                    raise ChecksumError(f"{path} has {path.stat().st_size} bytes, not {count}")
        blocks = {place / name: digests for name, digests in found["blocks"].items()}
        check_blocks(blocks, sampled)
    except FileNotFoundError as error:
        raise ChecksumError(f"{error.filename} is missing") from error
    return sizes


def _is_whole(place: Path) -> bool:
    try:
        _sizes(place, None)
    except ChecksumError:
        return False
    return True


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
        place = folder / record["entry"]
        # The same content may have been decoded at another place, and damaged since.
        if not _is_whole(place):
            shutil.rmtree(place, ignore_errors=True)
            temporary.rename(place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    content = json_files.dumps({**record, "signature": signature})
    write_atomically(_record(folder, signature), content)
    entry, fault = _look_up(folder, signature, SAMPLED)
    assert entry is not None, fault  # nosec B101  # cannot happen
    return entry


def _write(folder: Path, tree: FileTree, *, skip: bool) -> EntryRecord:
    """Decode a tree into a folder, and return what the cache notes of it."""
    digest = hashlib.sha256(_dumped(tree))
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
    fingerprint = digest.hexdigest()[:16]
    paths = [path for name in sizes for path, _ in _arrays(folder, name, sizes[name])]
    blocks = {path.name: block_digests(path) for path in paths}
    content = {"entry": _entry_name(fingerprint), "sizes": sizes, "blocks": blocks}
    write_atomically(folder / "index.json", json_files.dumps(content))
    return {
        "entry": _entry_name(fingerprint),
        "fingerprint": fingerprint,
        "skipped": skipped,
        "warnings": warnings_of(checks["train"], checks["val"]),
    }


def _dumped(tree: FileTree, *more: object) -> bytes:
    return json.dumps([tree.classes, tree.labels, *more]).encode()


def _signature(tree: FileTree, config: TrialConfig) -> str:
    """Return what a tree on disk is known by, from a look at each of its files."""
    digest = hashlib.sha256(_dumped(tree, config.skip_bad_images))
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
    here = Path(__file__)
    folders = [
        path for name in ("sources", "folders") for path in (here.parent / name).glob("*.py")
    ]
    text = hash_of([*sorted(folders), here])
    return hashlib.sha256(f"{PIL.__version__} {text}".encode()).hexdigest()[:8]


def _entry_name(fingerprint: str) -> str:
    return f"{fingerprint}-{code_version()}"


def _record(folder: Path, signature: str) -> Path:
    return folder / f"tree-{signature}.json"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a cache folder, made if need be; a process that ends gives it back."""
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock", math.inf):
        yield
