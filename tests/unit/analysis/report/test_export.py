"""Exported files: what the record says of each trial, and tables and figures with types."""

import csv
import io
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from figure_data import lambda_grid
from pyarrow import parquet

from analysis import load_paper
from analysis.record.schema import COLUMNS
from analysis.report.export import render_parquet, trials_files
from analysis.result_tables.paper import table3
from analysis.result_tables.render import to_csv, to_numbers
from analysis.result_tables.summaries import grid_summary
from sweeps.record.ended_run import ORIGIN


def trials() -> pd.DataFrame:
    """Seven settings with three seeds: all tags, two failed trials, what a password opens."""
    frame = lambda_grid()
    texts = [name for name, kind in COLUMNS.items() if kind == "str" and name not in frame]
    frame = frame.assign(**dict.fromkeys(texts, ""))
    frame = frame.assign(
        ask=[0.0, float("nan"), *range(2, len(frame))],
        start_time_s=1_700_000_000.25,
        artifact_uri="/home/me/artifacts",
        host="=cmd()",
        compile="False",
        mirror=["True", "False"] * 10 + ["True"],
        weights_sha256="",
    )
    frame.loc[0, ["status", "cause", "swa/miou"]] = ["FAILED", "loss is nan", float("nan")]
    frame.attrs |= {"experiment_id": "1", "tracking_uri": "postgresql://me:secret@host/db"}
    return frame


def read(content: bytes) -> pa.Table:
    return parquet.read_table(io.BytesIO(content))


def test_parquet_of_trials_has_all_columns_each_with_a_type() -> None:
    given = trials()
    found = read(trials_files(given, "t")["t.parquet"])
    assert found.column_names == [name for name in given if name != "artifact_uri"]
    types = {name: str(found.schema.field(name).type) for name in found.column_names}
    expected = {
        **{"lambda_adv": "double", "seed": "int64", "ask": "int64", "start_time_s": "double"},
        **{"compile": "bool", "mirror": "bool", "swa_rule": "string", "host": "string"},
        **{"swa/miou": "double", "cause": "string", "torch": "string", "weights_sha256": "string"},
    }
    assert {name: types[name] for name in expected} == expected
    first = found.slice(0, 2).to_pylist()
    assert [row["ask"] for row in first] == [0, None]
    assert (first[0]["swa/miou"], first[0]["cause"]) == (None, "loss is nan")
    assert (first[1]["swa/miou"], first[1]["cause"]) == (given.loc[1, "swa/miou"], None)
    assert [row["mirror"] for row in first] == [True, False]
    assert first[1]["host"] == "=cmd()"


def test_parquet_says_which_sweep_it_is_of_and_in_which_units_and_no_password() -> None:
    content = trials_files(trials(), "t")["t.parquet"]
    assert b"secret" not in content
    schema = read(content).schema
    about = {key.decode(): text.decode() for key, text in schema.metadata.items()}
    assert about | {"sweep": "some", "trials_total": "21", "dataset": "shapes"} == about
    assert "training_s" not in about  # not recorded
    assert schema.field("swa/miou").metadata == {b"unit": b"fraction"}
    assert schema.field("seed").metadata is None


def test_csv_of_trials_has_all_digits_and_no_formula() -> None:
    given = trials()
    rows = [*csv.DictReader(io.StringIO(trials_files(given, "t")["t.csv"].decode()))]
    assert [*rows[0]] == [name for name in given if name != "artifact_uri"]
    assert [float(row["swa/miou"]) for row in rows[1:]] == given["swa/miou"].tolist()[1:]
    assert rows[0]["start_time_s"] == "1700000000.25"
    assert [row["ask"] for row in rows[:3]] == ["0", "", "2"]
    assert rows[0]["host"] == "'=cmd()"
    assert (rows[0]["swa/miou"], rows[0]["torch"]) == ("", "")


def test_both_files_are_the_same_at_every_call() -> None:
    assert trials_files(trials(), "t") == trials_files(trials(), "t")


def test_every_tag_that_tells_of_a_trials_making_is_read() -> None:
    assert {*ORIGIN, "git_commit"} <= COLUMNS.keys()


def test_a_table_in_parquet_has_the_numbers_of_its_csv() -> None:
    table = grid_summary(lambda_grid(), ["lambda_adv"])
    rows = [*csv.DictReader(io.StringIO(to_csv(table).decode()))]
    found = read(render_parquet(to_numbers(table), {"title": "t"}))
    assert found.column_names == [*rows[0]]
    gains = found["to the best [points]"].to_pylist()
    assert rows[0]["to the best [points]"] == "best"
    assert gains[0] is None
    assert gains[1:] == pytest.approx([float(r["to the best [points]"]) for r in rows[1:]], 1e-5)
    for name, kind in (("p", "double"), ("n_seeds", "int64"), ("ci_low", "double")):
        assert str(found.schema.field(f"to the best [points] {name}").type) == kind
    assert found["averaged weights [%] ci_high"].to_pylist() == pytest.approx(
        [float(row["averaged weights [%] ci_high"]) for row in rows], 1e-5
    )


def test_measured_columns_are_numbers_also_where_nothing_was_measured() -> None:
    table = table3(None, load_paper())
    found = read(render_parquet(to_numbers(table), {})).schema
    kinds = {name: str(found.field(name).type) for name in found.names if "[" in name}
    assert kinds == {name: "int64" if "n_seeds" in name else "double" for name in kinds}
    assert len(kinds) == 20


@pytest.mark.parametrize(
    ("cells", "kind", "found"),
    [
        ([1, None, 3], "int64", [1, None, 3]),
        ([1, 2.5, float("nan")], "double", [1.0, 2.5, None]),
        ([3, "2 of 3"], "string", ["3", "2 of 3"]),
        (["True", None], "bool", [True, None]),
        ([True, False], "bool", [True, False]),
        ([None, None], "string", [None, None]),
    ],
)
def test_a_column_has_the_narrowest_type_that_holds_it(
    cells: list[Any], kind: str, found: list[Any]
) -> None:
    column = read(render_parquet(pd.DataFrame({"x": pd.Series(cells, dtype=object)}), {}))["x"]
    assert (str(column.type), column.to_pylist()) == (kind, found)
