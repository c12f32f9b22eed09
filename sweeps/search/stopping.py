"""When a search has found enough: rules that follow from how its suggestions ended, in order.

So a search that was killed ends where one that was not would have.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

from analysis.record.schema import is_cost
from analysis.stats.rounding import count
from sweeps.search.method import Enough
from sweeps.search.samplers import seed_of
from sweeps.search.study import COMPLETE, FAIL, ReplayableStudy
from trainable.config.schema import ConfigError

LEAST_TRIALS = 20  # complete ones, before the room that is left is estimated; Optuna's default


@dataclass
class Progress:
    """What the suggestions of a search have come to so far, in the order in which they ended.

    Attributes:
        objectives: The objectives, by their recorded names.
        front: The values that none beats in all objectives at once; of one objective, the best.
        stagnant: How many have ended since one of them was found.
    """

    objectives: Sequence[str]
    front: list[Sequence[float]] = field(default_factory=list)
    stagnant: int = 0

    def end(self, state: str, values: Sequence[float] | None) -> None:
        """Take in how a suggestion ended; one whose worker died says nothing."""
        if (
            state == COMPLETE
            and values is not None
            and not any(self._is_beaten(values, by=other) for other in self.front)
        ):
            self.front = [one for one in self.front if not self._is_beaten(one, by=values)]
            self.front.append(values)
            self.stagnant = 0
        elif state != FAIL:
            self.stagnant += 1

    def _is_beaten(self, one: Sequence[float], *, by: Sequence[float]) -> bool:
        """Return whether values are nowhere better than others."""
        of_each = zip(self.objectives, one, by, strict=True)
        return all(b <= a if is_cost(name) else b >= a for name, a, b in of_each)


class Stopping:
    """Tells when a search has found enough.

    Args:
        enough: The rules.
        study: The study of the search.
        objectives: The objectives, by their recorded names.
    """

    def __init__(self, enough: Enough, study: ReplayableStudy, objectives: Sequence[str]) -> None:
        if enough.room is not None:
            _check_terminator(objectives)
        self.enough = enough
        self.progress = Progress(objectives)
        self._study = study
        self._rooms: dict[int, float] = {}  # points, by the number of complete trials

    @property
    def why(self) -> str:
        """Why no more settings are asked for, empty while they are."""
        patience, room = self.enough.patience, self.enough.room
        if patience is not None and self.progress.front and self.progress.stagnant >= patience:
            return f"the last {count(self.progress.stagnant, 'setting')} to end improved nothing"
        complete = len(self._study.complete)
        if room is None or complete < LEAST_TRIALS:
            return ""
        if complete not in self._rooms:
            self._rooms[complete] = self._room()
        if self._rooms[complete] >= room:
            return ""
        return f"Optuna's terminator leaves {self._rooms[complete]:.2g} points to be gained"

    def _room(self) -> float:
        """Return by how many points the best may be beaten, with high probability.

        Source: A. Makarova et al., "Automatic termination for hyperparameter optimization", 2022.
        """
        from optuna.study import StudyDirection
        from optuna.terminator import RegretBoundEvaluator

        trials = [*self._study.complete]
        with warnings.catch_warnings(action="ignore"):  # it is experimental, or going away
            evaluator = RegretBoundEvaluator(
                min_n_trials=LEAST_TRIALS, seed=seed_of(self._study.method.seed, len(trials))
            )
        return 100 * float(evaluator.evaluate(trials, StudyDirection.MAXIMIZE))


def _check_terminator(objectives: Sequence[str]) -> None:
    """Refuse several objectives, or a version of Optuna that has no terminator any more.

    Raises:
        ConfigError: It is refused.
    """
    if len(objectives) > 1:
        raise ConfigError(
            f"--terminator has one objective, but got {len(objectives)}; take --patience"
        )
    try:
        import optuna.terminator  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "--terminator needs a version of Optuna below 6; take --patience"
        ) from error
