"""Networks: equal to torchvision's where they should be, and their sizes in and out."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from trainable.config import DISCRIMINATORS, GENERATORS, TrialConfig
from trainable.discriminators import build_discriminator
from trainable.generators import (
    RESNETS,
    BasicBlock,
    Bottleneck,
    Trunk,
    build_generator,
    deeplab_small,
    deeplabv2_resnet101,
    deeplabv3,
)

META = torch.device("meta")  # shapes without arithmetic


def settle(network: nn.Module) -> None:
    """Put the network in evaluation, its batch norms with values of their own."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.5, 1)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(std=0.1)
    network.eval()


@torch.no_grad()
def features(network: nn.Module, images: Tensor) -> Tensor:
    """Return what torchvision's ResNet computes up to `layer4`."""
    for name, module in network.named_children():
        if name not in ("avgpool", "fc"):
            images = module(images)
    return images


@pytest.mark.parametrize(
    ("name", "dilated"), [("resnet18", False), ("resnet50", True), ("resnet101", False)]
)
def test_the_trunk_is_torchvisions_resnet_with_the_same_names(name: str, dilated: bool) -> None:
    torch.manual_seed(0)
    block, blocks = RESNETS[name]
    strides = {"replace_stride_with_dilation": (False, True, True)} if dilated else {}
    reference = getattr(torchvision.models, name)(weights=None, **strides)
    settle(reference)
    state = {k: v for k, v in reference.state_dict().items() if not k.startswith("fc.")}
    trunk = Trunk(block, blocks, dilations=(1, 1, 2, 4) if dilated else (1, 1, 1, 1))
    trunk.load_state_dict(state, strict=True)
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        ours = trunk.eval()(images)
    assert ours.shape[1] == trunk.channels
    torch.testing.assert_close(ours, features(reference, images))


@pytest.mark.parametrize(
    ("block", "caffe"), [(BasicBlock, False), (Bottleneck, False), (Bottleneck, True)]
)
def test_dilation_in_place_of_stride_changes_no_feature_but_adds_those_between(
    block: type[BasicBlock] | type[Bottleneck], caffe: bool
) -> None:
    torch.manual_seed(0)

    def trunk(*dilations: int) -> Trunk:
        return Trunk(block, (1, 1, 2, 2), width=4, dilations=dilations, stride_in_1x1=caffe)

    strided, dilated = trunk(1, 1, 1, 1), trunk(1, 1, 2, 4)
    settle(strided)
    dilated.load_state_dict(strided.state_dict())
    images = torch.randn(1, 3, 129, 129)
    with torch.no_grad():
        coarse, fine = strided(images), dilated.eval()(images)
    assert coarse.shape[-1] < fine.shape[-1]
    torch.testing.assert_close(fine[..., ::4, ::4], coarse)


def test_deeplabv2_has_the_papers_size() -> None:
    with META:
        network = deeplabv2_resnet101(21)
        assert sum(weight.numel() for weight in network.parameters()) == 44_048_532
        assert network.trunk(torch.empty(1, 3, 321, 321)).shape == (1, 2048, 41, 41)
        assert network.head(torch.empty(1, 2048, 41, 41)).shape == (1, 21, 41, 41)


def test_deeplabv2_has_the_caffe_layout_and_the_papers_aspp() -> None:
    # Stride in the first 1x1 convolution, pooling that rounds up, one dilation for a stage.
    with META:
        network = deeplabv2_resnet101(21)
        stem = network.trunk.maxpool(network.trunk.conv1(torch.empty(1, 3, 320, 320)))
    assert stem.shape[-1] == 81
    for stage, stride, dilation in ((2, 2, 1), (3, 1, 2), (4, 1, 4)):
        for index, block in enumerate(network.trunk.get_submodule(f"layer{stage}").children()):
            assert isinstance(block, Bottleneck)
            first = index == 0
            assert block.conv1.stride == ((stride, stride) if first else (1, 1))
            assert (block.conv2.stride, block.conv2.dilation) == ((1, 1), (dilation, dilation))
    branches = network.head.get_submodule("conv2d_list").children()
    for rate, branch in zip((6, 12, 18, 24), branches, strict=True):
        assert isinstance(branch, nn.Conv2d)
        assert branch.kernel_size == (3, 3)
        assert branch.dilation == branch.padding == (rate, rate)
    assert network.align_corners


