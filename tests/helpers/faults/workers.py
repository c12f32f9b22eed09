"""Workers are killed, stopped and starved, a node is lost: the driver ends as if nothing was."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from faults.bench import Bench
from faults.sweep import GRID, Sweep, descendants, title, wait_for
from faults.verdict import Verdict
from sweeps.execution.executor import RAY_SETTINGS

WORKER = "Trainable"  # in the title that Ray gives a worker
HANG_TIMEOUT_S = 60.0  # far above an honest first step on a busy machine
RUN_FOLDER = "trainable.runs.folder"
# At each, the worker that passes it is killed, and its run is retried.
CALLS = (
    f"{RUN_FOLDER}:RunFolder.__enter__:after:1",
    "trainable.storage.files:sync:before:2",
    "trainable.storage.files:sync:after:3",
    f"{RUN_FOLDER}:RunFolder.save_model:after:1",
    f"{RUN_FOLDER}:RunFolder.drop_checkpoints:before:2",
)


def killed_at_points(bench: Bench) -> Verdict:
    """Kill a worker at each point in the life of a run folder."""
    total = Verdict(name="workers at points")
    for call in CALLS[:1] if bench.short else CALLS:
        sweep, begun = bench.sweep(GRID), time.monotonic()
        code = sweep.finish(FAULTS_POINT=call, FAULTS_VICTIM="self")
        sweep.kills = len(list(sweep.notes.glob("struck-*")))
        wrong = () if sweep.kills else (f"{call} was not reached",)
        total += bench.ended(total.name, sweep, begun, code, *wrong)
    return total


def killed(bench: Bench) -> Verdict:
    """Kill the workers of two runs half-way."""
    return _half_way(bench, "workers killed", lambda pid: os.kill(pid, signal.SIGKILL))


def stopped(bench: Bench) -> Verdict:
    """Stop a worker (SIGSTOP) half-way; `--hang-timeout` notices."""
    return _half_way(
        bench,
        "worker stopped",
        lambda pid: os.kill(pid, signal.SIGSTOP),
        *("--hang-timeout", str(HANG_TIMEOUT_S)),
        times=1,
    )


def out_of_memory(bench: Bench) -> Verdict:
    """Give a worker no further byte half-way, so that what it asks for next fails."""
    return _half_way(bench, "out of memory", _starve, times=1)


def raylet_killed(bench: Bench) -> Verdict:
    """Kill the raylet half-way, and with it all workers: the driver starts Ray anew."""
    sweep, begun = bench.sweep(GRID), time.monotonic()
    driver = sweep.start()
    wait_for("two results", lambda: len(results(sweep)) >= 2, driver)
    for pid in list(descendants(driver.pid)):
        if "/raylet " in title(pid):
            os.kill(pid, signal.SIGKILL)
            sweep.kills += 1
    return bench.ended("raylet killed", sweep, begun, sweep.wait(driver))


def _half_way(
    bench: Bench, name: str, fault: Callable[[int], None], *options: str, times: int = 2
) -> Verdict:
    """Do something to a worker when it has written a checkpoint, so many times."""
    sweep, begun = bench.sweep(GRID, *options), time.monotonic()
    driver = sweep.start()
    seen: set[Path] = set()

    def fresh() -> set[Path]:
        return {path.parent for path in sweep.folder.glob("runs/*/checkpoint-*.pt")} - seen

    for _ in range(times):
        wait_for("a checkpoint", fresh, driver)
        seen |= fresh()
        fault(_worker(driver))
        sweep.kills += 1
        wait_for("a result", lambda: len(results(sweep)) >= 2 * sweep.kills, driver)
    return bench.ended(name, sweep, begun, sweep.wait(driver))


def _worker(driver: subprocess.Popen[bytes]) -> int:
    """Return a process that trains, or is about to."""

    def found() -> list[int]:
        return [pid for pid in descendants(driver.pid) if WORKER in title(pid)]

    wait_for("a worker", found, driver)
    return found()[0]


def _starve(pid: int) -> None:
    """Leave a process the memory that it has."""
    status = Path(f"/proc/{pid}/status").read_text()
    kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData"))
    resource.prlimit(pid, resource.RLIMIT_DATA, (kb * 1024, kb * 1024))


def results(sweep: Sweep) -> list[Path]:
    """Return the results that are there."""
    return list(sweep.folder.glob("runs/*/result.json"))


def node_lost(bench: Bench) -> Verdict:
    """Lose one of two nodes half-way, with all that runs there."""
    name = "node lost"
    sweep, begun = bench.sweep(GRID), time.monotonic()
    environment = os.environ | RAY_SETTINGS
    token = [sys.executable, "-m", "ray.scripts.scripts", "get-auth-token", "--generate"]
    subprocess.run(token, env=environment, check=True, capture_output=True)
    given = RAY_SETTINGS | sweep.inside()
    before = {key: os.environ.get(key) for key in given}
    os.environ.update(given)  # the nodes are started from here
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        driver = sweep.start("--address", cluster.address)
        wait_for("two runs", lambda: len(_trained(sweep)) == 2, driver)
        cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
        sweep.kills += 1
        return bench.ended(name, sweep, begun, sweep.wait(driver))
    finally:
        cluster.shutdown()
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


def _trained(sweep: Sweep) -> set[Path]:
    return {path.parent for path in sweep.folder.glob("runs/*/checkpoint-*.pt")}
