"""Where this user's files that can be made again lie: the one rule for all three packages."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache(name: str) -> Path:
    """Return the folder of this name in the user's cache folder.

    Raises:
        RuntimeError: The user has no home, and XDG_CACHE_HOME names no other place.

    Source: XDG Base Directory Specification.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / name
