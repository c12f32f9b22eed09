"""Train the pending runs of a plan with Ray Tune, as a stateless executor.

Every execution is a fresh Tuner; what is done is judged from the run folders alone. Ray's own
experiment state is thrown away: restored after a kill it reissues trials under new ids.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import shlex
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from sweeps._cluster import (
    ClusterError,
    Door,
    check_answers,
    check_storage,
    doors_of_ray,
    room,
    training_nodes,
)
from sweeps._lifeline import Lifeline, RayLost
from sweeps._nodes import NodeFacts, ask_what_they_train_with
from sweeps._plan import Plan, PlannedRun
from sweeps._ray_folder import RayFolderError, end_processes, environment, ray_folder
from sweeps._screen import Execution, Screen
from sweeps._source import Source
from sweeps._store import first_line
from trainable.identity import RunSpec
from trainable.redaction import redact_command, redact_uri

if TYPE_CHECKING:
    from sweeps._budget import Budget
    from sweeps._report import Report
    from sweeps._searcher import Traffic

HANG_TIMEOUT_S = 1800.0  # far above the longest validation of one readout
# Tune forgets no trial: an empty one costs 44 kB of the driver's memory, 11 kB where a Tuner is
# given up after so many runs of each slot. At its end a slot idles for half a run, 1 % of these.
RUNS_OF_A_SLOT = 50
STARTS = 3  # of a Ray that takes longer than the 30 s it has, as on a busy machine
MAX_RETRIES = 2  # of a run whose worker died; it goes on from its last good checkpoint
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


class ExecutorError(RuntimeError):
    """Ray cannot do what was asked: no cluster there, or too few resources."""


def _silent(text: str) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a training run may take, and where.

    `gpus_per_trial=auto` is measured: as many runs on each GPU as its memory and the CPUs allow.
    """

    address: str | None
    cpus_per_trial: float
    gpus_per_trial: float | Literal["auto"] | None
    max_concurrent: int | None
    time_budget_s: float | None
    gpu_hours: float | None = None
    hang_timeout_s: float = HANG_TIMEOUT_S


@dataclass(frozen=True, kw_only=True)
class Slots:
    """How many training runs go on at a time, what each takes, and for how long.

    Attributes:
        count: Training runs at a time.
        cpus: Of a training run.
        gpus: Of a training run.
        time_budget_s: Of all; None is without end.
        gpu_hours: Of all, in whole GPUs; None is without end.
        hang_timeout_s: A worker that sends no report for so long is killed, and its run retried.
        nodes: What those of a cluster train with; none for this machine alone.
        lifeline: The Ray that they are slots of.
    """

    count: int
    cpus: float
    gpus: float
    time_budget_s: float | None
    gpu_hours: float | None = None
    hang_timeout_s: float = HANG_TIMEOUT_S
    nodes: tuple[NodeFacts, ...] = ()
    lifeline: Lifeline = field(default_factory=lambda: Lifeline({}))


def check_resources(resources: Resources) -> None:
    """Refuse at once what this machine cannot give; a cluster is asked when it is joined.

    Raises:
        ExecutorError: Not even one training run fits.
    """
    if resources.address is None:
        here = {"CPU": float(_cpus()), "GPU": float(torch.cuda.device_count())}
        _slots([here], resources, wanted=1)


