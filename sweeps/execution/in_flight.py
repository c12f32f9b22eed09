"""The runs between a source and Ray Tune: suggested and not yet ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from sweeps.planning.plan import PlannedRun
from sweeps.search.source import RunSource


@dataclass(kw_only=True)
class RunsInFlight:
    """The runs that a source suggested and that have not ended, by training key.

    A run that ran out of GPU memory has not ended: it is set aside for a Tuner that gives each run
    a larger share of a GPU.

    Attributes:
        source: The source that suggests the runs.
        under_way: The runs that are being trained, or are about to be.
        out_of_memory: The runs that ran out of GPU memory and are set aside.
        retrying: The runs that were set aside and are to be trained now, before the source is asked
            for another; None while none are retried.
        stopping: The keys of the runs that the source wants stopped.
    """

    source: RunSource
    under_way: dict[str, PlannedRun] = field(default_factory=dict)
    out_of_memory: dict[str, PlannedRun] = field(default_factory=dict)
    retrying: deque[PlannedRun] | None = None
    stopping: set[str] = field(default_factory=set)
    _told: dict[str, int] = field(default_factory=dict)  # iteration passed on last
    _held: PlannedRun | None = None
    _requeued: deque[PlannedRun] = field(default_factory=deque)

    def suggest(self) -> PlannedRun | None:
        """Return the next run to train, or None while there is none."""
        if self._requeued:
            run: PlannedRun | None = self._requeued.popleft()
        elif self.retrying is not None:
            run = self.retrying.popleft() if self.retrying else None
        else:
            run, self._held = self._held or self.source.suggest(), None
        if run is None:
            return None
        key = run.spec.training_key
        if key in self.under_way or key in self.out_of_memory:
            self._held = run  # two cannot write to one run folder
            return None
        self.under_way[key] = run
        return run

    @property
    def over(self) -> bool:
        """Whether this Tuner gets no further run: none is left but those that are set aside.

        Raises:
            RuntimeError: The source waits for the end of a run, but none is under way.
        """
        if self.empty:
            return True
        if self.retrying is not None or self.under_way:
            return False
        if not self.out_of_memory:
            raise RuntimeError("a source must give a run, or be exhausted, where none is under way")
        return True

    @property
    def empty(self) -> bool:
        """Whether no run is left to suggest, whatever becomes of those under way."""
        return not self._requeued and (self.drained if self.retrying is None else not self.retrying)

    @property
    def drained(self) -> bool:
        """Whether the source is exhausted and none of its runs is held back here."""
        return not self._requeued and self._held is None and self.source.exhausted

    def on_result(self, key: str, validations: Iterable[tuple[int, float]]) -> bool:
        """Pass validations of a run on to the source; return whether the run is to be stopped.

        A worker that resumes reports all validations from the first one; each is passed on once.

        Args:
            key: The training key of the run.
            validations: Iteration and mIoU of each validation of the report.
        """
        for iteration, miou in validations:
            if key in self.stopping:
                break
            if iteration > self._told.get(key, 0):
                self._told[key] = iteration
                if self.source.on_result(self.under_way[key], iteration, miou):
                    self.stopping.add(key)
        return key in self.stopping

    def requeue_all(self) -> None:
        """Suggest the runs under way again, before any other: their workers are gone.

        The source hears nothing of this, and nothing twice.
        """
        self._requeued.extend(self.under_way.values())
        self.under_way.clear()

    def requeue(self, key: str) -> None:
        """Suggest a run again that did not begin."""
        self._requeued.append(self.under_way.pop(key))

    @property
    def has_requeued(self) -> bool:
        """Whether runs that were under way are to be suggested again."""
        return bool(self._requeued)

    def set_aside(self, key: str) -> None:
        """Set a run aside that ran out of GPU memory."""
        self.out_of_memory[key] = self.under_way.pop(key)

    def retry_set_aside(self) -> None:
        """Suggest the runs that were set aside, and no others, until they are used up."""
        self.retrying, self.out_of_memory = deque(self.out_of_memory.values()), {}

    def on_complete(self, key: str, cause: str | None) -> PlannedRun:
        """Tell the source that a run has ended, with the cause if it failed; return the run."""
        run = self.under_way.pop(key, None) or self.out_of_memory.pop(key)
        self._told.pop(key, None)
        self.stopping.discard(key)
        self.source.on_complete(run, cause)
        return run
