"""Measure how fast a large record becomes figures, and how much memory that takes.

Makes a record of many trials in a temporary folder and prints one JSON object: seconds to read it,
for the first time and again, to draw all figures and tables with nothing kept from before, and the
largest memory of each of the processes that did so. Run as `python -m analysis.benchmark`.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from analysis import list_sweeps, load_trials, make_figures
from analysis._made_record import make_record


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m analysis.benchmark", description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000, metavar="N")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        record = folder / "record"
        record.mkdir()
        uri, out = f"sqlite:///{record / 'mlflow.db'}", str(folder / "figures")
        found = {"trials": options.trials} | _measured(
            "make", record, make_record, record, options.trials
        )
        found |= _measured("read_first", folder / "one", _read, uri)
        found |= _measured("read_again", folder / "one", _read, uri)
        found |= _measured("figures_first", folder / "two", _draw, uri, out)
        found |= _measured("figures_again", folder / "two", _draw, uri, out)
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


def _measured(
    name: str, cache: Path, step: Callable[..., object], *given: object
) -> dict[str, float]:
    """Return what a step took in a process of its own, which has no peak but its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        seconds, gigabytes = pool.submit(_timed, str(cache), step, *given).result()
    return {f"{name}_s": round(seconds, 2), f"{name}_peak_gb": round(gigabytes, 3)}


def _timed(cache: str, step: Callable[..., object], *given: object) -> tuple[float, float]:
    os.environ["XDG_CACHE_HOME"] = cache
    begun = time.perf_counter()
    step(*given)
    seconds = time.perf_counter() - begun
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def _read(uri: str) -> None:
    for key in list_sweeps(uri)["sweep_key"]:
        load_trials(uri, key)


def _draw(uri: str, out: str) -> None:
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()) as said,
    ):
        code = make_figures.main(["--tracking-uri", uri, "--out", out])
    if code:
        raise SystemExit(said.getvalue())


if __name__ == "__main__":
    sys.exit(main())
