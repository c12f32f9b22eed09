"""What the benchmark counts and times, and that its baseline trains the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from small import small_config
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from trainable.benchmarking.plain_loop import PlainLoop
from trainable.benchmarking.timing import flop_of_step, random_data, ratio, summary, time_in_turn
from trainable.config.schema import TrialConfig
from trainable.data.sources.labels import VOID
from trainable.training.build import build_trainer

pytestmark = pytest.mark.trains

CPU = torch.device("cpu")
CLASSES = 3


def flop_of(step: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        step()
    total: int = counter.get_total_flops()
    return total


def flop_by_hand(network: nn.Module, inputs: Tensor) -> tuple[int, int]:
    """Return two operations per multiply-add of a forward pass, and of its first convolution."""
    counts: list[int] = []

    def count(layer: Any, inputs: tuple[Tensor], outputs: Tensor) -> None:
        # A transposed convolution sends every input pixel where another gathers an output pixel.
        transposed = isinstance(layer, nn.ConvTranspose2d)
        pixels = inputs[0][:, 0].numel() if transposed else outputs[:, 0].numel()
        counts.append(2 * pixels * layer.weight.numel())

    hooks = [
        layer.register_forward_hook(count)
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
    ]
    with torch.no_grad():
        network(inputs)
    for hook in hooks:
        hook.remove()
    return sum(counts), counts[0]


def flop_of_both(config: TrialConfig) -> tuple[int, int, int, int]:
    """Return the operations by hand: of the generator, its first layer, and the same of D."""
    trainer = build_trainer(config, random_data(config, CLASSES, CPU), [], CPU)
    images, _ = trainer.batches.draw(0)
    generator = flop_by_hand(trainer.generator, images)
    if trainer.adversary is None:
        return *generator, 0, 0
    maps = torch.zeros(len(images), CLASSES, *images.shape[2:])
    return *generator, *flop_by_hand(trainer.adversary.discriminator, maps)


@pytest.mark.parametrize("adversarial", ["none", "pixelwise"])
def test_a_step_takes_the_operations_that_algorithm_1_needs_and_no_more(adversarial: str) -> None:
    """G: forward, and backward to weights and inputs, the images excepted. D: forward and backward
    to its inputs for G's step; for its own forward and backward of fake and real, to the weights
    and to the inputs of all layers but the first."""
    config = small_config(adversarial=adversarial)
    gen, gen_first, disc, disc_first = flop_of_both(config)
    expected = 3 * gen - gen_first + 2 * disc + 2 * (3 * disc - disc_first)
    assert flop_of_step(config, random_data(config, CLASSES, CPU), CPU) == expected


def test_the_first_convolution_has_its_operations_by_hand() -> None:
    # 4 images, 12 x 12 cells, 4 channels, of 3 x 3 x 3 products and sums.
    assert flop_of_both(small_config())[1] == 2 * 4 * (12 * 12) * 4 * (3 * 3 * 3)


@pytest.mark.parametrize("adversarial", ["none", "pixelwise"])
def test_the_baseline_takes_the_same_operations(adversarial: str) -> None:
    config = small_config(adversarial=adversarial)
    data = random_data(config, CLASSES, CPU)
    ours, plain = flop_of_step(config, data, CPU), flop_of(PlainLoop(config, data, CPU).step)
    assert plain == ours


@pytest.mark.parametrize("adversarial", ["none", "standard", "pixelwise"])
def test_the_baseline_has_the_losses_of_the_trainer(adversarial: str) -> None:
    config = small_config(adversarial=adversarial, loss_disc_weight=0.5)
    data = random_data(config, CLASSES, CPU)
    ours, plain = build_trainer(config, data, [], CPU), PlainLoop(config, data, CPU)
    for _ in range(3):
        expected = {name: loss.item() for name, loss in ours.step().items() if "/d_" not in name}
        assert plain.step() == pytest.approx(expected, rel=1e-4)


def test_the_baseline_trains_as_the_trainer_does() -> None:
    config = small_config(adversarial="none", lr_generator=0.01, lr_head_multiplier=3)
    data = random_data(config, CLASSES, CPU)
    ours, plain = build_trainer(config, data, [], CPU), PlainLoop(config, data, CPU)
    first = ours.step()["train/loss_mce"].item()
    plain.step()
    for _ in range(6):
        expected = ours.step()["train/loss_mce"].item()
        assert plain.step()["train/loss_mce"] == pytest.approx(expected, rel=1e-3)
    assert abs(expected - first) > 0.1 * first  # the weights have moved


def test_random_data_has_every_class_and_void_and_more_room_than_a_crop() -> None:
    config = small_config(crop_px=40)
    data = random_data(config, CLASSES, CPU)
    assert len(data.classes) == CLASSES
    assert set(np.unique(data.train.labels).tolist()) == {0, 1, 2, VOID}
    assert (data.train.sizes > config.crop_px).all()
    _, labels = build_trainer(config, data, [], CPU).batches.draw(0)
    assert 0.4 < (labels != VOID).float().mean() < 0.9


def test_contestants_take_turns_and_every_other_round_goes_backwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = 0.0
    calls = ""

    def step(name: str, seconds: float) -> None:
        nonlocal clock, calls
        clock += seconds
        calls += name

    monkeypatch.setattr("time.perf_counter", lambda: clock)
    steps = {"a": partial(step, "a", 0.25), "b": partial(step, "b", 2.0)}
    ms = time_in_turn(steps, rounds=2, per_round=3)
    assert calls == "aaabbb" + "bbbaaa"
    assert {name: each.tolist() for name, each in ms.items()} == {"a": [250] * 2, "b": [2000] * 2}


def test_the_ratio_and_its_interval_are_of_the_same_rounds() -> None:
    """Noise that hits both alike leaves the ratio certain."""
    ours = np.array([1.0, 5.0, 2.0, 9.0, 3.0])
    assert ratio(2 * ours, ours) == {"ratio": 2, "interval": [2, 2]}


def test_the_interval_is_that_of_the_median() -> None:
    """Of 101 even rounds: 51 with a standard error of about 5, not the rounds' own spread."""
    found = ratio(np.arange(1.0, 102.0), np.ones(101))
    low, high = found["interval"]
    assert found["ratio"] == 51
    assert 35 < low < 46
    assert 56 < high < 67


def test_the_summary_is_median_minimum_and_quartiles() -> None:
    found = summary(np.array([5.0, 1.0, 2.0, 4.0, 3.0]))
    assert found == {"median": 3, "min": 1, "q1": 2, "q3": 4}
