"""Draw what the catalogue names for one sweep, as files and as its section of the report."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.figures import FigureSpec
from analysis.figures.appearance import DescribedFigure, current_style, phone_style, styled
from analysis.figures.style import on_data
from analysis.record.mlflow_store import collector_off
from analysis.record.schema import RecordError, Sweep, objectives_of
from analysis.record.sweep_data import SweepData
from analysis.record.version_mix import SHARED
from analysis.report.best_card import best_card
from analysis.report.catalogue import axes_of, specs_of
from analysis.report.export import render_parquet
from analysis.report.files import render, render_csv, render_float
from analysis.report.page import FigureItem, Section, TableItem
from analysis.report.pictures import Picture, picture_of
from analysis.result_tables.cells import text
from analysis.result_tables.claims import claims, is_tried
from analysis.result_tables.latex import to_latex
from analysis.result_tables.render import to_csv, to_markdown, to_numbers

# How many figures of a sweep, the main one first, are drawn once more for a phone: each takes a
# quarter of the time that it takes for screen and paper. The others scroll there.
FOR_PHONES = 2
SHOWN = ("run_id", "status", "cause", "seed")
OUTCOME = ("val/miou", "swa/miou", *SHARED)


@dataclass(frozen=True, kw_only=True, eq=False)
class RenderedItem:
    """A figure or a table, as the report shows it.

    Attributes:
        name: Stem of its files, such as "fig4".
        title: Its heading.
        sentence: What came out, in one sentence, or in several of them, one a line.
        caption: Seeds, method of the interval, what is left out or mixed.
        shows: What a figure shows, for those who do not see it; empty where it does not tell.
        in_picture: Whether title and caption stand in the picture that the report shows.
        table: The table in words; None for a figure.
        files: The content of each of its files, by name.
        picture: What the report shows of a figure; None for a table.
        narrow: What it shows on a phone, where that differs.
    """

    name: str
    title: str
    sentence: str
    caption: str
    shows: str = ""
    in_picture: bool = False
    table: pd.DataFrame | None
    files: Mapping[str, bytes]
    picture: Picture | None = None
    narrow: Picture | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class RenderedSweep:
    """One sweep, drawn.

    Attributes:
        data: What it was drawn from.
        items: Its figures and tables, the main one first.
        left_out: Why a figure or a table cannot be drawn of this sweep, by its name.
        suffix: What the names of its files end with, to tell them from another sweep's.
        notes: Sentences on sweeps that might have been drawn instead, without full stops.
    """

    data: SweepData
    items: Sequence[RenderedItem]
    left_out: dict[str, str]
    suffix: str = ""
    notes: Sequence[str] = ()

    @property
    def trials_stem(self) -> str:
        """Name of the files with all trials, without what follows their last dot."""
        return f"{self.data.trials.attrs['sweep']}_trials{self.suffix}"


def draw(data: SweepData, *, suffix: str = "", notes: Sequence[str] = ()) -> RenderedSweep:
    """Draw what the catalogue names for a sweep and the sweep has the trials for.

    Args:
        data: The sweep.
        suffix: What the names of its files end with, where another sweep has them without it.
        notes: Sentences on sweeps that might have been drawn instead.

    Raises:
        RecordError: Nothing can be drawn; the reason is that of the main figure.
    """
    items: list[RenderedItem] = []
    left_out: dict[str, str] = {}
    for plain, spec in specs_of(data.trials, suffix).items():
        name = f"{plain}{suffix}"
        try:
            with collector_off():
                if isinstance(spec, FigureSpec):
                    items.append(_draw_figure(name, spec, data, for_phones=len(items) < FOR_PHONES))
                else:
                    items.append(_table_item(name, spec.build(data)))
        except RecordError as error:
            left_out[name] = str(error)
    if not items:
        raise RecordError(next(iter(left_out.values()), "the sweep varies nothing"))
    return RenderedSweep(data=data, items=items, left_out=left_out, suffix=suffix, notes=notes)


def _draw_figure(name: str, spec: FigureSpec, data: SweepData, *, for_phones: bool) -> RenderedItem:
    figure = spec.draw(data)
    files = {f"{name}.{kind}": render(figure, kind) for kind in ("pdf", "png", "svg")}
    title, caption = figure.get_suptitle(), figure.get_supxlabel()
    shows, is_described = "", isinstance(figure, DescribedFigure)
    if isinstance(figure, DescribedFigure):
        title, caption, shows = figure.title, figure.caption, figure.shows
        if not figure.style.has_words:
            files[f"{name}.tex"] = render_float(name, f"{title}. {caption}")
    title, caption = _plain(title), _plain(caption)
    if spec.numbers is not None:
        numbers = spec.numbers(data)
        files[f"{name}.csv"] = render_csv(numbers)
        files[f"{name}.parquet"] = render_parquet(numbers, {"title": title, "caption": caption})
    return RenderedItem(
        name=name,
        title=title,
        sentence="",
        caption=caption,
        shows=_plain(shows),
        in_picture=not is_described,
        table=None,
        files=files,
        picture=picture_of(figure, svg=files[f"{name}.svg"]),
        narrow=_for_phones(spec, data) if for_phones and is_described else None,
    )


def _for_phones(spec: FigureSpec, data: SweepData) -> Picture | None:
    """Return a figure as a phone shows it, None where every figure is a column wide already."""
    if current_style().width_in is not None:
        return None
    with styled(phone_style()):
        return picture_of(spec.draw(data))


def _plain(text: str) -> str:
    """Return a text of a figure in one line, its formulas as plain letters."""
    bare = re.sub(r"\\mathrm\{(\w+)\}", r"\1", text).replace(r"\lambda", "λ").replace("$", "")
    return " ".join(bare.split())


def draw_claims(sweeps: Sequence[RenderedSweep]) -> RenderedItem | None:
    """Return the paper's claims with what all sweeps say of them; None where they say nothing."""
    drawn = [sweep.data for sweep in sweeps]
    everything = [*drawn, *(other for data in drawn for other in data.others.values())]
    table = claims(everything, drawn[0].paper)
    return _table_item("claims", table) if is_tried(table) else None


