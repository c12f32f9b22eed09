"""Turn the MLflow record into the paper's figures and tables; imports no torch, ray or trainer.

What a notebook needs is named here; each name is imported when it is asked for.

    from analysis import figures, load_paper, load_trials

    trials = load_trials("sqlite:///mlflow.db", "lambda_grid")
    figures.fig4(trials, load_paper()).savefig("fig4.png")

- `list_sweeps` gives a frame with a row per sweep, which is a `Sweep` in words of the record, and
  `load_trials` one with a row per trial. `RecordError` says why a record cannot be read.
- `load_curves`, `load_details`, `load_masks` and `load_environment` fetch what lies in artifacts.
- `figures` has a function for every figure, `stats` the statistics behind them, and `load_paper`
  returns the numbers that the paper printed.
- `SweepData` and `RenderedItem` are what figures and tables of the report take and give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainable.storage.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from analysis import figures, stats
    from analysis.record.artifacts import load_curves, load_details, load_environment, load_masks
    from analysis.record.schema import RecordError, Sweep
    from analysis.record.sweep_data import SweepData, load_paper
    from analysis.record.trials import list_sweeps, load_trials
    from analysis.report.draw import RenderedItem
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "RecordError": "analysis.record.schema",
            "RenderedItem": "analysis.report.draw",
            "Sweep": "analysis.record.schema",
            "SweepData": "analysis.record.sweep_data",
            "figures": "analysis.figures",
            "list_sweeps": "analysis.record.trials",
            "load_curves": "analysis.record.artifacts",
            "load_details": "analysis.record.artifacts",
            "load_environment": "analysis.record.artifacts",
            "load_masks": "analysis.record.artifacts",
            "load_paper": "analysis.record.sweep_data",
            "load_trials": "analysis.record.trials",
            "stats": "analysis.stats",
        },
    )

__all__ = [
    "RecordError",
    "RenderedItem",
    "Sweep",
    "SweepData",
    "figures",
    "list_sweeps",
    "load_curves",
    "load_details",
    "load_environment",
    "load_masks",
    "load_paper",
    "load_trials",
    "stats",
]
