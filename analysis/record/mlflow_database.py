"""What is wrong with an MLflow database that waiting does not mend, told without MLflow.

MLflow migrates a database of an older version, and fills one that is not its own, when it opens
it. So its driver alone asks it before.
"""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.record.mlflow_calls import SMALL_S, StoreError, call_within
from analysis.record.schema import EXPERIMENT
from analysis.record.tracking_uri import is_server, sqlite_file
from trainable.storage.redaction import redact, redact_uri

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine

LOCK_S = 5.0  # that another process's lock is waited for
NAMED = 3  # tables of something else that are named
# Kinds of SQLSTATE that waiting does not mend: no authorisation, no such database, no right or
# table, a database that takes no writes. MySQL's driver numbers the same its own way.
LASTING_STATES = ("28", "3D", "42", "25006")
LASTING_NUMBERS = (1044, 1045, 1049, 1142, 1143, 1227, 1290)
# A PostgreSQL that could not be spoken to has no SQLSTATE for the driver, only its words.
PASSING_WORDS = (
    *("starting up", "shutting down", "recovery mode", "too many", "remaining connection slots"),
    *("terminating connection", "cannot connect now"),
)
# No row meets the condition, but whether one might be written is checked: nothing changes.
WRITES = (
    "UPDATE experiments SET name = name WHERE 1 = 0",
    "INSERT INTO runs (run_uuid) SELECT run_uuid FROM runs WHERE 1 = 0",
    "UPDATE runs SET status = status WHERE 1 = 0",
    "INSERT INTO params (run_uuid) SELECT run_uuid FROM params WHERE 1 = 0",
    "INSERT INTO metrics (run_uuid) SELECT run_uuid FROM metrics WHERE 1 = 0",
    "INSERT INTO latest_metrics (run_uuid) SELECT run_uuid FROM latest_metrics WHERE 1 = 0",
    "INSERT INTO tags (run_uuid) SELECT run_uuid FROM tags WHERE 1 = 0",
    "DELETE FROM tags WHERE 1 = 0",
)
REVISION = re.compile(r'^(revision|down_revision)\b.*?= ["\'](\w+)', re.MULTILINE)
MAY_CREATE = "SELECT has_schema_privilege(current_schema(), 'CREATE')"  # PostgreSQL's


def describe_deleted(experiment: str, experiment_id: str, shown: str) -> str:
    """Return that an experiment of our sweeps is deleted, and the command that restores it."""
    return (
        f"the experiment {experiment!r} in {shown} is deleted; restore it with "
        f"`MLFLOW_TRACKING_URI={shlex.quote(shown)} mlflow experiments restore -x {experiment_id}`"
    )


def database_fault(uri: str, experiment: str = EXPERIMENT, *, writing: bool) -> str | None:
    """Return what is wrong with a database, and what mends it.

    Args:
        uri: MLflow's tracking URI of a database.
        experiment: The name of the experiment of our sweeps.
        writing: Whether the record is to be written, too.

    Returns:
        One line, or None where nothing is wrong, where there is no SQLite file yet, or where only
        waiting helps.
    """
    path, shown = sqlite_file(uri), redact_uri(uri)
    if path is not None and not path.exists():
        return None
    if path is not None and (fault := _file_fault(path, writing=writing)):
        return fault
    try:
        return call_within(SMALL_S, _fault, uri, experiment, shown, writing=writing)
    except StoreError as error:
        return _driver_fault(error.__cause__, path, uri)


def check_reachable(uri: str) -> None:
    """Connect to a database that is a server: MLflow tries for two minutes, and says less.

    Raises:
        StoreError: It does not answer, or refuses.
    """
    if sqlite_file(uri) is None and not is_server(uri):
        call_within(SMALL_S, _connect, uri)


def _connect(uri: str) -> None:
    with _engine(uri).connect():
        pass


def _file_fault(path: Path, *, writing: bool) -> str | None:
    if not path.is_file():
        return f"{path} must be a file of SQLite, but is none; name another"
    if not os.access(path, os.R_OK):
        return f"{path} must be readable, but is not; `chmod u+rw {shlex.quote(str(path))}`"
    if writing and not os.access(path, os.W_OK):
        return f"{path} must be writable, but is not; `chmod u+w {shlex.quote(str(path))}`"
    return None


def _fault(uri: str, experiment: str, shown: str, *, writing: bool) -> str | None:
    with _engine(uri).connect() as connection:
        found = _read(connection, experiment)
        if not found.tables:
            return _empty_fault(connection, shown, writing=writing)
        if "experiments" not in found.tables:
            some = ", ".join(sorted(found.tables)[:NAMED])
            return (
                f"{shown} must be a database of MLflow's, but holds other tables ({some}); "
                "name another, or one that is not there yet"
            )
        if found.revision != newest_schema():
            return _schema_fault(found.revision, shown)
        if writing and connection.dialect.name != "sqlite":
            _try_writing(connection)  # raises what the database says
    return describe_deleted(experiment, found.deleted, shown) if found.deleted else None


