"""The user's cache: files with a checksum, and frames that are used while the record is the same.

A SQLite file tells at one look whether it was written since. MLflow has no such mark: a tag or a
status of a finished run may change without a trace in any other field. What a server holds is
therefore read anew each time, and only artifacts are kept, by the hash of what was published.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pandas as pd

from analysis.record.schema import COLUMNS, LISTED, RecordError, Sweep
from analysis.record.tracking_uri import sqlite_file
from trainable.storage.redaction import redact_uri
from trainable.storage.user_cache import user_cache

FORMAT = 1  # to be raised when the same record gives another frame
MOST_BYTES = 256 * 2**20  # of one file; real artifacts take a few MB
CHANGE_COUNTER = slice(24, 28)  # raised by every transaction; SQLite file format, section 1.3.7


def cache_folder() -> Path:
    """Return the user's folder of what the analysis keeps between calls."""
    return user_cache("pixelwise-adversarial") / "analysis"


def load_cached(path: Path) -> bytes | None:
    """Return what `save_cached` was given, None where that is not there or is damaged."""
    content = read_file(path)
    if content is None:
        return None
    checksum, _, rest = content.partition(b"\n")
    if checksum != _checksum(rest):
        sys.stderr.write(f"{path} was changed after it was kept; the record is read anew\n")
        return None
    return rest


def save_cached(path: Path, content: bytes) -> None:
    """Write a file of the cache whole or not at all; a cache that cannot be written is none.

    Its first line is its checksum.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.write_bytes(_checksum(content) + b"\n" + content)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()


def _checksum(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def read_file(path: Path) -> bytes | None:
    """Return the content of a file that anyone may have written, None where there is none.

    Raises:
        RecordError: It is too large, no plain file, or cannot be read.
    """
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise RecordError(f"{path} must be a file, but is a folder, a device or a pipe")
        if state.st_size > MOST_BYTES:
            size = state.st_size
            raise RecordError(f"{path} has {size} bytes, but at most {MOST_BYTES} are read")
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from error


def cached(uri: str, name: str, read: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return the kept frame where the record has not changed since, else read and keep it.

    Args:
        uri: Tracking URI of the record.
        name: What is read, such as "sweeps"; the frame is kept under it.
        read: Returns the frame, read from the record.
    """
    # Before reading: what is written meanwhile makes the kept frame stale, not wrong.
    stamp = _stamp(uri)
    if stamp is None:
        return read()
    content = json.dumps([redact_uri(uri), str(Path.cwd()), name])
    path = cache_folder() / "frames" / f"{hashlib.sha256(content.encode()).hexdigest()}.parquet"
    frame = _load_frame(path, stamp)
    if frame is None:
        frame = read()
        _save_frame(path, frame, stamp)
    return frame


def _stamp(uri: str) -> str | None:
    """Return what changes whenever the record, or the form of our frames, does."""
    path = sqlite_file(uri)
    if path is None:
        return None
    try:
        with path.open("rb") as database:
            counter = database.read(100)[CHANGE_COUNTER].hex()
            state = os.fstat(database.fileno())
    except OSError:
        return None
    # In WAL mode a transaction stays beside the file for a while; its counter is in the index.
    beside = [_beside(path, suffix) for suffix in ("-wal", "-shm", "-journal")]
    form = [FORMAT, pd.__version__, COLUMNS, [field.name for field in dataclasses.fields(Sweep)]]
    return json.dumps([counter, state.st_ino, state.st_size, state.st_mtime_ns, beside, form])


def _beside(path: Path, suffix: str) -> list[str | int] | None:
    other = path.with_name(path.name + suffix)
    try:
        with other.open("rb") as file:
            state = os.fstat(file.fileno())
            return [file.read(48).hex(), state.st_size, state.st_mtime_ns]
    except OSError:
        return None


def _load_frame(path: Path, stamp: str) -> pd.DataFrame | None:
    content = load_cached(path)
    if content is None:
        return None
    try:
        frame = pd.read_parquet(io.BytesIO(content))
    except (OSError, ValueError, NotImplementedError):  # of another version
        return None
    if frame.attrs.pop("stamp", None) != stamp:
        return None
    for name in LISTED:
        if name in frame.attrs:
            frame.attrs[name] = tuple(frame.attrs[name])
        if name in frame:
            frame[name] = frame[name].map(tuple)
    return frame


def _save_frame(path: Path, frame: pd.DataFrame, stamp: str) -> None:
    stamped = frame.copy(deep=False)
    stamped.attrs = frame.attrs | {"stamp": stamp}
    save_cached(path, stamped.to_parquet())
