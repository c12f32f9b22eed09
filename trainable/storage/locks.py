"""A lock that one process holds on a file; whoever waits is told by whom.

The kernel gives it back when its holder ends, however that ends, so that none outlives a kill. It
reaches as far as `flock` does: all processes of a machine, and on NFS those of all machines, unless
it is mounted with `nolock` or `local_lock`. An object store has none.
"""

from __future__ import annotations

import fcntl
import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

SAID_AFTER_S = 5.0  # a shorter wait is nobody's concern
SAID_EVERY_S = 60.0
LOOK_S = 0.2


class LockHeldError(RuntimeError):
    """Another process holds a lock; the message names it."""


def say_on_stderr(text: str) -> None:
    """Print a line on standard error, for whoever watches the wait."""
    print(text, file=sys.stderr)


class FileLock:
    """A lock on a file, held while it is entered as a context manager.

    The file is made where it is missing, and is never deleted.

    Args:
        path: The file; its folder must exist.
        wait_s: Seconds to wait for another process that holds the lock.
        say: Called with a line now and again during a long wait: the holder may be stopped, and
            wake.
    """

    def __init__(
        self, path: Path, wait_s: float, say: Callable[[str], None] = say_on_stderr
    ) -> None:
        self.path = path
        self.wait_s = wait_s
        self.say = say
        self._file: int | None = None

    def __enter__(self) -> Self:
        """Take the lock.

        Raises:
            LockHeldError: Another process still held it at the end of the wait.
            OSError: The file cannot be made, or its file system has no locks.
        """
        began = time.monotonic()
        said_at = began + SAID_AFTER_S
        while not self._take():
            now = time.monotonic()
            if now - began >= self.wait_s:
                raise LockHeldError(self.holder())
            if now >= said_at:
                self.say(f"waiting for {self.holder()}, which holds {self.path}")
                said_at = now + SAID_EVERY_S
            time.sleep(min(LOOK_S, self.wait_s))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give the lock back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def check_free(self) -> None:
        """Look whether another process holds the lock, without taking it or writing anything.

        Raises:
            LockHeldError: Another process holds the lock.
        """
        try:
            file = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LockHeldError(self.holder()) from None
        finally:
            os.close(file)

    def holder(self) -> str:
        """Return who holds the lock, as PID and host, as far as that is known."""
        try:
            pid, host = self.path.read_text(errors="replace").split()
        except (OSError, ValueError):  # it has not yet said, or its disk was full
            return "another process"
        return f"another process (PID {pid} on {host})"

    def _take(self) -> bool:
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not self._names(file):
                os.close(file)
                return False
        except BaseException as error:
            os.close(file)
            if isinstance(error, BlockingIOError):
                return False
            raise
        with suppress(OSError):  # the lock holds on a full disk, too
            os.ftruncate(file, 0)
            os.pwrite(file, f"{os.getpid()} {platform.node()}\n".encode(), 0)
        self._file = file
        return True

    def _names(self, file: int) -> bool:
        """Return whether the path still names an open file: while one waits, it may be deleted."""
        try:
            return os.path.samestat(os.fstat(file), self.path.stat())
        except FileNotFoundError:
            return False
