"""Render all sweeps, their figures, tables and trials as one page that needs nothing else.

The page holds its pictures, style and script, asks no network for anything, and is the same byte
for byte at every rendering of the same sections.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from jinja2 import Environment, StrictUndefined

from analysis.record.schema import Sweep
from analysis.record.version_mix import mixtures_of
from analysis.report.best_card import BestCard
from analysis.report.facts import (
    CAUSES_SHOWN,
    Tracking,
    conditions,
    costs,
    failure_groups,
    identities,
    stamp,
    tally,
    why_partial,
)
from analysis.report.pictures import POINTS_PER_INCH, Picture
from analysis.report.views import (
    TableView,
    describe_shown,
    heading_of,
    legend_of,
    linked,
    trials_view,
    view_of,
    without_sentences,
)
from trainable.storage.json_files import JsonObject

TEMPLATE = "report.html.jinja"
NARROW_PT = 252.0  # 3.5 inches: a picture of this width needs no scrolling on a phone
CSS_DPI = 96  # CSS pixels per inch, by definition
ENLARGED = 1.2  # a figure's letters are set for paper, and read on a screen from further away
SENTENCES_SHOWN = 3  # of what came out; each stands with its table, too


@dataclass(frozen=True, kw_only=True)
class FigureItem:
    """A figure as the page shows it."""

    name: str  # unique among the section's figures and tables: the anchor
    title: str
    caption: str  # how it was made: a sentence or more
    picture: Picture
    narrow: Picture | None = None  # shown instead on a phone; without it the picture scrolls there
    shows: str = ""  # what came out, in a sentence, also read out instead of the picture
    in_picture: bool = False  # whether the caption is to be seen in the picture already
    files: Sequence[str] = ()  # names beside the page


@dataclass(frozen=True, kw_only=True)
class TableItem:
    """A table as the page shows it; the frame's index is not shown."""

    name: str
    title: str
    caption: str  # how it was made: a sentence or more
    frame: pd.DataFrame
    sentence: str = ""  # what came out, one sentence a line, without full stops
    files: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Section:
    """One sweep: what was asked, what came out, and all it rests on."""

    sweep: Sweep
    title: str
    dataset: str  # as the reader should see it named
    sentences: Sequence[str]  # what came out
    figures: Sequence[FigureItem]
    tables: Sequence[TableItem]
    # Columns `run_id`, `status`, `cause`, `seed`, the axes, `val/miou` and `swa/miou` as fractions;
    # optionally those of `version_mix.SHARED`, which are shown where they differ.
    trials: pd.DataFrame
    environment: JsonObject  # as in environment.json; empty where not recorded
    trials_files: Sequence[str] = ()  # files beside the page with all trials
    best: BestCard | None = None  # where a setting can be named the best
    notes: Sequence[str] = ()  # on sweeps that might stand here instead, without full stops
    left_out: Sequence[str] = ()  # what is not drawn, and why, without full stops


def render_report(
    sections: Sequence[Section],
    *,
    tracking_uri: str,
    versions: Mapping[str, str],
    claims: TableItem | None = None,
) -> str:
    """Return the page as HTML.

    Args:
        sections: One per sweep, at least one, in the order of the page.
        tracking_uri: Where the trials were read from. An `http(s)` server is linked to; for a
            database the links lead to a local `mlflow ui`, whose command stands beside them.
        versions: The versions of the packages that drew the figures, by package.
        claims: What all sweeps say of the paper's claims.
    """
    here = Path(__file__)
    template = here.with_name(TEMPLATE).read_text(encoding="utf-8")
    style = here.with_name("report.css").read_text(encoding="utf-8")
    script = here.with_name("report.js").read_text(encoding="utf-8")
    tracking = Tracking.of(tracking_uri)
    jinja = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return jinja.from_string(template).render(
        style=style,
        script=script,
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        tracking=tracking,
        datasets=list(dict.fromkeys(section.dataset for section in sections)),
        overview=_overview(sections) if len(sections) > 1 else None,
        claims=None if claims is None else _table(claims, "all"),
        sections=[
            _section(section, f"s{number}", tracking)
            for number, section in enumerate(sections, start=1)
        ],
        versions=sorted(versions.items()),
    )


