"""What a sweep may use of a machine or cluster, and how many training runs fit at a time."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from sweeps.execution.cluster import room
from sweeps.execution.lifeline import Lifeline

if TYPE_CHECKING:
    from sweeps.execution.nodes import NodeFacts
    from trainable.runs.keys import RunSpec

HANG_TIMEOUT_S = 1800.0  # far above the longest validation of one readout
# Tune forgets no trial: an empty one costs 44 kB of the driver's memory, 11 kB where a Tuner is
# given up after so many runs of each slot. At its end a slot idles for half a run, 1 % of these.
RUNS_OF_A_SLOT = 50
# Of all workers together; the driver carries several times as many (`benchmark driver-scale`).
REPORTS_PER_S = 60.0


class ExecutorError(RuntimeError):
    """Ray cannot do what was asked: no cluster there, or too few resources."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a training run may take, on which machine or cluster, and for how long.

    Attributes:
        address: The address of a Ray cluster; None is this machine.
        cpus_per_trial: How many CPUs a training run takes.
        gpus_per_trial: How many GPUs, or which share of one, a training run takes. `auto` measures
            it: as many runs on each GPU as its memory and the CPUs allow. None is one GPU where
            there is any.
        max_concurrent: How many runs may be under way at a time; None is as many as fit.
        time_budget_s: How many seconds the execution may take; None is without end.
        gpu_hours: How many hours of whole GPUs it may use; None is without end.
        hang_timeout_s: After how many seconds without a report a worker is killed and its run
            retried.
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
    """How many training runs are under way at a time, what each takes, and for how long.

    Attributes:
        count: How many training runs are under way at a time.
        cpus: How many CPUs a training run takes.
        gpus: How many GPUs, or which share of one, a training run takes.
        time_budget_s: How many seconds the execution may take; None is without end.
        gpu_hours: How many hours of whole GPUs it may use; None is without end.
        hang_timeout_s: After how many seconds without a report a worker is killed and its run
            retried.
        nodes: What each node of a cluster trains with; empty for this machine.
        lifeline: The Ray that gives the slots.
    """

    count: int
    cpus: float
    gpus: float
    time_budget_s: float | None
    gpu_hours: float | None = None
    hang_timeout_s: float = HANG_TIMEOUT_S
    nodes: tuple[NodeFacts, ...] = ()
    lifeline: Lifeline = field(default_factory=lambda: Lifeline({}))

    @property
    def report_s(self) -> float:
        """How many seconds lie between two reports of a worker, if nothing presses."""
        return self.count / REPORTS_PER_S


def slots_here(resources: Resources, wanted: int = 1) -> Slots | None:
    """Return the slots that this machine has; None for a cluster, which is asked when it is joined.

    Args:
        resources: What the sweep may use.
        wanted: How many training runs there are to do.

    Raises:
        ExecutorError: Not even one training run fits.
    """
    if resources.address is not None:
        return None
    import torch

    here = {"CPU": float(own_cpus()), "GPU": float(torch.cuda.device_count())}
    return slots_of([here], resources, wanted)


def slots_of(nodes: Sequence[Mapping[str, float]], resources: Resources, wanted: int) -> Slots:
    """Return what a training run takes and how many are under way at a time.

    Args:
        nodes: The resources of each node, as Ray names them.
        resources: What the sweep may use.
        wanted: How many training runs there are to do.

    Raises:
        ExecutorError: Not even one training run fits.
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


def packed(
    nodes: Sequence[Mapping[str, float]], resources: Resources, largest: RunSpec
) -> Resources:
    """Return the resources with the share of a GPU that the largest run was measured to need.

    Raises:
        ExecutorError: It does not train on a whole GPU.
    """
    import ray

    from sweeps.planning.packing import measure, share

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


def own_cpus() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0))