@contextmanager
def ray_slots(
    resources: Resources,
    wanted: int,
    storage: str | None = None,
    largest: RunSpec | None = None,
    say: Callable[[str], None] = _silent,
) -> Iterator[Slots]:
    """Start Ray, or join a cluster, and give it back at the end.

    Args:
        resources: What a training run may take, and where.
        wanted: Training runs to do.
        storage: The folder or store of run folders, which all nodes of a cluster must see.
        largest: What is measured for `gpus_per_trial=auto`.
        say: Is told of what takes long.

    Raises:
        ExecutorError: Ray cannot be reached or lacks the resources, or a node the storage, or has
            other code.
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
    """Return the slots of the Ray that runs; see `ray_slots`."""
    nodes = [node["Resources"] for node in training_nodes()]
    slots = _slots(nodes, resources, wanted)
    asked = () if resources.address is None else ask_what_they_train_with(say)
    if resources.address is not None and storage is not None:
        check_storage(storage, say)
    if resources.gpus_per_trial == "auto" and largest is not None:
        slots = _slots(nodes, _packed(nodes, resources, largest), wanted)
    return dataclasses.replace(slots, nodes=asked)


@contextmanager
def _started(address: str | None, say: Callable[[str], None]) -> Iterator[Lifeline]:
    """Start Ray with a folder of its own, or join a cluster; shut it down at the end."""
    import ray

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
        folder: For its files.
        say: Is told of what takes long.

    Raises:
        ExecutorError: It does not start.
    """
    import ray

    heeded = signal.getsignal(signal.SIGTERM)  # Ray has an answer of its own to it
    try:
        for left in reversed(range(STARTS)):
            try:
                ray.init(
                    address="local",
                    num_cpus=_cpus(),
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.CRITICAL,
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
        signal.signal(signal.SIGTERM, heeded)


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
    plan: Plan,
    source: Source,
    slots: Slots,
    screen: Screen,
    on_outcome: Callable[[PlannedRun, str | None], None],
    *,
    trainable: type | None = None,
) -> Execution:
    """Train what a source gives; return when all ended, or a budget did.

    A run that CUDA has no memory for is trained when the source has no other, with twice the share
    of a GPU, up to a whole one.

    Args:
        plan: The sweep.
        source: Gives its runs.
        slots: Of the Ray that runs.
        screen: Is told what happens.
        on_outcome: Called for each run that ended, with the cause if its worker failed.
        trainable: What trains one; None is `SegmentationTrainable`.

    Raises:
        KeyboardInterrupt: The driver was interrupted; workers were stopped.
    """
    from sweeps._budget import Budget
    from sweeps._report import Report
    from sweeps._searcher import Traffic
    from trainable.ray_trainable import SegmentationTrainable

    execution = Execution(slots=slots.count)
    budget = Budget(execution, time_s=slots.time_budget_s, gpu_hours=slots.gpu_hours)
    traffic = Traffic(source=source)
    started = time.monotonic()
    for roomier in _shares(traffic, slots):
        report = Report(
            plan,
            traffic,
            screen,
            execution,
            on_outcome,
            gpus=roomier.gpus,
            hang_timeout_s=slots.hang_timeout_s,
        )
        taught = trainable or SegmentationTrainable
        while _fit(taught, plan, traffic, roomier, budget, report) and not execution.spent:
            pass
        if execution.spent:
            break
        if roomier.gpus == 0 or roomier.gpus >= 1:
            report.fail_crowded_out()
    execution.wall_s = time.monotonic() - started
    return execution


def _shares(traffic: Traffic, slots: Slots) -> Iterator[Slots]:
    """Yield what runs take: those of the source, then those that need more room, and so on."""
    while True:
        traffic.again = None
        yield slots
        roomier = slots
        while traffic.crowded_out:
            roomier = dataclasses.replace(roomier, gpus=min(1.0, 2 * roomier.gpus))
            traffic.take_crowded_out()
            yield roomier
        if traffic.drained:
            return


