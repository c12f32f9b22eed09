"""From one image to the probability of each class at each pixel, over scales and mirrorings.

Shapes: C classes, H and W pixels of the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainable.config.schema import TrialConfig
from trainable.data.augmentation import normalise


@torch.inference_mode()
def predict_multi_scale(
    network: nn.Module,
    image: Tensor,
    *,
    config: TrialConfig,
    scales: Sequence[float] = (1.0,),
    flip: bool = False,
) -> Tensor:
    """Return the softmax probabilities of an image, their mean over scales and mirrorings.

    Args:
        network: A generator in evaluation mode.
        image: RGB, uint8 [3, H, W], on the network's device.
        config: The config that the network was trained with.
        scales: Factors by which the image is resized; each prediction is resized back.
        flip: Predict the mirrored image, too, and mirror the prediction back.

    Returns:
        float32 [C, H, W].
    """
    normalised = normalise(image[None], caffe=config.is_caffe)
    size = image.shape[-2:]
    predictions = []
    for scale in scales:
        scaled = _resize(normalised, [max(1, round(side * scale)) for side in size])
        predictions.append(_resize(_predict_view(network, scaled, config), size))
        if flip:
            mirrored = _predict_view(network, scaled.flip(-1), config).flip(-1)
            predictions.append(_resize(mirrored, size))
    return torch.cat(predictions).mean(dim=0)


def _predict_view(network: nn.Module, view: Tensor, config: TrialConfig) -> Tensor:
    """Return the probabilities [1, C, H, W] of a normalised view, enlarged if it is too small."""
    height, width = view.shape[-2:]
    least = config.generator_spec.least_px
    padded = functional.pad(view, (0, max(0, least - width), 0, max(0, least - height)))
    logits: Tensor = network(padded)
    return logits[..., :height, :width].softmax(dim=1)


def _resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    if maps.shape[-2:] == tuple(size):
        return maps
    return functional.interpolate(maps, size=list(size), mode="bilinear", align_corners=False)
