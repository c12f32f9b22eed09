"""Read one sweep of the MLflow record into a tidy frame."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pandas as pd

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run
    from mlflow.tracking import MlflowClient

EXPERIMENT = "pixelwise-adversarial"
SCHEMA = 1
PAGE_SIZE = 500
METRICS = (
    *("val/miou", "val/acc", "val/macc", "val/fwiou"),
    *("swa/miou", "swa/acc", "swa/macc", "swa/fwiou"),
    *("train/loss_mce", "train/loss_adv", "train/loss_disc", "images_per_s"),
)
TRIAL_TAGS = ("trial_key", "training_key", "code_version", "data_fingerprint")
SWEEP_TAGS = ("sweep", "sweep_key", "dataset", "trials_total")
# Read by mlflow at its import; a figure should fail within seconds when the server is gone.
MLFLOW_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


class RecordError(ValueError):
    """The record cannot answer the question; the message is one line that says why."""


def load_trials(
    tracking_uri: str = "sqlite:///mlflow.db", sweep: str = "lambda_grid"
) -> pd.DataFrame:
    """Read the trials of the newest sweep of that name, finished or not.

    Args:
        tracking_uri: An MLflow tracking URI; a SQLite file must exist and is never created.
        sweep: Name of a sweep, or the 16 digits of a `sweep_key`.

    Returns:
        One row per trial, sorted by `trial_key`: the config's fields, numbers as numbers, the
        metrics (NaN where absent), `run_id`, `status` and the keys. `attrs` holds `sweep`,
        `sweep_key`, `dataset`, `trials_total` and `parent_run_id`.

    Raises:
        RecordError: The record cannot be read, lacks the sweep, is of a later schema, or holds no
            finished trial.
    """
    _check_uri(tracking_uri)
    for name, value in MLFLOW_SETTINGS.items():
        os.environ.setdefault(name, value)
    with _one_line_errors(tracking_uri):
        from mlflow.tracking import MlflowClient

        client = MlflowClient(tracking_uri)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None or experiment.lifecycle_stage != "active":
            where = _without_password(tracking_uri)
            raise RecordError(f"no experiment {EXPERIMENT!r} in {where}; run a sweep first")
        parent = _newest(_search(client, experiment, "tags.kind = 'sweep'"), sweep)
        runs = _search(
            client,
            experiment,
            f"tags.kind = 'trial' and tags.`mlflow.parentRunId` = '{parent.info.run_id}'",
        )
    for run in (parent, *runs):
        _check_schema(run)
    frame = _tidy(runs)
    attrs: dict[str, Any] = {name: _tag(parent, name) for name in SWEEP_TAGS}
    frame.attrs = attrs | {
        "trials_total": int(attrs["trials_total"]),
        "parent_run_id": parent.info.run_id,
    }
    if not (frame["status"] == "FINISHED").any():
        raise RecordError(
            f"sweep {attrs['sweep']!r} has no finished trials yet "
            f"(0 of {attrs['trials_total']}); go on with it first"
        )
    return frame


def _check_uri(uri: str) -> None:
    """Refuse what MLflow would take for an order to create a store."""
    scheme, mark, rest = uri.partition("://")
    try:
        urlsplit(uri)
    except ValueError:
        mark = ""
    if not mark:
        known = "sqlite:///mlflow.db or http://host:5000"
        raise RecordError(f"a tracking URI looks like {known}, but got {uri!r}")
    if not scheme.startswith("sqlite"):
        return
    path = Path(rest.partition("?")[0].removeprefix("/"))
    if not path.is_file():
        raise RecordError(f"no record at {path}: no such file; run a sweep or give its URI")
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            tables = database.execute("SELECT name FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        raise RecordError(f"cannot read the record at {path}: {error}") from error
    if ("experiments",) not in tables:
        raise RecordError(f"{path} is not an MLflow record: it has no table of experiments")


@contextmanager
def _one_line_errors(uri: str) -> Iterator[None]:
    shown = _without_password(uri)
    try:
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise RecordError(f"cannot import mlflow, which reads the record: {error}") from error
    try:
        yield
    except (MlflowException, SQLAlchemyError, ImportError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].replace(uri, shown)
        if "failed with exception" in reason:  # mlflow's words for: no answer at all
            reason = "no server answers"
        raise RecordError(f"cannot read the record at {shown}: {reason[:200]}") from error


def _without_password(uri: str) -> str:
    return re.sub(r"(?<=://)[^/]*@", "", uri)


def _search(client: MlflowClient, experiment: Experiment, query: str) -> list[Run]:
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs(
            [experiment.experiment_id],
            query,
            max_results=PAGE_SIZE,
            order_by=["attributes.start_time DESC"],
            page_token=token,
        )
        runs.extend(page)
        token = page.token
        if not token:
            return runs


def _newest(sweeps: list[Run], wanted: str) -> Run:
    for run in sweeps:
        if wanted in (run.data.tags.get("sweep"), run.data.tags.get("sweep_key")):
            return run
    names = sorted({run.data.tags.get("sweep", run.info.run_name) for run in sweeps})
    raise RecordError(f"no sweep {wanted!r} in the record; it holds: {', '.join(names) or 'none'}")


def _check_schema(run: Run) -> None:
    found = _tag(run, "schema")
    if not found.isdecimal() or int(found) > SCHEMA:
        raise RecordError(
            f"run {run.info.run_id} has schema {found}, but this version reads up to {SCHEMA}; "
            "update the program"
        )


def _tag(run: Run, name: str) -> str:
    if name not in run.data.tags:
        raise RecordError(f"run {run.info.run_id} has no tag {name!r}: no sweep's driver wrote it")
    return str(run.data.tags[name])


def _tidy(runs: list[Run]) -> pd.DataFrame:
    rows = [
        run.data.params
        | {name: run.data.metrics.get(name) for name in METRICS}
        | {name: _tag(run, name) for name in TRIAL_TAGS}
        | {"run_id": run.info.run_id, "status": run.info.status}
        for run in runs
    ]
    names = dict.fromkeys([*TRIAL_TAGS, "run_id", "status", *METRICS])
    frame = pd.DataFrame(rows, columns=list(names | dict.fromkeys(key for r in rows for key in r)))
    frame = frame.astype(dict.fromkeys(METRICS, float))
    for name in frame.columns.difference([*names]):
        frame[name] = _as_number(frame[name])
    # A run that a killed driver left RUNNING may stand beside the one that finished the trial.
    frame["_done"] = frame["status"] == "FINISHED"
    frame = frame.sort_values(["trial_key", "_done", "run_id"])
    frame = frame.drop_duplicates("trial_key", keep="last").drop(columns="_done")
    return frame.reset_index(drop=True)


def _as_number(column: pd.Series) -> pd.Series:
    """Return the column as numbers when each text in it is one."""
    if (column == "").any():  # pandas would read it as NaN
        return column
    try:
        return pd.to_numeric(column)
    except ValueError:
        return column
