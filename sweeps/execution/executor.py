"""Train the runs of a source with Ray Tune, as a stateless executor.

Every execution begins with a fresh Tuner, and only the run folders say what is done. Ray's own
experiment state is thrown away: restored after a kill, it reissues trials under new ids.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import shlex
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.execution.cluster import (
    ClusterError,
    Door,
    check_answers,
    check_storage,
    doors_of_ray,
    training_nodes,
)
from sweeps.execution.display import LiveDisplay
from sweeps.execution.lifeline import Lifeline, RayLost
from sweeps.execution.nodes import ask_what_they_train_with
from sweeps.execution.progress import ExecutionStats
from sweeps.execution.ray_folder import RayFolderError, end_processes, environment, ray_folder
from sweeps.execution.resources import (
    RUNS_OF_A_SLOT,
    ExecutorError,
    Resources,
    Slots,
    own_cpus,
    packed,
    slots_of,
)
from sweeps.planning.live_trials import LiveTrials
from sweeps.planning.plan import Plan, PlannedRun
from sweeps.planning.state import SweepState
from sweeps.search.source import RunSource
from trainable.runs.keys import RunSpec
from trainable.storage.redaction import first_line, redact_command, redact_uri

if TYPE_CHECKING:
    from ray import tune

    from sweeps.execution.in_flight import RunsInFlight
    from sweeps.execution.tune_hooks import Budget, TuneCallback

STARTS = 3  # of a Ray that takes longer than the 30 s it has, as on a busy machine
SWITCH_S = 0.0005  # after which a thread that waits gets its turn; see `_prompt_turns`
MAX_RETRIES = 2  # of a run whose worker died; it resumes from its last good checkpoint
# Ray reads these at import: no stock output, loggers, telemetry or events of tasks, which only a
# dashboard shows; token authentication.
RAY_SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_task_events_report_interval_ms": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
}
# Read at import, too. Where it is "0", as it is by default on macOS, Ray listens on loopback alone.
CLUSTERS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


def _silent(text: str) -> None:
    pass


@contextmanager
def ray_slots(
    resources: Resources,
    wanted: int,
    storage: str | None = None,
    largest: RunSpec | None = None,
    say: Callable[[str], None] = _silent,
) -> Iterator[Slots]:
    """Start Ray, or join a cluster, and shut down or leave it at the end.

    Args:
        resources: What a training run may take, and where.
        wanted: How many training runs there are to do.
        storage: The folder or the store of run folders, which every node of a cluster must see.
        largest: The run that is measured for `gpus_per_trial=auto`.
        say: Called with a line about what takes long.

    Raises:
        ExecutorError: Ray cannot be reached or lacks the resources, or a node does not see the
            storage or has other code.
    """
    os.environ.update(RAY_SETTINGS)
    joins = {CLUSTERS: "0" if resources.address is None else "1"}
    try:
        with environment(joins), _started(resources.address, say) as lifeline:
            with lifeline.watch():
                slots = _asked_for(resources, wanted, storage, largest, say)
            yield dataclasses.replace(slots, lifeline=lifeline)
    except (ClusterError, RayFolderError) as error:
        raise ExecutorError(str(error)) from error
    except RayLost as lost:
        raise ExecutorError(f"Ray died while it was asked for its resources: {lost}") from lost


def _asked_for(
    resources: Resources,
    wanted: int,
    storage: str | None,
    largest: RunSpec | None,
    say: Callable[[str], None],
) -> Slots:
    """Return the slots of the Ray that this process is connected to; see `ray_slots`."""
    nodes = [node["Resources"] for node in training_nodes()]
    slots = slots_of(nodes, resources, wanted)
    asked = () if resources.address is None else ask_what_they_train_with(say)
    if resources.address is not None and storage is not None:
        check_storage(storage, say)
    if resources.gpus_per_trial == "auto" and largest is not None:
        slots = slots_of(nodes, packed(nodes, resources, largest), wanted)
    return dataclasses.replace(slots, nodes=asked)


@contextmanager
def _started(address: str | None, say: Callable[[str], None]) -> Iterator[Lifeline]:
    """Start Ray with a folder of its own, or join a cluster; shut it down at the end."""
    # In a notebook its import asks for packages that nothing of ours shows anything with.
    logging.getLogger("ray.widgets").setLevel(logging.CRITICAL)
    import ray

    if ray.is_initialized():
        raise ExecutorError(
            "a sweep starts or joins a Ray by itself, but this process is connected to one; call "
            "`ray.shutdown()` first"
        )
    _hide_arguments()
    with ExitStack() as stack:
        if address is None:
            folder = stack.enter_context(ray_folder())
            stack.callback(ray.shutdown)

            def start_anew() -> dict[str, Door]:
                ray.shutdown()
                end_processes(folder)  # a worker that lives on would hold its run's lock
                start_ray(folder, say)
                return doors_of_ray()

            start_ray(folder, say)
            lifeline = Lifeline(doors_of_ray(), start_anew, partial(end_processes, folder), say)
        else:
            check_answers(address, say)
            stack.callback(ray.shutdown)
            _join(address)
            lifeline = Lifeline(doors_of_ray())
        # Of a worker that dies Tune would print a traceback, though the run is tried again.
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        # Of a raylet that died Ray prints pages on standard output; the driver says it in a line.
        ray._private.worker.print_worker_logs = lambda *_: None
        yield lifeline


def start_ray(folder: Path, say: Callable[[str], None]) -> None:
    """Start Ray on this machine.

    Args:
        folder: The folder for Ray's files.
        say: Called with a line about what takes long.

    Raises:
        ExecutorError: Ray does not start.
    """
    import ray

    heeded = signal.getsignal(signal.SIGTERM)  # Ray has an answer of its own to it
    try:
        for left in reversed(range(STARTS)):
            try:
                ray.init(
                    address="local",
                    num_cpus=own_cpus(),
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
                    runtime_env=_runtime_env(sys.executable),
                    _temp_dir=str(folder),
                )
                return
            except SystemExit:
                raise KeyboardInterrupt from None  # SIGTERM came
            except Exception as error:
                ray.shutdown()
                end_processes(folder)
                if not left or "timed out" not in str(error).lower():
                    raise ExecutorError(
                        f"Ray does not start on this machine: {first_line(error)}"
                    ) from error
                say("Ray took too long to start; starting it anew")
    finally:
        if threading.current_thread() is threading.main_thread():  # Ray answers in no other
            signal.signal(signal.SIGTERM, heeded)


def _runtime_env(python: str) -> dict[str, str] | None:
    """Return what has workers start where the path of Python is no single word for a shell.

    Ray gives the path to a shell as it is: of one with a space each worker dies at its start, and
    Ray starts another for ever.
    """
    quoted = shlex.quote(python)
    return None if quoted == python else {"py_executable": quoted}


def _join(address: str) -> None:
    import ray

    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ConnectionError, OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise ExecutorError(f"Ray does not start at {address}: {first_line(error)}") from error
    token = Path("~/.ray/auth_token").expanduser()
    if token.exists():
        with suppress(OSError):  # it is another's, who sees to it
            token.chmod(0o600)


def execute(
    state: SweepState,
    source: RunSource,
    slots: Slots,
    screen: LiveDisplay,
    on_outcome: Callable[[PlannedRun, str | None], None],
    *,
    live: LiveTrials | None = None,
    trainable: type | None = None,
) -> ExecutionStats:
    """Train the runs of a source; return when all have ended or a budget is used up.

    A run that ran out of GPU memory is trained when the source has no other, with twice the share
    of a GPU, up to a whole one.

    Args:
        state: The state of the sweep.
        source: The source that suggests the runs.
        slots: How many runs are under way at a time, and what each takes of the Ray that runs.
        screen: The display that shows what happens.
        on_outcome: Called for each run that ended, with the cause if its worker failed.
        live: The trials under way, for the record; it is told what is new of them.
        trainable: The class that trains a run; None is `SegmentationTrainable`.

    Raises:
        KeyboardInterrupt: The driver was interrupted; the workers were stopped.
    """
    from sweeps.execution.in_flight import RunsInFlight
    from sweeps.execution.tune_hooks import Budget, TuneCallback
    from trainable.ray_trainable import SegmentationTrainable

    execution = ExecutionStats(slots=slots.count)
    budget = Budget(execution, time_s=slots.time_budget_s, gpu_hours=slots.gpu_hours)
    in_flight = RunsInFlight(source=source)
    started = time.monotonic()
    with _prompt_turns():
        for roomier in _shares(in_flight, slots):
            callback = TuneCallback(
                state,
                in_flight,
                screen,
                execution,
                on_outcome,
                live=live,
                gpus=roomier.gpus,
                hang_timeout_s=slots.hang_timeout_s,
            )
            taught = trainable or SegmentationTrainable
            while _fit(taught, state, in_flight, roomier, budget, callback) and not execution.spent:
                pass
            if execution.spent:
                break
            if roomier.gpus == 0 or roomier.gpus >= 1:
                callback.fail_out_of_memory()
    execution.wall_s = time.monotonic() - started
    return execution


@contextmanager
def _prompt_turns() -> Iterator[None]:
    """Let threads take turns often: Tune's would wait for the publisher's at each call of Ray.

    A call lets go of Python's lock and takes it again, thrice for each report. Where another thread
    computes, that takes as long as a thread's turn, 5 ms by default.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _shares(in_flight: RunsInFlight, slots: Slots) -> Iterator[Slots]:
    """Yield the slots for the runs of the source, then larger ones for those set aside, in turn."""
    while True:
        in_flight.retrying = None
        yield slots
        roomier = slots
        while in_flight.out_of_memory:
            roomier = dataclasses.replace(roomier, gpus=min(1.0, 2 * roomier.gpus))
            in_flight.retry_set_aside()
            yield roomier
        if in_flight.drained:
            return


