"""What an MLflow tracking URI names, told without MLflow: a server, a database, its artifacts.

MLflow writes absolute paths into its database. A project's folder that was moved or copied has its
artifacts in the new place, and the old one is gone or somebody else's.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

from trainable.storage.redaction import redact_uri

LEAST_PARTS = 2  # last parts of a run's folder that are its own: its id, and `artifacts`


def is_server(uri: str) -> bool:
    """Return whether a URI names a tracking server, and no database."""
    return uri.startswith(("http://", "https://"))


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite URI, None for any other store."""
    scheme, _, rest = uri.partition("://")
    if not scheme.startswith("sqlite"):
        return None
    return Path(rest.partition("?")[0].removeprefix("/"))


def ui_command(uri: str) -> str:
    """Return the command that shows a database in a browser, without what gives access to it."""
    return f"mlflow ui --backend-store-uri {shlex.quote(redact_uri(uri))} --host 127.0.0.1"


def artifacts_folder(tracking_uri: str, artifact_uri: str) -> Path | None:
    """Return the folder of a run's artifacts, None where they are not on this machine.

    Args:
        tracking_uri: The store that holds the record.
        artifact_uri: Where the run's artifacts lie, as the record has it.
    """
    written, database = local_path(artifact_uri), sqlite_file(tracking_uri)
    if written is None or database is None:
        return written
    home = database.resolve().parent
    parts = written.parts[1:] if written.is_absolute() else written.parts
    beside = (home.joinpath(*parts[-count:]) for count in range(LEAST_PARTS, len(parts) + 1))
    return next((folder for folder in beside if folder.is_dir()), written)


def local_path(artifact_uri: str) -> Path | None:
    """Return the path that a `file:` URI or a plain path names, None for another machine's."""
    parts = urlsplit(artifact_uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(artifact_uri)
