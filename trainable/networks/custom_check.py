"""What a network of one's own must do, tried on noise before anything is trained with it.

Shapes: N images, C classes, S pixels (the crop's side).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainable.config.choices import is_custom
from trainable.config.schema import ConfigError, TrialConfig
from trainable.networks.build import build_discriminator, build_generator
from trainable.networks.custom_code import said

SEED = 0


def check_networks(trials: Iterable[TrialConfig], classes: int) -> None:
    """Try each network of one's own that trials name, on noise of a crop's size.

    Args:
        trials: The trials, each with the code of its networks made definite.
        classes: C.

    Raises:
        ConfigError: A network cannot be imported or built, gives logits of another shape or other
            ones the second time, or has a weight that gets no gradient.
    """
    tried = set()
    for config in trials:
        discriminates = config.has_adversary and is_custom(config.discriminator)
        if not (is_custom(config.generator) or discriminates):
            continue
        names = (config.generator, config.generator_args, config.trunk_batch_norm)
        judge = (config.discriminator, config.discriminator_args) if discriminates else ()
        if (seen := (*names, *judge, config.crop_px)) not in tried:
            tried.add(seen)
            with torch.random.fork_rng(devices=[]):
                _check(config, classes, discriminates=discriminates)


def _check(config: TrialConfig, classes: int, *, discriminates: bool) -> None:
    size = (min(2, config.batch_size), 3, config.crop_px, config.crop_px)
    torch.manual_seed(SEED)
    images = torch.randn(size)
    if is_custom(config.generator):
        _try(
            f"generator={config.generator}",
            lambda: build_generator(config, classes),
            images,
            [(size[0], classes, *size[2:])],
        )
    if discriminates:
        maps = torch.randn(size[0], classes, *size[2:]).softmax(dim=1)
        _try(
            f"discriminator={config.discriminator}",
            lambda: _discriminator(config, classes),
            maps,
            [(size[0], 1, *size[2:]), (size[0], 1, 1, 1)],
        )


def _discriminator(config: TrialConfig, classes: int) -> nn.Module:
    network = build_discriminator(config, classes)
    assert network is not None  # nosec B101  # the caller asks where there is one
    return network


def _try(
    name: str, build: Callable[[], nn.Module], inputs: Tensor, shapes: list[tuple[int, ...]]
) -> None:
    network, logits = _seeded(name, build, inputs)
    if tuple(logits.shape) not in shapes:
        raise ConfigError(
            f"{name} must give logits {' or '.join(map(str, shapes))} for {tuple(inputs.shape)}, "
            f"but gave {tuple(logits.shape)}; give as many channels as there are classes"
        )
    if not torch.equal(logits, _seeded(name, build, inputs)[1]):
        raise ConfigError(
            f"{name} must give the same logits for the same seed, but gave others the second time; "
            "draw what is random in it by torch, whose seed is set"
        )
    # Of a random target: a mean of logits would leave out what a softmax or a norm cancels.
    target = torch.randn_like(logits)
    torch.autograd.backward(functional.mse_loss(logits, target))
    without = [
        name for name, one in network.named_parameters() if one.requires_grad and one.grad is None
    ]
    if without:
        weight = without[0].removeprefix("network.")
        raise ConfigError(
            f"{name} must use all its weights, but {len(without)} get no gradient, the first is "
            f"{weight}; leave out the part, or freeze it with requires_grad_(False)"
        )


def _seeded(name: str, build: Callable[[], nn.Module], inputs: Tensor) -> tuple[nn.Module, Tensor]:
    """Return a network from a seed, in training, and what it says of the inputs."""
    torch.manual_seed(SEED)
    network = build().train()
    torch.manual_seed(SEED)
    try:
        logits: Tensor = network(inputs)
    except ConfigError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{name} must take {tuple(inputs.shape)} in training, but {said(error)}; mend it, or "
            "change crop_px or batch_size"
        ) from error
    return network, logits
