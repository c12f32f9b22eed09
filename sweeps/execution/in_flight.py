"""The joint between a source of runs and Ray Tune: what draws runs, and what stops them.

Tune pickles searcher and scheduler for a restore that is never asked for; they give it nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from sweeps.planning.plan import PlannedRun
from sweeps.search.source import RunSource


@dataclass(kw_only=True)
class RunsInFlight:
    """The runs that a source gave and that have not ended, by training key.

    A run that ran out of GPU memory has not ended: it waits for an execution with more room.

    Attributes:
        source: Gives the runs.
        under_way: Being trained, or about to be.
        out_of_memory: Ran out of GPU memory; each waits for an execution that gives it more.
        retrying: If not None, these are to be trained, and none is drawn from the source.
        stopping: Keys of runs that the source wants stopped.
    """

    source: RunSource
    under_way: dict[str, PlannedRun] = field(default_factory=dict)
    out_of_memory: dict[str, PlannedRun] = field(default_factory=dict)
    retrying: deque[PlannedRun] | None = None
    stopping: set[str] = field(default_factory=set)
    _told: dict[str, int] = field(default_factory=dict)  # iteration of the last validation
    _held: PlannedRun | None = None
    _returned: deque[PlannedRun] = field(default_factory=deque)

    def suggest(self) -> PlannedRun | None:
        """Return the next run to train; None while there is none."""
        if self._returned:
            run: PlannedRun | None = self._returned.popleft()
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
        """Whether no run comes before one that ran out of memory has ended, or none at all.

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
        """Whether no run is left to draw, whatever becomes of those under way."""
        return not self._returned and (self.drained if self.retrying is None else not self.retrying)

    @property
    def drained(self) -> bool:
        """Whether the source gives no further run and none of its runs is held back."""
        return not self._returned and self._held is None and self.source.exhausted

    def on_result(self, key: str, validations: Iterable[tuple[int, float]]) -> bool:
        """Pass validations on, each once; return whether the run is to be stopped.

        A worker that resumes from a checkpoint, or in another process, reports from the first on.
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
        """Let the runs under way be drawn again, first: those who train them are gone.

        The source is told nothing, and not again what it was told.
        """
        self._returned.extend(self.under_way.values())
        self.under_way.clear()

    def requeue(self, key: str) -> None:
        """Have a run drawn again that did not begin."""
        self._returned.append(self.under_way.pop(key))

    @property
    def has_requeued(self) -> bool:
        """Whether runs that were under way are to be drawn again."""
        return bool(self._returned)

    def set_aside(self, key: str) -> None:
        """Let a run wait for more room."""
        self.out_of_memory[key] = self.under_way.pop(key)

    def retry_set_aside(self) -> None:
        """Let the runs that wait for more room be trained next, and no others."""
        self.retrying, self.out_of_memory = deque(self.out_of_memory.values()), {}

    def on_complete(self, key: str, cause: str | None) -> PlannedRun:
        """Let the source know that a run ended, and return it."""
        run = self.under_way.pop(key, None) or self.out_of_memory.pop(key)
        self._told.pop(key, None)
        self.stopping.discard(key)
        self.source.on_complete(run, cause)
        return run
