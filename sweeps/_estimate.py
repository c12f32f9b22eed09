"""What a plan will cost: training runs, time from measured throughput, memory and disk."""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch

from sweeps._plan import Plan, PlannedRun
from trainable.config import TrialConfig
from trainable.discriminators import build_discriminator
from trainable.generators import build_generator
from trainable.run_folder import KEPT_CHECKPOINTS

BYTES = 4  # of a float32
# What decides the time of an iteration.
COST_FIELDS = (
    "generator",
    "generator_width",
    "output_stride",
    "crop_px",
    "batch_size",
    "discriminator",
    "discriminator_width",
    "precision",
    "memory_format",
    "optimizer_kernels",
    "compile",
    "deterministic",
    "averages_on",
)


def describe(plan: Plan) -> str:
    """Return the plan in words, one fact a line."""
    pending = plan.pending()
    lines = [
        f"{plan.name} on {plan.base.dataset}, sweep {plan.sweep_key}",
        f"trials:          {len(plan.trials)}",
        f"training runs:   {len(plan.runs)} after merging readouts, instead of {len(plan.trials)}",
        f"done already:    {len(plan.runs) - len(pending)}",
        f"training time:   {_time_in_words(plan, pending)}",
    ]
    if pending:
        states = [_state_bytes(run, plan) for run in pending]
        averages = [_averages_bytes(run, plan) for run in pending]
        both = [one + other for one, other in zip(states, averages, strict=True)]
        on_host = plan.base.averages_on == "host"
        host = f" and {_gb(max(averages))} of host memory for averages" if on_host else ""
        device = max(states if on_host else both)
        carried = "" if on_host else " and averages"
        lines += [
            f"device memory:   {_gb(device)} per training run for weights, "
            f"optimizers{carried}{host}; activations come on top",
            f"disk:            {_gb(sum(both))} at most for what stays, and while a run trains "
            f"{_gb(KEPT_CHECKPOINTS * max(both))} of checkpoints, in {plan.storage}",
        ]
    return "\n".join(lines)


def device_bytes(run: PlannedRun, plan: Plan) -> int:
    """Return what a training run keeps on its GPU, activations left out."""
    averages = 0 if plan.base.averages_on == "host" else _averages_bytes(run, plan)
    return _state_bytes(run, plan) + averages


def _time_in_words(plan: Plan, pending: list[PlannedRun]) -> str:
    if not pending:
        return "none"
    speeds = _measured_speeds(plan.storage)
    total_s = 0.0
    for run in pending:
        config = run.spec.config
        known = speeds.get(_cost_key(config))
        if not known:
            return f"not known: no run in {plan.storage} was like these"
        total_s += config.iterations * config.batch_size * len(known) / sum(known)
    clock = time.strftime("%H:%M:%S", time.gmtime(total_s))
    days = f"{int(total_s // 86400)} d " if total_s >= 86400 else ""
    return f"{days}{clock} in one slot, by the throughput of earlier runs"


def _measured_speeds(storage: Path) -> dict[str, list[float]]:
    """Return the images per second of the finished runs in a storage, by what they cost."""
    speeds: dict[str, list[float]] = {}
    for path in sorted(storage.glob("*/result.json")):
        try:
            values = json.loads(path.with_name("config.json").read_bytes())["config"]
            key = _cost_key(TrialConfig(**values))
            speed = json.loads(path.read_bytes())["images_per_s"]
        except (OSError, ValueError, TypeError, KeyError):
            continue  # of another version, or moved away: it has nothing to say here
        speeds.setdefault(key, []).append(speed)
    return speeds


def _cost_key(config: TrialConfig) -> str:
    values = [getattr(config, name) for name in COST_FIELDS]
    return json.dumps([*values, config.adversarial if config.has_adversary else "none"])


def _state_bytes(run: PlannedRun, plan: Plan) -> int:
    """Return the size of a run's weights and momenta: SGD keeps one per weight, Adam two."""
    numbers = 2 * _weights(run.spec.config, len(plan.data.classes))
    with torch.device("meta"):
        discriminator = build_discriminator(run.spec.config, len(plan.data.classes))
    if discriminator is not None:
        numbers += 3 * sum(weight.numel() for weight in discriminator.parameters())
    return BYTES * numbers


def _averages_bytes(run: PlannedRun, plan: Plan) -> int:
    """Return the size of a run's averages: each readout is one copy of the generator."""
    weights = _weights(run.spec.config, len(plan.data.classes))
    return BYTES * len(run.spec.readouts) * weights


def _weights(config: TrialConfig, classes: int) -> int:
    with torch.device("meta"):
        generator = build_generator(config, classes)
    return sum(weight.numel() for weight in generator.parameters())


def _gb(size: int) -> str:
    return f"{size / 1e9:.3f} GB"
