"""Where the training runs of an execution come from: the protocol, a list, and two wrappers."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from sweeps.planning.plan import PlannedRun
from sweeps.planning.state import SweepState
from sweeps.storage.mirror import Mirror
from trainable.storage.redaction import first_line


class RunSource(Protocol):
    """Suggests training runs one after another and is told what became of each.

    All calls come from the driver's thread. A run that was under way when a driver was killed is
    suggested again by the source of the next driver.
    """

    @property
    def exhausted(self) -> bool:
        """Whether no further run will be suggested, whatever becomes of those under way."""

    def suggest(self) -> PlannedRun | None:
        """Return the next run to train, or None while that depends on a run under way."""

    def on_result(self, run: PlannedRun, iteration: int, miou: float) -> bool:
        """Take in a validation of a run under way, and return whether the run is to be stopped.

        Args:
            run: The run.
            iteration: How many iterations it has trained.
            miou: The mIoU of its raw weights on the validation images, from 0 to 1.
        """

    def on_complete(self, run: PlannedRun, cause: str | None) -> None:
        """Take in that a run has ended: its outcome is in its folder, or there is none.

        Args:
            run: The run.
            cause: Why its worker failed; None where it did not.
        """


class FixedRuns:
    """The source of a fixed list of runs, each trained to its end.

    Args:
        runs: The runs, in the order in which to train them.
    """

    def __init__(self, runs: Iterable[PlannedRun]) -> None:
        self._left = deque(runs)

    @property
    def exhausted(self) -> bool:
        """Whether every run of the list was suggested."""
        return not self._left

    def suggest(self) -> PlannedRun | None:
        """Return the next run of the list."""
        return self._left.popleft() if self._left else None

    def on_result(self, run: PlannedRun, iteration: int, miou: float) -> bool:
        """Return False: no run is stopped early."""
        return False

    def on_complete(self, run: PlannedRun, cause: str | None) -> None:
        """Do nothing: the list does not depend on how its runs end."""


class MirroredSource:
    """A source whose runs are sent to an object store: the mirror fetches each when it ends.

    Where the store does not answer for a run, that counts as the cause of its end; what the store
    holds is found by the next sweep that begins.

    Args:
        source: The source that suggests the runs.
        mirror: The local mirror of the object store.
    """

    def __init__(self, source: RunSource, mirror: Mirror) -> None:
        self._source = source
        self._mirror = mirror

    @property
    def exhausted(self) -> bool:
        """Whether the wrapped source is exhausted."""
        return self._source.exhausted

    def suggest(self) -> PlannedRun | None:
        """Return the next run of the wrapped source."""
        return self._source.suggest()

    def on_result(self, run: PlannedRun, iteration: int, miou: float) -> bool:
        """Pass a validation on to the wrapped source."""
        return self._source.on_result(run, iteration, miou)

    def on_complete(self, run: PlannedRun, cause: str | None) -> None:
        """Fetch what the store holds of the run, then pass its end on to the wrapped source."""
        try:
            self._mirror.fetch(run.spec.training_key)
        except OSError as error:
            told = first_line(error, self._mirror.uri)
            cause = cause or f"its numbers cannot be fetched from --storage: {told}"
        self._source.on_complete(run, cause)


class TrialLimit:
    """A source that suggests no more runs once so many trials of the sweep have ended.

    A run ends all its trials at once, so the last run may pass the limit.

    Args:
        source: The source that suggests the runs.
        state: The state of the sweep; its trials that ended before count, too.
        most: How many trials may end.
    """

    def __init__(self, source: RunSource, state: SweepState, most: int) -> None:
        self._source = source
        self._state = state
        self._most = most
        self._under_way: dict[str, int] = {}
        pending = {run.spec.training_key for run in state.pending()}
        self._ended = sum(
            len(run.trials) for run in state.runs if run.spec.training_key not in pending
        )

    @property
    def why_partial(self) -> str:
        """The reason why some trials are not trained, empty where the limit is not that reason."""
        reached = self._ended >= self._most and not self._source.exhausted
        return f"limit of {self._most} trials" if reached else ""

    @property
    def exhausted(self) -> bool:
        """Whether the limit is reached or the wrapped source exhausted."""
        return self._ended >= self._most or self._source.exhausted

    def suggest(self) -> PlannedRun | None:
        """Return the next run, or None while the runs under way may reach the limit."""
        if self._ended + sum(self._under_way.values()) >= self._most:
            return None
        run = self._source.suggest()
        if run is not None:
            self._under_way[run.spec.training_key] = len(run.trials)
        return run

    def on_result(self, run: PlannedRun, iteration: int, miou: float) -> bool:
        """Pass a validation on to the wrapped source."""
        return self._source.on_result(run, iteration, miou)

    def on_complete(self, run: PlannedRun, cause: str | None) -> None:
        """Count the trials of a run with an outcome, then pass its end on to the wrapped source."""
        key = run.spec.training_key
        trials = self._under_way.pop(key)
        if key in self._state.stopped or self._state.outcome(run) is not None:
            self._ended += trials
        self._source.on_complete(run, cause)
