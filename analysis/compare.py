"""Compare two sweeps of one question, such as before and after a change of the code.

    python analysis/compare.py lambda_grid~1 lambda_grid
    python analysis/compare.py lambda_grid@2026-11-30 3d191f3d17233814 --out compared/

A and B are sweeps on one data set that vary the same fields. Settings that both have are compared,
B less A, paired where they share seeds; all else in which the sweeps differ is listed. Exit codes:
0, or 2 for bad input, with one line on standard error and nothing written.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from analysis.cli.options import add_record_options
from analysis.record.choice import REVISIONS, RULE
from analysis.record.schema import OBJECTIVE, RecordError
from analysis.record.sweep_data import SweepData
from analysis.record.trials import Record
from analysis.report.export import render_parquet
from analysis.report.files import write_files
from analysis.result_tables.beside_paper import MIOU_OF
from analysis.result_tables.cells import text
from analysis.result_tables.latex import to_latex
from analysis.result_tables.render import to_csv, to_markdown, to_numbers
from analysis.result_tables.two_sweeps import (
    TwoSweeps,
    compare_sweeps,
    describe_sweep,
    name_settings,
    verdict,
)
from analysis.stats.comparisons import Comparison
from trainable.cli.parsed_options import read_options
from trainable.cli.parser import Parser, refusal
from trainable.cli.streams import ended_by_closed_output
from trainable.storage.redaction import printable, redact

ROWS_SHOWN = 40  # on the screen, those that differ most
FILE_WIDTH = 160  # of a table that no terminal cuts


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """The options of this command.

    Attributes:
        a: The sweep that the other is compared with.
        b: The other sweep.
        tracking_uri: MLflow store that holds both.
        experiment: MLflow's experiment in it.
        metric: What is compared, `swa/miou` or `val/miou`.
        out: Folder of the files, None for none.
        json: Whether one JSON object goes to standard output.
        cache: Whether what was read before and has not changed is used.
    """

    a: str
    b: str
    tracking_uri: str
    experiment: str
    metric: str
    out: str | None
    json: bool
    cache: bool


@ended_by_closed_output()
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = read_options(CompareOptions, parser().parse_args(argv))
    try:
        record = Record(options.tracking_uri, cache=options.cache, experiment=options.experiment)
        a, b = (_data(record, wanted) for wanted in (options.a, options.b))
        compared = compare_sweeps(a, b, metric=options.metric)
        files = _files(compared)
    except RecordError as error:
        return refusal(str(error))
    if options.out is not None:
        try:
            write_files(Path(options.out), files)
        except OSError as error:
            return refusal(f"cannot write to {options.out!r}: {error.strerror}")
    console = Console(stderr=options.json, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    for line in _lines(a, b, compared):
        if isinstance(line, str):
            console.print(printable(redact(line)), soft_wrap=True)
        else:
            console.print(line)
    for name in files if options.out is not None else ():
        console.print(os.path.join(str(options.out), name), soft_wrap=True)
    if options.json:
        print(json.dumps(_primitives(a, b, compared, options.metric)))
    return 0


def _data(record: Record, wanted: str) -> SweepData:
    return SweepData(trials=record.trials(record.find(wanted)), paper={})


def _lines(a: SweepData, b: SweepData, compared: TwoSweeps) -> Iterator[str | Table]:
    """Yield what is said on the screen."""
    yield f"A: {describe_sweep(a.trials)}"
    yield f"B: {describe_sweep(b.trials)}"
    if compared.differing:
        yield _grid(["differs in", "A", "B"], compared.differing)
    frame = compared.table
    order = sorted(range(len(frame)), key=lambda row: -_size(compared, row))
    shown = sorted(order[:ROWS_SHOWN])
    cells = frame.map(text).iloc[shown].itertuples(index=False, name=None)
    yield _grid([str(column) for column in frame.columns], cells)
    if len(frame) > len(shown):
        yield f"the {len(shown)} of {len(frame):,} shared settings that differ most; --out has all"
    yield from _alone(compared)
    yield f"{frame.attrs['finding']}."


def _size(compared: TwoSweeps, row: int) -> float:
    size = abs([*compared.difference.each.values()][row].difference)
    return 0.0 if math.isnan(size) else size


def _grid(head: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> Table:
    grid = Table(box=None)
    for name in head:
        grid.add_column(printable(name))
    for row in rows:
        grid.add_row(*(printable(cell) for cell in row))
    return grid


def _alone(compared: TwoSweeps) -> Iterator[str]:
    """Yield which settings one sweep alone has."""
    for name, keys in (("A", compared.only_a), ("B", compared.only_b)):
        if keys:
            yield f"in {name} alone: {name_settings(keys, compared.axes)}"


def _files(compared: TwoSweeps) -> dict[str, bytes]:
    """Return the comparison as files by their names."""
    table = compared.table
    about = {key: table.attrs[key] for key in ("title", "finding", "caption")}
    listed = [f"- differs in {name}: {one}; {other}" for name, one, other in compared.differing]
    listed += [f"- {line}" for line in _alone(compared)]
    more = "\n".join(printable(redact(line)) for line in listed)
    return {
        "compare.csv": to_csv(table),
        "compare.parquet": render_parquet(to_numbers(table), about),
        "compare.tex": to_latex(table, "compare"),
        "compare.md": to_markdown(table) + (f"\n{more}\n".encode() if more else b""),
    }


def _primitives(a: SweepData, b: SweepData, compared: TwoSweeps, metric: str) -> dict[str, object]:
    """Return what a program is told."""
    keys = ("sweep", "sweep_key", "dataset", "parent_run_id", "trials_total", "code_version")
    sides = {
        name: {key: data.trials.attrs[key] for key in keys} for name, data in (("a", a), ("b", b))
    }

    def points(settings: Sequence[Sequence[object]]) -> list[dict[str, object]]:
        return [dict(zip(compared.axes, setting, strict=True)) for setting in settings]

    settings = [
        {"point": point, **_numbers(found)}
        for point, found in zip(
            points([*compared.difference.each]), compared.difference.each.values(), strict=True
        )
    ]
    return {
        **sides,
        "metric": metric,
        "differing": [{"name": n, "a": one, "b": other} for n, one, other in compared.differing],
        "settings": settings,
        "overall": _numbers(compared.difference.overall),
        "same_numbers": compared.difference.is_same,
        "only_a": points(compared.only_a),
        "only_b": points(compared.only_b),
        "finding": compared.table.attrs["finding"],
    }


def _numbers(found: Comparison) -> dict[str, object]:
    """Return a difference, as fractions, with its interval and verdict; what is unknown is None."""
    numbers = {
        "difference": found.difference,
        "ci_low": found.low,
        "ci_high": found.high,
        "p": found.p_corrected,
    }
    known = {key: one if math.isfinite(one) else None for key, one in numbers.items()}
    return {**known, "seeds": found.n, "paired": found.paired, "b_against_a": verdict(found)}


def parser() -> Parser:
    """Return the options of this command."""
    options = Parser(
        description=__doc__,
        example="lambda_grid~1 lambda_grid --out new/",
    )
    options.add_argument(
        "a",
        metavar="A",
        help="sweep_key, id of the parent run, or name of a sweep, for which this stands: "
        f"{RULE}. {REVISIONS}",
    )
    options.add_argument("b", metavar="B", help="the sweep that is told relative to A")
    add_record_options(
        options,
        no_cache="read the whole record again, even where it has not changed since the last time",
    )
    options.add_argument(
        "--metric",
        choices=sorted(MIOU_OF),
        default=OBJECTIVE,
        help=f"what is compared (default: {OBJECTIVE})",
    )
    options.add_argument(
        "--out", metavar="DIR", help="write the table as CSV, Parquet, LaTeX, Markdown"
    )
    options.add_argument(
        "--json", action="store_true", help="one JSON object on standard output, at the end"
    )
    return options


if __name__ == "__main__":
    sys.exit(main())
