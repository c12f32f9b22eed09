"""Generators: DeepLab segmentation networks on one residual trunk that dilates both block types.

Shapes: N images, C classes, H and W pixels, h and w cells (H / output stride).
    images [N, 3, H, W] -> trunk [N, 2048, h, w] -> head [N, C, h, w] -> logits [N, C, H, W]
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainable.config.choices import GENERATORS
from trainable.config.schema import TrialConfig
from trainable.networks.resnet import RESNETS, BasicBlock, Trunk, conv3x3


class SummedASPP(nn.Module):
    """Atrous spatial pyramid pooling of DeepLabv2: parallel dilated convolutions, summed.

    Source: section 4.1 (the ASPP "substitutes the last classification layer"). The base code builds
    rates 6, 12, 18, 24 but returns inside its loop, so that it really computes 6 and 12 alone
    (`aspp_branches=2`).
    """

    def __init__(self, channels: int, classes: int, *, rates: Sequence[int]) -> None:
        super().__init__()
        self.conv2d_list = nn.ModuleList(
            nn.Conv2d(channels, classes, 3, padding=rate, dilation=rate) for rate in rates
        )

    def forward(self, features: Tensor) -> Tensor:
        first, *others = [branch(features) for branch in self.conv2d_list]
        logits: Tensor = sum(others, start=first)
        return logits


class PooledASPP(nn.Sequential):
    """The head of DeepLabv3: atrous pyramid with image-level pooling and batch norm, two layers.

    Parameters carry the names of torchvision's `DeepLabHead`.

    Source: section 5.2; Chen et al. (2017), section 3.3.
    """

    def __init__(self, channels: int, classes: int, *, rates: Sequence[int]) -> None:
        super().__init__(
            _PooledPyramid(channels, rates),
            conv3x3(_PooledPyramid.WIDTH, _PooledPyramid.WIDTH, stride=1, dilation=1),
            nn.BatchNorm2d(_PooledPyramid.WIDTH),
            nn.ReLU(),
            nn.Conv2d(_PooledPyramid.WIDTH, classes, 1),
        )


class _PooledPyramid(nn.Module):
    """A 1x1 branch, one branch per rate and one that sees the whole image, joined by a 1x1."""

    WIDTH = 256

    def __init__(self, channels: int, rates: Sequence[int]) -> None:
        super().__init__()
        width = self.WIDTH
        self.convs = nn.ModuleList([_normed(nn.Conv2d(channels, width, 1, bias=False))])
        for rate in rates:
            self.convs.append(_normed(conv3x3(channels, width, stride=1, dilation=rate)))
        pooled = _normed(nn.Conv2d(channels, width, 1, bias=False))
        self.convs.append(nn.Sequential(nn.AdaptiveAvgPool2d(1), *pooled))
        joined = nn.Conv2d(len(self.convs) * width, width, 1, bias=False)
        self.project = nn.Sequential(*_normed(joined), nn.Dropout(0.5))

    def forward(self, features: Tensor) -> Tensor:
        size = features.shape[-2:]
        branches = [
            functional.interpolate(branch(features), size=size, mode="bilinear")
            for branch in self.convs
        ]
        joined: Tensor = self.project(torch.cat(branches, dim=1))
        return joined


def _normed(convolution: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU())


class PretrainedTrunk(nn.Module):
    """A network with a trunk that is pretrained, and a policy for the batch norms in it.

    A subclass has the parts when it sets the policy, and names the trunk by `norms_of_trunk`.
    """

    trunk_batch_norm: str

    def norms_of_trunk(self) -> Iterator[nn.BatchNorm2d]:
        """Yield the batch norms that the policy is of."""
        raise NotImplementedError

    def set_policy(self, trunk_batch_norm: str) -> None:
        """Take a policy, and put the network in training.

        Args:
            trunk_batch_norm: `train`; `affine_frozen`, where gamma and beta of the trunk's batch
                norms do not train while they norm with batch statistics and estimate running ones
                (base code); or `frozen`, where they norm with the running statistics of
                pretraining, too.
        """
        self.trunk_batch_norm = trunk_batch_norm
        if trunk_batch_norm != "train":
            for norm in self.norms_of_trunk():
                norm.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Self:
        """Set the mode of every module but a frozen batch norm, which stays in evaluation."""
        super().train(mode)
        if self.trunk_batch_norm == "frozen":
            for norm in self.norms_of_trunk():
                norm.eval()
        return self


class DeepLab(PretrainedTrunk):
    """The segmentation network of Fig. 1 (left): trunk, head, bilinear enlargement to the input.

    Returns logits; the softmax that makes them the paper's probability maps is in the losses.

    Args:
        trunk: The network from images to features.
        head: The network from features to logits per cell.
        align_corners: Whether the corner cells lie at the centres of the corner pixels when the
            logits are enlarged.
        trunk_batch_norm: See `set_policy`.
    """

    def __init__(
        self, trunk: Trunk, head: nn.Module, *, align_corners: bool, trunk_batch_norm: str
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.align_corners = align_corners
        self.set_policy(trunk_batch_norm)

    def norms_of_trunk(self) -> Iterator[nn.BatchNorm2d]:
        """Yield the batch norms of the trunk."""
        return (module for module in self.trunk.modules() if isinstance(module, nn.BatchNorm2d))

    def estimate_norms(self, images: Tensor) -> None:
        """Run the layers up to the last batch norm, so that all estimate their statistics."""
        features = self.trunk(images)
        if any(isinstance(module, nn.BatchNorm2d) for module in self.head.modules()):
            self.head(features)

    def forward(self, images: Tensor) -> Tensor:
        # Under autocast the head's logits are bf16, too coarse to be blended.
        logits = self.head(self.trunk(images)).float()
        return functional.interpolate(
            logits, size=images.shape[-2:], mode="bilinear", align_corners=self.align_corners
        )


def deeplab_small(config: TrialConfig, classes: int) -> DeepLab:
    """Build the paper's shape in small: dilated residual trunk at output stride 4, summed ASPP."""
    trunk = Trunk(
        BasicBlock,
        (1, 1, 1, 1),
        width=config.generator_width,
        stride_in_1x1=config.is_caffe,
        small_stem=True,
    )
    head = SummedASPP(trunk.channels, classes, rates=(1, 2, 4, 6)[: config.aspp_branches])
    return DeepLab(trunk, head, align_corners=False, trunk_batch_norm=config.trunk_batch_norm)


