"""Read the MLflow record: which sweeps it holds, and one sweep's trials as a tidy frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.record.cache import cached
from analysis.record.choice import find
from analysis.record.mlflow_store import Store, check_uri
from analysis.record.origin import Origin
from analysis.record.schema import (
    COLUMNS,
    EXPERIMENT,
    METRICS,
    OPTIONAL_TRIAL_TAGS,
    SWEEPS,
    TRIAL_FACTS,
    RecordError,
    Sweep,
    check_schema,
    count_ended,
    fact_of,
    find_sweeps,
    seconds,
    status_of,
    tag_of,
    trials_under,
    whole_of,
)
from analysis.record.tracking_uri import DEFAULT_URI

if TYPE_CHECKING:
    from mlflow.entities import Run

__all__ = ["METRICS", "RecordError", "list_sweeps", "load_trials"]


def list_sweeps(
    tracking_uri: str = DEFAULT_URI,
    sweep: str | None = None,
    *,
    cache: bool = True,
    experiment: str = EXPERIMENT,
) -> pd.DataFrame:
    """Read which sweeps the record holds, the newest first.

    Args:
        tracking_uri: An MLflow tracking URI; a SQLite file must exist and is never created.
        sweep: Name, `sweep_key` or run id of those that are wanted; None for all.
        cache: Whether a frame that was read before serves while the record has not changed.
        experiment: The name of MLflow's experiment that holds the sweeps.

    Returns:
        One row per sweep with the fields of `Sweep` as columns.

    Raises:
        RecordError: The record cannot be read, lacks the sweep, or is of a later schema.
    """
    return Record(tracking_uri, cache=cache, experiment=experiment).listed(sweep)


def load_trials(
    tracking_uri: str = DEFAULT_URI,
    sweep: str = "lambda_grid",
    *,
    cache: bool = True,
    experiment: str = EXPERIMENT,
) -> pd.DataFrame:
    """Read the trials of a sweep, finished or not.

    Args:
        tracking_uri: An MLflow tracking URI; a SQLite file must exist and is never created.
        sweep: Name of a sweep, or its `sweep_key`, or its run id. Of several sweeps of one name
            that one is read which is drawn first, by the rule in `analysis.record.choice`.
        cache: Whether a frame that was read before serves while the record has not changed.
        experiment: The name of MLflow's experiment that holds the sweeps.

    Returns:
        One row per trial, sorted by `trial_key`: the columns of `COLUMNS` and the config's fields,
        numbers as numbers. `attrs` holds the fields of `Sweep`, the `tracking_uri` and
        the `experiment`.

    Raises:
        RecordError: The record cannot be read, lacks the sweep, or is of a later schema.
    """
    record = Record(tracking_uri, cache=cache, experiment=experiment)
    return record.trials(record.find(sweep))


class Record:
    """The sweeps and trials of a record; the trials of a sweep are read once.

    Args:
        tracking_uri: An MLflow tracking URI; a SQLite file must exist and is never created.
        cache: Whether frames that were read before serve while the record has not changed.
        experiment: The name of the experiment that holds the sweeps.

    Raises:
        RecordError: By every method; as `load_trials`.
    """

    def __init__(
        self, tracking_uri: str, *, cache: bool = True, experiment: str = EXPERIMENT
    ) -> None:
        check_uri(tracking_uri)
        self.experiment = experiment
        self.tracking_uri = tracking_uri
        self._cache = cache
        self._frames: dict[str, pd.DataFrame] = {}

    def listed(self, wanted: str | None = None) -> pd.DataFrame:
        """Return the sweeps of a name, `sweep_key` or run id, or all, as `list_sweeps` does."""

        def read() -> pd.DataFrame:
            runs = find_sweeps(list(self._store.search(SWEEPS)), wanted)
            rows = [dataclasses.asdict(Sweep.of_run(run)) for run in runs]
            return pd.DataFrame(rows, columns=[field.name for field in dataclasses.fields(Sweep)])

        return self._kept(f"sweeps {wanted} of {self.experiment}", read)

    def sweeps(self, wanted: str | None = None) -> list[Sweep]:
        """Return the sweeps of a name, `sweep_key` or run id, or all, the newest first."""
        rows: list[dict[str, Any]] = self.listed(wanted).to_dict("records")
        return [Sweep(**row) for row in rows]

    def find(self, wanted: str) -> Sweep:
        """Return the one sweep that a text names; see `analysis.record.choice.find`."""
        return find(wanted, self.sweeps, self.ended)

    def trials(self, sweep: Sweep) -> pd.DataFrame:
        """Return the frame of a sweep, as `load_trials` does."""
        run_id = sweep.parent_run_id

        def read() -> pd.DataFrame:
            found = self._store.search(trials_under(run_id))
            frame = _tidy(_row(run, sweep.objectives) for run in found)
            frame.attrs = dataclasses.asdict(sweep)
            return frame

        if run_id not in self._frames:
            frame = self._kept(f"trials of {run_id}", read)
            frame.attrs["tracking_uri"] = self.tracking_uri  # with its password, so it is not kept
            frame.attrs["experiment"] = self.experiment
            self._frames[run_id] = frame
        return self._frames[run_id]

    def ended(self, sweep: Sweep) -> int:
        """Return how many trials finished or were stopped by the sweep; 0 where none finished."""
        return count_ended(self.trials(sweep)["status"])

    @cached_property
    def _store(self) -> Store:
        return Store(self.tracking_uri, self.experiment)

    def _kept(self, name: str, read: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        return cached(self.tracking_uri, name, read) if self._cache else read()


def _row(run: Run, objectives: Iterable[str]) -> dict[str, object]:
    check_schema(run)
    tags, metrics, origin = run.data.tags, run.data.metrics, Origin.of_run(run)
    status = status_of(run, origin)
    return (
        dict(origin.config)
        | {name: fact_of(run, origin, name) for name in TRIAL_FACTS}
        | {name: origin.facts.get(name, "") for name in ("git_commit", "record_hash")}
        | {name: tags.get(name, "") for name in OPTIONAL_TRIAL_TAGS}
        | {name: metrics.get(name) for name in (*METRICS, *objectives)}
        | {
            "trial_key": tag_of(run, "trial_key"),
            "run_id": run.info.run_id,
            "status": status,
            "ask": whole_of(run, "ask"),
            # `sweeps` writes the kind of CPU whatever was trained on.
            "processor": tags.get("cpu" if tags.get("device") == "cpu" else "device", ""),
            "start_time_s": seconds(run.info.start_time),
            # MLflow keeps the end that a trial had before it was taken up again.
            "end_time_s": seconds(None if status == "RUNNING" else run.info.end_time),
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
