"""Open the MLflow store: limited waits, errors in one line, a SQLite file made whole or not."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from analysis.record.mlflow_calls import (
    ARTIFACT_S,
    Patience,
    StoreError,
    call_within,
    open_client,
    search_pages,
    set_up_mlflow,
)
from analysis.record.mlflow_database import check_reachable
from analysis.record.tracking_uri import is_server
from trainable.cli.options import check_writable
from trainable.config.schema import ConfigError
from trainable.storage.redaction import UNQUOTED, first_line, is_unclear, redact_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

# What is raised where the store does not answer, or a file cannot be read.
STORE_ERRORS = (StoreError, OSError)
STORE = "the MLflow store (--tracking-uri)"  # as messages call it, which nobody may have named


def check_store(tracking_uri: str) -> None:
    """Refuse a URI that names no store, without asking whether the store answers.

    Args:
        tracking_uri: The URI of the MLflow store.

    Raises:
        ConfigError: It is no URI, its driver is not installed, or a SQLite file cannot be made
            there.
    """
    database: str | None = None
    shown = redact_uri(tracking_uri)
    try:
        if is_unclear(tracking_uri):
            raise ValueError(UNQUOTED)
        if is_server(tracking_uri):
            _check_address(tracking_uri)
        else:
            database = _check_driver(tracking_uri)
    except (ValueError, ImportError) as error:
        raise ConfigError(
            f"{STORE} must name a store, but {shown} does not: "
            f"{first_line(error, tracking_uri)}; correct it, or name an installed driver as in "
            "postgresql+psycopg2://HOST/NAME"
        ) from None  # its cause tells of the parts of the URI
    if tracking_uri.startswith("sqlite"):
        _check_file(database)


def _check_address(uri: str) -> None:
    address = urlsplit(uri)
    if not address.hostname or address.port == 0:
        raise ValueError("it has no host")


def _check_driver(uri: str) -> str | None:
    """Import the driver of a database, and return the database that its URI names."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(uri)
        url.get_dialect().import_dbapi()
    except ArgumentError as error:
        raise ValueError(str(error)) from error
    return url.database


def _check_file(database: str | None) -> None:
    if not database or database == ":memory:":
        raise ConfigError(f"{STORE} must name a file, such as sqlite:///mlflow.db")
    path = Path(database).resolve()
    if not path.parent.exists():
        raise ConfigError(
            f"{STORE} must lie in a folder that exists, but {path.parent} does not; make it first"
        )
    if path.is_dir():
        raise ConfigError(f"{STORE} must name a file, but {path} is a folder")
    check_writable(STORE, path.parent)


def open_store(
    tracking_uri: str, *, create: bool = True, patience: Patience | None = None
) -> MlflowClient:
    """Return a client of the store; a server is not asked yet.

    Args:
        tracking_uri: The URI of the MLflow store.
        create: Whether to make a SQLite file where there is none.
        patience: How long all calls of the client together may take.

    Raises:
        StoreError: The store cannot be opened.
        OSError: The SQLite file does not exist, and `create` is false.
    """
    path = _missing_file(tracking_uri)
    if path is not None and not create:
        raise FileNotFoundError(f"there is no file {path}")
    if path is not None:
        call_within(ARTIFACT_S, create_database, path.absolute())
        call_within(ARTIFACT_S, _forget_former, tracking_uri)
    check_reachable(tracking_uri)
    return open_client(tracking_uri, patience)


def search(client: MlflowClient, experiment_id: str, condition: str) -> list[Run]:
    """Return all runs of an experiment that match MLflow's filter string, the oldest first."""
    order = "attributes.start_time ASC"
    found = search_pages(client, experiment_id, condition, order=order)
    return [run for page in found for run in page]


def create_database(path: Path) -> None:
    """Create MLflow's SQLite file whole or not at all.

    MLflow builds a new database in some fifty migrations; a process killed among them leaves one
    that no version reads.
    """
    set_up_mlflow()
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    _drop_abandoned(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        uri = f"sqlite:///{temporary}"
        store = SqlAlchemyStore(uri, DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH)
        store.engine.dispose()
        with suppress(FileExistsError):  # another sweep was faster: its file is as good
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _forget_former(tracking_uri: str) -> None:
    """Close what this process has open of a file of the same name that was deleted since.

    MLflow keeps an engine for each URI, whose connections would go on writing to that file.
    """
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(tracking_uri, DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH).engine.dispose()


def _drop_abandoned(path: Path) -> None:
    """Delete temporary files of processes that no longer run, or had the PID of this one."""
    for left in path.parent.glob(f".{path.name}.*.tmp*"):
        pid = left.name.removeprefix(f".{path.name}.").partition(".")[0]
        if pid.isdigit() and (int(pid) == os.getpid() or not Path(f"/proc/{pid}").exists()):
            left.unlink(missing_ok=True)


def _missing_file(tracking_uri: str) -> Path | None:
    """Return the SQLite file that a tracking URI names if it does not exist, else None."""
    from sqlalchemy.engine import make_url

    if not tracking_uri.startswith("sqlite"):
        return None
    database = make_url(tracking_uri).database
    return Path(database) if database and not Path(database).exists() else None
