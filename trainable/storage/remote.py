"""Object stores by URI: what one must do, and where this machine keeps its copy of one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

Stamp = tuple[int, int]  # bytes, and the time of writing in ns: who changes a file changes these


class Store(Protocol):
    """What files are sent to; names have slashes."""

    def list(self, folder: str) -> Mapping[str, Stamp]:
        """Return what is in and below a folder, by its whole name."""

    def get(self, name: str, path: Path) -> None:
        """Fetch a file."""

    def put(self, path: Path, name: str) -> None:
        """Send a file."""

    def drop(self, name: str) -> None:
        """Delete a file, if it is there."""


def is_uri(storage: str) -> bool:
    """Return whether a storage is an object store, not a folder."""
    return "://" in storage


def local_folder(uri: str, use: str) -> Path:
    """Return where this machine keeps what belongs to a store: in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = hashlib.sha256(uri.encode()).hexdigest()[:16]
    return Path(home) / "pixelwise-adversarial-stores" / name / use


def stamp_of(path: Path) -> Stamp:
    """Return the stamp of a local file."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns
