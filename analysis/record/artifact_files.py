"""Fetch one artifact of a run, once: what a server sent is kept in the user's cache."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from analysis.record.artifact_place import local_place
from analysis.record.mlflow_calls import ARTIFACT_S, StoreError, ask, bound_answers
from analysis.record.mlflow_store import one_line_errors
from analysis.record.schema import RecordError

NOT_FOUND = re.compile(r"404 Client Error|\(404\)")  # words of an HTTP server, and of S3
MOST_BYTES = 256 * 2**20  # of one artifact; real ones take a few MB


def cache_folder() -> Path:
    """Return the user's folder of what the analysis keeps between calls."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "pixelwise-adversarial" / "analysis"


def read_artifact(
    tracking_uri: str, name: str, artifact_uri: str, run_id: str, record_hash: str
) -> bytes | None:
    """Return the content of an artifact, None where the run has none of that name.

    Args:
        tracking_uri: Of the store that the run is in.
        name: Of the file, at the top of the run's artifacts.
        artifact_uri: Where the run's artifacts lie.
        run_id: Of the run.
        record_hash: Of what was published of it; where empty, nothing is kept.

    Raises:
        RecordError: The store does not answer, or the file is too large.
    """
    local = local_place(tracking_uri, artifact_uri)
    if local is not None:
        return _read(local / name)
    key = f"{run_id}-{record_hash}"
    if not re.fullmatch(r"[0-9a-f]+-[0-9a-f]*", key):  # it names a file here
        raise RecordError(f"run id and record_hash are hexadecimal, but got {key!r}")
    place = cache_folder() / "artifacts" / f"{key}-{name}"
    if record_hash and (content := kept(place)) is not None:
        return content
    content = _download(tracking_uri, f"{artifact_uri}/{name}", name)
    if content is not None and record_hash:
        keep(place, content)
    return content


def kept(path: Path) -> bytes | None:
    """Return what `keep` was given, None where nothing is kept, or what is no longer that."""
    content = _read(path)
    if content is None:
        return None
    checksum, _, rest = content.partition(b"\n")
    if checksum != _checksum(rest):
        sys.stderr.write(f"{path} was changed after it was kept; the record is read anew\n")
        return None
    return rest


def keep(path: Path, content: bytes) -> None:
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


def _read(path: Path) -> bytes | None:
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


def _download(tracking_uri: str, uri: str, name: str) -> bytes | None:
    with one_line_errors(tracking_uri), tempfile.TemporaryDirectory() as folder:
        try:
            ask(ARTIFACT_S, _fetch, tracking_uri, uri, folder)
        except StoreError as error:
            if NOT_FOUND.search(str(error)):
                return None
            raise
        return _read(Path(folder) / name)


def _fetch(tracking_uri: str, uri: str, folder: str) -> None:
    bound_answers()
    from mlflow.artifacts import download_artifacts

    download_artifacts(artifact_uri=uri, dst_path=folder, tracking_uri=tracking_uri)