def _fit(
    trainable: type,
    state: SweepState,
    in_flight: RunsInFlight,
    slots: Slots,
    budget: Budget,
    callback: TuneCallback,
) -> bool:
    """Train with a fresh Tuner until it has had its fill, all is done or a budget is used up.

    Returns:
        Whether runs are left for another Tuner.
    """
    from ray import tune

    from sweeps.execution.tune_hooks import SourceScheduler, SourceSearcher

    plan = state.plan
    searcher = SourceSearcher(in_flight, most=RUNS_OF_A_SLOT * slots.count)
    scratch = plan.storage / ".tune" / plan.sweep_key  # another sweep may be under way beside it
    tuner = tune.Tuner(
        _with_resources(trainable, plan, slots),
        param_space={
            "storage": redact_uri(plan.workers_storage),
            "threads": max(1, int(slots.cpus)),
            "gpu_share": slots.gpus,
            "report_s": slots.report_s,
        },
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=SourceScheduler(in_flight),
            num_samples=-1,
            reuse_actors=True,
            max_concurrent_trials=slots.count,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=_run_config(plan, scratch, budget, callback),
    )
    try:
        with slots.lifeline.watch() as watch:
            callback.watched_by(watch)
            tuner.fit()
    except RayLost as lost:
        slots.lifeline.restart(lost)
        in_flight.requeue_all()
        return True
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        with suppress(OSError):  # another sweep's is in it
            scratch.parent.rmdir()
    return searcher.more


