"""What stands in an MLflow store, and publishing into it."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from analysis.record.origin import TAG, Origin
from analysis.record.tracking_uri import sqlite_file
from sweeps.planning.asked import EFFECTIVE
from sweeps.planning.state import SweepState
from sweeps.record.publisher import Publisher


def publish(state: SweepState, uri: str) -> list[str]:
    """Publish all runs of a plan and return the warnings."""
    warnings: list[str] = []
    with Publisher(state, uri, warnings.append) as publisher:
        for run in state.runs:
            publisher.publish(run)
    assert publisher.reachable == (not warnings)
    return warnings


def runs_of(uri: str) -> list[Any]:
    """All runs of a store, deleted ones, too."""
    from mlflow import MlflowClient
    from mlflow.entities import ViewType

    client = MlflowClient(uri)
    places = [found.experiment_id for found in client.search_experiments()]
    return list(client.search_runs(places, run_view_type=ViewType.ALL, max_results=1000))


def parent_of(uri: str) -> Any:
    (parent,) = [run for run in runs_of(uri) if run.data.tags["kind"] == "sweep"]
    return parent


def children_of(uri: str) -> list[Any]:
    return [run for run in runs_of(uri) if run.data.tags["kind"] == "trial"]


def content_of(run: Any, uri: str) -> dict[str, Any]:
    """All that the record holds of a run but its id and its parent's, every metric's history too"""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    name = run.data.tags["mlflow.runName"]
    is_trial = run.data.tags["kind"] == "trial"
    return {
        "name": name,
        "status": run.info.status,
        # A sweep's begins when it is first asked for, and ends then where all had been trained.
        "start": run.info.start_time if is_trial else None,
        "end": None if run.info.end_time == run.info.start_time else run.info.end_time,
        "stage": run.info.lifecycle_stage,
        "params": run.data.params,
        "tags": {k: v for k, v in run.data.tags.items() if k != "mlflow.parentRunId"},
        "metrics": {
            metric: sorted(
                (point.step, point.timestamp, point.value)
                for point in client.get_metric_history(run.info.run_id, metric)
            )
            for metric in run.data.metrics
        },
        "files": [file.path for file in client.list_artifacts(run.info.run_id)],
    }


def record_of(uri: str) -> list[dict[str, Any]]:
    """All that a store holds, whatever the ids of its runs."""
    found = [content_of(run, uri) for run in runs_of(uri)]
    return sorted(found, key=lambda content: str(content["tags"].get("trial_key", "")))


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def change(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def files_of(folder: Path) -> dict[str, str]:
    """Every file of a folder, and what it holds."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def as_schema_1(uri: str) -> None:
    """Write a record anew as versions before wrote it: a tag per hash, and a param per field."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    for run in runs_of(uri):
        origin, run_id = Origin.of_run(run), run.info.run_id
        # The hash of what is recorded, and how, was another.
        for name, text in {**origin.facts, "record_hash": "0123456789abcdef"}.items():
            client.set_tag(run_id, name, text)
        for name in run.data.tags:
            if name == TAG or name.startswith(EFFECTIVE):
                client.delete_tag(run_id, name)
        client.set_tag(run_id, "schema", "1")
        change(sqlite_file(uri) or Path(), f"DELETE FROM params WHERE run_uuid = '{run_id}'")
        for name, text in origin.config.items():
            client.log_param(run_id, name, text)
