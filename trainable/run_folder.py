"""The run folder: config, checkpoints, metrics and result of one training run, written atomically.

    runs/<training_key>/
        config.json            what is trained, on which data, by which code
        checkpoint-<n>.pt      everything needed to go on after n iterations; the last two are kept
        checkpoint-<n>.sha256  its checksum, verified before it is read
        metrics.json           the history so far
        samples.npz            masks of a few validation images at several stages (`samples`)
        error.txt              the traceback of a worker that failed
        model.pt               the trained generator and its averages; then the checkpoints go
        model.sha256           its checksum
        result.json            the numbers of every readout, and by which code and on what they were
                               made; its presence means: complete
        failure.json           why the run ended without numbers, if it diverged, and as above
        lock                   held by the one process that writes here

A reader sees each file whole or not at all, and as it was written: each `.json` ends with its
checksum and says whose it is.
"""

from __future__ import annotations

import hashlib
import os
import pickle  # nosec B403  # its error alone
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, cast

import torch

from trainable import json_files
from trainable.faults import machine_fault, naming
from trainable.locks import FileLock, LockHeldError

CRASH_LOG = "error.txt"
KEPT_CHECKPOINTS = 2
LOCK_WAIT_S = 60.0  # workers of a killed driver are gone after about 5 s

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


class RunFolderLockedError(RuntimeError):
    """Another process, which the message names, writes to the run folder."""


class DamagedFileError(ValueError):
    """A file of tensors is not what was written, or holds more than tensors and primitives."""


class RunFolder:
    """One run folder; as a context manager it holds the folder's lock.

    Args:
        storage: Folder of all run folders.
        training_key: Name of this one.
        wait_s: Seconds to wait for another writer, None for those that a killed one may take.
    """

    def __init__(self, storage: Path, training_key: str, *, wait_s: float | None = None) -> None:
        self.path = storage / training_key
        self.wait_s = wait_s
        self._lock: FileLock | None = None

    def __enter__(self) -> Self:
        """Take the lock, waiting for a writer that is about to end, and clear what a kill left.

        Raises:
            RunFolderLockedError: Another process still held it.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        wait_s = LOCK_WAIT_S if self.wait_s is None else self.wait_s
        lock = FileLock(self.path / "lock", wait_s)
        try:
            self._lock = lock.__enter__()
        except LockHeldError as error:
            raise RunFolderLockedError(
                f"{self.path} is being written by {error}; wait for it or end it"
            ) from error
        drop_temporaries(self.path)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.__exit__(kind, error, traceback)
            self._lock = None

    def read(self, name: str) -> dict[str, Any] | None:
        """Return the content of `<name>.json`, or None where there is none.

        Raises:
            ChecksumError: It is not as it was written, or another run's.
        """
        try:
            content = json_files.loads((self.path / f"{name}.json").read_bytes())
        except FileNotFoundError:
            return None
        if content.get("training_key") != self.path.name:
            raise json_files.ChecksumError(f"it is of run {content.get('training_key')}")
        return content

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write `<name>.json` atomically."""
        text = json_files.dumps({**content, "training_key": self.path.name}, indent=1)
        write_atomically(self.path / f"{name}.json", text)

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Save a state of tensors and primitives under its `iteration`, and drop older ones."""
        save_tensors(self.path / f"checkpoint-{state['iteration']:07d}.pt", state)
        self._drop(self.checkpoints()[:-KEPT_CHECKPOINTS])

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return the newest checkpoint whose checksum holds, or None.

        One that does not hold is set aside as `<name>.bad`, and the one before it is tried.
        """
        for path in reversed(self.checkpoints()):
            try:
                return load_tensors(path)
            except DamagedFileError:
                path.rename(path.with_suffix(".bad"))
        return None

    def save_model(self, state: Mapping[str, Any]) -> None:
        """Save the trained generator and its averages."""
        save_tensors(self.path / "model.pt", state)

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints, oldest first."""
        return sorted(self.path.glob("checkpoint-*.pt"))

    def drop_checkpoints(self) -> None:
        """Delete every checkpoint: none is needed any more, or none may be continued."""
        self._drop(self.checkpoints())
        for path in self.path.glob("checkpoint-*.sha256"):  # a kill came before its file
            path.unlink()

    def _drop(self, checkpoints: list[Path]) -> None:
        for path in checkpoints:
            path.unlink()
            path.with_suffix(".sha256").unlink(missing_ok=True)


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


def save_tensors(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and primitives to `path`, atomically, with a checksum `.sha256` beside it."""
    with _aside(path) as temporary:
        with temporary.open("wb") as file:
            hashed = _HashedFile(file)
            torch.save(dict(state), cast(IO[bytes], hashed))
            _sync(file)
        # The checksum goes first: a file that is there always has one.
        write_atomically(path.with_suffix(".sha256"), hashed.digest.hexdigest().encode())


def load_tensors(path: Path) -> dict[str, Any]:
    """Read what `save_tensors` wrote, to the CPU; nothing in the file is executed.

    Raises:
        DamagedFileError: The checksum is missing or does not hold, or the content is refused.
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
        DamagedFileError: Its checksum is missing or does not hold.
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
        file: A file from anywhere.
        mmap: Whether tensors are read only where they are used.

    Raises:
        Exception: One of BROKEN, where the file is damaged or holds more than tensors.
    """
    # What torch warns of (TorchScript, odd pickles) its readers refuse, or it is harmless.
    with warnings.catch_warnings(action="ignore"):
        return torch.load(file, map_location="cpu", weights_only=True, mmap=mmap)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    with _aside(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        _sync(file)


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
def _aside(path: Path) -> Iterator[Path]:
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


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
