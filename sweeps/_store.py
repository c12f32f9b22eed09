"""The MLflow store: short patience, errors in one line, a SQLite file made whole or not at all."""

from __future__ import annotations

import logging
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

EXPERIMENT = "pixelwise-adversarial"
PAGE = 500
# Read by mlflow when it is imported or asked: a server that is gone must not hold up a sweep. A
# request is not sent twice: what a slow server did after all would stand there twice.
MLFLOW_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}


def open_store(tracking_uri: str, *, create: bool = True) -> MlflowClient:
    """Return a client of the store; a server is not asked yet.

    Args:
        tracking_uri: Of the store.
        create: Whether a SQLite file is made when there is none.

    Raises:
        Exception: One of `store_errors()`, where a file is not there or cannot be made.
    """
    _prepare()
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    path = _missing_file(tracking_uri)
    if path is not None and not create:
        raise FileNotFoundError(f"there is no file {path}")
    if path is not None:
        create_database(path)
    return MlflowClient(tracking_uri)


def store_errors() -> tuple[type[Exception], ...]:
    """Return what a store that is gone, or none, lets its client raise."""
    _prepare()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, SQLAlchemyError, ImportError, OSError


def search(client: MlflowClient, experiment_id: str, condition: str) -> list[Run]:
    """Return all runs that fulfil a condition, the oldest first."""
    found: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment_id],
            condition,
            max_results=PAGE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        found += page
        token = page.token
        if not token:
            return found


def without_password(text: str) -> str:
    """Return a text without what gives access to the URIs in it."""
    text = re.sub(r"(?<=://)[^/\s]*@", "", text)
    return re.sub(r"(?<=[?&])(password|token)=[^&\s'\"]*", r"\1=", text)


def absolute(tracking_uri: str) -> str:
    """Return a tracking URI that names the same SQLite file from any folder."""
    head, prefix, path = tracking_uri.partition("sqlite:///")
    return tracking_uri if head or not path else f"{prefix}{Path(path).resolve()}"


def first_line(error: Exception) -> str:
    """Return what an error says, on one line and without a password."""
    lines = without_password(str(error)).splitlines()
    return lines[0][:200] if lines else type(error).__name__


def create_database(path: Path) -> None:
    """Create MLflow's SQLite file whole or not at all.

    MLflow builds a new database in some fifty migrations; a process killed among them leaves one
    that no version reads.
    """
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        uri = f"sqlite:///{temporary}"
        store = SqlAlchemyStore(uri, DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)
        store.engine.dispose()
        with suppress(FileExistsError):  # another sweep was faster: its file is as good
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _missing_file(tracking_uri: str) -> Path | None:
    """Return the SQLite file that a tracking URI names where it is not there."""
    from sqlalchemy.engine import make_url

    if not tracking_uri.startswith("sqlite"):
        return None
    database = make_url(tracking_uri).database
    return Path(database) if database and not Path(database).exists() else None


def _prepare() -> None:
    for name, value in MLFLOW_SETTINGS.items():
        os.environ.setdefault(name, value)
