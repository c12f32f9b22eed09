"""Turn what was drawn of a sweep into a section of the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis._catalogue import axes_of
from analysis._cells import text
from analysis._drawing import Page
from analysis._material import Drawn
from analysis._mixed import SHARED
from analysis._record import COSTS, Sweep
from analysis._report import FigureItem, Section, TableItem
from analysis._style import on_data

MOST_SVG_BYTES = 400_000  # above it, a picture of pixels opens faster
SHOWN = ("run_id", "status", "cause", "seed")
OUTCOME = ("val/miou", "swa/miou", *SHARED)


def section_of(page: Page) -> Section:
    """Return the section of one sweep."""
    trials = page.material.trials
    sweep = Sweep.of(trials)
    found = dict.fromkeys(f"{drawn.sentence}." for drawn in page.drawn if drawn.sentence)
    left_out = [f"Not drawn: {name}, since {why}." for name, why in page.left_out.items()]
    return Section(
        title=f"{sweep.sweep} on {sweep.dataset}",
        question=sweep.question,
        dataset=on_data(sweep.dataset),
        sentences=[*found, *left_out],  # tables on the same comparison say the same of it
        figures=[_figure(drawn) for drawn in page.drawn if drawn.table is None],
        tables=[_table(drawn, drawn.table) for drawn in page.drawn if drawn.table is not None],
        trials=shown_trials(trials),
        facts=_facts(page),
        trials_files=[f"{sweep.sweep}_trials.csv"],
    )


def shown_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """Return what the report tells of each trial."""
    names = dict.fromkeys([*SHOWN, *axes_of(trials), *OUTCOME])
    return trials[[name for name in names if name in trials]]


def _figure(drawn: Drawn) -> FigureItem:
    svg = drawn.files[f"{drawn.name}.svg"]
    return FigureItem(
        name=drawn.name,
        title=drawn.title,
        caption=drawn.caption,
        png=drawn.files[f"{drawn.name}.png"],
        svg=svg.decode() if len(svg) <= MOST_SVG_BYTES else None,
        files=_names(drawn),
    )


def _table(drawn: Drawn, table: pd.DataFrame) -> TableItem:
    return TableItem(
        name=drawn.name,
        title=drawn.title,
        caption=drawn.caption,
        frame=table.map(text),
        files=_names(drawn),
    )


def _names(drawn: Drawn) -> Sequence[str]:
    return [*drawn.files]


def _facts(page: Page) -> dict[str, Any]:
    facts: dict[str, Any] = dict(page.material.trials.attrs)
    costs = [facts[name] for name in ("training_runs", "naive_runs", "training_s")]
    known = all(math.isfinite(cost) for cost in costs)
    return facts | {
        "environment": page.material.environment,
        "costs": dict(zip(COSTS, costs, strict=True)) if known else None,
    }
