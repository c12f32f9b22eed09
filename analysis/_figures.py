"""All figures, each a pure function from a frame of trials to a `Figure`, and their tables."""

from analysis._fig4 import fig4, fig4_table
from analysis._fig_axis import axis_table, metric_vs_axis
from analysis._fig_curves import fig6, fig6_table, health
from analysis._fig_generators import fig8, fig8_table
from analysis._fig_masks import fig5, fig7
from analysis._fig_parallel import search_parallel
from analysis._fig_search import search_contour, search_history, search_importance, search_slices
from analysis._fig_swa import swa_heatmap, swa_n, swa_threshold
from analysis._importance import importance_table
from analysis._search_table import search_table
from analysis._style import STYLE
from analysis._swa_table import swa_table

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