def deeplabv2_resnet101(config: TrialConfig, classes: int) -> DeepLab:
    """Build the generator of section 4.1: ResNet-101 at output stride 8, ASPP 6, 12, 18, 24."""
    trunk = Trunk(*RESNETS["resnet101"], stride_in_1x1=config.is_caffe)
    head = SummedASPP(trunk.channels, classes, rates=(6, 12, 18, 24)[: config.aspp_branches])
    for name, parameter in head.named_parameters():
        if name.endswith("weight"):
            nn.init.normal_(parameter, std=0.01)  # base code
    return DeepLab(trunk, head, align_corners=True, trunk_batch_norm=config.trunk_batch_norm)


def deeplabv3(config: TrialConfig, classes: int) -> DeepLab:
    """Build the generators of section 5.2 and Fig. 8: DeepLabv3 on a ResNet.

    The rates are 12, 24, 36 at output stride 8 and half of them at 16.
    """
    stride = config.output_stride
    dilations = (1, 1, 2, 4) if stride == 8 else (1, 1, 1, 2)
    block, blocks = RESNETS[GENERATORS[config.generator].resnet]
    trunk = Trunk(block, blocks, dilations=dilations, stride_in_1x1=config.is_caffe)
    rates = [96 // stride * multiple for multiple in (1, 2, 3)]
    head = PooledASPP(trunk.channels, classes, rates=rates)
    return DeepLab(trunk, head, align_corners=False, trunk_batch_norm=config.trunk_batch_norm)
