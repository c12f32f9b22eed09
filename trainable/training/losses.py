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


def loss_mce(
    logits: Tensor,
    labels: Tensor,
    *,
    class_weights: Tensor | None = None,
    whole: Tensor | None = None,
) -> Tensor:
    """Multi-class cross entropy, a mean over counted pixels; 0 where none counts.

    Args:
        logits: [N, C, H, W].
        labels: [N, H, W].
        class_weights: The weight of each class's pixels in the mean, float32 [C]; None is 1.
        whole: The labels of the batch that these are a part of, over whose pixels the mean is; the
            losses of all parts then add up to that of the batch. None stands for `labels`.

    Source: Eq. 3.
    """
    mask = labels != VOID
    known = labels.masked_fill(~mask, 0).unsqueeze(1)
    log_probability = functional.log_softmax(logits, dim=1).gather(1, known).squeeze(1)
    if class_weights is None:
        total = (mask if whole is None else whole != VOID).sum()
        return -(log_probability * mask).sum() / total.clamp(min=1)
    total = _weights(labels if whole is None else whole, class_weights).sum()
    each = log_probability * _weights(labels, class_weights)
    return -each.sum() / total.clamp(min=torch.finfo(total.dtype).tiny)


def _weights(labels: Tensor, class_weights: Tensor) -> Tensor:
    """Return the weight of each pixel, float32 [N, H, W], 0 at void."""
    mask = labels != VOID
    return class_weights[labels.masked_fill(~mask, 0)] * mask


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
    mask = _decisions(logits, mask)
    each = functional.softplus(-logits if target == 1 else logits)
    return (each * mask).sum() / mask.sum().clamp(min=1)


def _decisions(logits: Tensor, mask: Tensor) -> Tensor:
    """Return which decisions count, per pixel or, with one per image, where any pixel does."""
    if logits.shape[-2:] == mask.shape[-2:]:
        return mask
    return mask.amax(dim=(2, 3), keepdim=True)


def share_of(logits: Tensor, mask: Tensor, whole: Tensor) -> Tensor:
    """Return the share that a part of a batch has in the decisions that count, a scalar.

    Args:
        logits: The discriminator's for that part, per pixel or per image.
        mask: The counted pixels of the part.
        whole: Those of the batch.
    """
    part, total = (_decisions(logits, one).sum() for one in (mask, whole))
    return part / total.clamp(min=1)


@torch.no_grad()
def mean_probability(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of D's probability for "real" over counted decisions (D(real), D(fake))."""
    mask = _decisions(logits, mask)
    return (logits.sigmoid() * mask).sum() / mask.sum().clamp(min=1)
