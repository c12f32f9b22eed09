"""Averages along a trajectory: closed forms, schedule, batch norm, and none disturbs another."""

from __future__ import annotations

import copy
import io
import random
from itertools import product
from typing import Any

import pytest
import torch
from own_nets import EVERY_GENERATOR, config_with
from small import small_config
from torch import Tensor, nn

from trainable.config.choices import SWA_BATCH_NORMS, SWA_RULES
from trainable.config.schema import Readout
from trainable.data import datasets
from trainable.networks.build import build_generator
from trainable.training.averaging import Average, Averages, recompute_batch_norm
from trainable.training.build import build_trainer
from trainable.training.trainer import Trainer

pytestmark = pytest.mark.trains


def readout(**values: Any) -> Readout:
    return small_config(**values).readout


def scalar(value: float = 0.0) -> nn.Linear:
    """Return a network of one float64 weight, for closed forms without rounding."""
    network = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    return at(network, value)


def at(network: nn.Linear, value: float) -> nn.Linear:
    nn.init.constant_(network.weight, value)
    return network


def averaged(rule: Readout, start: float, weights: list[float]) -> tuple[float, list[int]]:
    """Return the average of a trajectory, and the iterations at which it was updated."""
    network = scalar(start)
    averages = Averages([rule], len(weights), network)
    (average,) = averages.each
    taken = []
    for iteration, weight in enumerate(weights):
        before = average.averaged
        averages.update(iteration, at(network, weight))
        taken += [iteration] * (average.averaged - before)
    return averages.named(average, network)["weight"].item(), taken


