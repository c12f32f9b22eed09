"""Builds the networks that a config names."""

from __future__ import annotations

from torch import nn

from trainable.config.choices import CUSTOM_DISCRIMINATOR, imported
from trainable.config.schema import ConfigError, TrialConfig
from trainable.networks.convolutions import without_strided_1x1
from trainable.networks.custom import CustomGenerator, custom_discriminator


def build_generator(config: TrialConfig, classes: int) -> nn.Module:
    """Build the generator that `config` names, with logits for `classes` classes.

    Raises:
        ConfigError: A weight of it would not train, since it lies in neither of the two parts.
    """
    network: nn.Module = imported(config.generator_spec.builder)(config, classes)
    if isinstance(network, CustomGenerator):
        return network
    parts = sorted({name.partition(".")[0] for name, _ in network.named_parameters()})
    if parts != ["head", "trunk"]:
        raise ConfigError(
            f"the weights of generator={config.generator} must lie in its parts `trunk` and "
            f"`head`, which train at rates of their own, but lie in {', '.join(parts) or 'none'}; "
            "name its parts so"
        )
    return without_strided_1x1(network)


def build_discriminator(config: TrialConfig, classes: int) -> nn.Module | None:
    """Build the discriminator of `config`; None where no adversary acts on the weights."""
    spec = config.discriminator_spec
    if spec is None:
        return None
    if spec is CUSTOM_DISCRIMINATOR:
        return custom_discriminator(config, classes)
    network: nn.Module = imported(spec.builder)(classes, width=config.discriminator_width)
    return without_strided_1x1(network)


def parts_of(generator: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Return the weights of a generator by the part whose learning rate they have.

    `trunk` and `head`, or `all` of a network of one's own that names no trunk.
    """
    if isinstance(generator, CustomGenerator):
        return generator.parts()
    return {part: list(generator.get_submodule(part).parameters()) for part in ("trunk", "head")}