def _overview(sections: Sequence[Section]) -> TableView:
    rows = []
    for section in sections:
        sweep = section.sweep
        runs, naive, hours = math.nan, math.nan, math.nan
        if sweep.has_costs:
            runs, naive, hours = sweep.training_runs, sweep.naive_runs, sweep.training_s / 3600
        rows.append(
            {
                "sweep": section.title,
                "data set": section.dataset,
                "trials": sweep.trials_total,
                "finished": int((section.trials["status"] == "FINISHED").sum()),
                "training runs": runs,
                "hours": _rounded(hours),
                "runs, naive": naive,
                "hours, naive": _rounded(hours * naive / runs) if runs else math.nan,
            }
        )
    frame = pd.DataFrame(rows)
    return linked(view_of(frame), [f"#s{number}" for number in range(1, len(rows) + 1)])


def _rounded(hours: float) -> float:
    return float(f"{hours:.3g}")


def _section(section: Section, anchor: str, tracking: Tracking) -> dict[str, object]:
    """Return all that the template shows of one sweep, in the order of the page."""
    sweep, trials = section.sweep, section.trials

    def link(run_id: str) -> str:
        return tracking.run(sweep.experiment_id, run_id)

    failures = failure_groups(trials)
    figures = [_figure(figure, anchor, sweep.dataset) for figure in section.figures]
    return {
        "anchor": anchor,
        "section": section,
        "stamp": stamp(sweep, trials),
        "why": why_partial(sweep),
        "warnings": mixtures_of(trials),
        "data_warnings": sweep.data_warnings.splitlines(),
        "sentences": section.sentences[:SENTENCES_SHOWN],
        "more_sentences": section.sentences[SENTENCES_SHOWN:],
        "main_figure": figures[0] if figures else None,
        "figures": figures[1:],
        "tables": [_table(table, anchor, sweep.dataset) for table in section.tables],
        "tally": tally(trials, sweep.trials_total),
        "failures": failures[:CAUSES_SHOWN],
        "more_causes": max(0, len(failures) - CAUSES_SHOWN),
        "link": link,
        "trials": trials_view(trials, link),
        "which": describe_shown(trials),
        "trials_files": _files(section.trials_files),
        "facts": [
            *costs(sweep),
            *conditions(section.environment),
            *identities(trials),
        ],
        "command": section.environment.get("command"),
        "pattern": link("RUN_ID"),
    }


def _table(table: TableItem, anchor: str, dataset: str = "") -> dict[str, object]:
    return {
        "anchor": _anchor(anchor, table.name),
        "item": table,
        "heading": heading_of(table.title, dataset),
        "sentences": [f"{line}." for line in table.sentence.splitlines()],
        "legend": legend_of(table.frame),
        "method": without_sentences(table.caption, table.sentence),
        "view": view_of(table.frame),
        "files": _files(table.files),
    }


def _figure(figure: FigureItem, anchor: str, dataset: str) -> dict[str, object]:
    return {
        "anchor": _anchor(anchor, figure.name),
        "item": figure,
        "heading": heading_of(figure.title, dataset),
        "wide": _image(figure.picture),
        "narrow": None if figure.narrow is None else _image(figure.narrow),
        "scrolls": figure.narrow is None and figure.picture.width_pt > NARROW_PT,
        "files": _files(figure.files),
    }


def _image(picture: Picture) -> dict[str, object]:
    scale = ENLARGED * CSS_DPI / POINTS_PER_INCH
    content = base64.b64encode(picture.content).decode()
    return {
        "uri": f"data:image/{picture.kind};base64,{content}",
        "width": round(picture.width_pt * scale),
        "height": round(picture.height_pt * scale),
    }


def _anchor(section: str, name: str) -> str:
    return f"{section}-{re.sub(r'[^A-Za-z0-9_-]', '-', name)}"


def _files(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return each file's name with its address relative to the page."""
    return [(name, quote(name)) for name in names]
