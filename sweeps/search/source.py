"""Where an execution's training runs come from: a list, a race over seeds, a search."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Protocol

from sweeps.planning.plan import Plan, PlannedRun
from sweeps.storage.mirror import Mirror
from trainable.storage.redaction import first_line


class RunSource(Protocol):
    """Gives training runs one after another and is told what became of them.

    All calls come from the driver's thread. A run under way when a driver was killed is given
    again by the source of the next one.
    """

    @property
    def exhausted(self) -> bool:
        """Whether no further run will come, whatever becomes of those under way."""

    def suggest(self) -> PlannedRun | None:
        """Return a run to train now; None while that waits for the end of another."""

    def on_result(self, run: PlannedRun, iteration: int, miou: float) -> bool:
        """Take in a validation of the raw weights; return whether the run is to be stopped."""

    def on_complete(self, run: PlannedRun, cause: str | None) -> None:
        """Take in that a run has its outcome in its folder, was stopped, or failed of a cause."""


class FixedRuns:
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

    def suggest(self) -> PlannedRun | None:
        """Return the next run of the list."""
        return self._left.popleft() if self._left else None

    def on_result(self, run: PlannedRun, iteration: int, miou: float) -> bool:
        """Stop none."""
        return False

    def on_complete(self, run: PlannedRun, cause: str | None) -> None:
        """Need nothing."""


class MirroredSource:
    """Another source, whose runs train elsewhere: the mirror has each before its end is told.

    Where the store cannot be asked for a run, that counts as the cause of its end; what it holds
    is found by the next sweep that begins.

    Args:
        source: Gives the runs.
        mirror: Of the object store that workers send them to.
    """

    def __init__(self, source: RunSource, mirror: Mirror) -> None:
        self._source = source
        self._mirror = mirror

    @property
    def exhausted(self) -> bool:
        """Whether the source is."""
        return self._source.exhausted

    def suggest(self) -> PlannedRun | None:
        """Return the source's next run."""
        return self._source.suggest()

    def on_result(self, run: PlannedRun, iteration: int, miou: float) -> bool:
        """Pass a validation on."""
        return self._source.on_result(run, iteration, miou)

    def on_complete(self, run: PlannedRun, cause: str | None) -> None:
        """Fetch what the store holds of the run, and pass its end on."""
        try:
            self._mirror.fetch(run.spec.training_key)
        except OSError as error:
            told = first_line(error, self._mirror.uri)
            cause = cause or f"its numbers cannot be fetched from --storage: {told}"
        self._source.on_complete(run, cause)


class TrialLimit:
    """Another source, until so many trials of a plan have ended.

    A run that is begun answers all its trials, so the last one may pass the limit.

    Args:
        source: Gives the runs.
        plan: The sweep; trials that ended before count.
        most: Trials.
    """

    def __init__(self, source: RunSource, plan: Plan, most: int) -> None:
        self._source = source
        self._plan = plan
        self._most = most
        self._under_way: dict[str, int] = {}
        pending = {run.spec.training_key for run in plan.pending()}
        self._ended = sum(
            len(run.trials) for run in plan.runs if run.spec.training_key not in pending
        )

    @property
    def why_partial(self) -> str:
        """What keeps something from being trained, empty where the limit does not."""
        reached = self._ended >= self._most and not self._source.exhausted
        return f"limit of {self._most} trials" if reached else ""

    @property
    def exhausted(self) -> bool:
        """Whether the limit is reached, or the source exhausted."""
        return self._ended >= self._most or self._source.exhausted

    def suggest(self) -> PlannedRun | None:
        """Return the source's next run; None while those under way may reach the limit."""
        if self._ended + sum(self._under_way.values()) >= self._most:
            return None
        run = self._source.suggest()
        if run is not None:
            self._under_way[run.spec.training_key] = len(run.trials)
        return run

    def on_result(self, run: PlannedRun, iteration: int, miou: float) -> bool:
        """Pass a validation on."""
        return self._source.on_result(run, iteration, miou)

    def on_complete(self, run: PlannedRun, cause: str | None) -> None:
        """Count the trials of a run that has an outcome, and pass its end on."""
        key = run.spec.training_key
        trials = self._under_way.pop(key)
        if key in self._plan.stopped or self._plan.outcome(run) is not None:
            self._ended += trials
        self._source.on_complete(run, cause)
