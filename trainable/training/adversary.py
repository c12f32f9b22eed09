"""The adversary: a discriminator, its optimizer and its step, kept together.

Shapes: N images, C classes, H and W pixels. Maps are [N, C, H, W], zero at void; the mask of
counted pixels is [N, 1, H, W].
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from trainable.training.losses import mean_probability

REAL, FAKE = 1.0, 0.0


class Adversary:
    """A discriminator in training, which learns to tell the generator's label maps from true ones.

    Args:
        discriminator: The network that gives one logit per pixel (section 3.3) or per image
            (section 5.1).
        optimizer: The optimizer of the discriminator's parameters.
        loss: The loss of logits against a target, 1 for real or 0 for fake, over a mask of counted
            pixels, such as `losses.loss_bce`.
        lambda_adv: The weight of the adversarial term in the generator's loss.
        loss_weight: The weight of the discriminator's own loss.
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
        judge: Callable[[Tensor], Tensor] | None = None,
        scaler: torch.amp.GradScaler | None = None,
    ) -> None:
        self.discriminator = discriminator
        self.optimizer = optimizer
        self.loss = loss
        self.lambda_adv = lambda_adv
        self.loss_weight = loss_weight
        self.judge: Callable[[Tensor], Tensor] = judge or discriminator
        self.scaler = scaler or torch.amp.GradScaler(enabled=False)

    def loss_adv(self, fake: Tensor, mask: Tensor) -> Tensor:
        """Return how far the discriminator is from taking `fake` for real; it stays fixed.

        Source: Eq. 4.
        """
        self.discriminator.requires_grad_(False)
        loss = self.loss(self.judge(fake), REAL, mask)
        self.discriminator.requires_grad_(True)
        return loss

    def step(self, fake: Tensor, real: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Train the discriminator for one step on maps that carry no gradient.

        Both maps go through in one pass: without batch norm that equals two.

        Source: Eq. 5; Algorithm 1, lines 11 and 12; the base code takes half of the sum.
        """
        on_fake, on_real = self.judge(torch.cat((fake, real))).chunk(2)
        loss = self.loss_weight * (self.loss(on_fake, FAKE, mask) + self.loss(on_real, REAL, mask))
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(self.scaler.scale(loss))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return {
            "train/loss_disc": loss.detach(),
            "train/d_real": mean_probability(on_real, mask),
            "train/d_fake": mean_probability(on_fake, mask),
        }

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
