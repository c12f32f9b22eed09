"""Algorithm 1 as it is commonly written: the baseline that the benchmark times the Trainer against.

Nothing here is slowed down on purpose; it leaves out what the Trainer does for speed. It trains in
float32 and torch's default memory format, sends fake and real through the discriminator one after
the other, and reads every loss at every step. Its passes are those of the paper's base code,
hfslyc/AdvSemiSeg: one of the generator, whose prediction the discriminator's step takes over, and
three of the discriminator. Networks, batches and augmentation are the Trainer's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import PolynomialLR

from trainable.config.schema import TrialConfig
from trainable.data.batches import Batches, stream_seed
from trainable.data.datasets import DataSet
from trainable.data.sources.labels import VOID
from trainable.networks.build import build_discriminator, parts_of
from trainable.training.build import new_generator
from trainable.training.losses import counted, label_maps


class PlainLoop:
    """One training run, to be advanced step by step; it carries no averages.

    Args:
        config: The trial; its numerics and its readout are not read.
        data: Training images.
        device: Where to train.
    """

    def __init__(self, config: TrialConfig, data: DataSet, device: torch.device) -> None:
        self.config = config
        self.classes = len(data.classes)
        self.batches = Batches(data.train, config, device)
        self.iteration = 0
        self.generator = new_generator(config, self.classes).to(device).train()
        multipliers = {"trunk": config.lr_trunk_multiplier, "head": config.lr_head_multiplier}
        groups: list[dict[str, Any]] = [
            {"params": parameters, "lr": config.lr_generator * multipliers.get(part, 1.0)}
            for part, parameters in parts_of(self.generator).items()
        ]
        self.sgd = torch.optim.SGD(
            groups, momentum=config.momentum, weight_decay=config.weight_decay
        )
        self.schedulers = [PolynomialLR(self.sgd, config.iterations, config.poly_power)]
        torch.manual_seed(stream_seed(config.seed, "discriminator"))
        self.discriminator = build_discriminator(config, self.classes)
        if self.discriminator is not None:
            self.discriminator.to(device)
            self.adam = torch.optim.Adam(
                self.discriminator.parameters(),
                lr=config.lr_discriminator,
                betas=(config.adam_beta1, config.adam_beta2),
            )
            self.schedulers.append(PolynomialLR(self.adam, config.iterations, config.poly_power))

    def step(self) -> dict[str, float]:
        """Do one iteration of Algorithm 1 and return its losses."""
        torch.manual_seed(stream_seed(self.config.seed, "dropout", self.iteration))
        images, labels = self.batches.draw(self.iteration)
        losses, predicted = self._train_generator(images, labels)
        if self.discriminator is not None:
            losses |= self._train_discriminator(predicted, labels)
        for scheduler in self.schedulers:
            scheduler.step()
        self.iteration += 1
        return losses

    def _train_generator(self, images: Tensor, labels: Tensor) -> tuple[dict[str, float], Tensor]:
        """Return the losses, and the maps of probabilities without a gradient."""
        logits = self.generator(images)
        loss = functional.cross_entropy(logits, labels, ignore_index=VOID)
        losses = {"train/loss_mce": loss.item()}
        fake = logits.detach()
        if self.discriminator is not None:
            mask = counted(labels)
            self.discriminator.requires_grad_(False)
            fake = logits.softmax(dim=1) * mask
            on_fake = self.discriminator(fake)
            loss_adv = _loss_bce(on_fake, torch.ones_like(on_fake), mask)
            losses["train/loss_adv"] = loss_adv.item()
            loss = loss + self.config.lambda_adv * loss_adv
        self.sgd.zero_grad()
        torch.autograd.backward(loss)
        self.sgd.step()
        return losses, fake.detach()

    def _train_discriminator(self, fake: Tensor, labels: Tensor) -> dict[str, float]:
        assert self.discriminator is not None  # nosec B101  # cannot happen
        mask = counted(labels)
        self.discriminator.requires_grad_(True)
        on_fake = self.discriminator(fake)
        on_real = self.discriminator(label_maps(labels, self.classes, mask))
        loss_fake = _loss_bce(on_fake, torch.zeros_like(on_fake), mask)
        loss_real = _loss_bce(on_real, torch.ones_like(on_real), mask)
        loss = self.config.loss_disc_weight * (loss_fake + loss_real)
        self.adam.zero_grad()
        torch.autograd.backward(loss)
        self.adam.step()
        return {"train/loss_disc": loss.item()}


def _loss_bce(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    if logits.shape[-2:] != mask.shape[-2:]:  # one decision per image
        mask = mask.amax(dim=(2, 3), keepdim=True)
    total = functional.binary_cross_entropy_with_logits(
        logits, targets, weight=mask, reduction="sum"
    )
    return total / mask.sum()
