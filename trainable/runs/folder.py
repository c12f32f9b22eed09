"""The run folder: config, checkpoints, metrics and result of one training run, written atomically.

    runs/<training_key>/
        config.json            what is trained, on which data, by which code
        checkpoint-<n>.pt      everything needed to resume after n iterations; the last two are kept
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

What says how a run ended is read without torch, which is imported where tensors are.

A reader sees each file whole or not at all, and as it was written: each `.json` ends with its
checksum and says whose it is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from trainable.storage import json_files
from trainable.storage.files import drop_temporaries, write_atomically
from trainable.storage.locks import FileLock, LockHeldError

CRASH_LOG = "error.txt"
SAMPLES_FILE = "samples.npz"
KEPT_CHECKPOINTS = 2
LOCK_WAIT_S = 60.0  # workers of a killed driver are gone after about 5 s


class RunFolderLockedError(RuntimeError):
    """Another process, which the message names, writes to the run folder."""


class RunFolder:
    """The folder of one training run; as a context manager it holds the folder's lock.

    Args:
        storage: The folder that holds all run folders.
        training_key: The key of the training run, which is the name of its folder.
        wait_s: Seconds to wait for another process that holds the lock; None waits as long as a
            killed one may take to end.
    """

    def __init__(self, storage: Path, training_key: str, *, wait_s: float | None = None) -> None:
        self.path = storage / training_key
        self.wait_s = wait_s
        self._lock: FileLock | None = None

    def __enter__(self) -> Self:
        """Take the lock, waiting for a writer that is about to end, and clear what a kill left.

        Raises:
            RunFolderLockedError: Another process still held the lock after the wait.
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

    def read(self, name: str) -> json_files.JsonObject | None:
        """Return the content of `<name>.json`, or None where there is none.

        Raises:
            ChecksumError: The file was changed since it was written, or belongs to another run.
        """
        if not os.path.isdir(self.path):  # asked of each run to come, at a third of a failing open
            return None
        try:
            content = json_files.loads((self.path / f"{name}.json").read_bytes())
        except FileNotFoundError:
            return None
        if content.get("training_key") != self.path.name:
            raise json_files.ChecksumError(f"it is of run {content.get('training_key')}")
        return content

    def write(self, name: str, content: Mapping[str, object]) -> None:
        """Write `<name>.json` atomically, with the run's key and a checksum."""
        text = json_files.dumps({**content, "training_key": self.path.name}, indent=1)
        write_atomically(self.path / f"{name}.json", text)

    def save_checkpoint(self, state: Mapping[str, object]) -> None:
        """Save a state of tensors and primitives under its `iteration`, and drop older ones."""
        from trainable.storage.tensors import save_tensors

        save_tensors(self.path / f"checkpoint-{state['iteration']:07d}.pt", state)
        self._drop(self.checkpoints()[:-KEPT_CHECKPOINTS])

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Return the newest checkpoint whose checksum holds, or None.

        A checkpoint that is damaged is renamed to `<name>.bad`, and the one before it is tried.
        """
        from trainable.storage.tensors import DamagedFileError, load_tensors

        for path in reversed(self.checkpoints()):
            try:
                return load_tensors(path)
            except DamagedFileError:
                path.rename(path.with_suffix(".bad"))
        return None

    def save_model(self, state: Mapping[str, object]) -> None:
        """Save the trained generator and its averages."""
        from trainable.storage.tensors import save_tensors

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
