"""Discriminators: sizes, what they see, and that void alone tells nothing."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trainable.config.choices import DISCRIMINATORS
from trainable.config.schema import TrialConfig
from trainable.data.sources.labels import VOID
from trainable.networks.build import build_discriminator
from trainable.networks.discriminators import (
    EncoderDecoder,
    EncoderDecoderSkips,
    FullyConvolutional,
)
from trainable.training.adversary import Adversary
from trainable.training.losses import counted, label_maps, loss_bce, probability_maps

pytestmark = pytest.mark.trains

KINDS = [*DISCRIMINATORS, "image"]
# What judges with the base code's encoder; of others its sizes need not hold.
WITH_ENCODER = ("encoder_decoder", "fully_convolutional", "encoder_decoder_skips", "image")


def build(kind: str, classes: int = 3, **values: Any) -> nn.Module:
    """Return one of the pixel-wise discriminators, or the one that judges images."""
    network = build_discriminator(config_of(kind, **values), classes)
    assert network is not None
    return network


def config_of(kind: str, **values: Any) -> TrialConfig:
    if kind == "image":
        return TrialConfig(adversarial="standard", **values)
    return TrialConfig(discriminator=kind, **values)


def least_of(kind: str) -> int:
    spec = config_of(kind).discriminator_spec
    assert spec is not None
    return spec.least_px


def test_a_name_of_the_config_has_its_class() -> None:
    assert isinstance(build("encoder_decoder"), EncoderDecoder)
    assert isinstance(build("encoder_decoder_skips"), EncoderDecoderSkips)
    assert isinstance(build("fully_convolutional"), FullyConvolutional)


@pytest.mark.parametrize("values", [{"lambda_adv": 0}, {"adversarial": "none"}])
def test_a_baseline_has_no_discriminator(values: dict[str, Any]) -> None:
    assert build_discriminator(TrialConfig(**values), 21) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_discriminator_judges_each_pixel_or_each_image(kind: str) -> None:
    least = least_of(kind)
    sizes = [(321, 321), (320, 352), (least, least), (least + 1, least + 16), (least + 31, least)]
    network = build(kind, 21, discriminator_width=2)
    for height, width in sizes:
        logits = network(torch.zeros(1, 21, height, width))
        assert logits.shape == (1, 1, *((1, 1) if kind == "image" else (height, width)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_least_crop_is_the_least_that_works(kind: str) -> None:
    least = least_of(kind)
    network = build(kind, discriminator_width=2)
    with pytest.raises(RuntimeError, match="size"):
        network(torch.zeros(1, 3, least - 1, 64))


@pytest.mark.parametrize("width", [4, 6])
@pytest.mark.parametrize("kind", WITH_ENCODER)
def test_the_encoder_is_the_base_codes_with_the_width_of_the_config(kind: str, width: int) -> None:
    encoder = build(kind, 5, discriminator_width=width).get_submodule("encoder")
    channels = 5
    for index, stage in enumerate(zip(*[encoder.children()] * 2, strict=True)):
        convolution, relu = stage
        assert isinstance(convolution, nn.Conv2d)
        assert isinstance(relu, nn.LeakyReLU)
        assert (convolution.in_channels, convolution.out_channels) == (channels, width * 2**index)
        assert convolution.kernel_size == (4, 4)
        assert (convolution.stride, convolution.padding) == ((2, 2), (1, 1))
        assert relu.negative_slope == 0.2
        channels = convolution.out_channels
    assert index == 3


def test_the_fully_convolutional_one_has_the_base_codes_size() -> None:
    # 4x4 convolutions with bias, 21-64-128-256-512-1.
    channels = (21, 64, 128, 256, 512, 1)
    weights = sum(16 * i * o + o for i, o in pairwise(channels))
    network = build("fully_convolutional", 21)
    assert sum(weight.numel() for weight in network.parameters()) == weights


def test_the_fully_convolutional_one_judges_blocks_of_32_pixels_at_their_middle() -> None:
    torch.manual_seed(0)
    network = build("fully_convolutional", discriminator_width=4)
    maps = torch.rand(1, 3, 96, 128)
    blocks = network.get_submodule("classifier")(network.get_submodule("encoder")(maps))
    assert blocks.shape == (1, 1, 3, 4)
    edge = network(maps)[0, 0, 0]  # along an edge the enlargement goes between two blocks
    torch.testing.assert_close(edge[:16], blocks[0, 0, 0, 0].expand(16))
    torch.testing.assert_close(edge[-16:], blocks[0, 0, 0, 3].expand(16))
    torch.testing.assert_close(edge[31:33].mean(), blocks[0, 0, 0, :2].mean())


def test_skips_bring_detail_that_the_narrowest_map_has_not() -> None:
    torch.manual_seed(0)
    maps, other = torch.rand(2, 1, 3, 49, 37)
    for kind, sees in (("encoder_decoder", False), ("encoder_decoder_skips", True)):
        network = build(kind, discriminator_width=4)
        deepest = network.get_submodule("encoder.6")
        deepest.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
        assert torch.equal(network(maps), network(other)) is not sees


@pytest.mark.parametrize("stage", [0, 2, 4])
def test_each_skip_is_seen(stage: int) -> None:
    # With all other encoder layers silenced, the logits still follow what this one says.
    torch.manual_seed(0)
    network = build("encoder_decoder_skips", discriminator_width=4)
    encoder = network.get_submodule("encoder")
    logits = []
    for value in (0.0, 1.0):
        hooks = [
            encoder.get_submodule(str(2 * index)).register_forward_hook(
                lambda module, inputs, output, said=value if 2 * index == stage else 0.0: (
                    torch.full_like(output, said)
                )
            )
            for index in range(4)
        ]
        logits.append(network(torch.rand(1, 3, 33, 47)))
        for hook in hooks:
            hook.remove()
    assert not torch.allclose(*logits)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_reaches_every_weight_and_the_map(kind: str) -> None:
    torch.manual_seed(0)
    network = build(kind, discriminator_width=4)
    maps = torch.rand(2, 3, 65, 49, requires_grad=True)
    network(maps).square().mean().backward()
    for name, weight in [("maps", maps), *network.named_parameters()]:
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name


@pytest.mark.parametrize("kind", WITH_ENCODER[:-1])
def test_a_pixels_logit_follows_what_is_near(kind: str) -> None:
    torch.manual_seed(0)
    network = build(kind, discriminator_width=4)
    maps = torch.rand(1, 3, 224, 224)
    changed = maps.clone()
    changed[..., :8, :8] += 1
    with torch.no_grad():
        difference = (network(maps) - network(changed)).abs()
    assert difference[..., :16, :16].max() > 1e-6
    assert difference[..., 160:, :].max() == 0
    assert difference[..., 160:].max() == 0


def test_an_images_logit_follows_all_of_it() -> None:
    torch.manual_seed(0)
    network = build("image", discriminator_width=4)
    maps = torch.rand(1, 3, 160, 160)
    for corner in ((slice(0, 16), slice(0, 16)), (slice(144, 160), slice(144, 160))):
        changed = maps.clone()
        changed[..., corner[0], corner[1]] += 1
        assert network(changed) != network(maps)


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_is_judged_alike_alone_and_among_others(kind: str) -> None:
    # Fake and real go through in one pass, which equals two only without batch norm.
    torch.manual_seed(0)
    network = build(kind, discriminator_width=4)
    one, other = torch.rand(2, 1, 3, 33, 33)
    both = network(torch.cat((one, other)))
    torch.testing.assert_close(both[:1], network(one))
    assert not torch.allclose(both[0], both[1])


CHANCE = 2 * math.log(2)  # Eq. 5 where D says 1/2 of everything


def maps_of_equal_content() -> tuple[Tensor, Tensor]:
    """Return labels with void, and logits whose softmax is their one-hot wherever they count."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (4, 8, 8), generator=generator)
    labels = labels.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
    guess = torch.randint(0, 3, labels.shape, generator=generator)
    labels[:, :6], labels[:, :, 26:], labels[:, 14:17, 4:20] = VOID, VOID, VOID
    known = torch.where(labels == VOID, guess, labels)
    logits = 200 * nn.functional.one_hot(known, 3).permute(0, 3, 1, 2).float()
    return labels, logits


