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
    """Have the names in a folder outlast a power cut."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def drop_temporaries(folder: Path, name: str = "*") -> None:
    """Delete what was being written when a kill came: a checkpoint may have gigabytes.

    Args:
        folder: Whose lock is held, so that nobody writes there.
        name: Of the files that were to be written, a pattern.
    """
    for path in folder.glob(f".{name}.*.tmp"):
        path.unlink(missing_ok=True)


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """Give a name to write a file under, that then becomes `path`; what fails leaves nothing."""
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
    """Have what was written to a file outlast a power cut."""
    file.flush()
    os.fsync(file.fileno())


def hash_of(files: Iterable[Path]) -> str:
    """Return the hash of what files hold, 12 hex digits."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
