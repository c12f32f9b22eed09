"""Turn the MLflow record into the paper's figures and tables; imports no torch, ray or trainer.

What is exported is imported when it is asked for: `sweeps` uses modules that need no pandas.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.record.artifacts import load_curves, load_details, load_environment, load_masks
    from analysis.record.schema import RecordError, Sweep
    from analysis.record.trials import list_sweeps, load_trials
    from analysis.report.sweep_data import RenderedItem, SweepData

__all__ = [
    "RecordError",
    "RenderedItem",
    "Sweep",
    "SweepData",
    "list_sweeps",
    "load_curves",
    "load_details",
    "load_environment",
    "load_masks",
    "load_trials",
]
_HOMES = ("record.artifacts", "record.trials", "report.sweep_data", "record.schema")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for home in _HOMES:
            module = import_module(f"analysis.{home}")
            if hasattr(module, name):
                return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
