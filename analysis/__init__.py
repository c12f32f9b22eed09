"""Turn the MLflow record into the paper's figures and tables; imports no torch, ray or trainer."""

from analysis._frames import RecordError, load_trials

__all__ = ["RecordError", "load_trials"]
