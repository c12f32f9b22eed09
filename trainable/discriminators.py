"""Discriminators: what judges label maps, per pixel or per image.

Shapes: N maps, C classes, H and W pixels.
    maps [N, C, H, W] (probabilities or one-hot) -> logits [N, 1, H, W] or [N, 1, 1, 1]
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from trainable.config import TrialConfig

STAGES = 4  # the base code's encoder: 64, 128, 256, 512 channels, each at half the size


class Encoder(nn.Sequential):
    """Four 4x4 convolutions of stride 2 with LeakyReLU 0.2, channels doubling; no normalisation."""

    def __init__(self, classes: int, width: int) -> None:
        channels = [classes, *(width * 2**stage for stage in range(STAGES))]
        super().__init__()
        for stage in range(STAGES):
            self.append(nn.Conv2d(channels[stage], channels[stage + 1], 4, stride=2, padding=1))
            self.append(nn.LeakyReLU(0.2))


class PixelDiscriminator(nn.Module):
    """The encoder-decoder of Fig. 2: one logit per pixel at full size, no latent vector, no skips.

    The decoder mirrors the encoder; a last bilinear resize serves sizes that 16 does not divide
    (321 is odd). Source: section 3.1; the layer sizes, which the paper does not give, are those of
    its base code's discriminator.
    """

    def __init__(self, classes: int, *, width: int = 64) -> None:
        super().__init__()
        self.encoder = Encoder(classes, width)
        channels = [width * 2**stage for stage in reversed(range(STAGES))]
        self.decoder = nn.Sequential()
        for channels_in, channels_out in pairwise(channels):
            self.decoder.append(
                nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1)
            )
            self.decoder.append(nn.LeakyReLU(0.2))
        self.decoder.append(nn.ConvTranspose2d(width, 1, 4, stride=2, padding=1))

    def forward(self, maps: Tensor) -> Tensor:
        logits: Tensor = self.decoder(self.encoder(maps))
        if logits.shape[-2:] == maps.shape[-2:]:
            return logits
        return functional.interpolate(
            logits, size=maps.shape[-2:], mode="bilinear", align_corners=False
        )


class ImageDiscriminator(nn.Module):
    """The same encoder, pooled to one logit per image: Fig. 3 (left) and Table 4."""

    def __init__(self, classes: int, *, width: int = 64) -> None:
        super().__init__()
        self.encoder = Encoder(classes, width)
        self.classifier = nn.Linear(width * 2 ** (STAGES - 1), 1)

    def forward(self, maps: Tensor) -> Tensor:
        pooled = self.encoder(maps).mean(dim=(2, 3))
        logits: Tensor = self.classifier(pooled)[:, :, None, None]
        return logits


def build_discriminator(
    config: TrialConfig, classes: int
) -> PixelDiscriminator | ImageDiscriminator | None:
    """Build what `config.adversarial` asks for; None where no adversary acts on the weights."""
    if not config.has_adversary:
        return None
    kind = ImageDiscriminator if config.adversarial == "standard" else PixelDiscriminator
    return kind(classes, width=config.discriminator_width)
