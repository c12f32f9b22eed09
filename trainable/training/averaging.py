"""Averages of the generator's weights along one trajectory: Eq. 7 and its relatives.

Averaging never feeds back into training, so one training run carries any number of averages and
each equals, bit for bit, what a run made for it alone would give.

An average is one flat vector, so that taking in new weights is one operation whatever the network.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from trainable.config.choices import SWA_BATCH_NORMS, SWA_RULES, imported
from trainable.config.schema import Readout
from trainable.networks.deeplab import DeepLab

Network = TypeVar("Network", bound=nn.Module)
PIECE = 2**19  # numbers: 2 MB of the current weights and of each average

# From a readout and the number of weights averaged so far to the share of the next.
ShareRule = Callable[[Readout, int], float]


def share_eq7(readout: Readout, averaged: int) -> float:
    """Return 1 / (n + 1), n the skip interval: Eq. 7, read literally."""
    return 1 / (readout.swa_n + 1)


def share_uniform(readout: Readout, averaged: int) -> float:
    """Return 1 / (k + 1), k the weights averaged so far: the mean (Izmailov et al., 2018)."""
    return 1 / (averaged + 1)


def share_ema(readout: Readout, averaged: int) -> float:
    """Return 1 - d, d the decay of an exponential moving average."""
    return 1 - readout.swa_decay


class Average:
    """One running average of a generator's weights.

    At iteration `start` the average is the generator's weights; from there on, after every n-th
    generator step beginning with the first, the current weights g enter the average s:
        eq7      s <- (s * n + g) / (n + 1)    n the skip interval (Eq. 7, read literally)
        uniform  s <- (s * k + g) / (k + 1)    k the weights averaged so far (Izmailov et al., 2018)
        ema      s <- s * d + g * (1 - d)      d = `swa_decay`

    Args:
        readout: The rule, n, threshold and batch-norm policy.
        iterations: The length of the whole training, which the threshold is a share of.

    Source: Algorithm 1, lines 8 to 10, with the start of its second line read as theta_gen.
    """

    def __init__(self, readout: Readout, iterations: int) -> None:
        self.readout = readout
        self.start = readout.start(iterations)
        self.averaged = 0
        self.values: dict[str, Tensor] = {}
        self._share: ShareRule = imported(SWA_RULES[readout.swa_rule].share)

    @property
    def parts(self) -> tuple[str, ...]:
        """What is averaged: `weights`, and `statistics` of batch norm where the policy says so."""
        averages = SWA_BATCH_NORMS[self.readout.swa_batch_norm].averages
        return ("weights", "statistics") if averages else ("weights",)

    def is_due(self, iteration: int) -> bool:
        """Whether the weights that the generator's step of `iteration` gave are taken in."""
        since = iteration - self.start
        return since == -1 or (since >= 0 and since % self.readout.swa_n == 0)

    def share(self) -> float:
        """Return the weight with which the next weights enter the average."""
        return self._share(self.readout, self.averaged)


