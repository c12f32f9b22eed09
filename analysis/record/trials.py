"""Read the MLflow record: which sweeps it holds, and one sweep's trials as a tidy frame."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pandas as pd

from analysis.record.cache import cached
from analysis.record.mlflow_store import Store, check_uri
from analysis.record.schema import (
    COLUMNS,
    COSTS,
    METRICS,
    OPTIONAL_TRIAL_TAGS,
    SCHEMA,
    TRIAL_TAGS,
    RecordError,
    Sweep,
)

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["METRICS", "RecordError", "list_sweeps", "load_trials"]


def list_sweeps(tracking_uri: str = "sqlite:///mlflow.db", *, cache: bool = True) -> pd.DataFrame:
    """Read which sweeps the record holds, the newest first.

    Args:
        tracking_uri: An MLflow tracking URI; a SQLite file must exist and is never created.
        cache: Whether a frame that was read before serves while the record has not changed.

    Returns:
        One row per sweep with the fields of `Sweep` as columns.

    Raises:
        RecordError: The record cannot be read, or is of a later schema.
    """

    def read() -> pd.DataFrame:
        rows = [dataclasses.asdict(_sweep(run)) for run in Store(tracking_uri).search(_SWEEPS)]
        return pd.DataFrame(rows, columns=[field.name for field in dataclasses.fields(Sweep)])

    check_uri(tracking_uri)
    return cached(tracking_uri, "sweeps", read) if cache else read()


def load_trials(
    tracking_uri: str = "sqlite:///mlflow.db", sweep: str = "lambda_grid", *, cache: bool = True
) -> pd.DataFrame:
    """Read the trials of a sweep, finished or not.

    Args:
        tracking_uri: An MLflow tracking URI; a SQLite file must exist and is never created.
        sweep: Name of a sweep, whose newest one is read, or its `sweep_key`, or its run id.
        cache: Whether a frame that was read before serves while the record has not changed.

    Returns:
        One row per trial, sorted by `trial_key`: the columns of `COLUMNS` and the config's fields,
        numbers as numbers. `attrs` holds the fields of `Sweep` and the `tracking_uri`.

    Raises:
        RecordError: The record cannot be read, lacks the sweep, or is of a later schema.
    """

    def read() -> pd.DataFrame:
        store = Store(tracking_uri)
        found = _sweep(_newest(list(store.search(_SWEEPS)), sweep))
        of_parent = f"tags.`mlflow.parentRunId` = '{found.parent_run_id}'"
        frame = _tidy(_row(run) for run in store.search(f"tags.kind = 'trial' and {of_parent}"))
        frame.attrs = dataclasses.asdict(found)
        return frame

    check_uri(tracking_uri)
    frame = cached(tracking_uri, f"trials of {sweep}", read) if cache else read()
    frame.attrs["tracking_uri"] = tracking_uri  # with its password, so it is not kept
    return frame


_SWEEPS = "tags.kind = 'sweep'"
COUNT = re.compile("[0-9]{1,9}")


def _newest(sweeps: list[Run], wanted: str) -> Run:
    for run in sweeps:
        tags = run.data.tags
        if wanted in (tags.get("sweep"), tags.get("sweep_key"), run.info.run_id):
            return run
    names = sorted({run.data.tags.get("sweep", run.info.run_name) for run in sweeps})
    raise RecordError(f"no sweep {wanted!r} in the record; it holds: {', '.join(names) or 'none'}")


def _sweep(run: Run) -> Sweep:
    _check_schema(run)
    total = _tag(run, "trials_total")
    if not COUNT.fullmatch(total):
        raise RecordError(f"trials_total is a count, but run {run.info.run_id} has {total[:50]!r}")
    tags, costs = run.data.tags, (run.data.metrics.get(name, math.nan) for name in COSTS)
    runs, naive, seconds = costs
    return Sweep(
        sweep=_tag(run, "sweep"),
        sweep_key=_tag(run, "sweep_key"),
        dataset=_tag(run, "dataset"),
        trials_total=int(total),
        parent_run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        question=tags.get("question", ""),
        axes=tuple(filter(None, tags.get("axes", "").split(","))),
        state=tags.get("state", ""),
        why_partial=tags.get("why_partial", ""),
        data_warnings=tags.get("data_warnings", ""),
        start_time_s=_seconds(run.info.start_time),
        end_time_s=_seconds(run.info.end_time),
        training_runs=runs,
        naive_runs=naive,
        training_s=seconds,
    )


def _check_schema(run: Run) -> None:
    found = _tag(run, "schema")
    if not COUNT.fullmatch(found) or int(found) > SCHEMA:
        raise RecordError(
            f"run {run.info.run_id} has schema {found}, but this version reads up to {SCHEMA}; "
            "update the program"
        )


def _tag(run: Run, name: str) -> str:
    if name not in run.data.tags:
        raise RecordError(f"run {run.info.run_id} has no tag {name!r}: no sweep's driver wrote it")
    return str(run.data.tags[name])


def _whole(run: Run, name: str) -> int | None:
    """Return a tag that is a whole number, where the run has it."""
    text = run.data.tags.get(name)
    if text is not None and not COUNT.fullmatch(text):
        raise RecordError(f"{name} is a count, but run {run.info.run_id} has {text[:50]!r}")
    return None if text is None else int(text)


def _seconds(milliseconds: int | None) -> float:
    return math.nan if milliseconds is None else milliseconds / 1000


def _row(run: Run) -> dict[str, object]:
    _check_schema(run)
    tags, metrics = run.data.tags, run.data.metrics
    return (
        run.data.params
        | {name: _tag(run, name) for name in TRIAL_TAGS}
        | {name: tags.get(name, "") for name in (*OPTIONAL_TRIAL_TAGS, "record_hash")}
        | {name: metrics.get(name) for name in METRICS}
        | {
            "run_id": run.info.run_id,
            "status": run.info.status,
            "ask": _whole(run, "ask"),
            # `sweeps` writes the kind of CPU whatever was trained on.
            "processor": tags.get("cpu" if tags.get("device") == "cpu" else "device", ""),
            "start_time_s": _seconds(run.info.start_time),
            "end_time_s": _seconds(run.info.end_time),
            "artifact_uri": run.info.artifact_uri,
        }
    )


def _tidy(rows: Iterable[dict[str, object]]) -> pd.DataFrame:
    frame = pd.DataFrame(list(rows))
    params = sorted(frame.columns.difference([*COLUMNS]))
    frame = frame.reindex(columns=[*COLUMNS, *params]).astype(COLUMNS)
    for name in params:
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