def test_the_head_sums_its_branches() -> None:
    torch.manual_seed(0)
    head, cells = deeplab_small(5, width=2).head, torch.randn(1, 16, 9, 9)
    branches = list(head.get_submodule("conv2d_list").children())
    assert len(branches) == 4
    torch.testing.assert_close(head(cells), sum(branch(cells) for branch in branches))


@pytest.mark.parametrize("extra", [0, 5, 18])
@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_gives_logits_at_the_size_of_its_input(name: str, extra: int) -> None:
    # In training: from the least crop on, batch norm must have values to norm. One image is enough,
    # except after a pooling over the whole image.
    side, least = GENERATORS[name] + extra, 2 if name.startswith("deeplabv3_") else 1
    with META:
        network = build_generator(TrialConfig(generator=name), 7).train()
        assert network(torch.empty(least, 3, side, side)).shape == (least, 7, side, side)
        assert network(torch.empty(2, 3, side, side + 9)).shape == (2, 7, side, side + 9)


def test_the_small_generator_has_four_by_four_cells_at_its_least_crop() -> None:
    torch.manual_seed(0)
    network = deeplab_small(7, width=4)
    images = torch.randn(1, 3, 16, 16)
    assert network.trunk(images).shape == (1, 32, 4, 4)
    assert network(images).isfinite().all()


@pytest.mark.parametrize("width", [4, 6])
def test_widths_are_those_of_the_config(width: int) -> None:
    config = TrialConfig(
        generator="deeplab_small", generator_width=width, discriminator_width=width
    )
    discriminator = build_discriminator(config, 7)
    assert discriminator is not None
    assert build_generator(config, 7).trunk.conv1.weight.shape[0] == width
    channels = [len(weight) for name, weight in discriminator.encoder.named_parameters()]
    assert channels[::2] == [width, 2 * width, 4 * width, 8 * width]


@pytest.mark.parametrize("name", DISCRIMINATORS)
@pytest.mark.parametrize("adversarial", ["pixelwise", "standard"])
def test_a_discriminator_judges_each_pixel_or_each_image(name: str, adversarial: str) -> None:
    least = DISCRIMINATORS[name]
    config = TrialConfig(adversarial=adversarial, discriminator=name)
    for height, width in ((321, 321), (least, least), (least + 1, least + 16)):
        with META:
            network = build_discriminator(config, 21)
            assert network is not None
            logits = network(torch.empty(2, 21, height, width))
        wanted = (1, 1) if adversarial == "standard" else (height, width)
        assert logits.shape == (2, 1, *wanted)


@pytest.mark.parametrize("values", [{"lambda_adv": 0}, {"adversarial": "none"}])
def test_a_baseline_has_no_discriminator(values: dict[str, str]) -> None:
    assert build_discriminator(TrialConfig(**values), 21) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("name", DISCRIMINATORS)
@pytest.mark.parametrize("adversarial", ["pixelwise", "standard"])
def test_a_map_is_judged_alike_alone_and_among_others(name: str, adversarial: str) -> None:
    # Fake and real go through in one pass, which equals two only without batch norm.
    torch.manual_seed(0)
    config = TrialConfig(adversarial=adversarial, discriminator=name, discriminator_width=4)
    network = build_discriminator(config, 3)
    assert network is not None
    one, other = torch.rand(2, 1, 3, 33, 33)
    both = network(torch.cat((one, other)))
    torch.testing.assert_close(both[:1], network(one))
    assert not torch.allclose(both[0], both[1])


@pytest.mark.parametrize("resnet", ["resnet50", "resnet101"])
def test_deeplabv3_is_torchvisions_from_the_same_weights(resnet: str) -> None:
    torch.manual_seed(0)
    reference = getattr(torchvision.models.segmentation, f"deeplabv3_{resnet}")(
        weights=None, weights_backbone=None, num_classes=5
    )
    settle(reference)
    ours = deeplabv3(resnet, 5).eval()
    theirs = {
        name.replace("backbone.", "trunk.").replace("classifier.", "head."): value
        for name, value in reference.state_dict().items()
    }
    ours.load_state_dict(theirs)
    images = torch.randn(1, 3, 65, 49)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), reference(images)["out"])


@pytest.mark.parametrize(("output_stride", "cells"), [(8, 41), (16, 21)])
@pytest.mark.parametrize("resnet", RESNETS)
def test_deeplabv3_has_the_output_stride_asked_for(
    resnet: str, output_stride: int, cells: int
) -> None:
    with META:
        network = deeplabv3(resnet, 21, output_stride=output_stride)
        features = network.trunk(torch.empty(2, 3, 321, 321))
    assert features.shape[-2:] == (cells, cells)
