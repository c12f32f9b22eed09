"""A log of events, one JSON object a line, that a kill leaves readable and no change does.

The checksum of a line covers all lines before it.

A line is on the disk before what it tells of takes effect elsewhere, so that whoever reads the
log knows at least what anyone else does.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainable.config.schema import ConfigError
from trainable.storage import json_files
from trainable.storage.faults import naming
from trainable.storage.files import sync_folder

if TYPE_CHECKING:
    from hashlib import _Hash


class EventLog:
    """One log; the events are read at construction, and writing begins with `open`.

    Args:
        path: Need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = hashlib.sha256()
        self.events, self._size = read_events(path, self._written)
        self._file: int | None = None

    def open(self) -> None:
        """Become the one writer, and cut off a line that a kill tore.

        Raises:
            ConfigError: Another process writes the log, or did since it was read.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise self._in_use() from None
        if read_events(self.path)[1] != self._size:
            os.close(file)
            raise self._in_use()
        os.ftruncate(file, self._size)
        sync_folder(self.path.parent)
        self._file = file

    def append(self, event: Mapping[str, Any]) -> None:
        """Write an event so that not even a power cut loses it."""
        assert self._file is not None, "open comes first"  # nosec B101  # cannot happen
        line = json_files.dumps(event, before=self._written) + b"\n"
        self._written.update(line)
        with naming(self.path):
            while line:
                line = line[os.write(self._file, line) :]
            os.fsync(self._file)

    def close(self) -> None:
        """Let another process write."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _in_use(self) -> ConfigError:
        return ConfigError(
            f"a search must have one driver, but another process writes {self.path}; "
            "wait for it or end it"
        )


def damaged(path: Path, number: int, fault: str) -> ConfigError:
    """Return the error of a log whose line of this number, from 1, is not what was written."""
    return ConfigError(
        f"line {number} of {path} must be what a search wrote, but {fault}; "
        "move the file away to search afresh, what is trained is kept"
    )


def read_events(path: Path, written: _Hash | None = None) -> tuple[list[dict[str, Any]], int]:
    """Return the events of a log and the bytes that they take; a torn last line is left out.

    Args:
        path: Of the log.
        written: Is given these bytes.

    Raises:
        ConfigError: A line is not what was written.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    whole, _, _ = content.rpartition(b"\n")
    lines = whole.split(b"\n") if whole else []
    events = []
    before = hashlib.sha256() if written is None else written
    for number, line in enumerate(lines, start=1):
        try:
            event = json_files.loads(line, before=before)
        except ValueError as error:
            raise damaged(path, number, str(error)) from error
        if "event" not in event:
            raise damaged(path, number, "is no event")
        before.update(line + b"\n")
        events.append(event)
    return events, sum(len(line) + 1 for line in lines)