@pytest.mark.parametrize(
    ("n", "iterations", "share"),
    [
        (100, 20000, 0.137),
        (100, 5000, 0.608),
        (10, 20000, 0.0),
        (50, 20000, 0.0004),
        (200, 20000, 0.607),
        (500, 20000, 0.923),
    ],
)
def test_eq7_keeps_the_share_of_its_start_that_the_method_states(
    n: int, iterations: int, share: float
) -> None:
    left, taken = averaged(readout(swa_rule="eq7", swa_n=n), 1.0, [0.0] * iterations)
    assert len(taken) == iterations // n
    assert left == pytest.approx((n / (n + 1)) ** (iterations // n))
    assert left == pytest.approx(share, abs=5e-4)


@pytest.mark.parametrize("n", [1, 3, 5])
@pytest.mark.parametrize("threshold", [0, 0.5])
def test_each_rule_is_its_formula_over_the_averaging_points(n: int, threshold: float) -> None:
    torch.manual_seed(0)
    weights = torch.randn(20, dtype=torch.float64).tolist()
    first = int(threshold * 20)
    start = weights[first - 1] if first else 7.0  # theta_gen at the threshold
    points = weights[first::n]

    def found(rule: str) -> float:
        values = readout(swa_rule=rule, swa_n=n, swa_threshold=threshold, swa_decay=0.75)
        return averaged(values, 7.0, weights)[0]

    assert found("uniform") == pytest.approx(sum(points) / len(points))
    eq7 = ema = start
    for weight in points:
        eq7 = (eq7 * n + weight) / (n + 1)
        ema = 0.75 * ema + 0.25 * weight
    assert found("eq7") == pytest.approx(eq7)
    assert found("ema") == pytest.approx(ema)


@pytest.mark.parametrize(
    ("threshold", "taken"),
    [(0, [0, 4, 8]), (0.1, [1, 5, 9]), (0.55, [5, 9]), (0.99, [9])],  # 0: Algorithm 1, mod(i, n)
)
@pytest.mark.parametrize("rule", SWA_RULES)
def test_averaging_points_are_every_nth_iteration_from_the_threshold_on(
    threshold: float, taken: list[int], rule: str
) -> None:
    values = readout(swa_rule=rule, swa_n=4, swa_threshold=threshold)
    assert averaged(values, 0.0, [0.0] * 10)[1] == taken


@pytest.mark.parametrize("rule", SWA_RULES)
@pytest.mark.parametrize("iterations", [1, 7, 20000])
def test_at_least_one_update_is_made_however_late_averaging_begins(
    rule: str, iterations: int
) -> None:
    values = readout(swa_rule=rule, swa_n=10**6, swa_threshold=1 - 2**-53)
    assert averaged(values, 0.0, [1.0] * iterations)[1] == [iterations - 1]


class Normed(nn.Module):
    """A weight and a batch norm whose input it scales."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(1, momentum=0.3)

    def forward(self, images: Tensor) -> Tensor:
        output: Tensor = self.bn(self.conv(images))
        return output


BATCHES = [torch.tensor(values).view(2, 1, 1, 2) for values in ([1.0, 2, 3, 6], [0.0, 4, 4, 8])]
MEANS, VARIANCES = (3.0, 4.0), (14 / 3, 32 / 3)  # of the two batches, variances unbiased


@pytest.mark.parametrize(
    ("policy", "mean", "var"),
    [
        ("recompute", 2 * sum(MEANS) / 2, 4 * sum(VARIANCES) / 2),  # the averaged weight is 2
        ("average", (10 + 30) / 2, (1 + 5) / 2),
        ("copy", 30.0, 5.0),
    ],
)
def test_batch_norm_of_the_averaged_network_follows_its_policy(
    policy: str, mean: float, var: float
) -> None:
    network = Normed()
    rule = readout(swa_rule="uniform", swa_n=1, swa_batch_norm=policy)
    averages = Averages([rule], 2, network)
    for iteration, values in enumerate([(1.0, 10.0, 1.0), (3.0, 30.0, 5.0)]):
        names = ("conv.weight", "bn.running_mean", "bn.running_var")
        for name, value in zip(names, values, strict=True):
            network.state_dict()[name].fill_(value)
        averages.update(iteration, network)
    before = copy.deepcopy(network.state_dict())

    other = averages.network(averages.each[0], network, BATCHES)
    found = other.state_dict()
    assert found["conv.weight"].item() == pytest.approx(2.0)
    assert found["bn.running_mean"].item() == pytest.approx(mean)
    assert found["bn.running_var"].item() == pytest.approx(var)
    assert not any(module.training for module in other.modules())
    # The generator is left as it was, in training.
    assert all(module.training for module in network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_batch_norm_is_recomputed_as_the_mean_over_batches() -> None:
    network = Normed()
    nn.init.constant_(network.conv.weight, 1.0)
    network(100 * BATCHES[0])  # what stood there before does not count
    recompute_batch_norm(network.eval(), BATCHES)
    assert network.bn.running_mean is not None
    assert network.bn.running_var is not None
    assert network.bn.running_mean.item() == pytest.approx(sum(MEANS) / 2)
    assert network.bn.running_var.item() == pytest.approx(sum(VARIANCES) / 2)
    assert network.bn.momentum == 0.3


def test_frozen_statistics_stay_as_they_are() -> None:
    network = Normed()
    network.train = lambda mode=True: network  # type: ignore[method-assign]
    network.bn.eval()
    before = copy.deepcopy(network.state_dict())
    recompute_batch_norm(network, (pytest.fail("a batch was drawn") for _ in range(1)))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_an_average_takes_the_memory_of_one_copy_of_the_weights() -> None:
    trainer = trained(readout(swa_rule="eq7"))
    (average,) = trainer.averages.each
    weights = sum(weight.numel() for weight in trainer.generator.parameters())
    assert sum(value.numel() for value in average.values.values()) == weights


def test_a_network_without_batch_norm_reads_no_batches() -> None:
    recompute_batch_norm(scalar(), (pytest.fail("a batch was drawn") for _ in range(1)))


@pytest.mark.parametrize("rule", SWA_RULES)
@pytest.mark.parametrize("saved_at", [2, 8])  # before and after averaging begins
def test_an_average_that_was_saved_and_loaded_goes_on_with_the_same_bits(
    rule: str, saved_at: int
) -> None:
    torch.manual_seed(0)
    weights = torch.randn(12).tolist()
    values = readout(swa_rule=rule, swa_n=2, swa_threshold=0.5)
    network = scalar()
    many = 20 * [values]  # so many that weights wait to be taken in
    straight, first = (Averages(many, 12, network) for _ in range(2))
    resumed = Averages(many, 12, scalar(9.0))
    for iteration, weight in enumerate(weights):
        at(network, weight)
        straight.update(iteration, network)
        if iteration < saved_at:
            first.update(iteration, network)
            continue
        if iteration == saved_at:
            file = io.BytesIO()
            torch.save(first.state_dict(), file)
            file.seek(0)
            state = torch.load(file, weights_only=True)
            resumed.load_state_dict(state)
            kept = {name: value.clone() for name, value in state[0]["values"].items()}
        resumed.update(iteration, network)
    for one, two in zip(resumed.each, straight.each, strict=True):
        ours, theirs = resumed.named(one, network), straight.named(two, network)
        assert torch.equal(ours["weight"], theirs["weight"])
        assert one.averaged == two.averaged == 3
    assert state[0]["values"] == kept  # going on does not write into the saved state


def trained(*readouts: Readout) -> Trainer:
    config = small_config()
    trainer = build_trainer(config, datasets.load(config), readouts, torch.device("cpu"))
    for _ in range(config.iterations):
        trainer.step()
    return trainer


def test_averages_carried_together_equal_each_carried_alone_bit_for_bit() -> None:
    draw = random.Random(0)
    readouts = [
        readout(
            swa_rule=rule,
            swa_batch_norm=policy,
            swa_n=draw.randint(1, 5),
            swa_threshold=draw.choice([0, 0.25, 0.5, 0.9]),
            swa_decay=draw.uniform(0.1, 0.99),
        )
        for rule, policy in 2 * list(product(SWA_RULES, SWA_BATCH_NORMS))
    ]
    together = trained(*readouts)
    for average in together.averages.each:
        alone = trained(average.readout)
        for one, two in (
            (together.generator, alone.generator),
            (network_of(together, average), network_of(alone, alone.averages.each[0])),
        ):
            states = one.state_dict(), two.state_dict()
            assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def network_of(trainer: Trainer, average: Average) -> nn.Module:
    images = (trainer.batches.draw(i)[0] for i in range(2))
    return trainer.averages.network(average, trainer.generator, images)


LARGE = ("deeplabv2_resnet101", "deeplabv3_resnet50", "deeplabv3_resnet101")  # seconds each


@pytest.mark.parametrize(
    "generator",
    [
        pytest.param(name, marks=pytest.mark.slow if name in LARGE else ())
        for name in EVERY_GENERATOR
    ],
)
def test_an_average_has_the_same_bits_alone_beside_another_and_reopened(generator: str) -> None:
    config = config_with(
        generator, crop_px=32, image_px=32, batch_size=2, iterations=3, val_images=2
    )
    data = datasets.load(config)
    first, second = (readout(swa_rule=rule, swa_n=1) for rule in ("eq7", "uniform"))

    def trainer_of(*readouts: Readout) -> Trainer:
        return build_trainer(config, data, readouts, torch.device("cpu"))

    together, alone, reopened = trainer_of(first, second), trainer_of(second), trainer_of(second)
    for trainer in (together, alone):
        while not trainer.finished:
            trainer.step()
    reopened.load_state_dict(alone.state_dict())
    torch.rand(7)
    network_of(together, together.averages.each[0])
    found = []
    for trainer in (together, alone, reopened):
        network = network_of(trainer, trainer.averages.each[-1])
        found.append((network.state_dict(), trainer.evaluate(network)))
    for state, metrics in found[1:]:
        assert [name for name in state if not torch.equal(state[name], found[0][0][name])] == []
        assert metrics == found[0][1]


class Stochastic(nn.Module):
    """What draws in training, by a flag of its own or by that of its network, and keeps count."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.layers = nn.Sequential(nn.Dropout(0.5), nn.Dropout2d(0.5), nn.AlphaDropout(0.5))
        self.bn = nn.BatchNorm2d(3)
        self.calls: Tensor
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        if self.kind == "modules":
            images = self.layers(images)
        elif self.training:  # as stochastic depth, spectral norm and the like are written
            self.calls += 1
            images = images * torch.rand(len(images), 1, 1, 1)
        output: Tensor = self.bn(images)
        return output


@pytest.mark.parametrize("kind", ["modules", "flag"])
def test_all_but_batch_norms_stands_still_while_statistics_are_estimated(kind: str) -> None:
    network = Stochastic(kind)
    torch.manual_seed(0)
    batches = [torch.randn(4, 3, 5, 5) for _ in range(3)]
    before = torch.get_rng_state()
    recompute_batch_norm(network, batches)
    assert torch.equal(torch.get_rng_state(), before)
    means = torch.stack([images.mean(dim=(0, 2, 3)) for images in batches])
    torch.testing.assert_close(network.bn.running_mean, means.mean(dim=0))
    assert network.calls == 0
    assert not any(module.training for module in network.modules())


@pytest.mark.parametrize("generator", ["deeplab_small", "deeplabv3_resnet18"])
def test_statistics_are_those_of_whole_forward_passes(generator: str) -> None:
    # The head of the first norms nothing and is left out; that of the second does.
    config = small_config(generator=generator, crop_px=32)
    network = build_generator(config, 3)
    whole = copy.deepcopy(network)
    batches = [torch.randn(2, 3, 32, 32) for _ in range(2)]
    recompute_batch_norm(network, batches)
    recompute_batch_norm(nn.Sequential(whole), batches)
    for one, other in zip(network.buffers(), whole.buffers(), strict=True):
        assert torch.equal(one, other)
