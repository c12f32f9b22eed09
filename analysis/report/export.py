"""All that a record says of a sweep's trials as files, and any table as typed Parquet."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import TYPE_CHECKING

import pandas as pd

from analysis.record.schema import COLUMNS, SECONDS_TRAINED, Sweep
from analysis.report.files import render_csv

if TYPE_CHECKING:
    import pyarrow

UNITS = {
    "images_per_s": "1/s",
    SECONDS_TRAINED: "s",
    "start_time_s": "s since 1970-01-01T00:00Z",
    "end_time_s": "s since 1970-01-01T00:00Z",
}
PLACE = "artifact_uri"  # where files lie is no result, and differs once the record is moved
WHOLE = ("ask",)  # counts that some trials lack, for which pandas would make them fractions


def trials_files(trials: pd.DataFrame, stem: str) -> dict[str, bytes]:
    """Return the trials with all params, metrics and tags that were read, as CSV and Parquet.

    Args:
        trials: A frame as `load_trials` returns it.
        stem: Name of both files, without what follows its last dot.

    Returns:
        The content of `<stem>.csv` and `<stem>.parquet`, by these names. Numbers have all their
        digits. An absent text is an empty field in the CSV and null in Parquet, whose metadata
        holds the fields of `Sweep` and the unit of each column that has one.
    """
    frame = trials.drop(columns=PLACE, errors="ignore")
    frame = frame.astype({name: "Int64" for name in WHOLE if name in frame})
    texts = [name for name, kind in COLUMNS.items() if kind == "str" and name in frame]
    known = frame.assign(**{name: frame[name].where(frame[name] != "") for name in texts})
    return {
        f"{stem}.csv": render_csv(frame, digits=None),
        f"{stem}.parquet": render_parquet(known, _described(Sweep.of(trials))),
    }


def render_parquet(table: pd.DataFrame, about: Mapping[str, str]) -> bytes:
    """Return the table as Parquet, the same bytes at every call.

    Numbers are numbers, `True` and `False` truth values and all else text; what is absent is null.
    Of the frame's `attrs` nothing is kept, since they may hold what gives access to a record.

    Args:
        table: Any frame.
        about: What the file's metadata says, by its keys.
    """
    import pyarrow as pa
    from pyarrow import parquet

    columns = {str(name): _typed(table[name]) for name in table}
    fields = [
        pa.field(name, column.type, metadata={"unit": unit} if (unit := _unit(name)) else None)
        for name, column in columns.items()
    ]
    schema = pa.schema(fields, metadata=dict(about))
    buffer = io.BytesIO()
    parquet.write_table(pa.table([*columns.values()], schema=schema), buffer)
    return buffer.getvalue()


def _unit(name: str) -> str | None:
    """Return the unit of a column, None where it has none."""
    return "fraction" if name.startswith(("val/", "swa/")) else UNITS.get(name)


def _typed(column: pd.Series) -> pyarrow.Array:
    """Return a column with the narrowest of the types integer, number, truth value and text."""
    import pyarrow as pa

    if pd.api.types.is_numeric_dtype(column):
        return pa.array(column, from_pandas=True)
    values = [None if _is_absent(value) else value for value in column.tolist()]
    kinds = {type(value) for value in values if value is not None}
    if kinds and bool not in kinds and all(issubclass(kind, Real) for kind in kinds):
        whole = all(issubclass(kind, Integral) for kind in kinds)
        return pa.array(values, type=pa.int64() if whole else pa.float64())
    told = {None if value is None else str(value) for value in values} - {None}
    if told and told <= {"True", "False"}:
        return pa.array([None if value is None else str(value) == "True" for value in values])
    return pa.array([None if value is None else str(value) for value in values], pa.string())


def _is_absent(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _described(sweep: Sweep) -> dict[str, str]:
    """Return the fields of a sweep as text, those that are not recorded left out."""
    known = {k: v for k, v in dataclasses.asdict(sweep).items() if not _is_absent(v)}
    return {k: v if isinstance(v, str) else json.dumps(v) for k, v in known.items() if v != ""}
