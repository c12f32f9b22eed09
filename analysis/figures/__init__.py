"""All figures, each a pure function from a frame of trials to a `Figure`, and their tables."""

from analysis.figures.curves import fig6, fig6_table, health
from analysis.figures.fig4 import fig4, fig4_table
from analysis.figures.generators import fig8, fig8_table
from analysis.figures.masks import fig5, fig7
from analysis.figures.metric_vs_axis import axis_table, metric_vs_axis
from analysis.figures.parallel_coordinates import search_parallel
from analysis.figures.search import search_contour, search_history, search_importance, search_slices
from analysis.figures.style import STYLE
from analysis.figures.swa import swa_heatmap, swa_n, swa_threshold
from analysis.stats.importance import importance_table
from analysis.stats.search import search_table
from analysis.stats.swa import swa_table

__all__ = [
    "STYLE",
    "axis_table",
    "fig4",
    "fig4_table",
    "fig5",
    "fig6",
    "fig6_table",
    "fig7",
    "fig8",
    "fig8_table",
    "health",
    "importance_table",
    "metric_vs_axis",
    "search_contour",
    "search_history",
    "search_importance",
    "search_parallel",
    "search_slices",
    "search_table",
    "swa_heatmap",
    "swa_n",
    "swa_table",
    "swa_threshold",
]
