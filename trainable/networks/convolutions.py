"""Strided 1x1 convolutions in a form that every processor computes rightly."""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class StridedPointwise(nn.Conv2d):
    """A 1x1 convolution that reads every s-th row and column, as a slice and one of stride 1.

    For the weights' gradient of a strided one oneDNN 3.13.3 writes outside its buffer on processors
    with AVX2 and no AVX-512, where 2 to 7 channels are laid out last and one thread works.
    """

    def forward(self, images: Tensor) -> Tensor:
        down, across = self.stride
        # A copy, whose layout is plain: an exported program would be tied to sizes by a view's.
        read = images[..., ::down, ::across].clone()
        output: Tensor = nn.functional.conv2d(read, self.weight, self.bias, groups=self.groups)
        return output


def without_strided_1x1(network: Network) -> Network:
    """Turn each strided 1x1 convolution of a network into a `StridedPointwise`, in place.

    Weights, their names and what is computed stay; so do subclasses with a forward of their own.
    """
    for module in network.modules():
        if type(module) is nn.Conv2d and _is_strided_1x1(module):
            module.__class__ = StridedPointwise
    return network


def _is_strided_1x1(layer: nn.Conv2d) -> bool:
    return (
        layer.kernel_size == (1, 1)
        and layer.stride != (1, 1)
        and layer.padding in ((0, 0), "valid")
    )
