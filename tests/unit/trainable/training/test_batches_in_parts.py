"""Accumulated gradients, clipping, warm-up, and losses for rare classes."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from own_nets import config_with
from small import small_config
from torch import Tensor

from trainable.config.schema import ConfigError, TrialConfig
from trainable.data import datasets
from trainable.data.sources.labels import VOID
from trainable.training.build import build_trainer
from trainable.training.losses import loss_mce
from trainable.training.segmentation_loss import class_weights
from trainable.training.trainer import Trainer

pytestmark = pytest.mark.trains

CPU = torch.device("cpu")


def trainer_of(config: TrialConfig) -> Trainer:
    return build_trainer(config, datasets.load(config), [config.readout], CPU)


def weights_after(config: TrialConfig, steps: int = 3) -> tuple[dict[str, Tensor], dict[str, Any]]:
    trainer = trainer_of(config)
    for _ in range(steps):
        losses = trainer.step()
    state: dict[str, Tensor] = dict(trainer.generator.named_parameters())
    if trainer.adversary is not None:
        named = trainer.adversary.discriminator.named_parameters()
        state |= {f"discriminator.{name}": value for name, value in named}
    return state, losses


@pytest.mark.parametrize("parts", [2, 3, 4])
@pytest.mark.parametrize("adversarial", ["pixelwise", "standard"])
@pytest.mark.parametrize("weights", ["none", "inverse_frequency"])
def test_parts_of_a_batch_give_what_the_batch_gives_where_no_batch_norm_sees_it(
    adversarial: str, parts: int, weights: str
) -> None:
    # Its pixels that count differ from part to part: crops reach beyond their images.
    config = config_with(
        "own_nets:one_part",
        adversarial=adversarial,
        lambda_adv=0.5,
        batch_size=4,
        crop_px=40,
        class_weights=weights,
    )
    (whole, losses) = weights_after(config)
    (apart, shares) = weights_after(dataclasses.replace(config, accumulate=parts))
    assert losses.keys() == shares.keys()
    for name, value in losses.items():
        torch.testing.assert_close(shares[name], value, msg=name)
    for name, weight in whole.items():
        torch.testing.assert_close(apart[name], weight, rtol=1e-4, atol=1e-6, msg=name)


def test_more_parts_than_images_are_refused_and_so_are_parts_of_a_loss_of_the_whole() -> None:
    with pytest.raises(ConfigError, match="`accumulate <= batch_size`"):
        small_config(accumulate=5)
    with pytest.raises(ConfigError, match=r"generator_loss=ce.dice is of a whole batch"):
        small_config(accumulate=2, generator_loss="ce+dice")
    with pytest.raises(ConfigError, match="`batch_size >= 6` must hold"):
        small_config(accumulate=3, generator="deeplabv3_resnet18", crop_px=32, batch_size=4)


@pytest.mark.parametrize("norm", [1e-3, 1e-1])
def test_no_gradient_is_longer_than_it_may_be(norm: float) -> None:
    trainer = trainer_of(small_config(clip_norm=norm, lambda_adv=0.5))
    trainer.step()
    assert trainer.adversary is not None
    for network in (trainer.generator, trainer.adversary.discriminator):
        grads = [one.grad.norm() for one in network.parameters() if one.grad is not None]
        assert torch.stack(grads).norm() <= norm * (1 + 1e-4)


def test_learning_rates_rise_to_what_they_are() -> None:
    config = small_config(warmup=4, iterations=12, poly_power=1.0, lr_discriminator=0.1)
    trainer = trainer_of(config)
    found = []
    for _ in range(6):
        trainer.step()
        assert trainer.adversary is not None
        found.append(trainer.adversary.optimizer.param_groups[0]["lr"])
    falls = [0.1 * (1 - k / 12) for k in range(6)]
    rises = [1 / 4, 2 / 4, 3 / 4, 1, 1, 1]
    assert found == pytest.approx([one * share for one, share in zip(falls, rises, strict=True)])
    with pytest.raises(ConfigError, match="`warmup <= iterations`"):
        small_config(warmup=13, iterations=12)


def test_weights_by_inverse_frequency_give_each_class_the_same_share() -> None:
    labels = torch.tensor([0] * 12 + [1] * 3 + [3] + [VOID] * 5, dtype=torch.uint8)
    weights = class_weights(small_config(class_weights="inverse_frequency"), labels, 4, CPU)
    assert weights is not None
    assert (weights * torch.tensor([12, 3, 0, 1])).tolist() == pytest.approx(
        [16 / 3] * 2 + [0, 16 / 3]
    )


def test_the_weighted_cross_entropy_is_torchs() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 4, 5, 6)
    labels = torch.randint(0, 4, (2, 5, 6))
    labels[0, :2] = VOID
    weights = torch.tensor([1.0, 0.0, 2.5, 0.3])
    wanted = torch.nn.functional.cross_entropy(logits, labels, weights, ignore_index=VOID)
    torch.testing.assert_close(loss_mce(logits, labels, class_weights=weights), wanted)


@pytest.mark.parametrize(
    ("given", "held"),
    [("1, 2,0.5", "1,2,0.5"), ([1, 0, 3.5], "1,0,3.5"), ("inverse_frequency", "inverse_frequency")],
)
def test_class_weights_have_one_spelling(given: Any, held: str) -> None:
    assert TrialConfig(class_weights=given).class_weights == held


@pytest.mark.parametrize("given", ["often", "1,-2", "nan,1", "0,0", 3])
def test_other_class_weights_are_refused(given: Any) -> None:
    with pytest.raises(
        ConfigError, match="class_weights must be none, inverse_frequency or a weight"
    ):
        TrialConfig(class_weights=given)


def test_there_is_a_weight_for_each_class() -> None:
    with pytest.raises(ConfigError, match="for each of the 7 classes, but has 2; give as many"):
        trainer_of(small_config(class_weights="1,2"))


@pytest.mark.parametrize(("name", "curve"), [("ce+dice", "dice"), ("focal", "focal")])
def test_losses_of_the_library_are_learned_and_recorded(name: str, curve: str) -> None:
    config = small_config(generator_loss=name, lambda_adv=0.0)
    learned, losses = weights_after(config)
    assert {"train/loss_mce", f"train/loss_{curve}"} == losses.keys()
    plain, _ = weights_after(dataclasses.replace(config, generator_loss="ce"))
    assert any(not torch.equal(learned[one], plain[one]) for one in plain)
    assert losses[f"train/loss_{curve}"].isfinite()


def kept_for_the_backward_pass(trainer: Trainer) -> int:
    """Bytes of what the generator's pass keeps besides its weights."""
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(0)
    images = torch.randn(4, 3, 48, 48)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = trainer.generator(images)
    weights = {one.untyped_storage().data_ptr() for one in trainer.generator.parameters()}
    del output
    return sum(size for place, size in kept.items() if place not in weights)


@pytest.mark.parametrize("generator", ["deeplab_small", "deeplabv3_resnet18", "smp:Unet"])
def test_activations_computed_again_give_the_same_bits_from_less_memory(generator: str) -> None:
    config = config_with(generator, lambda_adv=0.5, crop_px=32, image_px=32)
    plain, again = (
        trainer_of(dataclasses.replace(config, activation_checkpointing=on)) for on in (False, True)
    )
    assert kept_for_the_backward_pass(again) < 0.7 * kept_for_the_backward_pass(plain)
    for trainer in (plain, again):
        for _ in range(2):
            trainer.step()
    states = [one.generator.state_dict() for one in (plain, again)]
    assert [name for name in states[0] if not torch.equal(states[0][name], states[1][name])] == []
    average = again.averages.each[0]
    images = (again.batches.draw(i)[0] for i in range(1))
    network = again.averages.network(average, again.generator, images)
    assert plain.evaluate(network) == again.evaluate(network)


def test_a_network_without_blocks_cannot_compute_them_again() -> None:
    with pytest.raises(ConfigError, match="activation_checkpointing needs a generator with blocks"):
        trainer_of(config_with("own_nets:one_part", activation_checkpointing=True))
