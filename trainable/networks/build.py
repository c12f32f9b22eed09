"""Builds the networks that a config names."""

from __future__ import annotations

from torch import nn

from trainable.config.choices import GENERATORS, imported
from trainable.config.schema import TrialConfig
from trainable.networks.convolutions import without_strided_1x1


def build_generator(config: TrialConfig, classes: int) -> nn.Module:
    """Build the generator that `config` names, with logits for `classes` classes."""
    network: nn.Module = imported(GENERATORS[config.generator].builder)(config, classes)
    return without_strided_1x1(network)


def build_discriminator(config: TrialConfig, classes: int) -> nn.Module | None:
    """Build the discriminator of `config`; None where no adversary acts on the weights."""
    spec = config.discriminator_spec
    if spec is None:
        return None
    network: nn.Module = imported(spec.builder)(classes, width=config.discriminator_width)
    return without_strided_1x1(network)
