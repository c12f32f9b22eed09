"""What is drawn of a sweep: the figures and tables registered for it, else general ones."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.figures import FIGURES, FigureSpec, spec_of_axis
from analysis.record.schema import RecordError
from analysis.record.sweep_data import SweepData
from analysis.result_tables.effects import effects, lambda_effects
from analysis.result_tables.paper import table1, table2_left, table2_right, table3, table4
from analysis.result_tables.summaries import grid_summary, search_summary
from analysis.stats.aggregation import varying
from analysis.stats.search import is_search

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")  # of a sweep or an axis: it names files
SEARCH = "joint_search"  # whose figures any search has
VOC, SEGTRACK = "voc2012", "segtrackv2"


@dataclass(frozen=True, kw_only=True)
class TableSpec:
    """How a table is made of a sweep.

    Attributes:
        sweep: Name of the sweep that it is made of.
        build: Returns the table, with `title`, `finding` and `caption` in its `attrs`.
    """

    sweep: str
    build: Callable[[SweepData], pd.DataFrame]


def specs_of(trials: pd.DataFrame, suffix: str = "") -> Mapping[str, FigureSpec | TableSpec]:
    """Return what is drawn of the sweep of these trials, its figures first.

    A sweep for which no figure is registered has one per axis, or, where it is a search, those of
    a search; one without a table has a summary.

    Args:
        trials: A frame as `load_trials` returns it.
        suffix: What the names of its files are to end with: a line and a name, or nothing.

    Returns:
        The specs by the stem of their files, the main figure first.

    Raises:
        RecordError: The sweep's name or that of an axis cannot name a file.
    """
    sweep, axes = trials.attrs["sweep"], axes_of(trials)
    for name in (sweep, *axes, *([suffix.removeprefix("_")] if suffix else [])):
        if not NAME.fullmatch(name):
            raise RecordError(
                "names of sweeps, axes and data sets are letters, digits, - and _, but got "
                f"{name!r}"
            )
    rules = {None, *trials.get("swa_rule", ())}
    figures = {
        name: spec for name, spec in FIGURES.items() if spec.sweep == sweep and spec.rule in rules
    }
    tables = {name: spec for name, spec in TABLES.items() if spec.sweep == sweep}
    return {
        **(figures or _figures(trials, axes)),
        **(tables or {f"{sweep}_summary": TableSpec(sweep=sweep, build=_summary)}),
    }


def _figures(trials: pd.DataFrame, axes: Sequence[str]) -> dict[str, FigureSpec]:
    """Return the figures of a sweep of one's own, which may be a search."""
    sweep = trials.attrs["sweep"]
    if not is_search(trials):
        return {f"{sweep}_{axis}": spec_of_axis(sweep, axis) for axis in axes}
    return {
        f"{sweep}_{name.removeprefix('search_')}": dataclasses.replace(spec, sweep=sweep)
        for name, spec in FIGURES.items()
        if spec.sweep == SEARCH
    }


def axes_of(trials: pd.DataFrame) -> list[str]:
    """Return the settings in which the trials differ: those the sweep names, else those seen."""
    return [*trials.attrs["axes"]] or varying(trials)


def _grid_summary(data: SweepData) -> pd.DataFrame:
    return grid_summary(data.trials, axes_of(data.trials))


def _summary(data: SweepData) -> pd.DataFrame:
    """Return the summary of a sweep of one's own, which may be a search."""
    build = search_summary if is_search(data.trials) else grid_summary
    return build(data.trials, axes_of(data.trials))


def _on(dataset: str, data: SweepData) -> SweepData | None:
    """Return the sweep on a data set: this one, or the newest of the same name on that."""
    own = data.trials.attrs["dataset"] == dataset
    return data if own else data.others.get(dataset)


def _table1(data: SweepData) -> pd.DataFrame:
    of = _on(VOC, data) or data
    return table1(of.trials, of.details, of.paper)


def _table3(data: SweepData) -> pd.DataFrame:
    of = _on(SEGTRACK, data)
    return table3(None if of is None else of.trials, data.paper)


# By the stem of its files, which is unique over all sweeps.
TABLES: dict[str, TableSpec] = {
    "lambda_grid_summary": TableSpec(sweep="lambda_grid", build=_grid_summary),
    "lambda_effects": TableSpec(
        sweep="lambda_grid", build=lambda data: lambda_effects(data.trials)
    ),
    "swa_grid_summary": TableSpec(sweep="swa_grid", build=_grid_summary),
    "joint_search_summary": TableSpec(
        sweep="joint_search",
        build=lambda data: search_summary(data.trials, axes_of(data.trials)),
    ),
    "effects": TableSpec(sweep="ablation", build=lambda data: effects(data.trials)),
    "table1": TableSpec(sweep="ablation", build=_table1),
    "table2_left": TableSpec(
        sweep="ablation",
        build=lambda data: table2_left((_on(VOC, data) or data).trials, data.paper),
    ),
    "table2_right": TableSpec(
        sweep="ablation",
        build=lambda data: table2_right((_on(VOC, data) or data).trials, data.paper),
    ),
    "table3": TableSpec(sweep="ablation", build=_table3),
    "table4": TableSpec(
        sweep="ablation",
        build=lambda data: table4(
            [data.trials, *(other.trials for other in data.others.values())], data.paper
        ),
    ),
}
