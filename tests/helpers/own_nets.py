"""Networks as a person has them: no base class of ours, cells of any size, parts by other names."""

from __future__ import annotations

import random

import torch
from small import small_config
from torch import Tensor, nn

from trainable.config.choices import GENERATORS
from trainable.config.schema import TrialConfig

PLAIN, LIBRARY = "own_nets:plain", "smp:Unet"
TINY_UNET = '{"decoder_channels": [8, 4, 4], "encoder_depth": 3, "encoder_name": "resnet18"}'
EVERY_GENERATOR = (*GENERATORS, PLAIN, LIBRARY)


def config_with(generator: str, **values: object) -> TrialConfig:
    """Return a small config with a generator of any kind."""
    arguments = {"generator_args": TINY_UNET} if generator == LIBRARY else {}
    return small_config(generator=generator, **arguments, **values)


class Plain(nn.Module):
    """Logits per cell of 2 x 2 pixels, as a mapping."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        convolution = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)
        self.backbone = nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())
        self.classifier = nn.Sequential(nn.Dropout2d(0.1), nn.Conv2d(width, classes, 1))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"out": self.classifier(self.backbone(images))}


def plain(classes: int, width: int = 4) -> nn.Module:
    return Plain(classes, width)


def one_part(classes: int) -> nn.Module:
    return nn.Conv2d(3, classes, 3, padding=1)


def judge(classes: int, width: int = 4) -> nn.Module:
    """Logits per cell of 4 x 4 pixels."""
    first = nn.Conv2d(classes, width, 4, stride=4)
    return nn.Sequential(first, nn.LeakyReLU(0.2), nn.Conv2d(width, 1, 1))


def one_class_too_few(classes: int) -> nn.Module:
    return nn.Conv2d(3, classes - 1, 1)


def vectors(classes: int) -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, classes))


def fails(classes: int) -> nn.Module:
    raise ValueError("no\nsuch luck")


def no_network(classes: int) -> int:
    return classes


class Idle(nn.Conv2d):
    def __init__(self, classes: int) -> None:
        super().__init__(3, classes, 1)
        self.spare = nn.Linear(2, 2)


def idle(classes: int) -> nn.Module:
    return Idle(classes)


class Moody(nn.Conv2d):
    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = super().forward(images) * random.random()
        return logits


def moody(classes: int) -> nn.Module:
    return Moody(3, classes, 1)


class Fixed(nn.Conv2d):
    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-1] != 224:
            raise RuntimeError("224 pixels are wanted")
        logits: Tensor = super().forward(images)
        return logits


def fixed(classes: int) -> nn.Module:
    return Fixed(3, classes, 1)


class Torn(nn.Conv2d):
    """Takes sides that are multiples of 8 alone, and keeps what it was given."""

    def forward(self, images: Tensor) -> Tensor:
        halves = torch.nn.functional.avg_pool2d(images, 8)
        whole = torch.nn.functional.interpolate(halves, scale_factor=8)
        logits: Tensor = super().forward(images + whole)
        return logits


def torn(classes: int) -> nn.Module:
    return Torn(3, classes, 1)
