"""The run folder: config, checkpoints, metrics and result of one training run, written atomically.

    runs/<training_key>/
        config.json            what is trained, on which data, by which code
        checkpoint-<n>.pt      everything needed to go on after n iterations; the last two are kept
        checkpoint-<n>.sha256  its checksum, verified before it is read
        metrics.json           the history so far
    error.txt              the traceback of a worker that failed
        result.json            the numbers of every readout; its presence means: complete
    failure.json           why the run ended without numbers, if it diverged
        lock                   held by the one process that writes here

A reader sees each file whole or not at all.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

CRASH_LOG = "error.txt"
KEPT_CHECKPOINTS = 2
LOCK_WAIT_S = 60.0  # workers of a killed driver are gone after about 5 s


class RunFolderLockedError(RuntimeError):
    """Another process writes to the run folder."""


class RunFolder:
    """One run folder; as a context manager it holds the folder's lock.

    Args:
        storage: Folder of all run folders.
        training_key: Name of this one.
    """

    def __init__(self, storage: Path, training_key: str) -> None:
        self.path = storage / training_key
        self._lock: int | None = None

    def __enter__(self) -> Self:
        """Take the lock, waiting for a writer that is about to end.

        Raises:
            RunFolderLockedError: Another process still held it after LOCK_WAIT_S seconds.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        deadline = time.monotonic() + LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    os.close(descriptor)
                    raise RunFolderLockedError(
                        f"{self.path} is being written by another process; wait for it or end it"
                    ) from None
                time.sleep(0.2)
            else:
                self._lock = descriptor
                return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def read(self, name: str) -> dict[str, Any] | None:
        """Return the content of `<name>.json`, or None where there is none."""
        try:
            content: dict[str, Any] = json.loads((self.path / f"{name}.json").read_bytes())
        except FileNotFoundError:
            return None
        return content

    def write(self, name: str, content: Mapping[str, Any]) -> None:
        """Write `<name>.json` atomically."""
        text = json.dumps(content, indent=1, allow_nan=False)
        write_atomically(self.path / f"{name}.json", text.encode())

    def save_checkpoint(self, state: Mapping[str, Any]) -> None:
        """Save a state of tensors and primitives under its `iteration`, and drop older ones."""
        buffer = io.BytesIO()
        torch.save(dict(state), buffer)
        content = buffer.getvalue()
        path = self.path / f"checkpoint-{state['iteration']:07d}.pt"
        # The checksum goes first: a checkpoint that is there always has one.
        checksum = hashlib.sha256(content).hexdigest()
        write_atomically(path.with_suffix(".sha256"), checksum.encode())
        write_atomically(path, content)
        for old in self.checkpoints()[:-KEPT_CHECKPOINTS]:
            old.unlink()
            old.with_suffix(".sha256").unlink(missing_ok=True)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return the newest checkpoint whose checksum holds, or None.

        One that does not hold is set aside as `<name>.bad`, and the one before it is tried.
        """
        for path in reversed(self.checkpoints()):
            content = path.read_bytes()
            checksum = path.with_suffix(".sha256")
            expected = checksum.read_text() if checksum.exists() else ""
            if hashlib.sha256(content).hexdigest() == expected:
                state: dict[str, Any] = torch.load(
                    io.BytesIO(content), map_location="cpu", weights_only=True
                )
                return state
            path.rename(path.with_suffix(".bad"))
        return None

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints, oldest first."""
        return sorted(self.path.glob("checkpoint-*.pt"))

    def drop_checkpoints(self) -> None:
        """Delete every checkpoint: the next attempt starts from the beginning."""
        for path in self.checkpoints():
            path.unlink()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
