"""The confusion matrices and their metrics: by hand, by a loop, and beside torchmetrics'."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index

from trainable.data.sources.labels import VOID
from trainable.training.metrics import METRICS, confusion_matrices, segmentation_metrics

# Rows the truth, columns the prediction: 10 pixels, 7 hits; IoU 4/6, 2/4 and 1/3.
MATRIX = torch.tensor([[[4, 1, 0], [0, 2, 1], [1, 0, 1]]])


def scene(seed: int, *, classes: int, true: int) -> tuple[Tensor, Tensor]:
    """Return predictions of `classes` classes, about 60 % right, and labels of the first `true`."""
    drawn = torch.Generator().manual_seed(seed)
    size = (3, 7, 9)
    labels = torch.randint(0, true, size, generator=drawn)
    guess = torch.randint(0, classes, size, generator=drawn)
    predicted = torch.where(torch.rand(size, generator=drawn) < 0.6, labels, guess)
    return predicted, labels.masked_fill(torch.rand(size, generator=drawn) < 0.2, VOID)


def test_the_metrics_of_a_matrix_have_their_values_by_hand() -> None:
    found = segmentation_metrics(MATRIX)
    assert found["acc"] == pytest.approx(7 / 10)
    assert found["macc"] == pytest.approx((4 / 5 + 2 / 3 + 1 / 2) / 3)
    assert found["iou"] == pytest.approx([4 / 6, 2 / 4, 1 / 3])
    assert found["miou"] == pytest.approx((4 / 6 + 2 / 4 + 1 / 3) / 3)
    assert found["fwiou"] == pytest.approx((5 * 4 / 6 + 3 * 2 / 4 + 2 * 1 / 3) / 10)
    assert found["miou_per_image"] == found["miou"]
    assert set(found) == {*METRICS, "iou", "miou_per_image"}


def test_the_data_sets_metrics_are_those_of_the_sum_and_the_images_count_alike() -> None:
    """Eq. 8 as printed; the first image has one class, which the second, larger one mistakes."""
    small_right = torch.tensor([[1, 0], [0, 0]])
    large_wrong = torch.tensor([[1, 3], [0, 0]])
    found = segmentation_metrics(torch.stack((small_right, large_wrong)))
    assert found["iou"] == [2 / 5, 0]
    assert found["miou_per_image"] == (1 + (1 / 4 + 0) / 2) / 2


def test_the_matrices_have_the_truth_in_their_rows_and_no_void() -> None:
    labels = torch.tensor([[[0, 0, 2]], [[1, VOID, VOID]]])
    predicted = torch.tensor([[[0, 2, 2]], [[0, 1, 2]]])
    matrices = confusion_matrices(predicted, labels, 3)
    assert matrices.tolist() == [
        [[1, 0, 1], [0, 0, 0], [0, 0, 1]],
        [[0, 0, 0], [1, 0, 0], [0, 0, 0]],
    ]
    assert matrices.dtype == torch.int64


def test_what_is_predicted_at_void_never_counts() -> None:
    # So many images that label 255 of the first, read as a class, would be a cell of a later one.
    predicted, labels = (half.repeat(30, 1, 1) for half in scene(0, classes=4, true=4))
    expected = confusion_matrices(predicted, labels, 4)
    for guess in range(4):
        other = predicted.masked_fill(labels == VOID, guess)
        assert torch.equal(confusion_matrices(other, labels, 4), expected)
    assert expected.sum() == (labels != VOID).sum() < labels.numel()


def test_the_order_of_the_images_does_not_matter() -> None:
    predicted, labels = scene(0, classes=5, true=3)
    forward = confusion_matrices(predicted, labels, 5)
    backward = confusion_matrices(predicted.flip(0), labels.flip(0), 5)
    assert torch.equal(backward, forward.flip(0))
    found, expected = segmentation_metrics(backward), segmentation_metrics(forward)
    assert found["miou_per_image"] == pytest.approx(expected["miou_per_image"])
    assert found | {"miou_per_image": 0.0} == expected | {"miou_per_image": 0.0}


def test_a_class_that_is_nowhere_is_left_out_of_every_mean() -> None:
    padded = torch.zeros(1, 4, 4, dtype=torch.int64)
    padded[:, :3, :3] = MATRIX
    found, without = segmentation_metrics(padded), segmentation_metrics(MATRIX)
    assert found == without | {"iou": [*without["iou"], None]}


def test_a_class_that_is_only_predicted_has_iou_zero_and_no_accuracy() -> None:
    found = segmentation_metrics(torch.tensor([[[3, 1], [0, 0]]]))
    assert found["iou"] == [3 / 4, 0]
    assert found["miou"] == found["miou_per_image"] == pytest.approx(3 / 8)
    assert found["macc"] == found["acc"] == found["fwiou"] == pytest.approx(3 / 4)


def test_an_image_without_a_counted_pixel_is_no_image() -> None:
    with_empty = torch.cat((MATRIX, torch.zeros_like(MATRIX)))
    assert segmentation_metrics(with_empty) == segmentation_metrics(MATRIX)
    assert segmentation_metrics(torch.zeros_like(MATRIX))["miou_per_image"] is None


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_those_of_a_loop_over_pixels(seed: int) -> None:
    classes = 5
    predictions, labels = scene(seed, classes=4, true=4)  # class 4 is nowhere
    pairs = [
        (t, p)
        for t, p in zip(labels.flatten().tolist(), predictions.flatten().tolist(), strict=True)
        if t != VOID
    ]
    hit = [sum(t == p == c for t, p in pairs) for c in range(classes)]
    true = [sum(t == c for t, _ in pairs) for c in range(classes)]
    union = [sum(c in pair for pair in pairs) for c in range(classes)]
    iou = [hit[c] / union[c] for c in range(classes) if union[c]]
    expected = {
        "acc": sum(hit) / len(pairs),
        "macc": np.mean([hit[c] / true[c] for c in range(classes) if true[c]]),
        "fwiou": sum(true[c] * iou[c] for c in range(len(iou))) / len(pairs),
        "miou": np.mean(iou),
    }
    found = segmentation_metrics(confusion_matrices(predictions, labels, classes))
    assert {name: found[name] for name in METRICS} == pytest.approx(expected)
    assert found["iou"] == [*(pytest.approx(value) for value in iou), None]


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_those_of_torchmetrics_where_every_class_is_present(seed: int) -> None:
    predicted, labels = scene(seed, classes=4, true=4)
    found = segmentation_metrics(confusion_matrices(predicted, labels, 4))
    theirs = {
        "acc": multiclass_accuracy(predicted, labels, 4, average="micro", ignore_index=VOID),
        "macc": multiclass_accuracy(predicted, labels, 4, average="macro", ignore_index=VOID),
        "fwiou": multiclass_jaccard_index(predicted, labels, 4, "weighted", ignore_index=VOID),
        "miou": multiclass_jaccard_index(predicted, labels, 4, "macro", ignore_index=VOID),
        "miou_per_image": torch.stack(
            [
                multiclass_jaccard_index(one, truth, 4, "macro", ignore_index=VOID)
                for one, truth in zip(predicted, labels, strict=True)
            ]
        ).mean(),
    }
    assert {name: dict(found)[name] for name in theirs} == pytest.approx(
        {name: value.item() for name, value in theirs.items()}, rel=1e-6
    )


def test_torchmetrics_counts_zero_where_a_class_is_absent() -> None:
    """Theirs gives a class that is nowhere IoU 0 (but leaves it out of the mean, as we do), and
    one that is only predicted accuracy 0, which it does count: a class without truth has none."""
    predicted, labels = scene(0, classes=3, true=2)
    found = segmentation_metrics(confusion_matrices(predicted, labels, 4))
    iou = multiclass_jaccard_index(predicted, labels, 4, "none", ignore_index=VOID)
    miou = multiclass_jaccard_index(predicted, labels, 4, "macro", ignore_index=VOID)
    macc = multiclass_accuracy(predicted, labels, 4, average="macro", ignore_index=VOID)
    assert (iou[3].item(), found["iou"][3]) == (0, None)
    assert found["miou"] == pytest.approx(miou.item(), rel=1e-6)
    assert found["macc"] == pytest.approx(macc.item() * 3 / 2, rel=1e-6)
