"""Averages of the generator's weights along one trajectory: Eq. 7 and its relatives.

Averaging never feeds back into training, so one training run carries any number of averages and
each equals, bit for bit, what a run made for it alone would give.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from trainable.config import Readout


class Average:
    """One running average of a generator's weights.

    At iteration `start` the average is the generator's weights; from there on, after every n-th
    generator step beginning with the first, the current weights g enter the average s:
        eq7      s <- (s * n + g) / (n + 1)    n the skip interval (Eq. 7, read literally)
        uniform  s <- (s * k + g) / (k + 1)    k the weights averaged so far (Izmailov et al., 2018)
        ema      s <- s * d + g * (1 - d)      d = `swa_decay`

    Args:
        readout: Rule, n, threshold and batch-norm policy.
        iterations: Length of the whole training, which the threshold is a share of.
        generator: The network at iteration 0.

    Source: Algorithm 1, lines 8 to 10, with the start of its second line read as theta_gen.
    """

    def __init__(self, readout: Readout, iterations: int, generator: nn.Module) -> None:
        self.readout = readout
        self.start = readout.start(iterations)
        self.averaged = 0
        self.weights: dict[str, Tensor] = {}
        if self.start == 0:
            self._begin(generator)

    @torch.no_grad()
    def update(self, iteration: int, generator: nn.Module) -> None:
        """Take in the weights that the generator's step of `iteration` gave."""
        if iteration == self.start - 1:
            self._begin(generator)
        if iteration < self.start or (iteration - self.start) % self.readout.swa_n:
            return
        share = self._share()
        current = generator.state_dict()
        for name, weight in self.weights.items():
            weight.lerp_(current[name], share)
        self.averaged += 1

    def _begin(self, generator: nn.Module) -> None:
        names = {name for name, _ in generator.named_parameters()}
        if self.readout.swa_batch_norm == "average":
            names |= {
                name for name, value in generator.named_buffers() if value.is_floating_point()
            }
        state = generator.state_dict()
        self.weights = {name: state[name].clone() for name in state if name in names}

    def _share(self) -> float:
        """Return the weight with which the next weights enter the average."""
        if self.readout.swa_rule == "eq7":
            return 1 / (self.readout.swa_n + 1)
        if self.readout.swa_rule == "uniform":
            return 1 / (self.averaged + 1)
        return 1 - self.readout.swa_decay

    def averaged_network(self, generator: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
        """Return a copy of the generator with the averaged weights, in evaluation mode.

        Args:
            generator: The network that was trained; it stays as it is.
            batches: Normalised training images [N, 3, S, S], read by the policy `recompute` alone.
        """
        network = copy.deepcopy(generator)
        network.load_state_dict(generator.state_dict() | self.weights)
        if self.readout.swa_batch_norm == "recompute":
            recompute_batch_norm(network, batches)
        return network.eval()

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to go on, tensors and primitives only."""
        return {"weights": self.weights, "averaged": self.averaged}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from a `state_dict`, with copies of its tensors on the generator's device."""
        self.weights = {
            name: value.to(device, copy=True) for name, value in state["weights"].items()
        }
        self.averaged = state["averaged"]


@torch.no_grad()
def recompute_batch_norm(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Estimate the running statistics of every batch norm afresh, as the mean over `batches`.

    Averaged weights produce activations that no iterate's statistics describe.

    Source: Izmailov et al. (2018), section 3.2.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to ask for the cumulative mean
    network.train()
    for images in batches:
        network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
