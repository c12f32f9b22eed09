"""How busy this machine is, by the names that MLflow gives its system metrics."""

from __future__ import annotations

import time
from contextlib import suppress

import torch

EVERY_S = 10.0  # between two measurements
MB = 1e6  # bytes, as MLflow has it


class MachineLoad:
    """Measures this machine's processors and memory, and the GPU that this process trains on."""

    def __init__(self) -> None:
        self._measured_at = time.monotonic()
        _of_machine()  # the share of a processor's time is counted from here

    def measured(self) -> list[tuple[str, float]]:
        """Return names and values, none where the last measurement is not EVERY_S ago.

        Source: `mlflow.system_metrics.metrics`, of which these are the names and units.
        """
        if time.monotonic() < self._measured_at + EVERY_S:
            return []
        self._measured_at = time.monotonic()
        return [*_of_machine(), *_of_gpu()]


def _of_machine() -> list[tuple[str, float]]:
    try:
        import psutil
    except ImportError:  # it comes with libraries that one may leave out
        return []
    memory = psutil.virtual_memory()
    return [
        ("cpu_utilization_percentage", psutil.cpu_percent()),
        ("system_memory_usage_megabytes", memory.used / MB),
        ("system_memory_usage_percentage", memory.percent),
    ]


def _of_gpu() -> list[tuple[str, float]]:
    if not torch.cuda.is_initialized():  # type: ignore[no-untyped-call]  # this process trains on the processor
        return []
    free, total = torch.cuda.mem_get_info()
    found = [
        ("gpu_0_memory_usage_megabytes", (total - free) / MB),
        ("gpu_0_memory_usage_percentage", 100 * (total - free) / total),
    ]
    # NVML may be missing, and a part of a GPU has no utilisation of its own.
    with suppress(ImportError, RuntimeError):
        found.append(("gpu_0_utilization_percentage", float(torch.cuda.utilization())))
    return found
