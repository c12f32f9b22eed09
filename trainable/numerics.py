"""How the arithmetic is done on a device: precision, memory format, kernels, determinism."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from trainable.config import TrialConfig


@dataclass(frozen=True, kw_only=True)
class Numerics:
    """The numeric settings of a config, `auto` resolved for a device.

    Weights, losses, softmax and averages are fp32 always; `bf16` is the autocast of the networks'
    passes alone.
    """

    device: torch.device
    bf16: bool
    channels_last: bool
    fused: bool
    compile: bool
    deterministic: bool

    @classmethod
    def of(cls, config: TrialConfig, device: torch.device) -> Self:
        """Resolve the settings of `config`.

        On a CPU `auto` is fp32: dilated convolutions in bf16 are slower there.
        """
        bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return cls(
            device=device,
            bf16=bf16 if config.precision == "auto" else config.precision == "bf16",
            channels_last=config.memory_format == "channels_last",
            fused=config.optimizer_kernels == "fused",
            compile=config.compile,
            deterministic=config.deterministic,
        )

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
        """Return the network's training pass: fp32 in and out, whatever goes on inside.

        The network itself stays uncompiled, so that its state keeps its names.
        """
        run: Any = torch.compile(network) if self.compile else network
        layout = torch.channels_last if self.channels_last else torch.contiguous_format

        def forward(inputs: Tensor) -> Tensor:
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
                outputs: Tensor = run(inputs.contiguous(memory_format=layout))
            return outputs.float()

        return forward

    def describe(self) -> dict[str, Any]:
        """Return the settings as primitives, for the run folder."""
        return {
            "precision": "bf16" if self.bf16 else "fp32",
            "memory_format": "channels_last" if self.channels_last else "contiguous",
            "optimizer_kernels": "fused" if self.fused else "plain",
            "compile": self.compile,
            "deterministic": self.deterministic,
        }
