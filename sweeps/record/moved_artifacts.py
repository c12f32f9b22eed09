"""Bring the paths of artifacts up to date in a record that was moved or copied with its folder.

MLflow writes absolute paths into its database. An experiment of our sweeps is tagged with the
folder that the database was in when it was last written to: where that is another one, all paths
below it are brought up to date, in one transaction. So a copy never writes into the folder that it
was made from. Artifacts that lie elsewhere by intention stay there.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from analysis.record.mlflow_calls import SMALL_S, StoreError, call_within
from analysis.record.mlflow_database import LOCK_S
from analysis.record.schema import EXPERIMENT
from analysis.record.tracking_uri import local_path, sqlite_file
from trainable.runs.keys import key_of

HOME = "pixelwise.folder"  # tag of an experiment of ours
ARTIFACTS = "mlruns"  # folder beside the database
FOLDER_NAME = re.compile(r"[A-Za-z0-9][\w .-]{0,99}", re.ASCII)  # of one in it
# Of all tables that hold places of artifacts: what stands before one, and how long that is.
UPDATES = (
    "UPDATE experiments SET artifact_location = ? || substr(artifact_location, ?) "
    "WHERE substr(artifact_location, 1, ?) = ?",
    "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) "
    "WHERE substr(artifact_uri, 1, ?) = ?",
    "UPDATE logged_models SET artifact_location = ? || substr(artifact_location, ?) "
    "WHERE substr(artifact_location, 1, ?) = ?",
)


def artifact_location(tracking_uri: str, experiment: str = EXPERIMENT) -> str | None:
    """Return the folder for a new experiment's artifacts, None where the store chooses it."""
    path = sqlite_file(tracking_uri)
    if path is None:
        return None
    folder = experiment if FOLDER_NAME.fullmatch(experiment) else key_of({"experiment": experiment})
    return str(path.resolve().parent / ARTIFACTS / folder)


def bring_home(tracking_uri: str, experiment: str = EXPERIMENT) -> str:
    """Bring the paths of artifacts in a SQLite record up to date where it was moved or copied.

    Args:
        tracking_uri: The URI of the MLflow store; only a SQLite file that exists is changed.
        experiment: The name of the experiment of our sweeps, which may not be tagged yet.

    Returns:
        The folder that the file was in before, empty where it was not moved.

    Raises:
        StoreError: The file cannot be written.
    """
    path = sqlite_file(tracking_uri)
    if path is None or not path.exists() or path.stat().st_size == 0:
        return ""
    return call_within(SMALL_S, _bring_home, path.resolve(), experiment)


def _bring_home(path: Path, experiment: str) -> str:
    address = f"{path.as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=LOCK_S)) as database, database:
            database.execute("BEGIN IMMEDIATE")
            moved = [_change(database, path.parent, name) for name in _ours(database, experiment)]
            return next(filter(None, moved), "")
    except sqlite3.Error as error:
        raise StoreError(str(error)) from error


def _ours(database: sqlite3.Connection, experiment: str) -> list[str]:
    """Return the names of the experiment and of all that are tagged as it is."""
    asked = "SELECT name FROM experiments JOIN experiment_tags USING (experiment_id) WHERE key = ?"
    tagged = [str(name) for (name,) in database.execute(asked, [HOME])]
    return sorted({experiment, *tagged})


def _change(database: sqlite3.Connection, here: Path, name: str) -> str:
    asked = "SELECT experiment_id, artifact_location FROM experiments WHERE name = ?"
    found = database.execute(asked, [name]).fetchone()
    if found is None:
        return ""
    experiment, location = found
    tagged = "SELECT value FROM experiment_tags WHERE key = ? AND experiment_id = ?"
    row = database.execute(tagged, [HOME, experiment]).fetchone()
    before = Path(row[0]) if row else _guessed(location, here)
    if before is None or (row and before == here):
        return ""
    database.execute(
        "INSERT OR REPLACE INTO experiment_tags (key, value, experiment_id) VALUES (?, ?, ?)",
        [HOME, str(here), experiment],
    )
    if before == here:
        return ""
    for old, new in ((f"{before}/", f"{here}/"), (f"{before.as_uri()}/", f"{here.as_uri()}/")):
        for update in UPDATES:
            database.execute(update, [new, len(old) + 1, len(old), old])
    return str(before)


def _guessed(location: str, here: Path) -> Path | None:
    """Return the former folder of a database without our tag, None where it cannot be known.

    The artifacts lay beside the database then if they lie beside it now.

    Args:
        location: The path of the experiment's artifacts, as the database has it.
        here: The folder that the database is in now.
    """
    written = local_path(location)
    if written is None or ARTIFACTS not in written.parts:
        return None
    at = len(written.parts) - 1 - written.parts[::-1].index(ARTIFACTS)
    before = Path(*written.parts[:at])
    if before.exists() and before.samefile(here):
        return here
    is_beside = here.joinpath(*written.parts[at:]).is_dir()
    return before if is_beside else None
