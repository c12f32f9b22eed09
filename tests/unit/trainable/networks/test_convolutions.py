"""Strided 1x1 convolutions: in no network of ours, with the same values, on every processor."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torchvision
from kernel_sweep import Shape, faults
from torch import nn

from trainable.config.choices import DISCRIMINATORS, GENERATORS, imported
from trainable.config.schema import TrialConfig
from trainable.networks.build import build_discriminator, build_generator
from trainable.networks.convolutions import StridedPointwise, without_strided_1x1
from trainable.networks.deeplab import DeepLab

pytestmark = pytest.mark.trains


def plain_strided_1x1(network: nn.Module) -> list[str]:
    """Return the layers that would call oneDNN's strided 1x1 kernels."""
    return [
        name
        for name, layer in network.named_modules()
        if isinstance(layer, nn.Conv2d) and not isinstance(layer, StridedPointwise)
        if layer.kernel_size == (1, 1) and layer.stride != (1, 1)
    ]


@pytest.mark.parametrize("layout", ["caffe", "torchvision"])
@pytest.mark.parametrize("name", GENERATORS)
def test_no_generator_has_a_strided_1x1_convolution(name: str, layout: str) -> None:
    config = TrialConfig(generator=name, trunk_layout=layout)
    with torch.device("meta"):
        strided = plain_strided_1x1(imported(GENERATORS[name].builder)(config, 7))
        network = build_generator(config, 7)
    layers = dict(network.named_modules())
    assert plain_strided_1x1(network) == []
    assert [name for name in layers if isinstance(layers[name], StridedPointwise)] == strided
    assert strided or not isinstance(network, DeepLab)


@pytest.mark.parametrize(
    "config",
    [
        TrialConfig(adversarial="standard"),
        *(TrialConfig(discriminator=name) for name in DISCRIMINATORS),
    ],
)
def test_no_discriminator_has_a_strided_1x1_convolution(config: TrialConfig) -> None:
    with torch.device("meta"):
        network = build_discriminator(config, 7)
    assert network is not None
    assert plain_strided_1x1(network) == []


def test_any_network_can_be_rid_of_them_and_computes_the_same() -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.resnet18(weights=None, num_classes=3)
    ours = without_strided_1x1(copy.deepcopy(theirs))
    assert len(plain_strided_1x1(theirs)) == 3
    assert plain_strided_1x1(ours) == plain_strided_1x1(copy.deepcopy(ours)) == []
    assert ours.layer2[0].downsample[0].stride == (2, 2)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    images = torch.rand(2, 3, 65, 49)
    for network in (ours, theirs):
        network(images).square().sum().backward()
    gradients = ([weight.grad for weight in network.parameters()] for network in (ours, theirs))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-4)


class Own(nn.Conv2d):
    """A layer with a forward of its own."""


@pytest.mark.parametrize(
    "layer",
    [
        Own(2, 2, 1, stride=2),
        nn.Conv2d(2, 2, 1),
        nn.Conv2d(2, 2, 3, stride=2),
        nn.Conv2d(2, 2, 1, stride=2, padding=1),
    ],
)
def test_other_layers_stay_as_they_are(layer: nn.Conv2d) -> None:
    before = type(layer)
    assert type(without_strided_1x1(layer)) is before


@pytest.mark.parametrize(
    "values",
    [{}, {"padding": "valid"}, {"groups": 2}, {"bias": False}, {"stride": (1, 3)}, {"stride": 3}],
)
def test_a_layer_gives_the_values_of_the_one_it_replaces(values: dict[str, Any]) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 6, 1, **{"stride": 2, **values}, dtype=torch.float64)
    ours = without_strided_1x1(copy.deepcopy(plain))
    assert isinstance(ours, StridedPointwise)
    for height, width in ((7, 10), (1, 1), (2, 3)):
        images = torch.rand(2, 4, height, width, dtype=torch.float64)
        torch.testing.assert_close(ours(images), plain(images))


def test_narrow_layers_write_only_where_they_may_on_a_processor_with_avx2_alone() -> None:
    # oneDNN 3.13.3 corrupts the heap where the channels are 2 to 7, laid out last, on one thread.
    shapes = [
        Shape(
            layer="conv",
            channels_in=channels_in,
            channels_out=8,
            kernel=kernel,
            stride=stride,
            dilation=1,
            padding=kernel // 2,
            channels_last=True,
            threads=1,
            isa="AVX2",
        )
        for channels_in in (2, 4, 7)
        for kernel, stride in ((1, 2), (1, 3), (3, 2))
    ]
    assert list(faults(shapes)) == []
