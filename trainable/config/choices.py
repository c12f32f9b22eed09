"""The names that fields of a config may have."""

from __future__ import annotations

DATASETS = ("shapes", "voc2012", "sbd", "segtrackv2")
ADVERSARIAL = ("none", "standard", "pixelwise")
SWA_RULES = ("eq7", "uniform", "ema")
SWA_BATCH_NORMS = ("recompute", "average", "copy")
# Smallest crop, in pixels: it leaves a generator 4 x 4 cells and a discriminator one.
GENERATORS = {
    "deeplab_small": 16,
    "deeplabv2_resnet101": 32,
    "deeplabv3_resnet18": 32,
    "deeplabv3_resnet34": 32,
    "deeplabv3_resnet50": 32,
    "deeplabv3_resnet101": 32,
}
DISCRIMINATORS = {"encoder_decoder": 16, "fully_convolutional": 32, "encoder_decoder_skips": 16}
