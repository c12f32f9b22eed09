"""Segmentation metrics from one integer confusion matrix per validation image.

Shapes: N images, H and W pixels, C classes. Matrices are int64 [N, C, C], rows the truth and
columns the prediction, void pixels left out.
"""

from __future__ import annotations

import math
from typing import Literal, TypedDict

import torch
from torch import Tensor

from trainable.data.sources.labels import VOID

MetricName = Literal["miou", "acc", "macc", "fwiou"]
METRICS: tuple[MetricName, ...] = ("miou", "acc", "macc", "fwiou")


class SegmentationMetrics(TypedDict):
    """A network's metrics on a data set; see `segmentation_metrics`."""

    acc: float
    macc: float
    fwiou: float
    miou: float
    iou: list[float | None]
    miou_per_image: float | None


def confusion_matrices(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Count each image's pixels by true and predicted class; void pixels are not counted.

    Args:
        predicted: Class indices, int64 [N, H, W].
        labels: Class indices or VOID, int64 [N, H, W].
        classes: C.
    """
    count = len(labels)
    image = torch.arange(count, device=labels.device)[:, None, None]
    cell = (image * classes + labels) * classes + predicted
    # Void goes to a cell of its own after the last: selecting by a mask would wait for the GPU.
    beyond = count * classes * classes
    cells = torch.where(labels == VOID, beyond, cell).flatten()
    return torch.bincount(cells, minlength=beyond + 1)[:beyond].view(count, classes, classes)


def segmentation_metrics(matrices: Tensor) -> SegmentationMetrics:
    """Return the four metrics of the data set, as fractions, and two extras.

    A class with no true pixel has no accuracy, one with neither true nor predicted pixels no IoU:
    such a class is left out of the mean and its `iou` is None.

    Args:
        matrices: One per image, int64 [N, C, C], on the CPU.

    Returns:
        `acc`, overall accuracy; `macc`, mean accuracy; `fwiou`, frequency-weighted IoU; `miou`,
        mean IoU of the data set (the reading of Eq. 8 by which Table 1's mean is Table 2's mIoU);
        `iou`, a list of C; `miou_per_image`, Eq. 8 as printed: the mean over images of the mean
        IoU over the classes in that image's truth or prediction, images without a counted pixel
        left out, and None where that leaves none.

    Source: Tables 1 and 2, Eq. 8; formulas of Long et al. (2015), section 5.
    """
    hits, truth, union = _counts(matrices.sum(dim=0))
    iou = hits / union
    return {
        "acc": (hits.sum() / truth.sum()).item(),
        "macc": (hits / truth)[truth > 0].mean().item(),
        "fwiou": ((truth * iou)[truth > 0].sum() / truth.sum()).item(),
        "miou": iou[union > 0].mean().item(),
        "iou": [None if math.isnan(value) else value for value in iou.tolist()],
        "miou_per_image": _miou_per_image(matrices),
    }


def _miou_per_image(matrices: Tensor) -> float | None:
    hits, _, union = _counts(matrices)
    each = (hits / union).nanmean(dim=1)  # NaN where no pixel of the image counts
    return None if each.isnan().all() else each.nanmean().item()


def _counts(matrices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return hits, true pixels, and pixels true or predicted, float64 [..., C], by class."""
    hits = matrices.diagonal(dim1=-2, dim2=-1).double()
    truth = matrices.sum(dim=-1).double()
    return hits, truth, truth + matrices.sum(dim=-2) - hits
