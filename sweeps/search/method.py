"""How a search chooses, in the names that options use; Optuna is imported where it is asked."""

from __future__ import annotations

from dataclasses import dataclass

SAMPLERS = ("tpe", "gp", "cmaes", "qmc", "random")
SCHEDULERS = ("none", "asha", "hyperband", "median")
# These keep a state in the study besides its trials: a population, a place in a sequence.
KEEPING_STATE = ("cmaes", "qmc")
# These model all axes together, and so no axis that is there only with values of another.
OF_ALL_AXES = ("gp", "cmaes", "qmc")
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


@dataclass(frozen=True, kw_only=True)
class Enough:
    """When a search asks for no more settings, besides its number of them.

    Attributes:
        patience: After how many ended settings in a row that improved nothing; None for no end.
        room: Below how many points of the objective that Optuna's terminator leaves to be gained,
            with high probability; None for no end.
    """

    patience: int | None = None
    room: float | None = None
