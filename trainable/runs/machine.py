"""What a process trains on and with: written beside its numbers, whose last digits follow from it.

Two CPUs of one kind may still differ in a digit (cache sizes decide how a convolution is cut up);
two of different kinds usually do.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    import torch

THEN = ", then "  # between what a run began with and what it went on with
CPU = "cpu"  # as `device`
# What torch, oneDNN (by two names) and MKL read to use less of a CPU than it has.
LIMITS = (
    "ATEN_CPU_CAPABILITY",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_CBWR",
)


class Setting(TypedDict):
    """What a process trains on and with.

    Attributes:
        torch: The version of torch.
        device: The name of the GPU, or `cpu`.
        cpu: The kind of CPU; see `cpu_kind`.
        threads: How many threads of the CPU torch uses; digits follow from them, too, so a
            repetition takes them over.
        torchvision: The version of torchvision, or `none`.
        python: The version of Python.
        host: The name of the machine.
    """

    torch: str
    device: str
    cpu: str
    threads: int
    torchvision: str
    python: str
    host: str


SETTING = tuple(Setting.__annotations__)


def setting(device: torch.device) -> Setting:
    """Return what this process trains on and with, as primitives."""
    import torch

    is_cuda = device.type == "cuda"
    return {
        "torch": str(torch.__version__),  # a class of its own, which no checkpoint may hold
        "device": torch.cuda.get_device_name(device) if is_cuda else CPU,
        "cpu": cpu_kind(),
        "threads": torch.get_num_threads(),
        "torchvision": torchvision_version(),
        "python": platform.python_version(),
        "host": platform.node(),
    }


def resumed(before: Setting, now: Setting) -> Setting:
    """Return the setting of a run that was begun in one and is resumed in another."""
    return {
        **now,
        "torch": _joined(before["torch"], now["torch"]),
        "device": _joined(before["device"], now["device"]),
        "cpu": _joined(before["cpu"], now["cpu"]),
    }


def _joined(before: str, now: str) -> str:
    return before if before.rpartition(THEN)[2] == now else f"{before}{THEN}{now}"


def cpu_kind() -> str:
    """Return architecture and instruction set that torch uses, and what limits a library to less.

    `x86_64 AVX512`, `aarch64 DEFAULT`, or `x86_64 AVX512 ONEDNN_MAX_CPU_ISA=AVX2`.
    """
    import torch

    limits = [f"{name}={os.environ[name].upper()}" for name in LIMITS if os.environ.get(name)]
    return " ".join([platform.machine(), torch.backends.cpu.get_cpu_capability(), *limits])


@cache
def torchvision_version() -> str:
    """Return the version of torchvision, or `none`; it is not imported for that."""
    try:
        return version("torchvision")
    except PackageNotFoundError:
        return "none"


def processor(setting: Mapping[str, object]) -> str:
    """Return what the numbers were computed on: the GPU, or the kind of CPU."""
    return str(setting["cpu"] if setting["device"] == CPU else setting["device"])