def trained(kind: str, fake: Tensor, real: Tensor, mask: Tensor) -> dict[str, float]:
    """Return what the last of a few discriminator steps gives."""
    torch.manual_seed(0)
    network = build(kind, discriminator_width=8)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    adversary = Adversary(network, optimizer, loss=loss_bce, lambda_adv=1)
    for _ in range(40):
        losses = adversary.step(fake, real, mask)
    return {name.removeprefix("train/"): value.item() for name, value in losses.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_void_tells_a_discriminator_nothing(kind: str) -> None:
    labels, logits = maps_of_equal_content()
    mask = counted(labels)
    assert 0.2 < mask.mean() < 0.8
    last = trained(kind, probability_maps(logits, mask), label_maps(labels, 3, mask), mask)
    assert last["loss_disc"] == pytest.approx(CHANCE, abs=0.01)
    assert last["d_real"] == pytest.approx(last["d_fake"], abs=1e-6)
    assert last["d_real"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("loss_is_masked", [False, True])
@pytest.mark.parametrize("kind", WITH_ENCODER)
def test_void_that_is_not_masked_gives_a_fake_away(kind: str, loss_is_masked: bool) -> None:
    # The counter-proof: ground truth is zero at void by nature, a bare softmax is not. To mask the
    # loss alone does not help, since a pixel's logit sees the void around it.
    labels, logits = maps_of_equal_content()
    mask, everything = counted(labels), torch.ones_like(counted(labels))
    fake, real = probability_maps(logits, everything), label_maps(labels, 3, mask)
    last = trained(kind, fake, real, mask if loss_is_masked else everything)
    assert last["loss_disc"] < CHANCE / 2
    assert last["d_real"] > 0.7
    assert last["d_fake"] < 0.3