def _fit(
    trainable: type, plan: Plan, traffic: Traffic, slots: Slots, budget: Budget, report: Report
) -> bool:
    """Train with a fresh Tuner until it has done its fill, all is done, or the budget used up.

    Returns:
        Whether runs are left for another.
    """
    from ray import tune

    from sweeps._searcher import SourceScheduler, SourceSearcher

    storage = redact_uri(plan.workers_storage)
    if storage != plan.workers_storage:
        # By reference: Ray writes the parameters of a trial to files.
        trainable = tune.with_parameters(trainable, uri=plan.workers_storage)
    searcher = SourceSearcher(traffic, most=RUNS_OF_A_SLOT * slots.count)
    scratch = plan.storage / ".tune" / plan.sweep_key  # another sweep may be under way beside it
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": slots.cpus, "gpu": slots.gpus}),
        param_space={
            "storage": storage,
            "threads": max(1, int(slots.cpus)),
            "gpu_share": slots.gpus,
        },
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=SourceScheduler(traffic),
            num_samples=-1,
            reuse_actors=True,
            max_concurrent_trials=slots.count,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name=plan.sweep_key,
            storage_path=str(scratch),
            verbose=0,
            stop=budget,
            callbacks=[report],
            failure_config=tune.FailureConfig(max_failures=MAX_RETRIES),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    try:
        with slots.lifeline.watch() as watch:
            report.watched_by(watch)
            tuner.fit()
    except RayLost as lost:
        slots.lifeline.restart(lost)
        traffic.put_back()
        return True
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        with suppress(OSError):  # another sweep's is in it
            scratch.parent.rmdir()
    return searcher.more


def _hide_arguments() -> None:
    """Show no secret of the command line in the list of processes, from which Ray copies it."""
    if (shown := redact_command(sys.orig_argv)) != sys.orig_argv:
        from ray._raylet import setproctitle  # type: ignore[attr-defined]

        setproctitle(shlex.join(shown))


def _slots(nodes: Sequence[Mapping[str, float]], resources: Resources, wanted: int) -> Slots:
    """Return what a training run takes and how many fit.

    Raises:
        ExecutorError: Not even one fits.
    """
    gpus = resources.gpus_per_trial
    if gpus == "auto":
        gpus = 1.0  # until it is measured
        if not any(node.get("GPU") for node in nodes):
            raise ExecutorError(
                "--gpus-per-trial auto needs a GPU to measure on, but there is none; leave it out"
            )
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU") for node in nodes) else 0.0
    fit = room(nodes, resources.cpus_per_trial, gpus)
    if fit < 1:
        most = max(nodes, key=lambda node: (node.get("GPU", 0.0), node.get("CPU", 0.0)), default={})
        where = "but there are" if len(nodes) == 1 else f"but the largest of {len(nodes)} nodes has"
        raise ExecutorError(
            f"a training run needs {resources.cpus_per_trial:g} CPUs and {gpus:g} GPUs, "
            f"{where} {most.get('CPU', 0.0):g} and {most.get('GPU', 0.0):g}; "
            "lower --cpus-per-trial or --gpus-per-trial"
        )
    return Slots(
        count=max(1, min(fit, wanted, resources.max_concurrent or fit)),
        cpus=resources.cpus_per_trial,
        gpus=gpus,
        time_budget_s=resources.time_budget_s,
        gpu_hours=resources.gpu_hours,
        hang_timeout_s=resources.hang_timeout_s,
    )


def _packed(
    nodes: Sequence[Mapping[str, float]], resources: Resources, largest: RunSpec
) -> Resources:
    """Return the resources with the share of a GPU that the largest run was measured to need.

    Raises:
        ExecutorError: It does not train on a whole GPU.
    """
    import ray

    from sweeps._packing import measure, share

    # A process that is used once: it gives the GPU's memory back when it ends.
    probe = ray.remote(num_cpus=resources.cpus_per_trial, num_gpus=1, max_calls=1)(measure)
    try:
        reserved, total = ray.get(probe.remote(largest.to_primitives()))
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise ExecutorError(
            f"--gpus-per-trial auto trains a few iterations on a whole GPU, but {reason}; "
            "give a number"
        ) from error
    node = min(
        (node for node in nodes if node.get("GPU")), key=lambda node: node["CPU"] / node["GPU"]
    )
    gpus = share(
        reserved,
        total,
        cpus=node["CPU"],
        gpus=node["GPU"],
        cpus_per_trial=resources.cpus_per_trial,
    )
    return dataclasses.replace(resources, gpus_per_trial=gpus)


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


def _trial_name(trial: Any) -> str:
    key: str = trial.config["training_key"]
    return key
