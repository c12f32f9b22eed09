"""The losses of section 3.2 and 3.3, as means over counted pixels, void left out of every one.

Shapes: N images, C classes, H and W pixels. Labels are int64 [N, H, W] with VOID where no class
counts. The paper prints sums over pixels (Eq. 3 to 5); with its learning rates only means make
sense, and its base code takes means.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from trainable.data.sources.labels import VOID


def counted(labels: Tensor) -> Tensor:
    """Return the mask of pixels that count, float32 [N, 1, H, W]."""
    return (labels != VOID).unsqueeze(1).float()


def probability_maps(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the softmax of `logits`, zero at void: what the discriminator may see of a fake."""
    return logits.softmax(dim=1) * mask


def label_maps(labels: Tensor, classes: int, mask: Tensor) -> Tensor:
    """Return the one-hot of `labels`, float32 [N, C, H, W], zero at void as in a fake."""
    known = labels.masked_fill(labels == VOID, 0).unsqueeze(1)
    count, height, width = labels.shape
    return mask.new_zeros(count, classes, height, width).scatter_(1, known, mask)


def loss_mce(logits: Tensor, labels: Tensor) -> Tensor:
    """Multi-class cross entropy, a mean over counted pixels; 0 where none counts.

    Source: Eq. 3.
    """
    mask = labels != VOID
    known = labels.masked_fill(~mask, 0).unsqueeze(1)
    log_probability = functional.log_softmax(logits, dim=1).gather(1, known).squeeze(1)
    return -(log_probability * mask).sum() / mask.sum().clamp(min=1)


def loss_bce(logits: Tensor, target: float, mask: Tensor) -> Tensor:
    """Binary cross entropy of the discriminator's logits against one target, 0 or 1.

    Args:
        logits: [N, 1, H, W], one decision per pixel, or [N, 1, 1, 1], one per image.
        target: 1 for real, 0 for fake.
        mask: Counted pixels, [N, 1, H, W].

    Returns:
        The mean over counted pixels; with one decision per image, over the images that have any.

    Source: Eq. 4 and 5.
    """
    if logits.shape[-2:] != mask.shape[-2:]:
        mask = mask.amax(dim=(2, 3), keepdim=True)
    each = functional.softplus(-logits if target == 1 else logits)
    return (each * mask).sum() / mask.sum().clamp(min=1)


def mean_probability(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of D's probability for "real" over counted decisions (D(real), D(fake))."""
    if logits.shape[-2:] != mask.shape[-2:]:
        mask = mask.amax(dim=(2, 3), keepdim=True)
    with torch.no_grad():
        return (logits.sigmoid() * mask).sum() / mask.sum().clamp(min=1)
