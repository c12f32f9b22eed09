"""Activation checkpointing: a block's activations are computed again for its backward pass.

Memory for time, and the same bits: what the second pass draws is what the first drew, and it leaves
the running statistics of batch norm alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from trainable.config.schema import ConfigError

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
LEAST_CONVOLUTIONS = 2  # of what is a block: of a single layer nothing would be saved


def recompute_blocks(network: nn.Module) -> None:
    """Let the blocks of a network, such as a ResNet's, compute their activations again.

    Args:
        network: A network that has blocks in a row; its weights and their names stay.

    Raises:
        ConfigError: It has none.
    """
    blocks = list(_blocks(network))
    if not blocks:
        raise ConfigError(
            "activation_checkpointing needs a generator with blocks in a row (a nn.Sequential of "
            f"modules of {LEAST_CONVOLUTIONS} convolutions each), but this one has none; set "
            "activation_checkpointing=false"
        )
    for block in blocks:
        block.forward = partial(_checkpointed, block, type(block).forward)


def _blocks(network: nn.Module) -> Iterator[nn.Module]:
    """Yield the outermost blocks of a network."""
    for child in network.children():
        row = list(child.children()) if isinstance(child, nn.Sequential | nn.ModuleList) else []
        blocks = [one for one in row if _is_block(one)]
        if blocks:
            yield from blocks
        else:
            yield from _blocks(child)


def _is_block(module: nn.Module) -> bool:
    convolutions = sum(isinstance(one, nn.Conv2d) for one in module.modules())
    return not isinstance(module, nn.Sequential) and convolutions >= LEAST_CONVOLUTIONS


def _checkpointed(block: nn.Module, forward: Callable[..., Any], *inputs: Any, **more: Any) -> Any:
    run = partial(forward, block)
    if not torch.is_grad_enabled():
        return run(*inputs, **more)
    contexts = partial(_contexts, block)
    return checkpoint(run, *inputs, use_reentrant=False, context_fn=contexts, **more)


def _contexts(
    block: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return what surrounds the first and the second pass of a block."""
    return nullcontext(), _statistics_left_alone(block)


@contextmanager
def _statistics_left_alone(block: nn.Module) -> Iterator[None]:
    """Let the running statistics of batch norms stand still, and count no batch."""
    norms = [one for one in block.modules() if isinstance(one, NORMS)]
    before = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
