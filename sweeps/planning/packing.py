"""How many training runs share a GPU: the largest is measured, the rest is arithmetic."""

from __future__ import annotations

import math
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from sweeps.planning.cost import device_bytes
from sweeps.planning.state import SweepState
from trainable.data.augmentation import normalise
from trainable.runs.keys import RunSpec
from trainable.runs.training_run import TrainingRun
from trainable.training.trainer import EVAL_BATCH

ITERATIONS = 3  # the first allocates the optimizers' state, the second has all at once
HEADROOM = 1.15  # of what was reserved: other crops, fragments, the largest validation image
CONTEXT_BYTES = 600e6  # of a process's CUDA context, which torch does not count
SHARES = 10_000  # Ray counts shares of a GPU to four digits


def share(
    reserved: float, total: float, *, cpus: float, gpus: float, cpus_per_trial: float
) -> float:
    """Return the share of a GPU that a training run needs, 1/k for k runs on each.

    Args:
        reserved: The most bytes of GPU memory that torch reserved for one run.
        total: The bytes of memory that the GPU has.
        cpus: How many CPUs the node has.
        gpus: How many GPUs the node has.
        cpus_per_trial: How many CPUs a training run takes.
    """
    by_memory = int(total / (HEADROOM * reserved + CONTEXT_BYTES))
    by_cpus = int(cpus / gpus / cpus_per_trial)
    return math.floor(SHARES / max(1, min(by_memory, by_cpus))) / SHARES


def largest(state: SweepState) -> RunSpec:
    """Return the pending run that takes most GPU memory; where there is none yet, the base's."""
    pending = state.pending()
    if pending:
        return max(pending, key=lambda run: device_bytes(run, state.plan)).spec
    config = state.plan.base.canonical()
    return RunSpec.of(config, [config.readout], state.plan.data.fingerprint)


def measure(values: dict[str, Any]) -> tuple[float, float]:
    """Train a few iterations and validate a batch, in a process of its own.

    Args:
        values: A RunSpec as primitives.

    Returns:
        The most bytes that torch reserved, and the bytes of the GPU.
    """
    spec = RunSpec.from_primitives(values)
    with TemporaryDirectory() as storage, closing(TrainingRun(spec, Path(storage))) as run:
        trainer = run.trainer
        for _ in range(min(ITERATIONS, spec.config.iterations)):
            trainer.step()
        images, _ = next(iter(trainer.data.val.equal_sized(EVAL_BATCH)))
        with torch.no_grad():
            pixels = normalise(images.to(trainer.device), caffe=spec.config.is_caffe)
            trainer.generator.eval()(pixels)
        _, total = torch.cuda.mem_get_info(trainer.device)
        return float(torch.cuda.max_memory_reserved(trainer.device)), float(total)