def _with_resources(trainable: type, plan: Plan, slots: Slots) -> type:
    """Return a trainable that takes what a slot has, and knows a storage with a password."""
    from ray import tune

    if redact_uri(plan.workers_storage) != plan.workers_storage:
        # By reference: Ray writes the parameters of a trial to files.
        trainable = tune.with_parameters(trainable, uri=plan.workers_storage)
    limited: type = tune.with_resources(trainable, {"cpu": slots.cpus, "gpu": slots.gpus})
    return limited


def _run_config(
    plan: Plan, scratch: Path, budget: Budget, callback: TuneCallback
) -> tune.RunConfig:
    """Return how a Tuner runs: in a folder that is thrown away, without checkpoints of its own."""
    from ray import tune

    from sweeps.execution.tune_hooks import NoReporter

    return tune.RunConfig(
        name=plan.sweep_key,
        storage_path=str(scratch),
        verbose=0,
        stop=budget,
        callbacks=[callback],
        progress_reporter=NoReporter(),
        failure_config=tune.FailureConfig(max_failures=MAX_RETRIES),
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
    )


def _hide_arguments() -> None:
    """Hide secrets of the command line in the list of processes, from which Ray copies it."""
    if (shown := redact_command(sys.orig_argv)) != sys.orig_argv:
        from ray._raylet import setproctitle  # type: ignore[attr-defined]

        setproctitle(shlex.join(shown))


def _trial_name(trial: Any) -> str:
    key: str = trial.config["training_key"]
    return key
