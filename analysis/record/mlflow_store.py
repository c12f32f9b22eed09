"""Open an MLflow store, read it page by page, and tell any failure in one line."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from analysis.record.mlflow_calls import StoreError, open_client, search_pages
from analysis.record.mlflow_database import check_reachable, database_fault, describe_deleted
from analysis.record.schema import EXPERIMENT, RecordError
from analysis.record.tracking_uri import is_server, sqlite_file
from trainable.storage.redaction import UNQUOTED, is_unclear, redact, redact_uri

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run


class Store:
    """An experiment of our sweeps in an MLflow store that exists already.

    Args:
        tracking_uri: An MLflow tracking URI; a SQLite file must exist and is never created.
        experiment: The name of the experiment.

    Raises:
        RecordError: There is no store, or it holds no experiment of ours.
    """

    def __init__(self, tracking_uri: str, experiment: str = EXPERIMENT) -> None:
        check_uri(tracking_uri)
        self.tracking_uri, shown = tracking_uri, redact_uri(tracking_uri)
        if not is_server(tracking_uri):
            fault = database_fault(tracking_uri, experiment, writing=False)
            if fault is not None:
                raise RecordError(fault)
        with one_line_errors(tracking_uri):
            check_reachable(tracking_uri)
            self.client = open_client(tracking_uri)
            found = self.client.get_experiment_by_name(experiment)
        if found is None:
            raise RecordError(
                f"no experiment {experiment!r} in {shown}; run a sweep first, or name another "
                "with --experiment"
            )
        if found.lifecycle_stage != "active":
            raise RecordError(describe_deleted(found.name, str(found.experiment_id), shown))
        self.experiment_id = str(found.experiment_id)

    def search(self, condition: str) -> Iterator[Run]:
        """Yield the runs that meet a condition, the newest first."""
        order = "attributes.start_time DESC"
        found = search_pages(self.client, self.experiment_id, condition, order=order)
        while True:
            with one_line_errors(self.tracking_uri), collector_off():
                page = next(found, None)
            if page is None:
                return
            yield from page

    def curve(self, run_id: str, metric: str) -> list[Metric]:
        """Return all points of a metric of a run."""
        with one_line_errors(self.tracking_uri):
            points: list[Metric] = self.client.get_metric_history(run_id, metric)
            return points


def check_uri(uri: str) -> None:
    """Refuse what MLflow would take for an order to create a store."""
    _, mark, _ = uri.partition("://")
    try:
        urlsplit(uri)
    except ValueError:
        mark = ""
    if not mark:
        known = "sqlite:///mlflow.db or http://host:5000"
        raise RecordError(f"a tracking URI looks like {known}, but got {redact_uri(uri)!r}")
    if is_unclear(uri):
        raise RecordError(f"{redact_uri(uri)}: it is unclear where its password ends: {UNQUOTED}")
    path = sqlite_file(uri)
    if path is None:
        return
    if not path.is_file():
        raise RecordError(f"no record at {path}: no such file; run a sweep or give its URI")
    try:
        # Not for reading alone: what a killed process left half-written is then rolled back.
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)) as database:
            tables = database.execute("SELECT name FROM sqlite_master").fetchall()
    except sqlite3.Error as error:
        raise RecordError(f"cannot read the record at {path}: {error}") from error
    if ("experiments",) not in tables:
        raise RecordError(f"{path} is not an MLflow record: it has no table of experiments")


@contextmanager
def one_line_errors(uri: str) -> Iterator[None]:
    """Turn what a store fails at into a `RecordError`."""
    shown = redact_uri(uri)
    try:
        yield
    except StoreError as error:
        reason = (redact(str(error), uri).splitlines() or [type(error).__name__])[0]
        if "failed with exception" in reason:  # mlflow's words for: no answer at all
            reason = "no server answers"
        raise RecordError(f"cannot read the record at {shown}: {reason[:200]}") from error


@contextmanager
def collector_off() -> Iterator[None]:
    """Keep Python from looking for cycles: two thirds of the time of reading, a quarter of drawing.

    What became garbage meanwhile is found by the next look.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
