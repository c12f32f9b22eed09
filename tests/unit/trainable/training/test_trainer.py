"""The training step, its golden numbers, and that nothing but the config decides them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from small import small_config

from trainable.config.schema import TrialConfig
from trainable.data import datasets
from trainable.data.augmentation import normalise
from trainable.data.datasets import Split
from trainable.training.build import build_trainer
from trainable.training.losses import counted, label_maps, loss_bce, loss_mce, probability_maps
from trainable.training.trainer import NonFiniteLossError, Trainer

pytestmark = pytest.mark.trains

CPU = torch.device("cpu")
# Losses of the ninth iteration, recorded when every loss's closed form and the written-out step
# below held; other processors may round the last digits differently.
GOLDEN = {
    "none": {"train/loss_mce": 1.1914},
    "standard": {
        "train/loss_mce": 1.1954,
        "train/loss_adv": 0.7438,
        "train/loss_disc": 1.3478,
        "train/d_real": 0.4953,
        "train/d_fake": 0.4753,
    },
    "pixelwise": {
        "train/loss_mce": 1.1891,
        "train/loss_adv": 0.8120,
        "train/loss_disc": 0.8587,
        "train/d_real": 0.7829,
        "train/d_fake": 0.4464,
    },
}


def trainer_of(config: TrialConfig) -> Trainer:
    return build_trainer(config, datasets.load(config), [config.readout], CPU)


@pytest.mark.parametrize("adversarial", GOLDEN)
def test_the_ninth_step_has_its_golden_losses(adversarial: str) -> None:
    config = small_config(
        adversarial=adversarial, lambda_adv=1, lr_discriminator=0.01, discriminator_width=8
    )
    trainer = trainer_of(config)
    for _ in range(9):
        losses = trainer.step()
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(
        GOLDEN[adversarial], abs=5e-4
    )


def test_a_step_is_algorithm_1_written_out() -> None:
    config = small_config(lambda_adv=0.5)
    trainer, other = trainer_of(config), trainer_of(config)
    trainer.step()

    assert other.adversary is not None
    generator, discriminator = other.generator, other.adversary.discriminator
    images, labels = other.batches.draw(0)
    mask = counted(labels)
    logits = generator(images)
    fake = probability_maps(logits, mask)
    loss_gen = loss_mce(logits, labels) + 0.5 * loss_bce(discriminator(fake), 1, mask)
    weights = list(generator.parameters())
    gradients = torch.autograd.grad(loss_gen, weights)
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.data -= config.lr_generator * (gradient + config.weight_decay * weight.data)

    # The discriminator's first Adam step is lr times the sign of its gradient, nearly.
    real = label_maps(labels, 7, mask)
    on_fake, on_real = discriminator(fake.detach()), discriminator(real)
    loss_disc = loss_bce(on_fake, 0, mask) + loss_bce(on_real, 1, mask)
    weights_disc = list(discriminator.parameters())
    gradients = torch.autograd.grad(loss_disc, weights_disc)
    for weight, gradient in zip(weights_disc, gradients, strict=True):
        weight.data -= config.lr_discriminator * gradient / (gradient.abs() + 1e-8)

    assert trainer.adversary is not None
    for ours, written in (
        (trainer.generator, generator),
        (trainer.adversary.discriminator, discriminator),
    ):
        for one, two in zip(ours.parameters(), written.parameters(), strict=True):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def test_learning_rates_follow_the_polynomial_decay() -> None:
    # Section 4.2: alpha_k = alpha_0 * (1 - k / max_iter) ** 0.9.
    config = small_config(lr_head_multiplier=10, lr_trunk_multiplier=3)
    trainer = trainer_of(config)
    for _ in range(7):
        trainer.step()
    decay = (1 - 6 / config.iterations) ** 0.9
    trunk, head = (group["lr"] for group in trainer.optimizer.param_groups)
    assert trunk == pytest.approx(3 * config.lr_generator * decay)
    assert head == pytest.approx(10 * config.lr_generator * decay)
    assert trainer.adversary is not None
    disc = trainer.adversary.optimizer.param_groups[0]["lr"]
    assert disc == pytest.approx(config.lr_discriminator * decay)


def test_the_base_codes_half_of_the_discriminator_loss_is_a_field() -> None:
    whole, half = (
        trainer_of(small_config(loss_disc_weight=weight)).step()["train/loss_disc"].item()
        for weight in (1, 0.5)
    )
    assert half == pytest.approx(whole / 2)


def test_the_discriminator_is_fixed_while_the_generator_learns() -> None:
    config = small_config(lr_discriminator=1e-12)
    trainer = trainer_of(config)
    assert trainer.adversary is not None
    before = [weight.clone() for weight in trainer.adversary.discriminator.parameters()]
    trainer.step()
    after = list(trainer.adversary.discriminator.parameters())
    torch.testing.assert_close(before, after, rtol=0, atol=1e-9)
    assert all(weight.requires_grad for weight in after)


def test_paired_trials_start_from_the_same_generator_and_see_the_same_batches() -> None:
    baseline, adversarial = (trainer_of(small_config(lambda_adv=value)) for value in (0, 1))
    assert baseline.adversary is None
    assert adversarial.adversary is not None
    for one, two in zip(
        baseline.generator.parameters(), adversarial.generator.parameters(), strict=True
    ):
        assert torch.equal(one, two)
    for iteration in (0, 7):
        ours, theirs = (t.batches.draw(iteration) for t in (baseline, adversarial))
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1], theirs[1])


@pytest.mark.parametrize("policy", ["affine_frozen", "train"])
def test_what_a_trunks_batch_norm_scales_by_trains_where_its_policy_says_so(policy: str) -> None:
    trainer = trainer_of(small_config(trunk_batch_norm=policy))
    norm = trainer.generator.get_submodule("trunk.bn1")
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    trainer.step()
    after = norm.state_dict()
    assert torch.equal(after["weight"], before["weight"]) == (policy == "affine_frozen")
    assert torch.equal(after["bias"], before["bias"]) == (policy == "affine_frozen")
    assert not torch.equal(after["running_mean"], before["running_mean"])


def test_the_seed_decides_the_initial_weights() -> None:
    one, two = (trainer_of(small_config(seed=seed)) for seed in (0, 1))
    first = next(one.generator.parameters()), next(two.generator.parameters())
    assert not torch.equal(*first)


def test_recorded_losses_are_means_over_the_iterations_since_the_last_record() -> None:
    config = small_config()
    trainer, stepped = trainer_of(config), trainer_of(config)
    trainer.advance()
    mean = sum(stepped.step()["train/loss_mce"].item() for _ in range(3)) / 3
    assert trainer.history[0]["iteration"] == 3
    assert trainer.history[0]["train/loss_mce"] == pytest.approx(mean)


def test_the_history_has_losses_and_miou_at_their_iterations() -> None:
    trainer = trainer_of(small_config(iterations=10))
    while not trainer.finished:
        trainer.advance()
    losses = [row["iteration"] for row in trainer.history if "train/loss_mce" in row]
    miou = [row["iteration"] for row in trainer.history if "val/miou" in row]
    assert losses == [3, 6, 9, 10]
    assert miou == [4, 8, 10]
    assert trainer.last_miou == trainer.evaluate(trainer.generator)["miou"]


def test_validation_does_not_change_what_is_trained() -> None:
    often, seldom = (trainer_of(small_config(eval_every=every)) for every in (1, 12))
    for trainer in (often, seldom):
        while not trainer.finished:
            trainer.advance()
    for one, two in zip(
        often.generator.state_dict().values(), seldom.generator.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two)


class Seen(torch.nn.Module):
    """A network that predicts class 0 and remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.images += images
        return torch.zeros_like(images).index_fill(1, torch.tensor(0), 1)


