"""How many trials and training runs a sweep has, and what is said of those of earlier commands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from analysis.stats.rounding import count
from sweeps.planning.plan import PlannedRun
from sweeps.planning.state import SweepState
from trainable.runs.results import Result

SHOWN = 3  # commands


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How far some runs of a sweep have come; runs with one training key count once.

    Attributes:
        trials: Their trials.
        runs: Training runs.
        done: Those that are not to be trained any more.
        without_numbers: Those among them that failed or were stopped.
    """

    trials: int
    runs: int
    done: int
    without_numbers: int

    @classmethod
    def of(cls, state: SweepState, runs: Sequence[PlannedRun]) -> Counts:
        """Return how far some runs of a sweep have come, judged by the run folders."""
        keys = _keys(runs)
        left = keys & _keys(state.left_of(runs))
        with_numbers = _keys(run for run in runs if isinstance(state.outcome(run), Result))
        return cls(
            trials=sum(len(run.trials) for run in runs),
            runs=len(keys),
            done=len(keys - left),
            without_numbers=len(keys - left - with_numbers),
        )

    def as_primitives(self) -> dict[str, int]:
        """Return what a program is told of them."""
        return {
            "trials": self.trials,
            "training_runs": self.runs,
            "training_runs_done": self.done,
        }


def describe_earlier(state: SweepState) -> list[str]:
    """Return in words what of earlier commands belongs to the answer, and what they left."""
    earlier = state.earlier.runs
    if not earlier:
        return []
    counts = Counts.of(state, earlier)
    failed = f", {counts.without_numbers} of them without numbers" * (counts.without_numbers > 0)
    return [
        f"earlier commands asked for {count(counts.trials, 'trial')} more, which count here, too: "
        f"{counts.done} of {count(counts.runs, 'training run')} done{failed}",
        *describe_left(state),
    ]


def describe_left(state: SweepState) -> list[str]:
    """Return in words what earlier commands left to be trained, with the commands that do it."""
    left = state.left_of(state.earlier.runs)
    if not left:
        return []
    are = "are" if len(left) > 1 else "is"
    return [
        f"{count(len(left), 'training run')} of earlier commands {are} left, which this one does "
        f"not train{_with(state.earlier.commands_of(left))}"
    ]


def _with(commands: Sequence[str]) -> str:
    if not commands:
        return ""
    more = f"; and with {len(commands) - SHOWN} more" if len(commands) > SHOWN else ""
    return "; train with: " + "; and with: ".join(commands[:SHOWN]) + more


def _keys(runs: Iterable[PlannedRun]) -> set[str]:
    return {run.spec.training_key for run in runs}
