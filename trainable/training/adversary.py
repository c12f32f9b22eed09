"""The adversary: a discriminator, its optimizer and its step, kept together.

Shapes: N images, C classes, H and W pixels. Maps are [N, C, H, W], zero at void; the mask of
counted pixels is [N, 1, H, W].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainable.training.gradients import add_up, clip
from trainable.training.losses import mean_probability, share_of

REAL, FAKE = 1.0, 0.0


class Adversary:
    """A discriminator in training, which learns to tell the generator's label maps from true ones.

    Args:
        discriminator: The network that gives one logit per pixel (section 3.3) or per image
            (section 5.1).
        optimizer: The optimizer of the discriminator's parameters.
        loss: The loss of logits against a target, 1 for real or 0 for fake, over a mask of counted
            pixels, such as `losses.loss_bce`: a mean over decisions that count.
        lambda_adv: The weight of the adversarial term in the generator's loss.
        loss_weight: The weight of the discriminator's own loss.
        clip_norm: The largest norm of its gradients; 0 is none.
        judge: The discriminator's training pass, from maps to fp32 logits; None stands for the
            plain call.
        scaler: Scales the discriminator's loss, so that small gradients do not vanish in fp16;
            None scales nothing.
    """

    def __init__(
        self,
        discriminator: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        loss: Callable[[Tensor, float, Tensor], Tensor],
        lambda_adv: float,
        loss_weight: float = 1.0,
        clip_norm: float = 0.0,
        judge: Callable[[Tensor], Tensor] | None = None,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        self.discriminator = discriminator
        self.optimizer = optimizer
        self.loss = loss
        self.lambda_adv = lambda_adv
        self.loss_weight = loss_weight
        self.clip_norm = clip_norm
        self.judge: Callable[[Tensor], Tensor] = judge or discriminator
        self.scaler = scaler or torch.amp.GradScaler(enabled=False)

    def loss_adv(self, fake: Tensor, mask: Tensor, whole: Tensor | None = None) -> Tensor:
        """Return how far the discriminator is from taking `fake` for real; it stays fixed.

        Args:
            fake: Maps of the generator.
            mask: Their counted pixels.
            whole: Those of the batch that the maps are a part of; None stands for `mask`.

        Source: Eq. 4.
        """
        self.discriminator.requires_grad_(False)
        logits = self.judge(fake)
        loss = self.loss(logits, REAL, mask)
        self.discriminator.requires_grad_(True)
        return loss if whole is None else loss * share_of(logits, mask, whole)

    def step(self, fake: Tensor, real: Tensor, mask: Tensor, parts: int = 1) -> dict[str, Tensor]:
        """Train the discriminator for one step on maps that carry no gradient.

        Args:
            fake: Maps of the generator.
            real: Maps of the ground truth.
            mask: The counted pixels of both.
            parts: In so many parts, one after the other, whose gradients add up.

        Both maps go through in one pass: without batch norm that equals two.

        Source: Eq. 5; Algorithm 1, lines 11 and 12; the base code takes half of the sum.
        """
        self.optimizer.zero_grad(set_to_none=True)
        losses: dict[str, Tensor] = {}
        for some in zip(fake.chunk(parts), real.chunk(parts), mask.chunk(parts), strict=True):
            add_up(losses, self._part(*some, mask if parts > 1 else None))
        if self.clip_norm:
            clip(self.discriminator, self.optimizer, self.scaler, self.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return losses

    def _part(
        self, fake: Tensor, real: Tensor, mask: Tensor, whole: Tensor | None
    ) -> dict[str, Tensor]:
        """Add the gradients of a part of a batch, and return its share of the means."""
        on_fake, on_real = self.judge(torch.cat((fake, real))).chunk(2)
        loss = self.loss_weight * (self.loss(on_fake, FAKE, mask) + self.loss(on_real, REAL, mask))
        means = {
            "train/loss_disc": loss,
            "train/d_real": mean_probability(on_real, mask),
            "train/d_fake": mean_probability(on_fake, mask),
        }
        if whole is not None:
            share = share_of(on_fake, mask, whole)
            means = {name: mean * share for name, mean in means.items()}
        torch.autograd.backward(self.scaler.scale(means["train/loss_disc"]))
        return {name: mean.detach() for name, mean in means.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs to resume."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a `state_dict`."""
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
