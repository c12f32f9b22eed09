"""Measure how fast large records become figures, and how true the verdicts on sweeps are.

`records`, which is the default, makes records in a temporary folder, one of a tenth of the trials
and one of all, and prints one JSON list. Of each: wall and CPU seconds and peak memory, over all
its processes, to read it for the first time and again, and to read it and draw all figures, tables
and the report, first with nothing kept from before, then with nothing new. Every step has a process
of its own.

`statistics` simulates sweeps whose truth is known and prints tables and a JSON list: how often
verdicts err, find what is there, and how often intervals hold.

`race` does so for races that may stop after every round: how often they err, what they find and
what they cost beside fixed numbers of seeds, and whether the power holds that a plan states.

Run as `python -m analysis.benchmark [records|statistics|race]`.
"""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from analysis import make_figures
from analysis.benchmarking.race import simulate_races
from analysis.benchmarking.statistics import simulate_all
from analysis.benchmarking.synthetic_record import make_record
from analysis.record.trials import list_sweeps, load_trials
from trainable.cli.parsed_options import read_options
from trainable.cli.parser import Parser
from trainable.cli.streams import ended_by_closed_output

Tables = Sequence[Sequence[Mapping[str, object]]]
SIMULATIONS: dict[str, Callable[[int], Tables]] = {
    "statistics": simulate_all,
    "race": simulate_races,
}
LEAST = 100  # trials of a record that all figures can be drawn of


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions:
    """The options of this command.

    Attributes:
        what: `records`, `statistics` or `race`.
        trials: How many trials the larger record has.
        repeats: How many sweeps are simulated of each kind.
    """

    what: str
    trials: int
    repeats: int


def parser() -> Parser:
    """Return the options of this command."""
    options = Parser(
        description=__doc__, module="analysis.benchmark", example="statistics --repeats 200"
    )
    options.add_argument(
        "what",
        nargs="?",
        choices=("records", *SIMULATIONS),
        default="records",
        help="(default: records)",
    )
    options.add_argument(
        "--trials",
        type=int,
        default=10_000,
        metavar="N",
        help="of `records` (default: %(default)s)",
    )
    options.add_argument(
        "--repeats",
        type=int,
        default=2_000,
        metavar="N",
        help="of simulations (default: %(default)s)",
    )
    return options


@ended_by_closed_output()
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    reader = parser()
    options = read_options(BenchmarkOptions, reader.parse_args(argv))
    if options.repeats < 1:
        reader.error(f"`--repeats >= 1` must hold, but got --repeats {options.repeats}")
    if options.what in SIMULATIONS:
        print_tables(SIMULATIONS[options.what](options.repeats))
        return 0
    sizes = sorted({max(LEAST, options.trials // 10), max(LEAST, options.trials)})
    sys.stdout.write(json.dumps([_benchmark(size) for size in sizes], indent=2) + "\n")
    return 0


def print_tables(tables: Tables) -> None:
    """Print tables for a reader on standard error, and as one JSON list on standard output."""
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=True)
    for rows in tables:
        table = Table(*rows[0], box=None)
        for row in rows:
            table.add_row(*map(str, row.values()))
        console.print(table)
    sys.stdout.write(json.dumps(tables, indent=2) + "\n")


def _benchmark(trials: int) -> dict[str, float | dict[str, float]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        record = folder / "record"
        record.mkdir()
        uri, out = f"sqlite:///{record / 'mlflow.db'}", str(folder / "figures")
        return {
            "trials": trials,
            "make": _measured(record, make_record, record, trials),
            "read_cold": _measured(folder / "one", _read, uri),
            "read_cached": _measured(folder / "one", _read, uri),
            "figures": _measured(folder / "two", _draw, uri, out),
            "figures_again": _measured(folder / "two", _draw, uri, out),
        }


def _measured(cache: Path, step: Callable[..., object], *given: object) -> dict[str, float]:
    """Return what a step took in a process of its own, which has no peak but its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_timed, str(cache), step, *given).result()


def _timed(cache: str, step: Callable[..., object], *given: object) -> dict[str, float]:
    os.environ["XDG_CACHE_HOME"] = cache
    begun = time.perf_counter()
    step(*given)
    wall = time.perf_counter() - begun
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    # The CPU's seconds include the imports of this module, which the wall clock does not see.
    return {
        "wall_s": round(wall, 2),
        "cpu_s": round(sum(each.ru_utime + each.ru_stime for each in used), 2),
        "peak_gb": round(sum(each.ru_maxrss for each in used) * 1024 / 1e9, 3),
    }


def _read(uri: str) -> None:
    for key in list_sweeps(uri)["sweep_key"]:
        load_trials(uri, key)


def _draw(uri: str, out: str) -> None:
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as said,
    ):
        sys.argv = ["make_figures.py", "--tracking-uri", uri, "--out", out]
        code = make_figures.main()
    if code:
        raise SystemExit(said.getvalue())


if __name__ == "__main__":
    sys.exit(main())