@dataclass(frozen=True, kw_only=True)
class _Database:
    tables: frozenset[str]  # besides alembic's own
    revision: str | None  # of its schema
    deleted: str | None = None  # id of our experiment, where that is deleted


def _read(connection: Connection, experiment: str) -> _Database:
    from sqlalchemy import inspect, text

    names = inspect(connection).get_table_names()
    tables = frozenset(name for name in names if not name.startswith("alembic_"))
    revision = None
    if "alembic_version" in names:
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if "experiments" not in tables:
        return _Database(tables=tables, revision=revision)
    asked = "SELECT experiment_id, lifecycle_stage FROM experiments WHERE name = :name"
    rows = connection.execute(text(asked), {"name": experiment}).all()
    gone = [str(number) for number, stage in rows if stage == "deleted"]
    is_deleted = bool(gone) and len(gone) == len(rows)
    return _Database(tables=tables, revision=revision, deleted=gone[0] if is_deleted else None)


def _empty_fault(connection: Connection, shown: str, *, writing: bool) -> str | None:
    from sqlalchemy import text

    if not writing:
        return f"{shown} holds no record; run a sweep first"
    is_postgresql = connection.dialect.name == "postgresql"
    if is_postgresql and not connection.execute(text(MAY_CREATE)).scalar():
        return (
            f"{shown} must let this user make tables, but does not; have its owner "
            "`GRANT CREATE ON SCHEMA public TO` the user, or name another"
        )
    return None


def _schema_fault(revision: str | None, shown: str) -> str:
    mine = version("mlflow")
    if revision is None or revision in _revisions():
        return (
            f"{shown} must have the schema of mlflow {mine}, but has an older one ({revision}); "
            f"make a backup, then `mlflow db upgrade {shlex.quote(shown)}`"
        )
    return (
        f"{shown} must have a schema that mlflow {mine} knows, but has that of another version, "
        f"most likely a newer one ({revision}); install the mlflow that wrote it with "
        "`pip install --upgrade mlflow`, or name another"
    )


def _try_writing(connection: Connection) -> None:
    from sqlalchemy import text

    for statement in WRITES:
        connection.execute(text(statement))
    connection.rollback()


def _engine(uri: str) -> Engine:
    """Return an engine that keeps no connection."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    path = sqlite_file(uri)
    if path is None:
        return create_engine(uri, poolclass=NullPool)
    # To roll back what a killed process left, as MLflow would, the file is opened for writing.
    address = f"{path.resolve().as_uri()}?mode=rw"
    return create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(address, uri=True, timeout=LOCK_S),
        poolclass=NullPool,
    )


def _driver_fault(error: BaseException | None, path: Path | None, uri: str) -> str | None:
    """Return what a database's refusal means, None where only waiting helps."""
    origin = getattr(error, "orig", None)
    if origin is None:
        return None
    said = redact((str(origin).strip().splitlines() or [type(origin).__name__])[0], uri)
    if path is not None:
        kind = getattr(origin, "sqlite_errorname", "")
        if kind == "SQLITE_NOTADB":
            return f"{path} must be a file of SQLite, but is none; move it away, or name another"
        if kind.startswith("SQLITE_CORRUPT"):
            return (
                f"{path} must be a whole file of SQLite, but is damaged ({said}); put a backup in "
                "its place, or move it away and `python -m sweeps.publish` writes the record anew"
            )
        return None
    if not _is_lasting(origin, said):
        return None
    return (
        f"{redact_uri(uri)} must let this user in and, for a sweep, write, but says: {said}; mend "
        "the name or what gives access, have its owner grant the right, or name another"
    )


def _is_lasting(origin: BaseException, said: str) -> bool:
    first = next(iter(origin.args), None)
    if isinstance(first, int):
        return first in LASTING_NUMBERS
    state = getattr(origin, "pgcode", None) or getattr(origin, "sqlstate", None)
    if state is None and isinstance(first, str) and re.fullmatch(r"[0-9A-Z]{5}", first):
        state = first
    if state:
        return str(state).startswith(LASTING_STATES)
    if "Name or service not known" in said:
        return True
    return "FATAL" in said and not any(words in said for words in PASSING_WORDS)


@cache
def _revisions() -> dict[str, str | None]:
    """Return all versions of the schema that this mlflow knows, each with the one before it.

    To ask alembic would import them all, for more than a second.
    """
    spec = find_spec("mlflow")
    assert spec is not None  # nosec B101  # cannot happen
    assert spec.origin is not None  # nosec B101  # cannot happen
    folder = Path(spec.origin).parent / "store" / "db_migrations" / "versions"
    return dict(_steps(folder))


def _steps(folder: Path) -> Iterator[tuple[str, str | None]]:
    for path in folder.glob("*.py"):
        names = dict(REVISION.findall(path.read_text(encoding="utf-8")))
        if "revision" in names:
            yield names["revision"], names.get("down_revision")


def newest_schema() -> str:
    """Return the version of the schema that this mlflow writes."""
    steps = _revisions()
    (newest,) = steps.keys() - set(steps.values())
    return newest
