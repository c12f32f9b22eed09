"""Where an execution's training runs come from: a list, a race over seeds, a search."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from sweeps._plan import PlannedRun


class Source(Protocol):
    """Gives training runs one after another and is told what became of them.

    All calls come from the driver's thread. A run under way when a driver was killed is given
    again by the source of the next one.
    """

    @property
    def exhausted(self) -> bool:
        """Whether no further run will come, whatever becomes of those under way."""

    def next(self) -> PlannedRun | None:
        """Return a run to train now; None while that waits for the end of another."""

    def report(self, run: PlannedRun, iteration: int, miou: float) -> bool:
        """Take in a validation of the raw weights; return whether the run is to be stopped."""

    def ended(self, run: PlannedRun, cause: str | None) -> None:
        """Take in that a run has its outcome in its folder, was stopped, or failed of a cause."""


class Listed:
    """The runs of a list, each trained to its end.

    Args:
        runs: In the order in which to train.
    """

    def __init__(self, runs: Iterable[PlannedRun]) -> None:
        self._left = deque(runs)

    @property
    def exhausted(self) -> bool:
        """Whether the list is used up."""
        return not self._left

    def next(self) -> PlannedRun | None:
        """Return the next run of the list."""
        return self._left.popleft() if self._left else None

    def report(self, run: PlannedRun, iteration: int, miou: float) -> bool:
        """Stop none."""
        return False

    def ended(self, run: PlannedRun, cause: str | None) -> None:
        """Need nothing."""
