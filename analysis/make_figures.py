"""Draw the paper's figures and tables from the MLflow record.

By default it draws, of each name and data set in the record, the newest complete sweep, but for one
with fewer trials than a complete one before it. What is newer and not drawn is named on the screen
and in the report. Of several data sets, the files of all but the first bear its name.

Each figure comes as PDF, PNG and SVG, most with their numbers as CSV and Parquet, beside all trials
in both forms, a report and a `manifest.json` that names the runs it was drawn from; the same record
gives the same bytes. The path of each figure's PNG is printed, that of the first sweep's main
figure last. Exit codes: 0, or 2 for bad input, with one line on standard error and nothing written.
"""

from __future__ import annotations

import os

# Read when numpy is loaded. The designs are many small matrices, over which threads only wait.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from analysis.cli.options import add_record_options
from analysis.record.choice import REVISION, REVISIONS, RULE, choose, others
from analysis.record.schema import RecordError, Sweep, finished
from analysis.record.tracking_uri import describe_choice
from trainable.cli.parsed_options import read_options
from trainable.cli.parser import Parser, refusal
from trainable.cli.streams import ended_by_closed_output, tell_who_waits
from trainable.storage.redaction import printable, redact_uri

if TYPE_CHECKING:
    import pandas as pd

    from analysis.record.sweep_data import Paper, SweepData
    from analysis.record.trials import Record
    from analysis.report.draw import RenderedSweep

# Sweeps whose tables stand side by side for several data sets.
ACROSS_DATASETS = ("ablation",)


@dataclass(frozen=True, kw_only=True)
class FigureOptions:
    """The options of this command.

    Attributes:
        tracking_uri: MLflow store that holds the record.
        experiment: MLflow's experiment in it.
        out: Folder of the figures.
        sweep: Names, keys or parent runs of sweeps, None for all names.
        cache: Whether what was read and drawn before and has not changed is used.
        style: How figures look, `screen` or `paper`.
        font: Letters of figures for a paper, `serif` or `sans`; None for serif.
        verbose: Whether each step is told where no terminal reads it, too.
    """

    tracking_uri: str
    experiment: str
    out: str
    sweep: tuple[str, ...] | None
    cache: bool
    style: str
    font: Literal["serif", "sans"] | None
    verbose: bool


@ended_by_closed_output()
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = read_options(FigureOptions, parser().parse_args(argv))
    if options.font and options.style != "paper":
        return refusal(f"--font is of --style paper, but got --style {options.style}")
    tell = partial(tell_who_waits, anyone=options.verbose)
    chosen = describe_choice(options.tracking_uri, options.experiment)
    tell(f"reading {chosen or redact_uri(options.tracking_uri)}")
    from analysis.record.trials import Record

    try:
        record = Record(options.tracking_uri, cache=options.cache, experiment=options.experiment)
        # Called from another program, it starts no processes, which would import that program.
        processes = len(os.sched_getaffinity(0)) if argv is None else 1
        rendered = _draw(record, options, processes, tell)
        tell("writing the report")
        files = _all_files(options.tracking_uri, rendered)
    except RecordError as error:
        return refusal(str(error))
    from analysis.report.files import write_files

    try:
        write_files(Path(options.out), files)
    except OSError as error:
        return refusal(f"cannot write to {options.out!r}: {error.strerror}")
    for sweep in rendered:
        for note in sweep.notes:
            print(printable(note), file=sys.stderr)
        for name, reason in sweep.left_out.items():
            print(printable(f"not drawn: {name}: {reason}"), file=sys.stderr)
    figures = [item.name for sweep in rendered for item in sweep.items if item.table is None]
    for name in ["report.html", *(f"{figure}.png" for figure in reversed(figures))]:
        print(os.path.join(options.out, name))
    return 0


def parser() -> Parser:
    """Return the options of this command."""
    options = Parser(
        description=__doc__,
        example="--sweep lambda_grid --style paper",
    )
    add_record_options(
        options,
        no_cache="read the whole record and draw all of it again, changed or not",
    )
    options.add_argument(
        "--out", metavar="DIR", default="figures/", help="folder of the files (default: figures/)"
    )
    options.add_argument(
        "--sweep",
        metavar="NAME",
        nargs="+",
        help="sweeps to draw, by sweep_key, by the id of the parent run, or by name (default: all "
        f"names): {RULE}. {REVISIONS}",
    )
    options.add_argument(
        "--style",
        choices=("screen", "paper"),
        default="screen",
        help="`paper`: for a column of 3.3 inches, without title and caption, which a .tex file "
        "beside each figure has instead (default: screen)",
    )
    options.add_argument(
        "--font",
        choices=("serif", "sans"),
        help="letters of --style paper (default: serif)",
    )
    options.add_argument(
        "--verbose",
        action="store_true",
        help="say each step on standard error, as a terminal is told in any case",
    )
    return options


