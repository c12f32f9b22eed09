"""Object stores by URI: what one must do, and where this machine keeps its copy of one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from trainable.storage.user_cache import user_cache

Stamp = tuple[int, int]  # bytes, and the time of writing in ns: who changes a file changes these


class Store(Protocol):
    """What an object store must be able to do; a file's name is its path with slashes."""

    def list(self, folder: str) -> Mapping[str, Stamp]:
        """Return the stamp of every file in and below a folder, by its whole name."""

    def get(self, name: str, path: Path) -> None:
        """Fetch a file to a local path."""

    def put(self, path: Path, name: str) -> None:
        """Send a local file."""

    def drop(self, name: str) -> None:
        """Delete a file, if it is there."""


def is_uri(storage: str) -> bool:
    """Return whether a storage is the URI of an object store and not a folder."""
    return "://" in storage


def local_folder(uri: str, use: str) -> Path:
    """Return where this machine keeps what belongs to a store: in the user's cache folder."""
    name = hashlib.sha256(uri.encode()).hexdigest()[:16]
    return user_cache("pixelwise-adversarial-stores") / name / use


def stamp_of(path: Path) -> Stamp:
    """Return the size and the time of writing of a local file."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns
