"""How a search chooses, in the names that options use; Optuna is imported where it is asked."""

from __future__ import annotations

from dataclasses import dataclass

SAMPLERS = ("tpe", "gp", "cmaes", "qmc", "random")
SCHEDULERS = ("none", "asha", "hyperband", "median")
# These keep a state in the study besides its trials: a population, a place in a sequence.
KEEPING_STATE = ("cmaes", "qmc")
# These learn from complete trials alone.
BLIND_TO_PRUNED = ("gp", "cmaes")


@dataclass(frozen=True, kw_only=True)
class Method:
    """How a search chooses settings, and which training runs it stops early.

    Attributes:
        sampler: One of SAMPLERS.
        scheduler: One of SCHEDULERS.
        seed: The seed that all suggestions follow from.
    """

    sampler: str
    scheduler: str
    seed: int
