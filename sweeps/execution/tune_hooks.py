"""What Tune calls while it trains the runs of a source.

- `SourceSearcher` asks the source for the next run, and `SourceScheduler` tells it of validations
  and stops the runs that it wants stopped; both through `RunsInFlight`.
- `TuneCallback` tells source, screen and record what happens to each run, and kills workers that
  hang.
- `Budget` ends an execution that has used up its time or its GPU hours.

Tune pickles all four for a restore that is never asked for: each gives it an empty state.
"""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune import Stopper
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from sweeps.execution.display import LiveDisplay
from sweeps.execution.in_flight import RunsInFlight
from sweeps.execution.lifeline import Watch
from sweeps.execution.progress import ExecutionStats
from sweeps.planning.live_trials import LiveTrials
from sweeps.planning.plan import PlannedRun
from sweeps.planning.state import SweepState
from trainable.runs.keys import code_version, version_on_disk
from trainable.runs.results import Failure, Result, summary
from trainable.storage.locks import SAID_AFTER_S, SAID_EVERY_S
from trainable.storage.redaction import redact

TRIES = 3  # of a run whose worker dies before it begins
LOOK_S = 1.0  # between two looks at all workers for those that hang
FAULT = "machine's refusal"
REFUSAL = "workers' refusal to train what other code has planned"
FINISHED: Any = Searcher.FINISHED  # a text, which Tune takes in place of a config


