"""Checksums of the blocks of large files: a start checks a few of them, at random."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from trainable.storage.json_files import ChecksumError

BLOCK_BYTES = 2**20
SAMPLED = 16  # blocks that a start checks: 16 MiB take about 0.1 s


def block_digests(path: Path) -> list[str]:
    """Return the SHA-256 of each block of a file, the last of which may be shorter."""
    with path.open("rb") as file:
        blocks = iter(lambda: file.read(BLOCK_BYTES), b"")
        return [hashlib.sha256(block).hexdigest() for block in blocks]


def check_blocks(files: Mapping[Path, Sequence[str]], sampled: int | None) -> None:
    """Refuse files of which a block no longer has the digest that it had when it was written.

    Args:
        files: The digests of the blocks of each file, as `block_digests` gave them.
        sampled: How many blocks of all files to look at, at random; None looks at all.

    Raises:
        ChecksumError: A block was changed.
        OSError: A file cannot be read.
    """
    places = [(path, k) for path, digests in files.items() for k in range(len(digests))]
    if sampled is not None:
        # The system's randomness: whatever a seed decides must not depend on a check.
        places = random.SystemRandom().sample(places, min(sampled, len(places)))
    for path, k in places:
        with path.open("rb") as file:
            file.seek(k * BLOCK_BYTES)
            if hashlib.sha256(file.read(BLOCK_BYTES)).hexdigest() != files[path][k]:
                raise ChecksumError(
                    f"{path} was changed after it was written: MiB {k + 1} of {len(files[path])}"
                )
