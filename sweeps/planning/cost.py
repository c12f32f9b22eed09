"""What a plan will cost: training runs, time from measured throughput, memory and disk.

Merging is by equality of every field but the readout's, so what a readout decides must not reach
the training: an average that is fed back into it, a learning rate or a stop that follows an
average, or a validation that draws random numbers would forbid it. None of these exists here;
a field that brought one in would have to be left out of `READOUT_FIELDS`, and would not merge.
"""

from __future__ import annotations

import dataclasses
import heapq
import json
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch

from analysis.stats.rounding import count
from sweeps.planning.counts import describe_earlier
from sweeps.planning.noise import Earlier, noise_of, power_lines, results_in_storage_of
from sweeps.planning.plan import Plan, PlannedRun
from sweeps.planning.speed_probe import Probe
from sweeps.planning.state import SweepState
from trainable.cli.durations import format_roughly, format_seconds
from trainable.config.schema import TrialConfig
from trainable.networks.build import build_discriminator, build_generator
from trainable.runs.folder import KEPT_CHECKPOINTS
from trainable.runs.keys import RunSpec

Measure = Callable[[RunSpec], Probe]

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


def describe(
    state: SweepState,
    measure: Measure | None = None,
    *,
    slots: int | None = None,
    searching: bool = False,
) -> str:
    """Return in words what a sweep will cost and what it could show, one fact a line.

    Args:
        state: The state of the sweep, with the trials that it begins with.
        measure: Times a few iterations where no earlier run says what they take; None where this
            machine is not the one that trains.
        slots: How many training runs are under way at a time; None where that is not known.
        searching: As in `power_lines`.
    """
    earlier = [*results_in_storage_of(state)]
    pending, trials = state.pending(), len(state.trials)
    plan = state.plan
    lines = [
        f"{plan.name} on {plan.base.dataset}, sweep {plan.sweep_key}",
        f"trials:          {trials}",
        f"training runs:   {len(state.runs)} after merging readouts, instead of {trials}",
        f"done already:    {len(state.runs) - len(pending)}",
        *(f"known besides:   {said}" for said in describe_earlier(state)),
        *_times(state, pending, measure, earlier, slots),
    ]
    if pending:
        states = [_state_bytes(run, plan) for run in pending]
        averages = [_averages_bytes(run, plan) for run in pending]
        both = [one + other for one, other in zip(states, averages, strict=True)]
        on_host = state.plan.base.averages_on == "host"
        host = f" and {_gb(max(averages))} of host memory for averages" if on_host else ""
        device = max(states if on_host else both)
        carried = "" if on_host else " and averages"
        lines += [
            f"device memory:   {_gb(device)} per training run for weights, "
            f"optimizers{carried}{host}; activations come on top",
            f"disk:            {_gb(sum(both))} at most for what stays, and while a run trains "
            f"{_gb(KEPT_CHECKPOINTS * max(both))} of checkpoints, in {state.plan.storage}",
        ]
    noise = noise_of(plan, earlier)
    return "\n".join([*lines, *power_lines(state, noise, searching=searching)])


def _times(
    state: SweepState,
    pending: Sequence[PlannedRun],
    measure: Measure | None,
    earlier: Sequence[Earlier],
    slots: int | None,
) -> list[str]:
    """Return the lines on time: of what is to be trained, and of one training per trial."""
    naive = f"naive sweep:     {len(state.trials)} training runs, one per trial"
    if not pending:
        return ["training time:   none", naive]
    speeds = {key: sum(known) / len(known) for key, known in _measured_speeds(earlier).items()}
    source, probed = "by the throughput of earlier runs", list[Probe]()
    for run in state.runs:
        key = _cost_key(run.spec.config)
        if key not in speeds and measure is not None:
            probed.append(measure(run.spec))
            speeds[key] = probed[-1].images_per_s
            source = f"by a few iterations: no run in {state.plan.storage} was like these"
    if any(_cost_key(run.spec.config) not in speeds for run in state.runs):
        return [f"training time:   not known: no run in {state.plan.storage} was like these", naive]
    took = [_seconds(run, speeds) for run in pending]
    each = format_seconds(sum(_seconds(run, speeds) * len(run.trials) for run in state.runs))
    total = format_seconds(sum(took))
    return [
        f"training time:   {total} in one slot, {source}; validations come on top",
        *_wall_time(took, slots),
        f"{naive}, {each} in one slot",
        *_memory(probed),
    ]


def _memory(probed: Sequence[Probe]) -> list[str]:
    """Return the line on what the few iterations held, if there were some."""
    if not probed:
        return []
    host = f"host memory:     {max(probe.host_gb for probe in probed):.2f} GB in a few iterations"
    devices = [probe.device_gb for probe in probed if probe.device_gb is not None]
    return [host + (f", {max(devices):.2f} GB on the GPU with one average" if devices else "")]


def device_bytes(run: PlannedRun, plan: Plan) -> int:
    """Return what a training run keeps on its GPU, activations left out."""
    averages = 0 if plan.base.averages_on == "host" else _averages_bytes(run, plan)
    return _state_bytes(run, plan) + averages


def _seconds(run: PlannedRun, speeds: dict[str, float]) -> float:
    config = run.spec.config
    return config.iterations * config.batch_size / speeds[_cost_key(config)]


def _wall_time(took_s: Sequence[float], slots: int | None) -> list[str]:
    """Return the line on how long runs of these times take side by side, each in the next slot."""
    if slots is None:
        return []
    ends = [0.0] * slots
    for seconds in took_s:
        heapq.heapreplace(ends, ends[0] + seconds)
    return [f"wall time:       about {format_roughly(max(ends))} on {count(slots, 'slot')}"]


def _measured_speeds(earlier: Sequence[Earlier]) -> dict[str, list[float]]:
    """Return the images per second of finished runs, by what they cost."""
    speeds: dict[str, list[float]] = {}
    for config, result in earlier:
        speeds.setdefault(_cost_key(config), []).append(result.images_per_s)
    return speeds


def _cost_key(config: TrialConfig) -> str:
    values = [getattr(config, name) for name in COST_FIELDS]
    return json.dumps([*values, config.adversarial if config.has_adversary else "none"])


def _state_bytes(run: PlannedRun, plan: Plan) -> int:
    """Return the size of a run's weights and momenta: SGD keeps one per weight, Adam two."""
    generator, discriminator = _weights(_sized_like(run.spec.config), len(plan.data.classes))
    return BYTES * (2 * generator + 3 * discriminator)


def _averages_bytes(run: PlannedRun, plan: Plan) -> int:
    """Return the size of a run's averages: each readout is one copy of the generator."""
    generator, _ = _weights(_sized_like(run.spec.config), len(plan.data.classes))
    return BYTES * len(run.spec.readouts) * generator


def _sized_like(config: TrialConfig) -> TrialConfig:
    """Return one config for all whose networks differ in no size: in seed, weights and rates."""
    return dataclasses.replace(
        config,
        seed=0,
        lambda_adv=1.0 if config.has_adversary else 0.0,
        lr_generator=1.0,
        lr_discriminator=1.0,
    )


@lru_cache(maxsize=256)
def _weights(config: TrialConfig, classes: int) -> tuple[int, int]:
    """Return how many weights generator and discriminator have, which are built without memory."""
    with torch.device("meta"):
        networks = build_generator(config, classes), build_discriminator(config, classes)
    generator, discriminator = (
        0 if one is None else sum(weight.numel() for weight in one.parameters()) for one in networks
    )
    return generator, discriminator


def _gb(size: int) -> str:
    return f"{size / 1e9:.3f} GB"
