"""Keep frames in the user's cache as Parquet, and use them only while the record is the same.

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
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from analysis.record.artifact_files import cache_folder, keep, kept
from analysis.record.mlflow_database import sqlite_file
from analysis.record.schema import COLUMNS, Sweep
from trainable.storage.redaction import redact_uri

FORMAT = 1  # to be raised when the same record gives another frame
CHANGE_COUNTER = slice(24, 28)  # raised by every transaction; SQLite file format, section 1.3.7


def cached(uri: str, name: str, read: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    """Return the kept frame where the record has not changed since, else read and keep it.

    Args:
        uri: Tracking URI of the record.
        name: What is read of it.
        read: Reads it.
    """
    # Before reading: what is written meanwhile makes the kept frame stale, not wrong.
    stamp = _stamp(uri)
    if stamp is None:
        return read()
    content = json.dumps([redact_uri(uri), str(Path.cwd()), name])
    path = cache_folder() / "frames" / f"{hashlib.sha256(content.encode()).hexdigest()}.parquet"
    frame = _read(path, stamp)
    if frame is None:
        frame = read()
        _write(path, frame, stamp)
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


def _read(path: Path, stamp: str) -> pd.DataFrame | None:
    content = kept(path)
    if content is None:
        return None
    try:
        frame = pd.read_parquet(io.BytesIO(content))
    except (OSError, ValueError, NotImplementedError):  # of another version
        return None
    if frame.attrs.pop("stamp", None) != stamp:
        return None
    if "axes" in frame.attrs:
        frame.attrs["axes"] = tuple(frame.attrs["axes"])
    if "axes" in frame:
        frame["axes"] = frame["axes"].map(tuple)
    return frame


def _write(path: Path, frame: pd.DataFrame, stamp: str) -> None:
    stamped = frame.copy(deep=False)
    stamped.attrs = frame.attrs | {"stamp": stamp}
    keep(path, stamped.to_parquet())
