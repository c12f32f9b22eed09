"""Files that are there whole or not at all, whatever ends the process or the machine."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from trainable.storage.faults import naming


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    with aside(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        sync(file)


def sync_folder(path: Path) -> None:
    """Make sure that the names in a folder outlast a power cut."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def drop_temporaries(folder: Path, name: str = "*") -> None:
    """Delete files that were being written when a process was killed; they may have gigabytes.

    Args:
        folder: The folder to clear; the caller holds its lock, so that nobody writes there.
        name: A glob pattern for the final names of the files that were being written.
    """
    for path in folder.glob(f".{name}.*.tmp"):
        path.unlink(missing_ok=True)


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """Give a temporary name to write under, and rename it to `path` at the end.

    Where the writing fails, the temporary file is deleted and `path` stays as it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with naming(path):
        try:
            yield temporary
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):  # a full disk gets its room back
                temporary.unlink()
            raise
        sync_folder(path.parent)


def sync(file: IO[bytes]) -> None:
    """Make sure that what was written to a file outlasts a power cut."""
    file.flush()
    os.fsync(file.fileno())


def hash_of(files: Iterable[Path]) -> str:
    """Return one hash of the contents of several files, in their order, as 12 hex digits."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
