"""What a training step takes beside others in the same process: time, operations and memory."""

from __future__ import annotations

import dataclasses
import math
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from trainable.benchmarking.plain_loop import PlainLoop
from trainable.config.schema import TrialConfig
from trainable.data.datasets import DataSet, Split
from trainable.data.sources.labels import VOID
from trainable.training.build import build_trainer
from trainable.training.devices import lies_on
from trainable.training.numerics import Numerics

Array = NDArray[np.float64]
Step = Callable[[], object]


class Ratio(TypedDict):
    """How the time of another kind of step compares with ours.

    Attributes:
        ratio: Its median over ours.
        interval: The middle 95 % of the ratio, over resampled rounds.
    """

    ratio: float
    interval: list[float]


class Compared(Ratio):
    """A ratio, and the other's own times.

    Attributes:
        ms_per_iteration: What `summary` says of them.
    """

    ms_per_iteration: dict[str, float]


OURS, BASELINE, WITHOUT_READOUTS = "ours", "baseline", "without_readouts"
IMAGES = 32  # in the random data set
PATCH_PX = 16  # side of a patch of one label
# Iterations: in training, too, the host runs ahead of a GPU, which a round waits for once.
PER_ROUND = {"cpu": 1, "cuda": 10}
WARMUP = {"cpu": 2, "cuda": 20}
MATMUL_SIDES = {"cpu": (512, 1024), "cuda": (2048, 4096, 8192)}
MATMULS = 5  # timed at once
RESAMPLINGS = 2000  # of the rounds, for an interval
SHOWN = (
    "generator",
    "crop_px",
    "batch_size",
    "adversarial",
    "averages_on",
    "data_device",
    "swa_n",
    "seed",
)


def benchmark(
    config: TrialConfig,
    others: Mapping[str, TrialConfig],
    device: torch.device,
    *,
    classes: int,
    readouts: int,
    rounds: int,
    warmup: int | None = None,
    baseline: bool = False,
) -> dict[str, object]:
    """Time `config` beside what it is to be compared with.

    Args:
        config: The trial to train, with so many iterations that it never ends.
        others: The configs to compare with, by name.
        device: The device to train on.
        classes: The number of classes of the random data set.
        readouts: How many averages to carry, each as `config` says.
        rounds: How often each is timed.
        warmup: Iterations before the first round; None is the device's default.
        baseline: Whether to compare with the plain loop, too.

    Returns:
        What the command prints. In `compared` a `ratio` is the other's time over ours; `speedup` is
        the baseline's, and `readouts_cost` the share of time that carrying the averages adds.
    """
    data = random_data(config, classes, device)
    flop = flop_of_step(config, data, device)
    carried = [config.readout] * readouts
    ours = build_trainer(config, data, carried, device)
    warm_up = partial(seconds_of, count=warmup or WARMUP[device.type])
    peak = peak_memory(partial(warm_up, ours.step), device)
    steps: dict[str, Step] = {OURS: ours.step}
    for name, other in others.items():
        its_data = random_data(other, classes, device)
        steps[name] = build_trainer(other, its_data, carried, device).step
    if readouts:
        steps[WITHOUT_READOUTS] = build_trainer(config, data, [], device).step
    if baseline:
        steps[BASELINE] = PlainLoop(config, data, device).step
    for step in steps.values():
        warm_up(step)

    cycle = config.swa_n if readouts else 1  # every round averages as often as the next
    per_round = cycle * math.ceil(PER_ROUND[device.type] / cycle)
    ms = time_in_turn(steps, rounds=rounds, per_round=per_round)
    compared = _compared(ms)
    seconds = float(np.median(ms[OURS])) / 1000
    matmul = matmul_rate(device, ours.numerics.half or torch.float32)
    return {
        **_setting(config, ours.numerics, device),
        "classes": classes,
        "readouts": readouts,
        "rounds": rounds,
        "iterations_per_round": per_round,
        "ms_per_iteration": summary(ms[OURS]),
        "images_per_s": config.batch_size / seconds,
        "flop_per_iteration": flop,
        "flop_per_s": flop / seconds,
        "matmul_flop_per_s": matmul,
        "share": flop / seconds / matmul,
        **peak,
        "compared": compared,
        "speedup": compared[BASELINE]["ratio"] if baseline else None,
        "readouts_cost": 1 / compared[WITHOUT_READOUTS]["ratio"] - 1 if readouts else None,
    }


