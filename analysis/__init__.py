"""Turn the MLflow record into the paper's figures and tables; imports no torch, ray or trainer."""

from analysis._details import load_curves, load_details, load_environment, load_masks
from analysis._frames import list_sweeps, load_trials
from analysis._material import Drawn, Material
from analysis._record import RecordError, Sweep

__all__ = [
    "Drawn",
    "Material",
    "RecordError",
    "Sweep",
    "list_sweeps",
    "load_curves",
    "load_details",
    "load_environment",
    "load_masks",
    "load_trials",
]
