"""Which figures and tables are drawn of which sweep, its main figure first."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from analysis import figures
from analysis.record.schema import RecordError, finished
from analysis.report.sweep_data import SweepData
from analysis.result_tables.paper import table1, table2_left, table2_right, table3, table4
from analysis.result_tables.summaries import grid_summary, search_summary
from analysis.stats.aggregation import varying

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # of a sweep or an axis: it names files
RULES = ("eq7", "uniform", "ema")
MOST_RUNS = 60  # whose curves are drawn one by one; more cost time and cannot be told apart
VOC, SEGTRACK = "voc2012", "segtrackv2"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A figure, with the numbers behind it, or a table beside the paper's."""

    name: str  # stem of its files
    figure: Callable[[SweepData], Figure] | None = None
    numbers: Callable[[SweepData], pd.DataFrame] | None = None
    table: Callable[[SweepData], pd.DataFrame] | None = None
    rule: str | None = None  # of averaging: drawn where trials have it


def entries_of(trials: pd.DataFrame) -> Sequence[Entry]:
    """Return what is drawn of this sweep: a user's own has a figure per axis and a summary.

    Raises:
        RecordError: Its name or that of an axis cannot name a file.
    """
    sweep, axes = trials.attrs["sweep"], axes_of(trials)
    for name in (sweep, *axes):
        if not NAME.fullmatch(name):
            raise RecordError(
                f"names of sweeps and axes are letters, digits, - and _, but got {name!r}"
            )
    if sweep in CATALOGUE:
        rules = {None, *trials.get("swa_rule", ())}
        return [entry for entry in CATALOGUE[sweep] if entry.rule in rules]
    drawn = [
        Entry(
            name=f"{sweep}_{axis}",
            figure=partial(_versus, axis=axis),
            numbers=partial(_versus_table, axis=axis),
        )
        for axis in axes
    ]
    return [*drawn, Entry(name=f"{sweep}_summary", table=_grid)]


def axes_of(trials: pd.DataFrame) -> list[str]:
    """Return the settings in which the trials differ: those the sweep names, else those seen."""
    return [*trials.attrs["axes"]] or varying(trials)


def _versus(material: SweepData, axis: str) -> Figure:
    return figures.metric_vs_axis(material.trials, axis)


def _versus_table(material: SweepData, axis: str) -> pd.DataFrame:
    return figures.axis_table(material.trials, axis)


def _grid(material: SweepData) -> pd.DataFrame:
    return grid_summary(material.trials, axes_of(material.trials))


def _health(material: SweepData) -> Figure:
    ended = finished(material.trials)
    runs = ended
    if "adversarial" not in runs:
        raise RecordError("every trial must have the param adversarial")
    runs = runs[runs["adversarial"] != "none"].drop_duplicates("training_key")
    if len(runs) > MOST_RUNS:
        runs = runs.iloc[np.linspace(0, len(runs) - 1, MOST_RUNS).astype(int)]
    # The trials without an adversary and those beside another of their run are not missing.
    left_out = len(ended) - len(runs)
    runs.attrs |= {"trials_total": material.trials.attrs["trials_total"] - left_out}
    return figures.health(runs, curves=material.narrow(runs).curves)


def _classes(material: SweepData) -> Sequence[str]:
    for detail in material.details.values():
        return list(detail["classes"])
    raise RecordError("no trial has the names of its classes")


def _on(dataset: str, material: SweepData) -> SweepData | None:
    """Return the sweep on a data set: this one, or the newest of the same name on that."""
    own = material.trials.attrs["dataset"] == dataset
    return material if own else material.others.get(dataset)


def _table1(material: SweepData) -> pd.DataFrame:
    of = _on(VOC, material) or material
    return table1(of.trials, of.details, of.paper)


def _table3(material: SweepData) -> pd.DataFrame:
    of = _on(SEGTRACK, material)
    return table3(None if of is None else of.trials, material.paper)


CATALOGUE: dict[str, Sequence[Entry]] = {
    "lambda_grid": [
        Entry(
            name="fig4",
            figure=lambda m: figures.fig4(m.trials, m.paper),
            numbers=lambda m: figures.fig4_table(m.trials),
        ),
        Entry(name="lambda_grid_health", figure=_health),
        Entry(name="lambda_grid_summary", table=_grid),
    ],
    "swa_grid": [
        Entry(
            name="swa_threshold",
            figure=lambda m: figures.swa_threshold(m.trials, m.paper, m.swa),
            numbers=lambda m: m.swa,
        ),
        Entry(name="swa_n", figure=lambda m: figures.swa_n(m.trials, m.paper, m.swa)),
        *(
            Entry(
                name=f"swa_heatmap_{rule}",
                rule=rule,
                figure=lambda m, rule=rule: figures.swa_heatmap(m.trials, rule, m.swa),  # type: ignore[misc]
            )
            for rule in RULES
        ),
        Entry(name="swa_grid_summary", table=_grid),
    ],
    "joint_search": [
        Entry(
            name="search_history",
            figure=lambda m: figures.search_history(m.trials),
            numbers=lambda m: figures.search_table(m.trials),
        ),
        Entry(
            name="search_importance",
            figure=lambda m: figures.search_importance(m.trials, m.importance),
            numbers=lambda m: m.importance,
        ),
        Entry(name="search_slices", figure=lambda m: figures.search_slices(m.trials)),
        Entry(name="search_contour", figure=lambda m: figures.search_contour(m.trials)),
        Entry(name="search_parallel", figure=lambda m: figures.search_parallel(m.trials)),
        Entry(
            name="joint_search_summary",
            table=lambda m: search_summary(m.trials, axes_of(m.trials)),
        ),
    ],
    "ablation": [
        Entry(
            name="fig6",
            figure=lambda m: figures.fig6(m.trials, curves=m.curves),
            numbers=lambda m: figures.fig6_table(m.trials, curves=m.curves),
        ),
        Entry(
            name="fig5",
            figure=lambda m: figures.fig5(m.trials, masks=m.masks, classes=_classes(m)),
        ),
        Entry(
            name="fig7",
            figure=lambda m: figures.fig7(m.trials, masks=m.masks, classes=_classes(m)),
        ),
        Entry(
            name="fig8",
            figure=lambda m: figures.fig8(m.trials),
            numbers=lambda m: figures.fig8_table(m.trials),
        ),
        Entry(name="ablation_health", figure=_health),
        Entry(name="table1", table=_table1),
        Entry(
            name="table2_left",
            table=lambda m: table2_left((_on(VOC, m) or m).trials, m.paper),
        ),
        Entry(
            name="table2_right",
            table=lambda m: table2_right((_on(VOC, m) or m).trials, m.paper),
        ),
        Entry(name="table3", table=_table3),
        Entry(
            name="table4",
            table=lambda m: table4([m.trials, *(o.trials for o in m.others.values())], m.paper),
        ),
    ],
}
