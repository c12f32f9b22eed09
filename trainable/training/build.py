"""Builds the trainer of a config: networks from the seed, optimizers, averages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from trainable.config.choices import imported
from trainable.config.schema import Readout, TrialConfig
from trainable.data.batches import stream_seed
from trainable.data.datasets import DataSet
from trainable.networks.build import build_discriminator, build_generator, parts_of
from trainable.training.adversary import Adversary
from trainable.training.numerics import Numerics
from trainable.training.recompute import recompute_blocks
from trainable.training.trainer import Trainer


def new_generator(config: TrialConfig, classes: int) -> nn.Module:
    """Build the generator on the CPU, initialised from the config's seed."""
    torch.manual_seed(stream_seed(config.seed, "generator"))
    return build_generator(config, classes)


def build_trainer(
    config: TrialConfig,
    data: DataSet,
    readouts: Sequence[Readout],
    device: torch.device,
    *,
    generator: nn.Module | None = None,
) -> Trainer:
    """Build networks, optimizers and adversary as `config` says, all from its seed.

    Args:
        config: The trial.
        data: Training and validation images.
        readouts: The averages to carry.
        device: The device to train on.
        generator: The network that training starts from, with pretrained weights; None stands for
            the one that `new_generator` gives.
    """
    classes = len(data.classes)
    numerics = Numerics.of(config, device)
    numerics.apply()
    generator = generator or new_generator(config, classes)
    numerics.place(generator)
    if config.activation_checkpointing:
        recompute_blocks(generator)
    return Trainer(
        config,
        data,
        readouts,
        numerics,
        generator=generator,
        optimizer=_sgd(generator, config, fused=numerics.fused or None),
        adversary=_new_adversary(config, classes, numerics),
    )


def _new_adversary(config: TrialConfig, classes: int, numerics: Numerics) -> Adversary | None:
    """Build the adversary from the config's seed; None where none acts on the weights."""
    torch.manual_seed(stream_seed(config.seed, "discriminator"))
    spec, discriminator = config.adversary_spec, build_discriminator(config, classes)
    if spec is None or discriminator is None:
        return None
    numerics.place(discriminator)
    adam = torch.optim.Adam(
        [_group(discriminator.parameters(), config.lr_discriminator)],
        betas=(config.adam_beta1, config.adam_beta2),
        fused=numerics.fused or None,
    )
    return Adversary(
        discriminator,
        adam,
        loss=imported(spec.loss),
        lambda_adv=config.lambda_adv,
        loss_weight=config.loss_disc_weight,
        clip_norm=config.clip_norm,
        judge=numerics.forward_of(discriminator),
        scaler=numerics.scaler(),
    )


def _sgd(generator: nn.Module, config: TrialConfig, *, fused: bool | None) -> torch.optim.SGD:
    multipliers = {"trunk": config.lr_trunk_multiplier, "head": config.lr_head_multiplier}
    return torch.optim.SGD(
        [
            _group(parameters, config.lr_generator * multipliers.get(part, 1.0))
            for part, parameters in parts_of(generator).items()
        ],
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        fused=fused,
    )


def _group(parameters: Iterable[nn.Parameter], lr: float) -> dict[str, object]:
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return {"params": trained, "lr": lr, "initial_lr": lr}
