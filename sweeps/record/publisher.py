"""The thread of the driver that keeps manifest and record up to date while a sweep runs."""

from __future__ import annotations

import os
import queue
import subprocess  # nosec B404  # words, no shell
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from analysis.record.mlflow_calls import MODEL_S, Patience
from analysis.record.schema import EXPERIMENT
from sweeps.planning.live_trials import LiveTrials
from sweeps.planning.plan import PlannedRun, Trial
from sweeps.planning.ranking import best_point
from sweeps.planning.state import SweepState
from sweeps.record import manifest as manifest_module
from sweeps.record.mlflow_run import MlflowRun
from sweeps.record.mlflow_store import STORE_ERRORS
from sweeps.record.store_check import lasting_fault
from sweeps.record.writer import MlflowWriter
from sweeps.storage.driver_lock import only_writer
from sweeps.storage.threads import wait
from trainable.storage.faults import machine_fault
from trainable.storage.redaction import first_line, redact, redact_uri

PAUSE_S = 20.0  # a store that failed is left alone for so long
POLL_S = 1.0
MANIFEST_S = 10.0  # between two writings of a manifest whose plan grows
MODEL_FILE = "model.pt"
LEFT_OFF = "its driver ended before it did; the same command goes on with it"
LAST_S = 300.0  # that a sweep which has ended waits for its record

Warn = Callable[[str], None]
Opened = Callable[[MlflowWriter], None]


