"""Generators: equal to torchvision's where they should be, sizes, batch norm's policies."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from small import small_config
from torch import Tensor, nn

from trainable.config.choices import GENERATORS
from trainable.config.schema import TrialConfig
from trainable.networks.build import build_generator
from trainable.networks.deeplab import DeepLab
from trainable.networks.resnet import RESNETS, BasicBlock, Bottleneck, Trunk

pytestmark = pytest.mark.trains

META = torch.device("meta")  # shapes without arithmetic


def build(generator: str, classes: int = 21, **values: Any) -> DeepLab:
    network = build_generator(TrialConfig(generator=generator, **values), classes)
    assert isinstance(network, DeepLab)
    return network


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
        network = build("deeplabv2_resnet101")
        assert sum(weight.numel() for weight in network.parameters()) == 44_048_532
        assert network.trunk(torch.empty(1, 3, 321, 321)).shape == (1, 2048, 41, 41)
        assert network.head(torch.empty(1, 2048, 41, 41)).shape == (1, 21, 41, 41)


def test_deeplabv2_has_the_caffe_layout_and_the_papers_aspp() -> None:
    # Stride in the first 1x1 convolution, pooling that rounds up, one dilation for a stage.
    with META:
        network = build("deeplabv2_resnet101")
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
    head, cells = build("deeplab_small", generator_width=2).head, torch.randn(1, 16, 9, 9)
    branches = list(head.get_submodule("conv2d_list").children())
    assert len(branches) == 4
    torch.testing.assert_close(head(cells), sum(branch(cells) for branch in branches))


@pytest.mark.parametrize("layout", ["caffe", "torchvision"])
@pytest.mark.parametrize("name", GENERATORS)
def test_a_generator_gives_logits_at_the_size_of_its_input(name: str, layout: str) -> None:
    # In training: from the least crop on, batch norm must have values to norm. One image is enough,
    # except after a pooling over the whole image.
    least, images = GENERATORS[name].least_px, 2 if GENERATORS[name].pools_images else 1
    with META:
        network = build_generator(TrialConfig(generator=name, trunk_layout=layout), 7)
        for height, width in ((least, least), (least, least + 9), (2 * least + 3, least + 5)):
            logits = network(torch.empty(images, 3, height, width))
            assert logits.shape == (images, 7, height, width)


def test_the_small_generator_has_four_by_four_cells_at_its_least_crop() -> None:
    torch.manual_seed(0)
    network = build("deeplab_small", 7, generator_width=4)
    images = torch.randn(1, 3, 16, 16)
    assert network.trunk(images).shape == (1, 32, 4, 4)
    assert network(images).isfinite().all()


def test_the_width_is_that_of_the_config() -> None:
    assert build("deeplab_small", generator_width=6).trunk.conv1.weight.shape[0] == 6


@pytest.mark.parametrize("resnet", ["resnet50", "resnet101"])
def test_deeplabv3_is_torchvisions_from_the_same_weights(resnet: str) -> None:
    torch.manual_seed(0)
    reference = getattr(torchvision.models.segmentation, f"deeplabv3_{resnet}")(
        weights=None, weights_backbone=None, num_classes=5
    )
    settle(reference)
    ours = build(f"deeplabv3_{resnet}", 5).eval()
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
        network = build(f"deeplabv3_{resnet}", output_stride=output_stride)
        features = network.trunk(torch.empty(2, 3, 321, 321))
    assert features.shape[-2:] == (cells, cells)


@pytest.mark.parametrize("branches", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("name", "rates"), [("deeplab_small", (1, 2, 4, 6)), ("deeplabv2_resnet101", (6, 12, 18, 24))]
)
def test_fewer_branches_are_the_first_of_the_rates(
    name: str, rates: tuple[int, ...], branches: int
) -> None:
    # The base code builds four and computes the first two.
    with META:
        head = build(name, aspp_branches=branches).head
    assert len(list(head.get_submodule("conv2d_list").children())) == branches
    for rate, branch in zip(rates, head.get_submodule("conv2d_list").children(), strict=False):
        assert isinstance(branch, nn.Conv2d)
        assert branch.dilation == branch.padding == (rate, rate)


@pytest.mark.parametrize(
    ("name", "values", "caffe"),
    [
        ("deeplabv2_resnet101", {}, True),
        ("deeplabv2_resnet101", {"weights": "torchvision"}, False),
        ("deeplabv2_resnet101", {"trunk_layout": "torchvision"}, False),
        ("deeplabv3_resnet50", {}, False),
        ("deeplabv3_resnet50", {"trunk_layout": "caffe"}, True),
    ],
)
def test_the_trunk_is_laid_out_as_the_config_says(
    name: str, values: dict[str, Any], caffe: bool
) -> None:
    with META:
        trunk = build(name, **values).trunk
    assert isinstance(trunk.maxpool, nn.MaxPool2d)
    assert trunk.maxpool.ceil_mode is caffe
    strided, dilated = trunk.get_submodule("layer2.0"), trunk.get_submodule("layer4.0")
    assert isinstance(strided, Bottleneck)
    assert isinstance(dilated, Bottleneck)
    assert strided.conv1.stride == ((2, 2) if caffe else (1, 1))
    assert strided.conv2.stride == ((1, 1) if caffe else (2, 2))
    assert dilated.conv2.dilation == ((4, 4) if caffe else (2, 2))


@pytest.mark.parametrize("caffe", [True, False])
def test_the_small_trunk_dilates_as_the_config_says(caffe: bool) -> None:
    network = build("deeplab_small", trunk_layout="caffe" if caffe else "torchvision")
    block = network.trunk.get_submodule("layer4.0")
    assert isinstance(block, BasicBlock)
    assert (block.conv1.dilation[0], block.conv2.dilation[0]) == (4 if caffe else 2, 4)


POLICIES = ("train", "affine_frozen", "frozen")
WITH_NORMS = ("deeplab_small", "deeplabv3_resnet18")  # in the trunk alone, and in the head, too


def network_of(name: str, policy: str) -> DeepLab:
    torch.manual_seed(0)
    return build(name, 5, generator_width=4, trunk_batch_norm=policy, weights="a file")


def norms_of(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [norm for norm in module.modules() if isinstance(norm, nn.BatchNorm2d)]


def eval_and_train(network: DeepLab) -> DeepLab:
    return network.eval().train()


def copied_in_evaluation(network: DeepLab) -> DeepLab:
    return copy.deepcopy(network.eval()).train()


@pytest.mark.parametrize("name", WITH_NORMS)
@pytest.mark.parametrize("policy", POLICIES)
def test_the_policy_decides_what_of_the_trunk_trains(name: str, policy: str) -> None:
    network = network_of(name, policy)
    network(torch.randn(2, 3, 33, 40)).square().mean().backward()
    norms = norms_of(network.trunk)
    affine = {id(parameter) for norm in norms for parameter in norm.parameters()}
    assert len(affine) == 2 * len(norms) > 0
    for parameter in network.parameters():
        trains = policy == "train" or id(parameter) not in affine
        assert parameter.requires_grad is trains
        assert (parameter.grad is not None) is trains


@pytest.mark.parametrize("made", [eval_and_train, copied_in_evaluation, lambda network: network])
@pytest.mark.parametrize("name", WITH_NORMS)
@pytest.mark.parametrize("policy", POLICIES)
def test_the_policy_decides_whether_the_trunks_statistics_move(
    name: str, policy: str, made: Callable[[DeepLab], DeepLab]
) -> None:
    network = made(network_of(name, policy))
    before = {key: value.clone() for key, value in network.named_buffers()}
    network(torch.randn(2, 3, 33, 40))
    assert network.training
    for key, value in network.named_buffers():
        moves = policy != "frozen" or key.startswith("head.")
        assert torch.equal(value, before[key]) is not moves, key
    assert all(norm.training is (policy != "frozen") for norm in norms_of(network.trunk))
    assert all(norm.training for norm in norms_of(network.head))
    assert not any(norm.training for norm in norms_of(network.eval()))


@pytest.mark.parametrize("policy", POLICIES)
def test_a_trunk_norms_with_the_batch_unless_it_is_frozen(policy: str) -> None:
    network, images = network_of("deeplab_small", policy), torch.randn(2, 3, 33, 40)
    settle(network)
    evaluated = network.trunk(images)
    trained = network.train().trunk(images)
    assert torch.equal(evaluated, trained) is (policy == "frozen")


def test_the_policy_changes_no_initial_weight() -> None:
    first, *others = (network_of("deeplab_small", policy).state_dict() for policy in POLICIES)
    for other in others:
        assert all(torch.equal(first[name], other[name]) for name in first)


def test_without_a_policy_of_its_own_the_demo_trains_every_weight() -> None:
    network = build_generator(small_config(), 7)
    assert all(parameter.requires_grad for parameter in network.parameters())