def _draw(
    record: Record, options: FigureOptions, processes: int, tell: Callable[[str], None]
) -> list[RenderedSweep]:
    """Draw the sweeps that are wanted, or those that stand for all names and data sets."""
    chosen = _chosen(record, options.sweep)
    for sweep in chosen:
        _check_drawable(record.trials(sweep))
    # matplotlib is imported once the record is known to be good.
    from analysis.figures.appearance import paper_style, screen_style, styled
    from analysis.record.sweep_data import SweepData, load_paper
    from analysis.report.processes import Drawing, draw_all
    from analysis.stats.rounding import count

    paper = load_paper()
    is_paper = options.style == "paper"
    style = paper_style(font=options.font or "serif") if is_paper else screen_style()
    drawings = []
    for sweep, suffix in zip(chosen, _suffixes(chosen), strict=True):
        alike = record.sweeps(sweep.sweep)
        elsewhere = {} if suffix else _on_other_datasets(sweep, alike, record, paper)
        data = SweepData(trials=record.trials(sweep), paper=paper, others=elsewhere)
        notes = others(sweep, alike, record.ended)
        drawings.append(Drawing(data=data, suffix=suffix, notes=notes))
    figures = sum(one.figures for one in drawings)
    tell(f"drawing {count(figures, 'figure')} of {count(len(drawings), 'sweep')}")
    with styled(style):
        return draw_all(drawings, processes=processes, reuse=options.cache)


def _chosen(record: Record, wanted: Sequence[str] | None) -> list[Sweep]:
    """Return the sweeps that are wanted, each once, or those that stand for all names."""
    if wanted is None:
        every = record.sweeps()
        if not every:
            raise RecordError("the record holds no sweep; run one first")
        return choose(every, record.ended) or every[:1]
    found = [sweep for name in wanted for sweep in _wanted(record, name)]
    return [*{sweep.parent_run_id: sweep for sweep in found}.values()]


def _wanted(record: Record, name: str) -> list[Sweep]:
    """Return the sweep of a key, a run or a revision, or those that stand for a name."""
    if REVISION.fullmatch(name):
        return [record.find(name)]
    found = record.sweeps(name)
    return choose(found, record.ended) or found[:1]


def _suffixes(chosen: Sequence[Sweep]) -> list[str]:
    """Return what tells the files of each sweep from those of the others of its name.

    The first of a name needs nothing; another has its data set, or, where that tells no two apart,
    its key.
    """
    suffixes = []
    for place, sweep in enumerate(chosen):
        alike = [other for other in chosen if other.sweep == sweep.sweep]
        datasets = [other.dataset for other in alike]
        of = sweep.dataset if datasets.count(sweep.dataset) == 1 else sweep.sweep_key
        is_first = sweep.sweep not in [before.sweep for before in chosen[:place]]
        suffixes.append("" if is_first else f"_{of}")
    return suffixes


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


def _on_other_datasets(
    sweep: Sweep, alike: Sequence[Sweep], record: Record, paper: Paper
) -> dict[str, SweepData]:
    if sweep.sweep not in ACROSS_DATASETS:
        return {}
    from analysis.record.sweep_data import SweepData

    elsewhere = [other for other in alike if other.dataset != sweep.dataset]
    return {
        found.dataset: SweepData(trials=record.trials(found), paper=paper)
        for found in choose(elsewhere, record.ended)
    }


def _all_files(uri: str, rendered: Sequence[RenderedSweep]) -> dict[str, bytes]:
    """Return all files by name, the manifest last."""
    from analysis.report.draw import draw_claims, section_of, table_of
    from analysis.report.export import trials_files
    from analysis.report.files import describe_sweep, digests, render_manifest, versions
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
        files |= trials_files(sweep.data.trials, sweep.trials_stem)
    sections = [section_of(sweep) for sweep in rendered]
    claims = draw_claims(rendered)
    if claims is not None:
        figures[claims.name] = {"sweep_keys": [*sweeps], "files": digests(claims.files)}
        files |= claims.files
    report = render_report(
        sections,
        tracking_uri=uri,
        versions=versions(),
        claims=None if claims is None else table_of(claims),
    )
    files["report.html"] = report.encode()
    manifest = {
        "figures": figures,
        "sweeps": sweeps,
        "left_out": {name: why for sweep in rendered for name, why in sweep.left_out.items()},
        "files": digests(files),
        "packages": versions(),
    }
    return files | {"manifest.json": render_manifest(manifest)}


if __name__ == "__main__":
    sys.exit(main())