def _table_item(name: str, table: pd.DataFrame) -> RenderedItem:
    about = {key: table.attrs[key] for key in ("title", "finding", "caption")}
    return RenderedItem(
        name=name,
        title=table.attrs["title"],
        sentence=table.attrs["finding"],
        caption=table.attrs["caption"],
        table=table.map(text),
        files={
            f"{name}.csv": to_csv(table),
            f"{name}.parquet": render_parquet(to_numbers(table), about),
            f"{name}.md": to_markdown(table),
            f"{name}.tex": to_latex(table, name),
        },
    )


def section_of(rendered: RenderedSweep) -> Section:
    """Return the section of one sweep."""
    trials = rendered.data.trials
    sweep = Sweep.of(trials)
    lines = [line for item in rendered.items for line in item.sentence.splitlines()]
    found = dict.fromkeys(f"{line}." for line in lines)
    return Section(
        sweep=sweep,
        title=_title(sweep, rendered.suffix),
        dataset=on_data(sweep.dataset),
        sentences=[*found],  # tables on the same comparison say the same of it
        left_out=[f"{name}, since {why}" for name, why in rendered.left_out.items()],
        figures=[_figure(item) for item in rendered.items if item.table is None],
        tables=[table_of(item) for item in rendered.items if item.table is not None],
        trials=shown_trials(trials),
        environment=rendered.data.environment,
        trials_files=[f"{rendered.trials_stem}.{kind}" for kind in ("csv", "parquet")],
        best=best_card(trials, axes_of(trials)),
        notes=rendered.notes,
    )


def _title(sweep: Sweep, suffix: str) -> str:
    title = f"{sweep.sweep} on {sweep.dataset}"
    return f"{title}, {sweep.sweep_key}" if suffix == f"_{sweep.sweep_key}" else title


def shown_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """Return what the report tells of each trial."""
    objectives = objectives_of(trials)
    names = dict.fromkeys([*SHOWN, *axes_of(trials), *objectives, *OUTCOME])
    return trials[[name for name in names if name in trials]]


def _figure(item: RenderedItem) -> FigureItem:
    if item.picture is None:
        raise ValueError(f"{item.name} is a table and has no picture")
    return FigureItem(
        name=item.name,
        title=item.title,
        caption=item.caption,
        shows=item.shows,
        in_picture=item.in_picture,
        picture=item.picture,
        narrow=item.narrow,
        files=[*item.files],
    )


def table_of(item: RenderedItem) -> TableItem:
    """Return a table as the page shows it."""
    if item.table is None:
        raise ValueError(f"{item.name} is a figure and has no table")
    return TableItem(
        name=item.name,
        title=item.title,
        sentence=item.sentence,
        caption=item.caption,
        frame=item.table,
        files=[*item.files],
    )