class Averages:
    """All averages that a training run carries.

    Args:
        readouts: The readouts, for each of which there is one average.
        iterations: The length of the whole training.
        generator: The network at iteration 0, on the device that it is trained on.
        on_host: Whether the averages lie in host memory; each takes one copy of the generator.
    """

    def __init__(
        self,
        readouts: Sequence[Readout],
        iterations: int,
        generator: nn.Module,
        *,
        on_host: bool = False,
    ) -> None:
        device = next(generator.parameters()).device
        self.device = torch.device("cpu") if on_host else device
        self.each = [Average(readout, iterations) for readout in readouts]
        self._current: dict[str, Tensor] = {}  # kept, since new memory costs more than the copy
        self.update(-1, generator)

    @torch.no_grad()
    def update(self, iteration: int, generator: nn.Module) -> None:
        """Take in the weights that the generator's step of `iteration` gave, where they are due."""
        due = [average for average in self.each if average.is_due(iteration)]
        for part in {part for average in due for part in average.parts}:
            current = self._flat(generator, part)
            under_way = []
            for average in (average for average in due if part in average.parts):
                if iteration < average.start:
                    average.values[part] = current.clone()
                else:
                    under_way.append((average.values[part], average.share()))
            _take_in(current, under_way)
        for average in due:
            average.averaged += iteration >= average.start

    def _flat(self, generator: nn.Module, part: str) -> Tensor:
        """Return a part of the generator as one vector, each tensor in the order of its memory."""
        vectors = [
            value.as_strided((value.numel(),), (1,)) for _, value in _tensors(generator, part)
        ]
        self._current[part] = torch.cat(vectors, out=self._current.get(part))
        return self._current[part].to(self.device)

    def network(self, average: Average, generator: Network, batches: Iterable[Tensor]) -> Network:
        """Return a copy of the generator with the averaged weights, in evaluation mode.

        Args:
            average: An average of this object (see `each`).
            generator: The network that was trained; it stays as it is.
            batches: Normalised training images [N, 3, S, S], read by the policy `recompute` alone.
        """
        network = copy.deepcopy(generator)
        network.load_state_dict(generator.state_dict() | self.named(average, generator))
        if SWA_BATCH_NORMS[average.readout.swa_batch_norm].recomputes:
            recompute_batch_norm(network, batches)
        return network.eval()

    def named(self, average: Average, generator: nn.Module) -> dict[str, Tensor]:
        """Return an average's values by the names and in the shapes of the generator's tensors."""
        named = {}
        for part, value in average.values.items():
            tensors = dict(_tensors(generator, part))
            pieces = torch.split(value, [tensor.numel() for tensor in tensors.values()])
            for (name, tensor), piece in zip(tensors.items(), pieces, strict=True):
                named[name] = piece.as_strided(tensor.shape, tensor.stride())
        return named

    def state_dict(self) -> list[dict[str, Any]]:
        """Return what `load_state_dict` needs to resume, tensors and primitives only."""
        return [{"values": each.values, "averaged": each.averaged} for each in self.each]

    def load_state_dict(self, states: Sequence[dict[str, Any]]) -> None:
        """Resume from a `state_dict`, with copies of its tensors where the averages lie."""
        for average, state in zip(self.each, states, strict=True):
            average.averaged = state["averaged"]
            average.values = {
                part: value.to(self.device, copy=True) for part, value in state["values"].items()
            }


def _take_in(current: Tensor, averages: Sequence[tuple[Tensor, float]]) -> None:
    """Move each average towards the current weights by its share of the difference.

    On a CPU piece by piece, so that a piece of the current weights stays in the cache for all.
    """
    size = PIECE if current.device.type == "cpu" else max(1, current.numel())
    for start in range(0, current.numel(), size):
        piece = slice(start, start + size)
        for value, share in averages:
            value[piece].lerp_(current[piece], share)


def _tensors(generator: nn.Module, part: str) -> Iterator[tuple[str, Tensor]]:
    if part == "weights":
        yield from generator.named_parameters()
    else:
        yield from (
            (n, value) for n, value in generator.named_buffers() if value.is_floating_point()
        )


@torch.no_grad()
def recompute_batch_norm(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Estimate the running statistics of every batch norm afresh, as the mean over `batches`.

    Averaged weights produce activations that no iterate's statistics describe. Everything else
    stands still, as in the evaluation that the statistics are for: dropout would make them follow
    from what was drawn before. Batch norms whose statistics are frozen stay as they are.

    Source: Izmailov et al. (2018), section 3.2.
    """
    norms = _trained_norms(network)
    network.eval()
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to ask for the cumulative mean
    run = network.estimate_norms if isinstance(network, DeepLab) else network
    for images in batches:
        run(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()


def _trained_norms(network: nn.Module) -> list[_BatchNorm]:
    """Return the batch norms that estimate statistics in training; the network is left in it."""
    network.train()
    return [one for one in network.modules() if isinstance(one, _BatchNorm) and one.training]
