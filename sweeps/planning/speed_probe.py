"""Time a few iterations of a training run, for a plan where no earlier run tells its speed."""

from __future__ import annotations

import dataclasses
import resource
import time
from dataclasses import dataclass

import torch

from trainable.data import datasets
from trainable.runs.keys import RunSpec
from trainable.training.build import build_trainer
from trainable.training.devices import lies_on, pick_device

WARM_UP, TIMED = 2, 3  # iterations
MOST_S = 20.0  # then what was timed so far has to do
LARGE_CROP_PX = 128  # on a CPU: larger ones are measured two at a time, a whole batch fills it


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The speed and the memory of a few iterations.

    Attributes:
        images_per_s: How many images are trained per second, without validation.
        host_gb: The largest resident memory of the process in GB, with the data set's pages.
        device_gb: The most memory that torch allocated on the GPU, in GB; None on a CPU.
    """

    images_per_s: float
    host_gb: float
    device_gb: float | None


def probe(spec: RunSpec, threads: int) -> Probe:
    """Train a few iterations on the real data, with one average, and write nothing.

    Args:
        spec: The training run, of which the first readout is carried.
        threads: How many threads torch uses on a CPU.

    Raises:
        ConfigError: The data cannot be used, or the device does not exist.
    """
    device = pick_device(spec.config.device)
    config = spec.config
    if device.type == "cpu" and config.crop_px > LARGE_CROP_PX:
        config = dataclasses.replace(config, batch_size=min(2, config.batch_size))
    torch.set_num_threads(threads)
    data = datasets.load(config)
    if lies_on(device, config.data_device, data.nbytes):
        data = data.to(device)
    trainer = build_trainer(config, data, spec.readouts[:1], device)
    took: list[float] = []
    begun = time.perf_counter()
    while len(took) < WARM_UP + TIMED and time.perf_counter() - begun < MOST_S:
        started = time.perf_counter()
        # `step` decays to 0 at the end of training, and goes no further.
        trainer.iteration = 0
        trainer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        took.append(time.perf_counter() - started)
    timed = took[WARM_UP:] or took[-1:]
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else None
    return Probe(
        images_per_s=config.batch_size * len(timed) / sum(timed),
        host_gb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        device_gb=peak,
    )
