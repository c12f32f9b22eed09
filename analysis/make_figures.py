"""Draw the paper's figures from the MLflow record.

Each figure comes as PDF, PNG and CSV beside a `manifest.json` that names the runs it was drawn
from; the same record gives the same bytes. The path of each PNG is printed last. Exit codes: 0, or
2 for bad input, with one line on standard error and nothing written.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd
import yaml

from analysis._frames import load_trials
from analysis._record import RecordError, finished

PAPER = Path(__file__).with_name("paper.yaml")
FIGURES = {"lambda_grid": "fig4"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = _parse(argv)
    try:
        figures, files = _draw(options.tracking_uri, list(dict.fromkeys(options.sweep)))
    except RecordError as error:
        return _refuse(str(error))
    from analysis._artifacts import write_files

    try:
        write_files(Path(options.out), files)
    except OSError as error:
        return _refuse(f"cannot write to {options.out!r}: {error.strerror}")
    for figure in figures:
        print(os.path.join(options.out, f"{figure}.png"))
    return 0


class _Parser(argparse.ArgumentParser):
    """argparse with one line per error, the form that every other bad input has."""

    def error(self, message: str) -> NoReturn:
        raise SystemExit(_refuse(f"{message}; see `{self.prog} --help`"))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Parser(
        prog="make_figures.py", description="Draw the paper's figures from the MLflow record."
    )
    parser.add_argument("--tracking-uri", metavar="URI", default="sqlite:///mlflow.db")
    parser.add_argument("--out", metavar="DIR", default="figures/")
    parser.add_argument(
        "--sweep",
        metavar="NAME",
        nargs="+",
        default=["lambda_grid"],
        help="sweeps to draw, by name (the newest one of it) or by sweep_key",
    )
    return parser.parse_args(argv)


def _draw(tracking_uri: str, sweeps: Sequence[str]) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Return each figure's entry in the manifest, and all files by name, the manifest last."""
    loaded = [load_trials(tracking_uri, sweep) for sweep in sweeps]
    for trials in loaded:
        _check_drawable(trials)
    names = [trials.attrs["sweep"] for trials in loaded]
    for name in names:
        if name not in FIGURES:
            raise RecordError(
                f"sweep {name!r} has no figure of its own; there is one for: {', '.join(FIGURES)}"
            )
        if names.count(name) > 1:
            raise RecordError(f"one sweep per figure, but {names.count(name)} are {name!r}")
    # matplotlib is imported once the record is known to be good.
    from analysis._artifacts import describe, render, render_csv, render_manifest
    from analysis._figures import fig4, fig4_table

    paper = yaml.safe_load(PAPER.read_text(encoding="utf-8"))
    entries: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    for trials in loaded:
        figure = fig4(trials, paper)
        own = {f"fig4.{kind}": render(figure, kind) for kind in ("pdf", "png")}
        own["fig4.csv"] = render_csv(fig4_table(trials))
        entries["fig4"] = describe(trials, own)
        files |= own
    files["manifest.json"] = render_manifest(entries)
    return entries, files


def _check_drawable(trials: pd.DataFrame) -> None:
    if finished(trials).empty:
        total = trials.attrs["trials_total"]
        raise RecordError(
            f"sweep {trials.attrs['sweep']!r} has no finished trials yet (0 of {total}); "
            "go on with it first"
        )


def _refuse(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
