"""Discriminators: what judges label maps, per pixel or per image.

Shapes: N maps, C classes, H and W pixels.
    maps [N, C, H, W] (probabilities or one-hot) -> logits [N, 1, H, W] or [N, 1, 1, 1]
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

STAGES = 4  # the base code's encoder: 64, 128, 256, 512 channels, each at half the size


class Encoder(nn.Sequential):
    """Four 4x4 convolutions of stride 2 with LeakyReLU 0.2, channels doubling; no normalisation."""

    def __init__(self, classes: int, width: int) -> None:
        channels = [classes, *(width * 2**stage for stage in range(STAGES))]
        super().__init__()
        for stage in range(STAGES):
            self.append(nn.Conv2d(channels[stage], channels[stage + 1], 4, stride=2, padding=1))
            self.append(nn.LeakyReLU(0.2))


class EncoderDecoder(nn.Module):
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
            self.decoder.append(_double(channels_in, channels_out))
            self.decoder.append(nn.LeakyReLU(0.2))
        self.decoder.append(_double(width, 1))

    def forward(self, maps: Tensor) -> Tensor:
        return _resize(self.decoder(self.encoder(maps)), maps)


class EncoderDecoderSkips(nn.Module):
    """The encoder-decoder with the skips of a U-Net: each decoder layer sees its encoder layer.

    Where a size is odd, the decoder's map is brought to the encoder's before the two are joined.
    Source: Ronneberger et al. (2015), Fig. 1; the paper's Fig. 2 draws no skips.
    """

    def __init__(self, classes: int, *, width: int = 64) -> None:
        super().__init__()
        self.encoder = Encoder(classes, width)
        # After the first, a layer gets as many channels by the skip as from the layer before it.
        channels = ((8, 4 * width), (8, 2 * width), (4, width), (2, 1))
        self.decoder = nn.ModuleList(_double(w * width, out) for w, out in channels)

    def forward(self, maps: Tensor) -> Tensor:
        features, skips = maps, []
        for layer in self.encoder:
            features = layer(features)
            if isinstance(layer, nn.LeakyReLU):
                skips.append(features)
        *doublings, last = self.decoder
        for doubling, skip in zip(doublings, reversed(skips[:-1]), strict=True):
            features = functional.leaky_relu(doubling(features), 0.2)
            features = torch.cat((_resize(features, skip), skip), dim=1)
        return _resize(last(features), maps)


class FullyConvolutional(nn.Module):
    """The base code's discriminator: one logit per block of 32x32 pixels, enlarged bilinearly.

    Source: hfslyc/AdvSemiSeg, `FCDiscriminator`.
    """

    def __init__(self, classes: int, *, width: int = 64) -> None:
        super().__init__()
        self.encoder = Encoder(classes, width)
        self.classifier = nn.Conv2d(width * 2 ** (STAGES - 1), 1, 4, stride=2, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        return _resize(self.classifier(self.encoder(maps)), maps)


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


def _double(channels_in: int, channels_out: int) -> nn.ConvTranspose2d:
    """Return a layer that doubles height and width."""
    return nn.ConvTranspose2d(channels_in, channels_out, 4, stride=2, padding=1)


def _resize(maps: Tensor, like: Tensor) -> Tensor:
    """Bring maps to the height and width of others, logits at the middle of their blocks."""
    if maps.shape[-2:] == like.shape[-2:]:
        return maps
    return functional.interpolate(maps, size=like.shape[-2:], mode="bilinear", align_corners=False)
