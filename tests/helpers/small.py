"""A training run small enough for a test: seconds become milliseconds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from trainable.config.loading import load_config
from trainable.config.schema import TrialConfig
from trainable.data import datasets
from trainable.runs.keys import RunSpec
from trainable.training.numerics import with_precision

# What the demo's figure needs of its preset is chosen for that figure; tests run with augmentation,
# decay and Eq. 7, whatever it chooses.
SMALL = (
    "image_px=24",
    "crop_px=24",
    "train_images=20",
    "val_images=6",
    "generator_width=4",
    "discriminator=encoder_decoder",
    "scale_min=0.8",
    "scale_max=1.2",
    "mirror=true",
    "lr_generator=0.02",
    "lr_discriminator=5e-4",
    "poly_power=0.9",
    "lambda_adv=0.01",
    "swa_rule=eq7",
    "swa_threshold=0.0",
    "discriminator_width=4",
    "batch_size=4",
    "iterations=12",
    "log_every=3",
    "eval_every=4",
    "checkpoint_every=4",
    "swa_n=2",
    "swa_batch_norm_batches=3",
)

SEARCHED = ("lambda_adv", "lr_generator", "lr_discriminator", "swa_n", "swa_threshold")


def left_to_a_search(overrides: Iterable[str]) -> tuple[str, ...]:
    """Return the overrides but those of the fields that joint_search varies itself."""
    return tuple(one for one in overrides if one.partition("=")[0] not in SEARCHED)


def small_config(**changes: Any) -> TrialConfig:
    """Return the demo preset made small, with these changes."""
    return load_config(overrides=[*SMALL, *(f"{key}={value}" for key, value in changes.items())])


def spec_of(config: TrialConfig, *others: TrialConfig) -> RunSpec:
    """Return the run of a config on a CPU, with its readout and those of the others."""
    config = with_precision(config, "fp32")
    readouts = [one.readout for one in (config, *others)]
    return RunSpec.of(config, readouts, datasets.inspect(config).fingerprint)
