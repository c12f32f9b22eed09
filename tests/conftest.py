"""One thread, as a slot of a sweep has it, and a cache that dies with the session.

The golden numbers are those of one thread. Processes that tests start inherit the environment.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)

# Ray reads it when it is imported, and some tests import Ray before a sweep would set it.
os.environ["RAY_AUTH_MODE"] = "token"

CACHE = tempfile.TemporaryDirectory(prefix="pixelwise-tests-")
# matplotlib keeps its list of fonts, seconds of work, in the same place: that stays where it was.
caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
os.environ.setdefault("MPLCONFIGDIR", str(caches / "matplotlib"))
os.environ["XDG_CACHE_HOME"] = CACHE.name


def pytest_unconfigure(config: pytest.Config) -> None:
    CACHE.cleanup()
