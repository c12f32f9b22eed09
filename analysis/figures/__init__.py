"""All figures, each a pure function from a frame of trials to a matplotlib `Figure`.

They are called as `figures.fig4(trials, paper)`. `FIGURES` names what is drawn of which sweep: a
new figure is a function in a file of this folder and a line there, and what that line imports is
at once reached as `figures.NAME`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.appearance import paper_style as paper_style
from analysis.figures.appearance import screen_style as screen_style
from analysis.figures.appearance import styled as styled
from analysis.figures.curves import draw_health as draw_health
from analysis.figures.curves import fig6 as fig6
from analysis.figures.curves import fig6_table as fig6_table
from analysis.figures.curves import health as health
from analysis.figures.fig4 import fig4 as fig4
from analysis.figures.fig4 import fig4_table as fig4_table
from analysis.figures.generators import fig8 as fig8
from analysis.figures.generators import fig8_table as fig8_table
from analysis.figures.masks import fig5 as fig5
from analysis.figures.masks import fig7 as fig7
from analysis.figures.metric_vs_axis import axis_table as axis_table
from analysis.figures.metric_vs_axis import metric_vs_axis as metric_vs_axis
from analysis.figures.parallel_coordinates import search_parallel as search_parallel
from analysis.figures.search import search_contour as search_contour
from analysis.figures.search import search_history as search_history
from analysis.figures.search import search_importance as search_importance
from analysis.figures.search import search_slices as search_slices
from analysis.figures.swa import swa_heatmap as swa_heatmap
from analysis.figures.swa import swa_n as swa_n
from analysis.figures.swa import swa_threshold as swa_threshold
from analysis.record.sweep_data import SweepData
from analysis.stats.importance import importance_table as importance_table
from analysis.stats.search import search_table as search_table
from analysis.stats.swa import swa_table as swa_table


@dataclass(frozen=True, kw_only=True)
class FigureSpec:
    """How a figure is drawn of a sweep.

    Attributes:
        sweep: Name of the sweep that it is drawn of.
        draw: Returns the figure.
        numbers: Returns the numbers behind it, its CSV file; None for a figure without one.
        rule: A rule of averaging, without whose trials it is not drawn; None for any.
    """

    sweep: str
    draw: Callable[[SweepData], Figure]
    numbers: Callable[[SweepData], pd.DataFrame] | None = None
    rule: str | None = None


def spec_of_axis(sweep: str, axis: str) -> FigureSpec:
    """Return how mIoU is drawn against a setting of a sweep that has no figures of its own."""
    return FigureSpec(
        sweep=sweep,
        draw=lambda data: metric_vs_axis(data.trials, axis),
        numbers=lambda data: axis_table(data.trials, axis),
    )


def _heatmap_of(rule: str) -> FigureSpec:
    return FigureSpec(
        sweep="swa_grid",
        draw=lambda data: swa_heatmap(data.trials, rule, data.computed(swa_table)),
        rule=rule,
    )


# By the stem of its files, which is unique over all sweeps; a sweep's main figure comes first.
FIGURES: dict[str, FigureSpec] = {
    "fig4": FigureSpec(
        sweep="lambda_grid",
        draw=lambda data: fig4(data.trials, data.paper),
        numbers=lambda data: fig4_table(data.trials),
    ),
    "lambda_grid_health": FigureSpec(sweep="lambda_grid", draw=draw_health),
    "swa_threshold": FigureSpec(
        sweep="swa_grid",
        draw=lambda data: swa_threshold(data.trials, data.paper, data.computed(swa_table)),
        numbers=lambda data: data.computed(swa_table),
    ),
    "swa_n": FigureSpec(
        sweep="swa_grid",
        draw=lambda data: swa_n(data.trials, data.paper, data.computed(swa_table)),
    ),
    "swa_heatmap_eq7": _heatmap_of("eq7"),
    "swa_heatmap_uniform": _heatmap_of("uniform"),
    "swa_heatmap_ema": _heatmap_of("ema"),
    "search_history": FigureSpec(
        sweep="joint_search",
        draw=lambda data: search_history(data.trials),
        numbers=lambda data: search_table(data.trials),
    ),
    "search_importance": FigureSpec(
        sweep="joint_search",
        draw=lambda data: search_importance(data.trials, data.computed(importance_table)),
        numbers=lambda data: data.computed(importance_table),
    ),
    "search_slices": FigureSpec(sweep="joint_search", draw=lambda data: search_slices(data.trials)),
    "search_contour": FigureSpec(
        sweep="joint_search", draw=lambda data: search_contour(data.trials)
    ),
    "search_parallel": FigureSpec(
        sweep="joint_search", draw=lambda data: search_parallel(data.trials)
    ),
    "fig6": FigureSpec(
        sweep="ablation",
        draw=lambda data: fig6(data.trials, curves=data.curves),
        numbers=lambda data: fig6_table(data.trials, curves=data.curves),
    ),
    "fig5": FigureSpec(
        sweep="ablation",
        draw=lambda data: fig5(data.trials, masks=data.masks, classes=data.classes),
    ),
    "fig7": FigureSpec(
        sweep="ablation",
        draw=lambda data: fig7(data.trials, masks=data.masks, classes=data.classes),
    ),
    "fig8": FigureSpec(
        sweep="ablation",
        draw=lambda data: fig8(data.trials),
        numbers=lambda data: fig8_table(data.trials),
    ),
    "ablation_health": FigureSpec(sweep="ablation", draw=draw_health),
}
