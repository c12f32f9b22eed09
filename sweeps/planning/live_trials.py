"""The trials that are being trained, and what of their curves the record does not hold yet.

The driver's own thread takes in what workers report, the publisher's asks what to write. Both may
be slow: what is held is bounded, and what falls out of it the run folder has at the end.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sweeps.planning.plan import PlannedRun, Trial

EVERY_S = 10.0  # at least, between two requests for one trial
LOAD_EVERY_S = 60.0  # at least, between two requests that have nothing but the machine's load
REQUESTS_PER_S = 4.0  # of all trials together, so that the load does not grow with their number
BURST_S = 1.0  # whose requests may come at once: the publisher looks about once a second
TO_BEGIN = 5  # requests that make a trial's run
MOST_ROWS = 20_000  # held of a training run; one of the paper's has 400

Row = Mapping[str, float]
Load = Sequence[tuple[str, float]]


@dataclass(kw_only=True, eq=False)
class LiveRun:
    """A training run under way.

    Attributes:
        began: When it was begun, in milliseconds since the epoch.
        trials: Its trials.
        rows: The rows of its history that no crash takes back, less those that all trials have.
        told: Iteration and time of the newest row.
        load: What was measured last of the machine that trains it: names and values.
        load_at: When that was, in milliseconds since the epoch.
        life: How often it began anew with another history.
        over: Whether it has ended.
    """

    began: int
    trials: list[LiveTrial] = field(default_factory=list)
    rows: deque[Row] = field(default_factory=lambda: deque(maxlen=MOST_ROWS))
    told: tuple[float, float] = (0.0, 0.0)
    load: Load = ()
    load_at: int = 0
    life: int = 0
    over: bool = False

    def drop_what_all_have(self) -> None:
        """Drop the rows that the record has of each trial."""
        least = min((one.sent for one in self.trials), default=self.told[0])
        while self.rows and self.rows[0]["iteration"] <= least:
            self.rows.popleft()


@dataclass(kw_only=True, eq=False)
class LiveTrial:
    """A trial under way.

    Attributes:
        trial: The trial.
        of: The training run that answers it.
        begun: Whether the record has it under way.
        sent: The iteration of the newest row that the record has.
        load_at: When the load was measured that the record has, in milliseconds since the epoch.
        due: When it may be written to again, in seconds of the monotonic clock.
    """

    trial: Trial
    of: LiveRun
    begun: bool = False
    sent: float = 0.0
    load_at: int = 0
    due: float = 0.0

    @property
    def has_news(self) -> bool:
        """Whether there is something to write."""
        if not self.begun or self.of.told[0] > self.sent:
            return True
        # Not before the first curve: MLflow's pages compare runs by the metric that came first.
        return self.sent > 0 and self.of.load_at - self.load_at >= 1000 * LOAD_EVERY_S


@dataclass(frozen=True, kw_only=True)
class LiveStep:
    """What to write of a trial under way.

    Attributes:
        trial: The trial.
        began: When its training was begun, in milliseconds since the epoch.
        rows: The rows of its history that the record does not have.
        iteration: How far the training is.
        load: What was measured of the machine since: names and values.
        load_at: When that was, in milliseconds since the epoch.
        is_known: Whether what the record has of its curves is known to be of this training.
        life: How often the training began anew with another history.
    """

    trial: Trial
    began: int
    rows: Sequence[Row]
    iteration: int
    load: Load
    load_at: int
    is_known: bool
    life: int


class LiveTrials:
    """The trials of the training runs under way; see the module.

    All trials together get REQUESTS_PER_S, in turn: the more there are, the longer each waits.
    """

    def __init__(self) -> None:
        self._runs: dict[str, LiveRun] = {}
        self._waiting: deque[LiveTrial] = deque()  # who waits longest comes first
        self._known: set[str] = set()
        self._taken: LiveTrial | None = None
        self._lock = threading.Lock()
        self._paid_until = 0.0  # by the requests made so far

    def begin(self, run: PlannedRun) -> None:
        """Take in a training run that begins, or goes on."""
        key = run.spec.training_key
        with self._lock:
            if key not in self._runs:
                live = self._runs[key] = LiveRun(began=_now_ms())
                live.trials = [LiveTrial(trial=trial, of=live) for trial in run.trials]
                self._waiting.extendleft(reversed(live.trials))

    def tell(self, training_key: str, rows: Sequence[Row], load: Load = ()) -> None:
        """Take in what a worker reports; one that resumes reports all rows once more.

        Args:
            training_key: The key of the run.
            rows: The rows of its history that no crash takes back and that it has not told of.
            load: What was measured of its machine; empty where nothing was.
        """
        with self._lock:
            live = self._runs.get(training_key)
            if live is None:
                return
            if load:
                live.load, live.load_at = load, _now_ms()
            if rows and rows[0]["iteration"] <= live.told[0]:
                if live.told not in map(_place, rows):
                    self._start_over(live)  # its checkpoint was lost, or another trained it
                rows = [row for row in rows if row["iteration"] > live.told[0]]
            if rows:
                live.rows.extend(rows)
                live.told = _place(rows[-1])

    def _start_over(self, live: LiveRun) -> None:
        live.rows.clear()
        live.told, live.life = (0.0, 0.0), live.life + 1
        for one in live.trials:
            one.sent = 0.0
            self._known.discard(one.trial.trial_key)

    def end(self, training_key: str) -> None:
        """Let go of a training run that has ended."""
        with self._lock:
            live = self._runs.pop(training_key, None)
            if live is not None:
                live.over = True
                live.rows.clear()

    @property
    def under_way(self) -> set[str]:
        """The keys of the trials under way."""
        with self._lock:
            return {one.trial.trial_key for live in self._runs.values() for one in live.trials}

    def is_known(self, trial_key: str) -> bool:
        """Return whether a trial's curves in the record are of the training that was told of."""
        with self._lock:
            return trial_key in self._known

    def next(self) -> LiveStep | None:
        """Return what may be written now, None where it is no trial's turn.

        A step that is not said to be `written` is returned again.
        """
        now = time.monotonic()
        with self._lock:
            if self._taken is not None:
                self._waiting.appendleft(self._taken)
                self._taken = None
            while self._waiting and self._paid_until <= now:
                if now < self._waiting[0].due:
                    break
                one = self._waiting.popleft()
                if one.of.over:
                    continue
                if one.has_news:
                    self._taken = one
                    return self._step(one)
                self._requeue(one)
        return None

    def _step(self, one: LiveTrial) -> LiveStep:
        live = one.of
        rows = [row for row in live.rows if row["iteration"] > one.sent]
        has_load = live.load_at > one.load_at and (rows or one.sent > 0)
        return LiveStep(
            trial=one.trial,
            began=live.began,
            rows=rows,
            iteration=int(live.told[0]),
            load=live.load if has_load else (),
            load_at=live.load_at if has_load else one.load_at,
            is_known=one.trial.trial_key in self._known,
            life=live.life,
        )

    def written(self, step: LiveStep, *, more: bool) -> None:
        """Note that the step that `next` returned is in the record.

        Args:
            step: The step.
            more: Whether more of the trial is wanted.
        """
        with self._lock:
            one, self._taken = self._taken, None
            if one is None or one.of.over:
                return
            requests = 1 if one.begun else TO_BEGIN
            earliest = time.monotonic() - BURST_S
            self._paid_until = max(self._paid_until, earliest) + requests / REQUESTS_PER_S
            if step.rows and one.of.life == step.life:
                self._known.add(step.trial.trial_key)
                one.sent = step.rows[-1]["iteration"]
            one.begun, one.load_at = True, step.load_at
            if more:
                self._requeue(one)
            else:
                one.of.trials.remove(one)
            one.of.drop_what_all_have()

    def _requeue(self, one: LiveTrial) -> None:
        one.due = time.monotonic() + EVERY_S
        self._waiting.append(one)


def _place(row: Row) -> tuple[float, float]:
    return row["iteration"], row["time"]


def _now_ms() -> int:
    return round(time.time() * 1000)