class TuneCallback(tune.Callback):
    """The callback that tells source, screen and record what happens to the training runs.

    The name of a Tune trial is the training key of its run.

    Args:
        state: The state of the sweep.
        in_flight: The runs under way.
        screen: The display that shows what happens.
        execution: The statistics, to which causes of failures, seconds and memory are added.
        on_outcome: Called for each run that ended, with the cause if its worker failed.
        live: The trials under way, for the record; it is told what is new of them.
        gpus: How many GPUs, or which share of one, a run takes.
        hang_timeout_s: After how many seconds without a report a worker is killed and its run
            retried.
    """

    def __init__(
        self,
        state: SweepState,
        in_flight: RunsInFlight,
        screen: LiveDisplay,
        execution: ExecutionStats,
        on_outcome: Callable[[PlannedRun, str | None], None],
        *,
        live: LiveTrials | None = None,
        gpus: float,
        hang_timeout_s: float,
    ) -> None:
        self.state = state
        self.in_flight = in_flight
        self.screen = screen
        self.execution = execution
        self.on_outcome = on_outcome
        self.live = live or LiveTrials()
        self.gpus = gpus
        self.hang_timeout_s = hang_timeout_s
        self._heard: dict[str, tuple[Trial, float]] = {}  # trial and time of its last sign of life
        self._hung: set[str] = set()
        self._busy_s: dict[str, float] = {}
        self._unbegun: Counter[str] = Counter()  # tries of a run that did not begin
        self._wait_said_at: dict[str, float] = {}
        self._look_at = 0.0
        self.watch = Watch({})

    def __getstate__(self) -> dict[str, object]:
        """Return an empty state, as the module says."""
        return {}

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **_: object
    ) -> None:
        """Show the run that starts, and have it in the record."""
        key = str(trial)
        self._show(self.in_flight.under_way[key])
        self.live.begin(self.in_flight.under_way[key])
        self._heard[key] = trial, time.monotonic()
        self._hung.discard(key)

    def _show(self, run: PlannedRun) -> None:
        self.screen.total = len(self.state.runs)
        key, config = run.spec.training_key, run.spec.config
        self.screen.started(key, run.label(self.state.plan.axes), config.iterations)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **_: object,
    ) -> None:
        """Show how far the run is, pass its curves on, and count the seconds that it was busy."""
        key = str(trial)
        self._heard[key] = trial, time.monotonic()
        self._busy_s[key] = self._busy_s.get(key, 0.0) + result["busy_s"]
        self.execution.busy_s += result["busy_s"]
        self.execution.gpu_s += result["busy_s"] * self.gpus
        self.execution.rss_gb = max(self.execution.rss_gb, result["rss_gb"])
        self.screen.progressed(key, result["run_iteration"], result["val/miou"])
        self.live.tell(key, result["rows"], result.get("load", ()))
        self._say_wait(key, result.get("waits"))

    def _say_wait(self, key: str, waits: str | None) -> None:
        """Say now and again that a run waits: another sweep trains it, or a stopped process."""
        now = time.monotonic()
        if waits is None:
            self._wait_said_at.pop(key, None)
        elif now >= self._wait_said_at.setdefault(key, now + SAID_AFTER_S):
            self.screen.note(f"{self.screen.running[key].label} waits: {waits}")
            self._wait_said_at[key] = now + SAID_EVERY_S

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **_: object
    ) -> None:
        """Show the outcome that the run folder holds, and pass on that the run has ended."""
        key = str(trial)
        busy_s = self._forget(key)
        if trial.last_result.get("out_of_memory"):
            self.in_flight.set_aside(key)
            return
        if fault := trial.last_result.get("fault"):
            self.state.machine_refused(fault)
            self._end_all(key, FAULT)
            return
        if refused := trial.last_result.get("refused"):
            self._refuse(key, refused)
            return
        run = self.in_flight.on_complete(key, None)
        match self.state.outcome(run):
            case Result() as result:
                readouts = [summary(result, trial.config.readout) for trial in run.trials]
                swa_miou = max(metrics["swa/miou"] for metrics in readouts)
                self.screen.finished(key, result.val["miou"], swa_miou, busy_s)
            case Failure() as failure:
                self.screen.ended_without_numbers(key, failure.cause)
            case None:
                self.screen.stopped(key, self.state.stopped.get(key, "no more of it is wanted"))
        self.on_outcome(run, None)

    def _refuse(self, key: str, refused: str) -> None:
        """End the execution because other code has planned the run than its worker has."""
        if version_on_disk() != code_version():
            refused += (
                "; the code on this machine changed while the sweep ran: put it back to resume, or "
                "start again to train all with what is there now"
            )
        self.execution.refused = refused
        self._end_all(key, REFUSAL)

    def _end_all(self, key: str, why: str) -> None:
        """End the execution: a node that refuses one run at once would be given all the others.

        The run has no outcome and is trained by a later execution.
        """
        self.execution.spent = why
        del self.screen.running[key]
        self.on_outcome(self.in_flight.on_complete(key, None), None)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **_: object
    ) -> None:
        """Show that a run failed, once its worker has failed more often than it is retried.

        A worker that dies while it is given its next run is no such failure: Tune does not retry
        that run, so it is requeued here.
        """
        key = str(trial)
        if key not in self.screen.running:
            self._unbegun[key] += trial.num_failures
            if self._unbegun[key] < TRIES:
                self.in_flight.requeue(key)
                return
            self._show(self.in_flight.under_way[key])
        cause = _last_line(trial.error_file)
        if key in self._hung:
            cause = (
                f"its worker sent no report for {self.hang_timeout_s:g} s and was killed, as "
                "often as it was tried; give --hang-timeout more seconds if it needs them"
            )
        self._forget(key)
        self._fail(key, cause)

    def fail_out_of_memory(self) -> None:
        """Fail the runs that ran out of GPU memory, where no larger share of a GPU is left."""
        for key in list(self.in_flight.out_of_memory):
            self._fail(
                key,
                f"CUDA ran out of memory with {self.gpus:g} GPUs; lower batch_size or "
                "crop_px, or set averages_on=host or data_device=host",
            )

    def _fail(self, key: str, cause: str) -> None:
        self.screen.ended_without_numbers(key, cause)
        self.execution.causes[key] = cause
        self.on_outcome(self.in_flight.on_complete(key, cause), cause)

    def on_step_end(self, iteration: int, trials: list[Trial], **_: object) -> None:
        """Kill the workers that hang: Tune sees that they died, and retries their runs.

        The execution ends where a thread of the driver has ended with an error.

        Raises:
            RayLost: Ray is gone.
        """
        self.watch.check()
        if self.state.threads.error is not None:
            self.execution.spent = FAULT  # of what it met its thread tells when it is waited for
        if (now := time.monotonic()) >= self._look_at:
            self._look_at = now + LOOK_S
            self._kill_hung(now)

    def _kill_hung(self, now: float) -> None:
        for key, (trial, heard) in list(self._heard.items()):
            actor = trial.temporary_state.ray_actor
            if now - heard > self.hang_timeout_s and actor is not None:
                self._hung.add(key)
                del self._heard[key]
                ray.kill(actor)

    def watched_by(self, watch: Watch) -> None:
        """Forget all workers, for a new Tuner, and check this watch over Ray from now on."""
        self.watch = watch
        self._heard.clear()
        self._hung.clear()

    def _forget(self, key: str) -> float:
        """Drop what is noted of a run under way, and return the seconds that it was busy."""
        self._heard.pop(key, None)
        self._hung.discard(key)
        self._wait_said_at.pop(key, None)
        return self._busy_s.pop(key, 0.0)


