"""How the arithmetic is done on a device: precision, memory format, kernels, determinism."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from trainable.config.schema import ConfigError, TrialConfig

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


def auto_precision(device: torch.device) -> str:
    """Return what `precision=auto` means on a device of this machine.

    GPUs before Ampere have no bf16 of their own, and emulate it slowly. On a CPU dilated
    convolutions are slower in bf16.
    """
    if device.type != "cuda":
        return "fp32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"


def common_precision(found: Mapping[str, str]) -> str:
    """Return what `precision=auto` means on all of several nodes.

    Args:
        found: What `auto_precision` gives on each node, by the node's name.

    Raises:
        ConfigError: It means one thing here and another there.
    """
    kinds = sorted(set(found.values()))
    if len(kinds) != 1:
        each = ", ".join(f"{precision} on {node}" for node, precision in sorted(found.items()))
        raise ConfigError(
            f"precision=auto must mean the same on every node, but means {each}; "
            "say which with --set precision=VALUE"
        )
    return kinds[0]


def with_precision(config: TrialConfig, auto: str) -> TrialConfig:
    """Return the config with a definite precision, as it must stand in a key.

    Args:
        config: A trial.
        auto: The precision that `precision=auto` means where the trial trains.
    """
    if config.precision != "auto":
        return config
    return dataclasses.replace(config, precision=auto)


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that a device of this machine does not have.

    Raises:
        ConfigError: It would be emulated there.
    """
    if precision == "bf16" and device.type == "cuda" and auto_precision(device) != "bf16":
        raise ConfigError(
            "precision=bf16 needs a GPU that has bf16 (Ampere or later), but "
            f"{torch.cuda.get_device_name(device)} has none; set precision=fp16 or fp32"
        )


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """The numeric settings of a config, `auto` resolved for a device.

    Weights, losses, softmax and averages are fp32 always; `bf16` and `fp16` are the autocast of the
    networks' passes alone.
    """

    device: torch.device
    precision: str
    channels_last: bool
    fused: bool
    compile: bool
    deterministic: bool

    @classmethod
    def of(cls, config: TrialConfig, device: torch.device) -> Self:
        """Resolve the settings of `config`."""
        return cls(
            device=device,
            precision=with_precision(config, auto_precision(device)).precision,
            channels_last=config.memory_format == "channels_last",
            fused=config.optimizer_kernels == "fused",
            compile=config.compile,
            deterministic=config.deterministic,
        )

    @property
    def half(self) -> torch.dtype | None:
        """The type of the networks' passes, None for that of their weights."""
        return HALF.get(self.precision)

    def scaler(self) -> torch.amp.GradScaler:
        """Return what scales a network's loss, so that small gradients do not vanish in fp16.

        A step whose gradients overflow is left out, and the scale halved. Without fp16 the scale is
        1 and no step is left out.
        """
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")

    def apply(self) -> None:
        """Set torch's process-wide switches; a worker that is reused sets them for each run."""
        if self.device.type == "cuda":
            # cuBLAS is deterministic only with a workspace of fixed size, which costs nothing.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(self.deterministic)
        torch.backends.cudnn.deterministic = self.deterministic
        torch.backends.cudnn.benchmark = not self.deterministic
        if self.compile:
            # torch keeps a handful of compiled versions per process, then falls back silently.
            torch.compiler.reset()

    @contextmanager
    def without_search(self) -> Iterator[None]:
        """Keep cuDNN from trying its kernels anew for each size that images of files have."""
        before = torch.backends.cudnn.benchmark
        torch.backends.cudnn.benchmark = False
        try:
            yield
        finally:
            torch.backends.cudnn.benchmark = before

    def place(self, network: nn.Module) -> None:
        """Move a network to the device, in the memory format."""
        network.to(self.device)
        if self.channels_last:
            network.to(memory_format=torch.channels_last)

    def forward_of(self, network: nn.Module) -> Callable[[Tensor], Tensor]:
        """Return the network's training pass: fp32 in and out, whatever the precision inside.

        The network itself stays uncompiled, so that its state keeps its names.
        """
        run: Callable[[Tensor], Tensor] = torch.compile(network) if self.compile else network
        layout = torch.channels_last if self.channels_last else torch.contiguous_format

        def forward(inputs: Tensor) -> Tensor:
            with torch.autocast(self.device.type, dtype=self.half, enabled=self.half is not None):
                outputs = run(inputs.contiguous(memory_format=layout))
            return outputs.float()

        return forward

    def describe(self) -> dict[str, str | bool]:
        """Return the settings as primitives, for the run folder."""
        return {
            "precision": self.precision,
            "memory_format": "channels_last" if self.channels_last else "contiguous",
            "optimizer_kernels": "fused" if self.fused else "plain",
            "compile": self.compile,
            "deterministic": self.deterministic,
        }
