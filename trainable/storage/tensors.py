"""Files of tensors: written whole, with their hash beside them, and read without running code."""

from __future__ import annotations

import hashlib
import pickle  # nosec B403  # for its error alone
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import torch

from trainable.storage.faults import machine_fault
from trainable.storage.files import aside, sync, write_atomically

# What torch.load lets through for a broken file, found by breaking files at random.
BROKEN = (
    pickle.UnpicklingError,
    struct.error,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


class DamagedFileError(ValueError):
    """A file of tensors was changed since it was written, or holds more than tensors."""


class _HashedFile:
    """A file that hashes what is written to it, so that a large state is gone through once."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.digest = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.digest.update(content)
        return self.file.write(content)

    def flush(self) -> None:
        self.file.flush()


def save_tensors(path: Path, state: Mapping[str, object]) -> None:
    """Write tensors and primitives to `path`, atomically, with a checksum `.sha256` beside it."""
    with aside(path) as temporary:
        with temporary.open("wb") as file:
            hashed = _HashedFile(file)
            torch.save(dict(state), cast(IO[bytes], hashed))
            sync(file)
        # The checksum goes first: a file that is there always has one.
        write_atomically(path.with_suffix(".sha256"), hashed.digest.hexdigest().encode())


def load_tensors(path: Path) -> dict[str, Any]:
    """Read what `save_tensors` wrote, to the CPU; no code in the file is run.

    Raises:
        DamagedFileError: The checksum is missing or does not match, or the content is refused.
    """
    check_tensors(path)
    try:
        state: dict[str, Any] = read_tensors(path)
    except BROKEN as error:
        if machine_fault(error) is not None:  # too few open files damage none
            raise
        reason = str(error).split("\n", maxsplit=1)[0]
        raise DamagedFileError(f"{path}: must hold tensors and primitives, but {reason}") from error
    return state


def check_tensors(path: Path) -> None:
    """Refuse a file of tensors that is not what `save_tensors` wrote.

    Raises:
        DamagedFileError: The checksum is missing or does not match.
        OSError: The file cannot be read.
    """
    checksum = path.with_suffix(".sha256")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        expected = checksum.read_text(errors="replace").strip()
    except FileNotFoundError:
        raise DamagedFileError(
            f"{path}: its SHA-256 must stand in {checksum.name}, but that is missing; restore it"
        ) from None
    if digest != expected:
        raise DamagedFileError(
            f"{path}: its SHA-256 must be the one in {checksum.name}, {expected[:16]}, but is "
            f"{digest[:16]}: the file was changed or cut short; restore the two files"
        )


def read_tensors(file: Path | IO[bytes], *, mmap: bool = False) -> Any:
    """Return what a file of tensors holds, on the CPU; no code in it is run.

    Args:
        file: A file of any origin; it need not be trusted.
        mmap: Whether to map the file, so that only those tensors are read that are used.

    Raises:
        Exception: One of BROKEN, where the file is damaged or holds more than tensors.
    """
    # What torch warns of (TorchScript, odd pickles) its readers refuse, or it is harmless.
    with warnings.catch_warnings(action="ignore"):
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)