def _last_line(error_file: str | None) -> str:
    if error_file is None or not Path(error_file).exists():
        return "its worker died"
    lines = [line for line in Path(error_file).read_text().splitlines() if line.strip()]
    return redact(lines[-1].strip()) if lines else "its worker died"


class SourceSearcher(Searcher):
    """The searcher that suggests the runs of a source, up to a number for each Tuner.

    Args:
        in_flight: The runs under way, which ask the source for the next.
        most: How many runs to suggest at most.
    """

    def __init__(self, in_flight: RunsInFlight, most: int) -> None:
        super().__init__()
        self.in_flight = in_flight
        self._left = most

    @property
    def more(self) -> bool:
        """Whether runs are left for another Tuner: this one had its fill, or a run came back."""
        return self.in_flight.has_requeued or (self._left == 0 and not self.in_flight.empty)

    def __getstate__(self) -> dict[str, object]:
        """Return an empty state, as the module says."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """Return the config of the next run for its worker, None to wait, or FINISHED."""
        full = self._left == 0
        run = None if full else self.in_flight.suggest()
        if run is not None:
            self._left -= 1
            # As text: of every number in a config Tune keeps statistics, for each trial.
            text = json.dumps(run.spec.to_primitives())
            return {"training_key": run.spec.training_key, "spec": text}
        return FINISHED if full or self.in_flight.over else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing: `TuneCallback` passes on that a run has ended."""

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: no Tuner is restored."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: no Tuner is restored."""


class SourceScheduler(FIFOScheduler):
    """The scheduler that tells a source of each validation and stops the runs it wants stopped.

    Args:
        in_flight: The runs under way, which pass validations on to the source.
    """

    def __init__(self, in_flight: RunsInFlight) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.in_flight = in_flight

    def __getstate__(self) -> dict[str, object]:
        """Return an empty state, as the module says."""
        return {}

    def choose_trial_to_run(self, tune_controller: object) -> None:
        """Return None: Tune starts what waits in its order, and looks at no trial that has ended.

        The one that it would be told of here comes first in that order anyway.
        """

    def on_trial_result(self, tune_controller: object, trial: Trial, result: dict[str, Any]) -> str:
        """Pass the validations of a report on, and stop the trial if the source wants it."""
        stop = self.in_flight.on_result(str(trial), result["validations"])
        decision: str = TrialScheduler.STOP if stop else TrialScheduler.CONTINUE
        return decision

    def on_trial_complete(
        self, tune_controller: object, trial: Trial, result: dict[str, Any]
    ) -> None:
        """Pass on the validations of the last report, for which Tune asks no decision."""
        self.in_flight.on_result(str(trial), result["validations"])


class NoReporter(tune.ProgressReporter):
    """Reports nothing: in a notebook Tune's own would clear what the cell has shown."""

    def should_report(self, trials: list[Trial], done: bool = False) -> bool:
        return False

    def report(self, trials: list[Trial], done: bool, *sys_info: str) -> None:
        """Report nothing."""


class Budget(Stopper):
    """The stopper that ends an execution when a budget is used up; workers save what they have.

    Args:
        execution: The statistics, which say what was used and are told which budget ended it.
        time_s: How many seconds from now the execution may take; None is without end.
        gpu_hours: How many hours of whole GPUs it may use: half a GPU for two hours counts as one.
            None is without end.
    """

    def __init__(
        self, execution: ExecutionStats, *, time_s: float | None, gpu_hours: float | None
    ) -> None:
        self.execution = execution
        self._deadline = time.monotonic() + (math.inf if time_s is None else time_s)
        self._time_s = time_s
        self._gpu_hours = gpu_hours

    def __getstate__(self) -> dict[str, object]:
        """Return an empty state, as the module says."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False: a budget ends the execution, and no trial by itself."""
        return False

    def stop_all(self) -> bool:
        """Return whether a budget is used up, or the execution is to end for another reason."""
        if time.monotonic() >= self._deadline:
            self.execution.spent = f"time budget of {self._time_s:g} s"
        elif self._gpu_hours is not None and self.execution.gpu_s >= 3600 * self._gpu_hours:
            self.execution.spent = f"budget of {self._gpu_hours:g} GPU hours"
        return self.execution.spent is not None
