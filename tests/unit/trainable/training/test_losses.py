"""Losses against numbers by hand, and that void takes part in none of them."""

from __future__ import annotations

import math

import pytest
import torch
from small import small_config
from torch import Tensor, nn

from trainable.data import datasets
from trainable.data.sources.labels import VOID
from trainable.training.adversary import Adversary
from trainable.training.build import build_trainer
from trainable.training.losses import (
    counted,
    label_maps,
    loss_bce,
    loss_mce,
    mean_probability,
    probability_maps,
)

pytestmark = pytest.mark.trains

# Two images of 1 x 2 pixels, the last pixel void: 3 pixels count.
LABELS = torch.tensor([[[0, 2]], [[1, VOID]]])
MASK = counted(LABELS)
VOIDS = torch.full_like(LABELS, VOID)
LOG2, LOG3 = math.log(2), math.log(3)


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def maps(*values: float) -> Tensor:
    """Return one logit per pixel, [2, 1, 1, 2]."""
    return torch.tensor(values).view(2, 1, 1, 2)


class Judge(nn.Module):
    """A discriminator with one weight w: its logit is w times the first channel."""

    def __init__(self, w: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w))

    def forward(self, judged: Tensor) -> Tensor:
        return self.w * judged[:, :1]


@pytest.mark.parametrize("classes", [3, 21])
def test_cross_entropy_of_uniform_logits_is_log_c(classes: int) -> None:
    loss = loss_mce(torch.full((2, classes, 1, 2), 7.0), LABELS)
    assert loss.item() == pytest.approx(math.log(classes))


def test_cross_entropy_is_the_mean_over_counted_pixels() -> None:
    # Probabilities of the true classes: 1/2, 1/4 and, alone in its image, 3/4.
    probability = torch.tensor(
        [[[[1 / 2, 1 / 2]], [[1 / 4, 1 / 4]], [[1 / 4, 1 / 4]]],
         [[[1 / 8, 1.0]], [[3 / 4, 1.0]], [[1 / 8, 1.0]]]]
    )  # fmt: skip
    loss = loss_mce(probability.log() + 5, LABELS)
    assert loss.item() == pytest.approx((math.log(2) + math.log(4) + math.log(4 / 3)) / 3)


def test_binary_cross_entropy_per_pixel_has_its_closed_form() -> None:
    logits = maps(0.0, 2.0, -1.0, 9.0)
    real, fake = loss_bce(logits, 1, MASK), loss_bce(logits, 0, MASK)
    assert real.item() == pytest.approx((LOG2 + softplus(-2) + softplus(1)) / 3)
    assert fake.item() == pytest.approx((LOG2 + softplus(2) + softplus(-1)) / 3)


def test_decisions_per_image_count_once_where_the_image_has_a_counted_pixel() -> None:
    logits = torch.tensor([2.0, -1.0]).view(2, 1, 1, 1)
    both = loss_bce(logits, 1, MASK)
    assert both.item() == pytest.approx((softplus(-2) + softplus(1)) / 2)
    first_void = torch.stack((torch.zeros_like(MASK[0]), MASK[1]))
    assert loss_bce(logits, 1, first_void).item() == pytest.approx(softplus(1))
    assert mean_probability(logits, first_void).item() == pytest.approx(1 / (1 + math.e))


def test_mean_probability_is_a_mean_over_counted_pixels_without_gradient() -> None:
    logits = maps(0.0, LOG3, -LOG3, 9.0).requires_grad_()  # 1/2, 3/4, 1/4, void
    mean = mean_probability(logits, MASK)
    assert mean.item() == pytest.approx(1 / 2)
    assert not mean.requires_grad


@pytest.mark.parametrize("loss", ["mce", "real", "fake"])
def test_void_pixels_touch_neither_loss_nor_gradient(loss: str) -> None:
    def value(logits: Tensor) -> Tensor:
        if loss == "mce":
            return loss_mce(logits, LABELS)
        return loss_bce(logits, 1 if loss == "real" else 0, MASK)

    torch.manual_seed(0)
    logits = torch.randn(2, 3 if loss == "mce" else 1, 1, 2, requires_grad=True)
    other = logits.detach().clone()
    other[1, :, 0, 1] = 50
    assert value(logits) == value(other)
    (gradient,) = torch.autograd.grad(value(logits), logits)
    reached = (gradient != 0).any(dim=1, keepdim=True)
    assert torch.equal(reached, MASK.bool())


