"""The names that fields of a config may have, and what each name stands for.

A generator, a discriminator, a loss or a data set is written in a module of its own and gets one
line in its dict below. The line names its builder as "module:attribute", which is imported when it
is first needed: a config is checked, and the help of a command printed, without torch. Beside it
stand the facts that the checks of a config need.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any


@dataclass(frozen=True, kw_only=True)
class GeneratorSpec:
    """A segmentation network.

    Attributes:
        builder: Names the function that builds the network from a `TrialConfig` and the number of
            classes C. The network takes images float32 [N, 3, H, W] to logits [N, C, H, W], and
            has the parts `trunk` and `head`, which train at rates of their own.
        least_px: The smallest side of a crop, in pixels; it leaves 4 x 4 cells.
        trunk_layout: What `trunk_layout=auto` means for this network, `caffe` or `torchvision`.
        resnet: The ResNet of torchvision that the trunk is, empty where it is none.
        pools_images: Whether batch norm follows a pooling of the whole image: it then has one value
            per image and channel, and needs two images in a batch.
    """

    builder: str
    least_px: int
    trunk_layout: str = "torchvision"
    resnet: str = ""
    pools_images: bool = False


@dataclass(frozen=True, kw_only=True)
class DiscriminatorSpec:
    """A network that judges label maps.

    Attributes:
        builder: Names what builds the network from the number of classes C and the keyword
            `width`. The network takes maps float32 [N, C, H, W] to logits, [N, 1, H, W] per pixel
            or [N, 1, 1, 1] per image.
        least_px: The smallest side of a crop, in pixels; it leaves one cell.
    """

    builder: str
    least_px: int


@dataclass(frozen=True, kw_only=True)
class AdversarialSpec:
    """A kind of adversarial loss.

    Attributes:
        loss: Names the function that takes the discriminator's logits, the target (1 for real, 0
            for fake) and the mask of counted pixels, float32 [N, 1, H, W], to a scalar.
        discriminator: The network that judges; None stands for the one that the config's
            `discriminator` names.
    """

    loss: str
    discriminator: DiscriminatorSpec | None = None


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A data set.

    Attributes:
        source: Names a `FileSource` or a `GeneratedSource` (see `trainable.data.sources.source`).
        fields: The fields of a config that only this data set reads.
        least: The smallest value that each of these fields may have, where there is one.
    """

    source: str
    fields: tuple[str, ...] = ()
    least: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SwaRuleSpec:
    """A rule by which weights enter an average.

    Attributes:
        share: Names the function that takes a `Readout` and the number of weights averaged so far
            to the share of the next weights in the average.
        reads_decay: Whether the share follows from `swa_decay`.
    """

    share: str
    reads_decay: bool = False


@dataclass(frozen=True, kw_only=True)
class BatchNormSpec:
    """How the batch norms of averaged weights get their running statistics.

    Attributes:
        averages: Whether the statistics along the trajectory are averaged by the weights' rule.
        recomputes: Whether they are estimated afresh on training batches. With neither, those of
            the last weights stay.
    """

    averages: bool = False
    recomputes: bool = False


GENERATORS = {
    "deeplab_small": GeneratorSpec(builder="trainable.networks.deeplab:deeplab_small", least_px=16),
    "deeplabv2_resnet101": GeneratorSpec(
        builder="trainable.networks.deeplab:deeplabv2_resnet101",
        least_px=32,
        trunk_layout="caffe",
        resnet="resnet101",
    ),
    **{
        f"deeplabv3_{resnet}": GeneratorSpec(
            builder="trainable.networks.deeplab:deeplabv3",
            least_px=32,
            resnet=resnet,
            pools_images=True,
        )
        for resnet in ("resnet18", "resnet34", "resnet50", "resnet101")
    },
}
DISCRIMINATORS = {
    "encoder_decoder": DiscriminatorSpec(
        builder="trainable.networks.discriminators:EncoderDecoder", least_px=16
    ),
    "fully_convolutional": DiscriminatorSpec(
        builder="trainable.networks.discriminators:FullyConvolutional", least_px=32
    ),
    "encoder_decoder_skips": DiscriminatorSpec(
        builder="trainable.networks.discriminators:EncoderDecoderSkips", least_px=16
    ),
}
# Any other network is named as "module:callable"; see `trainable.networks.custom`.
CUSTOM = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
CUSTOM_GENERATOR = GeneratorSpec(builder="trainable.networks.custom:custom_generator", least_px=16)
CUSTOM_DISCRIMINATOR = DiscriminatorSpec(
    builder="trainable.networks.custom:CustomDiscriminator", least_px=16
)
NO_ADVERSARY = "none"
ADVERSARIAL = {
    NO_ADVERSARY: None,
    "standard": AdversarialSpec(
        loss="trainable.training.losses:loss_bce",
        discriminator=DiscriminatorSpec(
            builder="trainable.networks.discriminators:ImageDiscriminator", least_px=16
        ),
    ),
    "pixelwise": AdversarialSpec(loss="trainable.training.losses:loss_bce"),
}
DATASETS = {
    "shapes": DatasetSpec(
        source="trainable.data.sources.shapes:SOURCE",
        fields=("image_px", "train_images", "val_images"),
        least={"image_px": 16},
    ),
    "voc2012": DatasetSpec(source="trainable.data.sources.voc:SOURCE", fields=("voc_train",)),
    "sbd": DatasetSpec(source="trainable.data.sources.sbd:SOURCE"),
    "folder": DatasetSpec(source="trainable.data.folders.layouts:SOURCE"),
    "segtrackv2": DatasetSpec(
        source="trainable.data.sources.segtrack:SOURCE",
        fields=("segtrack_classes", "segtrack_split"),
    ),
}
SWA_RULES = {
    "eq7": SwaRuleSpec(share="trainable.training.averaging:share_eq7"),
    "uniform": SwaRuleSpec(share="trainable.training.averaging:share_uniform"),
    "ema": SwaRuleSpec(share="trainable.training.averaging:share_ema", reads_decay=True),
}
SWA_BATCH_NORMS = {
    "recompute": BatchNormSpec(recomputes=True),
    "average": BatchNormSpec(averages=True),
    "copy": BatchNormSpec(),
}


def is_custom(network: str) -> bool:
    """Return whether the name of a generator or a discriminator is that of one of one's own."""
    return CUSTOM.fullmatch(network) is not None


def generator_spec(generator: str) -> GeneratorSpec:
    """Return what is known of a generator by its name in a config."""
    return CUSTOM_GENERATOR if is_custom(generator) else GENERATORS[generator]


def references() -> list[str]:
    """Return every "module:attribute" of these dicts."""
    adversaries = [spec for spec in ADVERSARIAL.values() if spec is not None]
    judges = [spec.discriminator for spec in adversaries if spec.discriminator is not None]
    return [
        *(spec.builder for spec in (*GENERATORS.values(), CUSTOM_GENERATOR)),
        *(spec.builder for spec in (*DISCRIMINATORS.values(), *judges)),
        *(spec.loss for spec in adversaries),
        *(spec.source for spec in DATASETS.values()),
        *(spec.share for spec in SWA_RULES.values()),
    ]


def imported(reference: str) -> Any:
    """Return what a "module:attribute" of these dicts names, its module imported if need be."""
    module, _, attribute = reference.partition(":")
    return getattr(import_module(module), attribute)
