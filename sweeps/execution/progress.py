"""The numbers that an execution counts while it runs, and the time left that follows from them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


@dataclass(kw_only=True)
class ExecutionStats:
    """What one execution used, and how it ended.

    Attributes:
        causes: The last line of the error of each run whose worker failed, by its training key.
        busy_s: How many seconds workers spent loading, training and validating, all together.
        wall_s: How many seconds it took from the moment Ray was ready.
        slots: How many training runs were under way at a time.
        rss_gb: The largest resident memory of a worker, in GB.
        gpu_s: How many seconds of whole GPUs workers were busy.
        spent: The budget, or what else, that ended the execution; None if nothing did.
        refused: Why a worker refused to train, empty if none did.
    """

    causes: dict[str, str] = field(default_factory=dict)
    busy_s: float = 0.0
    wall_s: float = 0.0
    slots: int = 1
    rss_gb: float = 0.0
    gpu_s: float = 0.0
    spent: str | None = None
    refused: str = ""

    @property
    def utilisation(self) -> float:
        """Share of the slots' time that went into training."""
        return self.busy_s / (self.slots * self.wall_s) if self.wall_s else 0.0


@dataclass(kw_only=True)
class Running:
    """A training run under way.

    Attributes:
        label: The values of the run on the sweep's axes, and its seed.
        iterations: How many iterations the run trains in all.
        began_s: When a worker was given the run, in seconds of the pace's clock.
        iteration: How many iterations it has trained.
        miou: The mIoU of its last validation, from 0 to 1; None before the first.
        first: Seconds and iteration of its first report; None before that.
        last_s: When its last report came.
    """

    label: str
    iterations: int
    began_s: float
    iteration: int = 0
    miou: float | None = None
    first: tuple[float, int] | None = None
    last_s: float = 0.0

    @property
    def share(self) -> float:
        """How much of it is trained, from 0 to 1."""
        return self.iteration / self.iterations


class Pace:
    """How fast training runs go, and how long those that are left will take.

    A run is timed from its first report, which comes about a second after it begins: what it had
    trained before this execution counts for no speed. Validation after the last iteration counts.

    Args:
        clock: Returns the seconds since some moment.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._ended_s = 0.0  # of the runs that ended, and what they trained in it
        self._ended_iterations = 0
        self._sizes: list[int] = []  # iterations in all, of every run that began
        self._lead_s: list[float] = []  # from being given to a worker to the first report

    @property
    def begun(self) -> bool:
        """Whether a worker was given a run."""
        return bool(self._sizes)

    def begin(self, label: str, iterations: int) -> Running:
        """Return a run that begins now."""
        self._sizes.append(iterations)
        return Running(label=label, iterations=iterations, began_s=self.clock())

    def report(self, run: Running, iteration: int) -> None:
        """Take in how far a run is."""
        run.iteration, run.last_s = iteration, self.clock()
        if run.first is None:
            run.first = (run.last_s, iteration)
            self._lead_s.append(run.last_s - run.began_s)

    def end(self, run: Running, *, complete: bool) -> None:
        """Take in that a run has ended, with all its iterations or before."""
        if run.first is not None:
            if complete:
                run.iteration, run.last_s = run.iterations, self.clock()
            self._ended_s += run.last_s - run.first[0]
            self._ended_iterations += run.iteration - run.first[1]

    def left_s(self, running: Iterable[Running], waiting: int, slots: int) -> float | None:
        """Return in how many seconds the last run will have ended, None before a rate is known.

        Args:
            running: The runs under way.
            waiting: How many further runs there are, taken to be as long as the others.
            slots: How many runs are under way at a time.
        """
        under_way = list(running)
        trained = self._ended_iterations + sum(
            run.iteration - run.first[1] for run in under_way if run.first is not None
        )
        if trained <= 0:
            return None
        took_s = self._ended_s + sum(run.last_s - run.first[0] for run in under_way if run.first)
        per_iteration_s = took_s / trained
        now = self.clock()
        ends = sorted(
            max(0.0, (run.iterations - run.iteration) * per_iteration_s - (now - run.last_s))
            if run.first
            else run.iterations * per_iteration_s
            for run in under_way
        )
        ends = sorted([*ends, *[0.0] * (slots - len(ends))])
        usual_s = per_iteration_s * sum(self._sizes) / len(self._sizes) + min(self._lead_s)
        rounds, rest = divmod(waiting, len(ends))
        # The slots that are free first take one run more than the others.
        return max(end + (rounds + (place < rest)) * usual_s for place, end in enumerate(ends))
