"""A log of events, one JSON object per line: readable after a kill, and no change goes unnoticed.

The checksum of a line covers all lines before it.

A line is on the disk before its event takes effect anywhere else, so that a reader of the log knows
at least as much as anyone else.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from trainable.config.schema import ConfigError
from trainable.storage import json_files
from trainable.storage.faults import naming
from trainable.storage.files import sync_folder
from trainable.storage.json_files import JsonObject

if TYPE_CHECKING:
    from hashlib import _Hash


class EventLog:
    """The log of one search.

    The events are read at construction; nothing is written before `open`.

    Args:
        path: The file of the log, which need not exist.

    Attributes:
        events: The events that the file held at construction, the first one first.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = hashlib.sha256()
        self.events, self._size = read_events(path, self._written)
        self._file: int | None = None

    def open(self) -> None:
        """Become the only writer of the log, and cut off a line that a kill left incomplete.

        Raises:
            ConfigError: Another process writes the log, or has written since this one read it.
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

    def append(self, event: Mapping[str, object]) -> None:
        """Write an event and wait until it is on the disk, so that no power cut loses it."""
        assert self._file is not None, "open comes first"  # nosec B101  # cannot happen
        line = json_files.dumps(event, before=self._written) + b"\n"
        self._written.update(line)
        with naming(self.path):
            while line:
                line = line[os.write(self._file, line) :]
            os.fsync(self._file)

    def close(self) -> None:
        """Close the file, so that another process may write it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _in_use(self) -> ConfigError:
        return ConfigError(
            f"a search must have one driver, but another process writes {self.path}; "
            "wait for it or end it"
        )


def damaged(path: Path, number: int, fault: str) -> ConfigError:
    """Return the error for a log with a line that is not what was written.

    Args:
        path: The file of the log.
        number: The number of the line, from 1.
        fault: What is wrong with the line.
    """
    return ConfigError(
        f"line {number} of {path} must be what a search wrote, but {fault}; "
        "move the file away to search afresh, what is trained is kept"
    )


def read_events(path: Path, written: _Hash | None = None) -> tuple[list[JsonObject], int]:
    """Return the events of a log and how many bytes they take; a torn last line is left out.

    Args:
        path: The file of the log; where there is none, there are no events.
        written: A hash that is updated with the bytes of the events.

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
