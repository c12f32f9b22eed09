"""Segmentation metrics from one integer confusion matrix over the whole validation set.

Shapes: C classes. The matrix is int64 [C, C], rows the truth and columns the prediction, void
pixels left out.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from trainable.losses import VOID

METRICS = ("miou", "acc", "macc", "fwiou")


def confusion_matrix(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Count pixels by true and predicted class; void pixels are not counted.

    Args:
        predicted: Class indices, int64, any shape.
        labels: Class indices or VOID, int64, the same shape.
        classes: C.
    """
    counts = labels != VOID
    pairs = labels[counts] * classes + predicted[counts]
    return torch.bincount(pairs, minlength=classes * classes).view(classes, classes)


def segmentation_metrics(matrix: Tensor) -> dict[str, Any]:
    """Return the four metrics, as fractions, and the IoU of each class.

    A class with no true pixel has no accuracy, one with neither true nor predicted pixels no IoU:
    such a class is left out of the mean and its `iou` is None.

    Returns:
        `acc`, overall accuracy; `macc`, mean accuracy; `fwiou`, frequency-weighted IoU; `miou`,
        mean IoU of the data set (the reading of Eq. 8 by which Table 1's mean is Table 2's mIoU);
        `iou`, a list of C.

    Source: Tables 1 and 2; formulas of Long et al. (2015), section 5.
    """
    hits = matrix.diagonal().double()
    truth = matrix.sum(dim=1).double()
    union = truth + matrix.sum(dim=0) - hits
    iou = hits / union
    return {
        "acc": (hits.sum() / truth.sum()).item(),
        "macc": (hits / truth)[truth > 0].mean().item(),
        "fwiou": ((truth * iou)[truth > 0].sum() / truth.sum()).item(),
        "miou": iou[union > 0].mean().item(),
        "iou": [None if math.isnan(value) else value for value in iou.tolist()],
    }