class Publisher:
    """Publishes runs in a thread of its own, so that a slow store delays the record alone.

    While a run is trained, its trials are RUNNING and get their curves through `live`; that waits
    for what has ended.

    When the store fails, one warning is given and it is left alone for a while, then given all
    that has piled up. At the end it gets a last chance; what it misses even then, the run folders
    and the manifest keep.

    Args:
        state: The state of the sweep, which the publisher reads; at the end it may say there what
            the machine refused the store.
        tracking_uri: URI of the MLflow store.
        warn: Called with each warning.
        say: Called with what takes a while; None says nothing of it.
        experiment: The name of MLflow's experiment.
        with_model: Whether the best trial's model is logged at the end, which takes about 10 s.
        opened: Called with the record whenever it has been opened; it raises no error of a store.

    Attributes:
        live: The trials under way, which whoever trains them tells of what is new.
        reachable: Whether the store took what it was given last.
    """

    def __init__(
        self,
        state: SweepState,
        tracking_uri: str,
        warn: Warn,
        *,
        say: Callable[[str], None] | None = None,
        experiment: str = EXPERIMENT,
        with_model: bool = True,
        opened: Opened | None = None,
    ) -> None:
        self.state = state
        self.tracking_uri = tracking_uri
        self.warn = warn
        self.say = say
        self.experiment = experiment
        self.with_model = with_model
        self._tell_opened = opened
        self.live = LiveTrials()
        self.reachable = True
        self._warned = False
        self._queue: queue.Queue[tuple[PlannedRun, str | None] | None] = queue.Queue()
        self._left: dict[str, tuple[PlannedRun, str | None]] = {}
        self._record: MlflowWriter | None = None
        self._retry_at = 0.0
        self._fault = ""  # what the machine refused the store first
        self._patience = Patience()
        self._done: Future[None] | None = None

    def publish(self, run: PlannedRun, cause: str | None = None) -> None:
        """Let the trials of a training run be published soon; see `MlflowWriter.publish`."""
        self.live.end(run.spec.training_key)
        self._queue.put((run, cause))

    def __enter__(self) -> Self:
        self._done = self.state.threads.start("publisher", self._work)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Publish what is left and bring the parent run up to date."""
        self._patience.end_in(LAST_S)
        self._queue.put(None)
        if self._done is not None:
            wait("publisher", self._done)

    def _work(self) -> None:
        manifest = manifest_module.begin(self.state, self.tracking_uri, self.experiment)
        written_at, ended = time.monotonic(), False
        while not ended:
            ended = self._take()
            if ended or time.monotonic() >= self._retry_at:
                self._try(manifest, ended=ended)
            if ended or time.monotonic() >= written_at + MANIFEST_S:
                manifest = manifest_module.write(self.state, manifest)
                written_at = time.monotonic()

    def _take(self) -> bool:
        """Wait a little for what is to be published, and return whether that was the end."""
        try:
            item = self._queue.get(timeout=POLL_S)
            while item is not None:
                self._left[item[0].spec.training_key] = item
                item = self._queue.get_nowait()
        except queue.Empty:
            return False
        stopped = [run for run in self.state.runs if run.spec.training_key in self.state.stopped]
        self._left |= {run.spec.training_key: (run, None) for run in stopped}
        return True

    def _try(self, manifest: Mapping[str, Any], *, ended: bool) -> None:
        try:
            with only_writer(self.tracking_uri, self.state.plan.sweep_key, self._patience.left()):
                record = self._record = self._record or self._opened(manifest)
                for key in list(self._left):
                    record.publish(*self._left[key], self.live.is_known)
                    del self._left[key]
                if ended:
                    self._conclude(record)
                else:
                    self._follow(record)
            self.reachable, self._fault = True, ""
        except STORE_ERRORS as error:
            self._record = None  # what reached the store is looked up anew
            self._retry_at = time.monotonic() + PAUSE_S
            self._say(error, ended=ended)
            # A server that is away is none of the machine's faults.
            self._fault = self._fault or machine_fault(error) or ""
            if ended and self._fault:
                self.state.machine_refused(self._fault)
            self.reachable = False

    def _conclude(self, record: MlflowWriter) -> None:
        conclude(record, self.tracking_uri, self.warn, say=self.say, with_model=self.with_model)

    def _opened(self, manifest: Mapping[str, Any]) -> MlflowWriter:
        """Return the record, in which no trial is RUNNING that no one trains."""
        record = MlflowWriter(self.state, self.tracking_uri, manifest, self._patience)
        say_moved(record, self.warn)
        record.trials.end_left_off(LEFT_OFF, self.live.under_way)
        if self._tell_opened is not None:
            self._tell_opened(record)
        return record

    def _follow(self, record: MlflowWriter) -> None:
        """Write what is new of the trials under way, until a run has ended or it is no one's turn.

        What the store does not take is asked for again: it is caught up later.
        """
        while self._queue.empty() and (step := self.live.next()) is not None:
            self.live.written(step, more=record.trials.follow(step))

    def _say(self, error: Exception, *, ended: bool) -> None:
        """Warn once while the sweep runs, and at the end of a record that lags."""
        if not ended and self._warned:
            return
        store = redact_uri(self.tracking_uri)
        cause = None
        if self._patience.left():
            cause = lasting_fault(self.tracking_uri, self.experiment)
        cause = cause or first_line(error, self.tracking_uri)
        if ended:
            self.warn(
                f"warning: the record in the MLflow store {store} lags behind the run folders "
                f"({cause}); run the same command again to catch up, or `python -m sweeps.publish "
                f"--storage {self.state.plan.storage}`"
            )
        else:
            self.warn(
                f"warning: the MLflow store {store} cannot be written ({cause}); training "
                f"continues, and the store is tried again every {PAUSE_S:g} s"
            )
            self._warned = True


def say_moved(record: MlflowWriter, warn: Warn) -> None:
    """Tell that a record was moved or copied, and where its artifacts go now."""
    if record.moved_from:
        warn(f"the record was in {record.moved_from} before; its artifacts now go where it is")


def conclude(
    record: MlflowWriter,
    tracking_uri: str,
    warn: Warn,
    *,
    say: Callable[[str], None] | None = None,
    with_model: bool = True,
) -> None:
    """Write the summary of a sweep, and log the best trial's model if all trials have ended.

    Args:
        record: The record of the sweep, whose trials are up to date.
        tracking_uri: The URI of the MLflow store.
        warn: Called with the reason why a model is not logged.
        say: Called where one is being logged, which takes a while.
        with_model: Whether to log the model.
    """
    left, best = len(record.state.left()), best_point(record.state)
    why = record.state.why_partial or (f"{left} training runs are left" if left else None)
    record.trials.end_left_off(record.state.why_partial or LEFT_OFF)
    record.summarise(best, why)
    wanted = with_model and not why
    found = record.best_trial(best) if wanted and best is not None else None
    if found is not None:
        _log_model(record, *found, tracking_uri, warn, say)


def _log_model(
    record: MlflowWriter,
    trial: Trial,
    child: MlflowRun,
    tracking_uri: str,
    warn: Warn,
    say: Callable[[str], None] | None = None,
) -> None:
    """Log a trial's averaged generator, unless it is logged: in a process of its own, torch's."""
    storage, mirror = record.state.plan.storage, record.state.plan.mirror
    if record.holds_model(child):
        return
    if mirror is not None:
        try:
            mirror.fetch_model(trial.training_key)
        except OSError as error:
            told = first_line(error, mirror.uri)
            warn(f"warning: the best trial's model cannot be fetched: {told}")
            return
    if not (storage / trial.training_key / MODEL_FILE).exists():
        return
    if say is not None:
        say("logging the model of the best trial")
    command = [sys.executable, "-m", "sweeps.log_model", child.run_id]
    command += ["--tracking-uri", "-", "--storage", str(storage)]
    command += [word for name in trial.config.custom_codes for word in ("--network", name)]
    try:
        done = subprocess.run(  # nosec B603  # words, no shell
            command,
            input=tracking_uri,  # not in the list of processes, where anyone could read it
            env=os.environ | {"MLFLOW_HTTP_REQUEST_TIMEOUT": f"{LAST_S:g}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=min(MODEL_S, record.patience.left()),
        )
        said = (done.stderr if done.returncode else done.stdout).strip().splitlines()
        failed, last = done.returncode != 0, said[-1] if said else "it said nothing"
    except (OSError, subprocess.TimeoutExpired) as error:
        failed, last = True, first_line(error)
    if failed:
        warn(f"warning: the best trial's model is not in the record: {redact(last, tracking_uri)}")
    else:
        record.name_best(child, last)