def _compared(ms: Mapping[str, Array]) -> dict[str, Compared]:
    """Return how the times of all other kinds of steps compare with ours."""
    return {
        name: {"ms_per_iteration": summary(theirs), **ratio(theirs, ms[OURS])}
        for name, theirs in ms.items()
        if name != OURS
    }


def _setting(config: TrialConfig, numerics: Numerics, device: torch.device) -> dict[str, object]:
    """Return what was timed, and on what."""
    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "config": {name: getattr(config, name) for name in SHOWN} | numerics.describe(),
    }


def random_data(config: TrialConfig, classes: int, device: torch.device) -> DataSet:
    """Return noise a little larger than a crop, with patches of labels, some of them void.

    It lies where the config's `data_device` says.
    """
    drawn = torch.Generator().manual_seed(config.seed)
    patches = math.ceil(1.2 * config.crop_px / PATCH_PX)
    side = patches * PATCH_PX
    images = torch.randint(256, (IMAGES, 3, side, side), generator=drawn, dtype=torch.uint8)
    labels = torch.randint(classes + 1, (IMAGES, patches, patches), generator=drawn)
    labels = labels.masked_fill(labels == classes, VOID).to(torch.uint8)
    labels = labels.repeat_interleave(PATCH_PX, dim=1).repeat_interleave(PATCH_PX, dim=2)
    split = Split.of_equal(images, labels)
    names = tuple(str(index) for index in range(classes))
    data = DataSet(train=split, val=split, classes=names, fingerprint="")
    return data.to(device) if lies_on(device, config.data_device, data.nbytes) else data


def flop_of_step(config: TrialConfig, data: DataSet, device: torch.device) -> int:
    """Count the operations of one training step's convolutions, two per multiply-add.

    Compiled code hides them, so here the networks run as they are written.
    """
    trainer = build_trainer(dataclasses.replace(config, compile=False), data, [], device)
    with FlopCounterMode(display=False) as counter:
        trainer.step()
    flop: int = counter.get_total_flops()
    return flop


def matmul_rate(device: torch.device, kind: torch.dtype) -> float:
    """Return the FLOP/s of the fastest square matrix product of a few sizes.

    From here on the process multiplies fp32 matrices as cuDNN convolves: as tf32, if it does so.
    """
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    rates = []
    for side in MATMUL_SIDES[device.type]:
        matrix = torch.randn(side, side, device=device).to(kind)
        product = partial(torch.mm, matrix, matrix)
        seconds_of(product, 2)
        rates.append(MATMULS * 2 * side**3 / seconds_of(product, MATMULS))
    return max(rates)


def peak_memory(run: Callable[[], object], device: torch.device) -> dict[str, object]:
    """Return the most memory that was in use by the end of a run, in GB, and which memory it is."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        run()
        peak, kind = torch.cuda.max_memory_allocated(device), "tensors on the device"
    else:
        run()
        unit = 1 if sys.platform == "darwin" else 1024
        peak, kind = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "whole process"
    return {"peak_memory_gb": peak / 1e9, "peak_memory_kind": kind}


def seconds_of(step: Step, count: int) -> float:
    """Return the seconds that `count` steps take, a GPU's work included."""
    started = time.perf_counter()
    for _ in range(count):
        step()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def time_in_turn(steps: Mapping[str, Step], *, rounds: int, per_round: int) -> dict[str, Array]:
    """Return the milliseconds per iteration of each kind of step, by round.

    Every other round goes through them backwards, so that none always follows the same one.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for index in range(rounds):
        for name in sorted(steps, reverse=index % 2 == 1):
            seconds[name].append(seconds_of(steps[name], per_round))
    return {name: np.array(each) * 1000 / per_round for name, each in seconds.items()}


def summary(ms: Array) -> dict[str, float]:
    """Return median, minimum and quartiles over the rounds."""
    low, median, high = np.quantile(ms, (0.25, 0.5, 0.75)).tolist()
    return {"median": median, "min": float(ms.min()), "q1": low, "q3": high}


def ratio(theirs: Array, ours: Array) -> Ratio:
    """Return the ratio of the medians of two kinds of steps that were timed in the same rounds."""
    rounds = np.random.default_rng(0).integers(len(ours), size=(RESAMPLINGS, len(ours)))
    ratios = np.median(theirs[rounds], axis=1) / np.median(ours[rounds], axis=1)
    return {
        "ratio": float(np.median(theirs) / np.median(ours)),
        "interval": np.quantile(ratios, (0.025, 0.975)).tolist(),
    }
