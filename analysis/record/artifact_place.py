"""Where the artifacts of a record on this machine lie: beside its SQLite file, also once moved.

MLflow writes absolute paths into its database. A project's folder that was moved or copied has its
artifacts in the new place, and the old one is gone or somebody else's.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from analysis.record.mlflow_database import sqlite_file

LEAST = 2  # last parts of a run's folder that are its own: its id, and `artifacts`


def local_place(tracking_uri: str, artifact_uri: str) -> Path | None:
    """Return the folder of a run's artifacts, None where they are not on this machine.

    Args:
        tracking_uri: Of the record.
        artifact_uri: As the record has it.
    """
    written, database = local_folder(artifact_uri), sqlite_file(tracking_uri)
    if written is None or database is None:
        return written
    home = database.resolve().parent
    parts = written.parts[1:] if written.is_absolute() else written.parts
    beside = (home.joinpath(*parts[-count:]) for count in range(LEAST, len(parts) + 1))
    return next((folder for folder in beside if folder.is_dir()), written)


def local_folder(artifact_uri: str) -> Path | None:
    """Return the folder that a URI or a path names, None where it is another machine's."""
    parts = urlsplit(artifact_uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(artifact_uri)
