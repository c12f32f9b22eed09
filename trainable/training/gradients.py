"""What is done with gradients between the backward pass and the step, and with a batch in parts."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def clip(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    largest: float,
) -> None:
    """Shorten a network's gradients, all together, to a norm of at most `largest`."""
    scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(network.parameters(), largest)


def add_up(sums: dict[str, Tensor], parts: dict[str, Tensor]) -> None:
    """Add the shares of a part of a batch to those of the parts before it, in place."""
    for name, share in parts.items():
        sums[name] = sums[name] + share if name in sums else share
