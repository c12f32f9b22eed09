"""The paper's figures, each a pure function from a frame of trials to a `Figure`."""

from analysis._fig4 import fig4, fig4_table
from analysis._style import STYLE

__all__ = ["STYLE", "fig4", "fig4_table"]
