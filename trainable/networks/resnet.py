"""The trunks of the generators: ResNet-18, -50 and -101 with dilated last stages."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (ResNet-18 and -34), at any dilation."""

    expansion = 1

    def __init__(
        self,
        channels_in: int,
        width: int,
        *,
        stride: int,
        first_dilation: int,
        dilation: int,
        stride_in_1x1: bool,
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels_in, width, stride=stride, dilation=first_dilation)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride=1, dilation=dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(channels_in, width, stride=stride)

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features if self.downsample is None else self.downsample(features)
        inner = functional.relu(self.bn1(self.conv1(features)))
        return functional.relu(self.bn2(self.conv2(inner)) + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut (ResNet-50 and -101); torchvision's names.

    `stride_in_1x1` puts the stride into the first convolution as the Caffe weights want it;
    torchvision has it in the 3x3.
    """

    expansion = 4

    def __init__(
        self,
        channels_in: int,
        width: int,
        *,
        stride: int,
        first_dilation: int,
        dilation: int,
        stride_in_1x1: bool,
    ) -> None:
        super().__init__()
        stride_1x1, stride_3x3 = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = nn.Conv2d(channels_in, width, 1, stride=stride_1x1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride=stride_3x3, dilation=first_dilation)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _shortcut(channels_in, 4 * width, stride=stride)

    def forward(self, features: Tensor) -> Tensor:
        shortcut = features if self.downsample is None else self.downsample(features)
        inner = functional.relu(self.bn1(self.conv1(features)))
        inner = functional.relu(self.bn2(self.conv2(inner)))
        return functional.relu(self.bn3(self.conv3(inner)) + shortcut)


class Trunk(nn.Module):
    """A residual network without its classifier, the strides of its last stages turned to dilation.

    Parameters carry torchvision's names, so that torchvision's and the Caffe-derived weights load.
    `stride_in_1x1` is the Caffe layout throughout: the stride in a bottleneck's first convolution,
    a pooling that rounds up, and one dilation for a whole stage. Without it the first block of a
    dilated stage keeps the dilation before it, as in torchvision.

    Args:
        block: `BasicBlock` or `Bottleneck`.
        blocks: Number of blocks in each of the four stages.
        width: Channels of the first stage; doubles from stage to stage.
        dilations: Per stage, 1 for a stage with stride 2, else its dilation with stride 1.
        stride_in_1x1: Caffe layout.
        small_stem: A 3x3 convolution without pooling for small images: half the output stride.
    """

    def __init__(
        self,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: Sequence[int],
        *,
        width: int = 64,
        dilations: Sequence[int] = (1, 1, 2, 4),
        stride_in_1x1: bool = False,
        small_stem: bool = False,
    ) -> None:
        super().__init__()
        kernel = 3 if small_stem else 7
        self.conv1 = nn.Conv2d(3, width, kernel, stride=2, padding=kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        pool = nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=stride_in_1x1)
        self.maxpool = nn.Identity() if small_stem else pool
        channels, dilation_before = width, 1
        for stage, (count, dilation) in enumerate(zip(blocks, dilations, strict=True)):
            stage_width = width * 2**stage
            layers = nn.Sequential()
            for index in range(count):
                strided = index == 0 and stage > 0 and dilation == 1
                keeps_dilation = index == 0 and not stride_in_1x1
                layers.append(
                    block(
                        channels,
                        stage_width,
                        stride=2 if strided else 1,
                        first_dilation=dilation_before if keeps_dilation else dilation,
                        dilation=dilation,
                        stride_in_1x1=stride_in_1x1,
                    )
                )
                channels = stage_width * block.expansion
            self.add_module(f"layer{stage + 1}", layers)
            dilation_before = dilation
        self.channels = channels

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.maxpool(functional.relu(self.bn1(self.conv1(images))))
        for stage in ("layer1", "layer2", "layer3", "layer4"):
            features = self.get_submodule(stage)(features)
        return features


# Block and number of blocks in each stage: He et al. (2016), Table 1.
RESNETS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}


def conv3x3(channels_in: int, channels_out: int, *, stride: int, dilation: int) -> nn.Conv2d:
    """Return a 3 x 3 convolution that keeps the size at stride 1."""
    return nn.Conv2d(
        channels_in,
        channels_out,
        3,
        stride=stride,
        padding=dilation,
        dilation=dilation,
        bias=False,
    )


def _shortcut(channels_in: int, channels_out: int, *, stride: int) -> nn.Sequential | None:
    if stride == 1 and channels_in == channels_out:
        return None
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 1, stride=stride, bias=False),
        nn.BatchNorm2d(channels_out),
    )
