"""Draw the paper's figures and tables from the MLflow record.

By default it draws the newest sweep of each name in the record. Each figure comes as PDF, PNG and
SVG, most with a CSV of their numbers, beside a report and a `manifest.json` that names the runs it
was drawn from; the same record gives the same bytes. The path of each figure's PNG is printed, that
of the first sweep's main figure last. Exit codes: 0, or 2 for bad input, with one line on standard
error and nothing written.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

import pandas as pd

from analysis.record.schema import RecordError, finished
from analysis.record.sweep_data import Paper, SweepData, load_paper
from analysis.record.trials import list_sweeps, load_trials
from trainable.cli.parsed_options import read_options
from trainable.storage.redaction import printable, read_uri, redact

if TYPE_CHECKING:
    from analysis.report.draw import RenderedSweep

# Sweeps whose tables stand side by side for several data sets.
ACROSS_DATASETS = ("ablation",)


@dataclass(frozen=True, kw_only=True)
class FigureOptions:
    """The options of this command.

    Attributes:
        tracking_uri: MLflow store that holds the record.
        out: Folder of the figures.
        sweep: Names, keys or parent runs of sweeps, None for the newest of each name.
        cache: Whether what was read before and has not changed is used.
        style: How figures look, `screen` or `paper`.
        font: Letters of figures for a paper, `serif` or `sans`; None for serif.
    """

    tracking_uri: str
    out: str
    sweep: tuple[str, ...] | None
    cache: bool
    style: str
    font: Literal["serif", "sans"] | None


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = read_options(FigureOptions, _parser().parse_args(argv))
    if options.font and options.style != "paper":
        return _refuse(f"--font is of --style paper, but got --style {options.style}")
    try:
        rendered = _draw(options)
        files = _all_files(options.tracking_uri, rendered)
    except RecordError as error:
        return _refuse(str(error))
    from analysis.report.files import write_files

    try:
        write_files(Path(options.out), files)
    except OSError as error:
        return _refuse(f"cannot write to {options.out!r}: {error.strerror}")
    for sweep in rendered:
        for name, reason in sweep.left_out.items():
            print(printable(f"not drawn: {name}: {reason}"), file=sys.stderr)
    figures = [item.name for sweep in rendered for item in sweep.items if item.table is None]
    for name in ["report.html", *(f"{figure}.png" for figure in reversed(figures))]:
        print(os.path.join(options.out, name))
    return 0


class _Parser(argparse.ArgumentParser):
    """argparse with one line per error, the form that every other bad input has."""

    def error(self, message: str) -> NoReturn:
        raise SystemExit(_refuse(f"{message}; see `{self.prog} --help`"))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="make_figures.py", description="Draw the paper's figures from the MLflow record."
    )
    parser.add_argument(
        "--tracking-uri",
        type=read_uri,
        metavar="URI",
        default="sqlite:///mlflow.db",
        help="MLflow store (default: sqlite:///mlflow.db); `-` reads it from standard input",
    )
    parser.add_argument("--out", metavar="DIR", default="figures/")
    parser.add_argument(
        "--sweep",
        metavar="NAME",
        nargs="+",
        help="sweeps to draw, by name (the newest one of it), by sweep_key or by the id of the "
        "parent run (default: the newest one of each name)",
    )
    parser.add_argument(
        "--no-cache",
        dest="cache",
        action="store_false",
        help="read the whole record again, even where it has not changed since the last time",
    )
    parser.add_argument(
        "--style",
        choices=("screen", "paper"),
        default="screen",
        help="`paper`: for a column of 3.3 inches, without title and caption, which a .tex file "
        "beside each figure has instead (default: screen)",
    )
    parser.add_argument(
        "--font",
        choices=("serif", "sans"),
        help="letters of --style paper (default: serif)",
    )
    return parser


def _draw(options: FigureOptions) -> list[RenderedSweep]:
    """Draw the sweeps that are wanted, or the newest one of each name that has trials to draw."""
    uri, wanted, cache = options.tracking_uri, options.sweep, options.cache
    if wanted is None:
        loaded = _newest(uri, cache=cache)
    else:
        loaded = [load_trials(uri, sweep, cache=cache) for sweep in dict.fromkeys(wanted)]
        for trials in loaded:
            _check_drawable(trials)
    names = [trials.attrs["sweep"] for trials in loaded]
    for name in names:
        if names.count(name) > 1:
            raise RecordError(f"one sweep per figure, but {names.count(name)} are {name!r}")
    # matplotlib is imported once the record is known to be good.
    from analysis.figures.appearance import paper_style, screen_style, styled
    from analysis.report.draw import draw

    paper = load_paper()
    sweeps = [
        SweepData(trials=trials, paper=paper, others=_on_other_datasets(trials, paper, cache=cache))
        for trials in loaded
    ]
    is_paper = options.style == "paper"
    style = paper_style(font=options.font or "serif") if is_paper else screen_style()
    with styled(style):
        return [draw(data) for data in sweeps]


def _newest(uri: str, *, cache: bool) -> list[pd.DataFrame]:
    sweeps = list_sweeps(uri, cache=cache).drop_duplicates("sweep")
    if sweeps.empty:
        raise RecordError("the record holds no sweep; run one first")
    loaded = [load_trials(uri, key, cache=cache) for key in sweeps["parent_run_id"]]
    drawable = [trials for trials in loaded if not finished(trials).empty]
    if not drawable:
        _check_drawable(loaded[0])
    return drawable


def _check_drawable(trials: pd.DataFrame) -> None:
    if finished(trials).empty:
        total = trials.attrs["trials_total"]
        raise RecordError(
            f"sweep {trials.attrs['sweep']!r} has no finished trials yet (0 of {total}); "
            f"{_went_wrong(trials)}resume it first"
        )


def _went_wrong(trials: pd.DataFrame) -> str:
    causes = trials.loc[trials["status"] == "FAILED", "cause"]
    return f"{len(causes)} failed, the first with: {causes.iloc[0]}; " if len(causes) else ""


def _on_other_datasets(trials: pd.DataFrame, paper: Paper, *, cache: bool) -> dict[str, SweepData]:
    name, uri = trials.attrs["sweep"], trials.attrs["tracking_uri"]
    if name not in ACROSS_DATASETS:
        return {}
    sweeps = list_sweeps(uri, cache=cache)
    same = (sweeps["sweep"] == name) & (sweeps["dataset"] != trials.attrs["dataset"])
    newest = sweeps[same].drop_duplicates("dataset")
    found = {
        dataset: SweepData(trials=load_trials(uri, run, cache=cache), paper=paper)
        for dataset, run in zip(newest["dataset"], newest["parent_run_id"], strict=True)
    }
    return {dataset: data for dataset, data in found.items() if not finished(data.trials).empty}


def _all_files(uri: str, rendered: Sequence[RenderedSweep]) -> dict[str, bytes]:
    """Return all files by name, the manifest last."""
    from analysis.report.draw import section_of, shown_trials
    from analysis.report.files import describe_sweep, digests, render_csv, render_manifest, versions
    from analysis.report.page import render_report

    figures: dict[str, object] = {}
    sweeps: dict[str, object] = {}
    files: dict[str, bytes] = {}
    for sweep in rendered:
        sources = [sweep.data.trials, *(other.trials for other in sweep.data.others.values())]
        sweeps |= {trials.attrs["sweep_key"]: describe_sweep(trials) for trials in sources}
        keys = [trials.attrs["sweep_key"] for trials in sources]
        for item in sweep.items:
            figures[item.name] = {"sweep_keys": keys, "files": digests(item.files)}
            files |= item.files
        trials = sweep.data.trials
        files[f"{trials.attrs['sweep']}_trials.csv"] = render_csv(shown_trials(trials))
    sections = [section_of(sweep) for sweep in rendered]
    report = render_report(sections, tracking_uri=uri, versions=versions())
    files["report.html"] = report.encode()
    manifest = {
        "figures": figures,
        "sweeps": sweeps,
        "left_out": {name: why for sweep in rendered for name, why in sweep.left_out.items()},
        "files": digests(files),
        "packages": versions(),
    }
    return files | {"manifest.json": render_manifest(manifest)}


def _refuse(message: str) -> int:
    print(f"error: {printable(redact(' '.join(message.split())))}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