@pytest.mark.parametrize("shape", [(2, 3, 1, 2), (2, 1, 1, 1)])
def test_a_batch_of_void_gives_zero_and_a_zero_gradient(shape: tuple[int, ...]) -> None:
    logits = torch.randn(shape, requires_grad=True)
    mask = counted(VOIDS)
    loss = loss_bce(logits[:, :1], 0, mask) + loss_bce(logits[:, :1], 1, mask)
    if shape[1] == 3:
        loss = loss + loss_mce(logits, VOIDS)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss.item() == mean_probability(logits[:, :1], mask).item() == 0
    assert torch.equal(gradient, torch.zeros(shape))


def test_what_the_discriminator_sees_is_zero_at_void_in_fake_and_real_alike() -> None:
    torch.manual_seed(0)
    fake = probability_maps(torch.randn(2, 3, 1, 2), MASK)
    real = label_maps(LABELS, 3, MASK)
    for seen in (fake, real):
        torch.testing.assert_close(seen.sum(dim=1, keepdim=True), MASK)
        assert torch.equal(seen[1, :, 0, 1], torch.zeros(3))
    assert real.dtype == torch.float32
    assert real.argmax(dim=1).flatten().tolist() == [0, 2, 1, 0]
    assert set(real.flatten().tolist()) == {0, 1}


def test_probability_maps_are_the_softmax_over_classes() -> None:
    fake = probability_maps(torch.tensor([0.0, LOG2, 0.0]).view(1, 3, 1, 1), torch.ones(1, 1, 1, 1))
    assert fake.flatten().tolist() == pytest.approx([1 / 4, 1 / 2, 1 / 4])


# By a Judge of w = 2: logits 1, 0, 1 on the fake's counted pixels, and 2, 0, 2 on the real's.
FAKE = torch.tensor([[[[0.5, 0.0]], [[0.5, 1.0]]], [[[0.5, 0.0]], [[0.5, 0.0]]]])
REAL = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]], [[[1.0, 0.0]], [[0.0, 0.0]]]])


def adversary(*, lr: float = 0.0) -> Adversary:
    judge = Judge(2.0)
    sgd = torch.optim.SGD(judge.parameters(), lr=lr)
    return Adversary(judge, sgd, loss=loss_bce, lambda_adv=0.5)


def test_the_adversarial_loss_is_equation_4_and_unweighted() -> None:
    fake = FAKE.clone().requires_grad_()
    ours = adversary()
    loss = ours.loss_adv(fake, MASK)
    assert loss.item() == pytest.approx((softplus(-1) + LOG2 + softplus(-1)) / 3)
    loss.backward()  # type: ignore[no-untyped-call]
    # d/dp softplus(-2p) / 3 at p = 1/2; the discriminator takes no gradient.
    assert fake.grad is not None
    assert fake.grad[0, 0, 0, 0].item() == pytest.approx(-2 / (1 + math.e) / 3)
    assert all(weight.grad is None for weight in ours.discriminator.parameters())
    assert all(weight.requires_grad for weight in ours.discriminator.parameters())


def test_the_discriminators_loss_is_equation_5_fake_plus_real() -> None:
    losses = adversary().step(FAKE, REAL, MASK)
    on_fake = (2 * softplus(1) + LOG2) / 3
    on_real = (2 * softplus(-2) + LOG2) / 3
    assert losses["train/loss_disc"].item() == pytest.approx(on_fake + on_real)
    sigmoid = [1 / (1 + math.exp(-x)) for x in (0, 1, 2)]
    assert losses["train/d_fake"].item() == pytest.approx((2 * sigmoid[1] + sigmoid[0]) / 3)
    assert losses["train/d_real"].item() == pytest.approx((2 * sigmoid[2] + sigmoid[0]) / 3)


def test_the_discriminators_step_follows_the_gradient_of_equation_5() -> None:
    # The step that stood before in `grad` does not count.
    ours = adversary(lr=1.0)
    (w,) = ours.discriminator.parameters()
    w.grad = torch.tensor(100.0)
    ours.step(FAKE, REAL, MASK)
    sigmoid_fake, sigmoid_real = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(2))
    assert w.item() == pytest.approx(2 - (2 * 0.5 * sigmoid_fake - 2 * sigmoid_real) / 3)


def test_the_pull_of_the_adversary_on_the_generator_is_proportional_to_lambda() -> None:
    def weights(lambda_adv: float) -> Tensor:
        config = small_config(lambda_adv=lambda_adv)
        trainer = build_trainer(config, datasets.load(config), [], torch.device("cpu"))
        if trainer.adversary is not None:
            trainer.adversary.judge = Judge(1.0)
        trainer.step()
        return torch.cat([weight.flatten() for weight in trainer.generator.parameters()])

    without, one, three = weights(0), weights(1), weights(3)
    assert (one - without).abs().max() > 1e-3
    torch.testing.assert_close(three - without, 3 * (one - without), rtol=1e-3, atol=1e-6)