def test_images_of_several_sizes_are_validated_at_their_own_size() -> None:
    trainer = trainer_of(small_config())
    sizes = [(24, 20), (24, 20), (17, 30), (24, 20)]
    pixels = sum(height * width for height, width in sizes)
    val = Split(
        images=torch.randint(0, 256, (3 * pixels,), dtype=torch.uint8),
        labels=torch.randint(0, 2, (pixels,), dtype=torch.uint8),
        sizes=torch.tensor(sizes),
    )
    trainer.data = replace(trainer.data, val=val)
    network = Seen()
    metrics = trainer.evaluate(network)
    for k, image in enumerate(network.images):
        assert torch.equal(image, normalise(val.run(k, k + 1)[0][0], caffe=False))
    assert len(network.images) == 4
    assert metrics["acc"] == pytest.approx((val.labels == 0).float().mean().item())


def test_validation_lays_images_out_as_the_weights_want_them() -> None:
    network = Seen()
    trainer = trainer_of(small_config(trunk_layout="caffe"))
    trainer.evaluate(network)
    assert torch.equal(network.images[0], normalise(trainer.data.val.run(0, 1)[0][0], caffe=True))


def test_a_non_finite_loss_ends_training_at_once_by_name_and_iteration() -> None:
    trainer = trainer_of(small_config(lr_generator=1e30, log_every=10, eval_every=10))
    with pytest.raises(NonFiniteLossError, match=r"^train/loss_\w+ must .* at iteration 2;"):
        trainer.advance()
    assert trainer.iteration == 2


def test_a_trainer_that_was_saved_and_loaded_goes_on_with_the_same_bits() -> None:
    config = small_config()
    straight = trainer_of(config)
    while not straight.finished:
        straight.advance()
    resumed = trainer_of(config)
    for _ in range(2):
        resumed.advance()
    state = resumed.state_dict()
    resumed = trainer_of(config)
    resumed.load_state_dict(state)
    while not resumed.finished:
        resumed.advance()
    assert _numbers(resumed) == _numbers(straight)
    one, two = straight.generator.state_dict(), resumed.generator.state_dict()
    assert all(torch.equal(one[name], two[name]) for name in one)
    ours, theirs = (
        trainer.evaluate(trainer.averaged(trainer.averages.each[0]))
        for trainer in (resumed, straight)
    )
    assert ours == theirs


def _numbers(trainer: Trainer) -> list[dict[str, float]]:
    rows = [{k: v for k, v in row.items() if k != "time"} for row in trainer.history]
    assert all(math.isfinite(value) for row in rows for value in row.values())
    return rows


def test_loaded_averages_lie_where_the_others_do() -> None:
    averages = trainer_of(small_config()).averages
    averages.device = torch.device("meta")
    averages.load_state_dict(averages.state_dict())
    assert {value.device.type for value in averages.each[0].values.values()} == {"meta"}


def test_dropout_draws_the_same_after_a_resume_and_beside_other_work() -> None:
    config = small_config(
        generator="deeplabv3_resnet18", crop_px=32, image_px=32, batch_size=2, lambda_adv=0
    )
    straight = trainer_of(config)
    losses = [straight.step()["train/loss_mce"].item() for _ in range(4)]
    stopped = trainer_of(config)
    for _ in range(2):
        stopped.step()
    resumed = trainer_of(config)
    resumed.load_state_dict(stopped.state_dict())
    torch.rand(7)
    assert [resumed.step()["train/loss_mce"].item() for _ in range(2)] == losses[2:]
