"""The confusion matrix and its metrics, by hand and by a loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainable.losses import VOID
from trainable.metrics import METRICS, confusion_matrix, segmentation_metrics

# Rows the truth, columns the prediction: 10 pixels, 7 hits; IoU 4/6, 2/4 and 1/3.
MATRIX = torch.tensor([[4, 1, 0], [0, 2, 1], [1, 0, 1]])


def test_the_four_metrics_of_a_matrix_have_their_values_by_hand() -> None:
    found = segmentation_metrics(MATRIX)
    assert found["acc"] == pytest.approx(7 / 10)
    assert found["macc"] == pytest.approx((4 / 5 + 2 / 3 + 1 / 2) / 3)
    assert found["iou"] == pytest.approx([4 / 6, 2 / 4, 1 / 3])
    assert found["miou"] == pytest.approx((4 / 6 + 2 / 4 + 1 / 3) / 3)
    assert found["fwiou"] == pytest.approx((5 * 4 / 6 + 3 * 2 / 4 + 2 * 1 / 3) / 10)
    assert set(found) == {*METRICS, "iou"}


def test_the_matrix_has_the_truth_in_its_rows_and_no_void() -> None:
    labels = torch.tensor([[0, 0, 2], [1, VOID, VOID]])
    predicted = torch.tensor([[0, 2, 2], [0, 1, 2]])
    matrix = confusion_matrix(predicted, labels, 3)
    assert matrix.tolist() == [[1, 0, 1], [1, 0, 0], [0, 0, 1]]
    assert matrix.dtype == torch.int64


def test_a_class_that_is_nowhere_is_left_out_of_every_mean() -> None:
    padded = torch.zeros(4, 4, dtype=torch.int64)
    padded[:3, :3] = MATRIX
    found, without = segmentation_metrics(padded), segmentation_metrics(MATRIX)
    assert found["iou"] == [*without["iou"], None]
    assert {name: found[name] for name in METRICS} == {name: without[name] for name in METRICS}


def test_a_class_that_is_only_predicted_has_iou_zero_and_no_accuracy() -> None:
    found = segmentation_metrics(torch.tensor([[3, 1], [0, 0]]))
    assert found["iou"] == [3 / 4, 0]
    assert found["miou"] == pytest.approx(3 / 8)
    assert found["macc"] == found["acc"] == found["fwiou"] == pytest.approx(3 / 4)


@pytest.mark.parametrize("seed", range(3))
def test_metrics_equal_those_of_a_loop_over_pixels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = 5
    truth = rng.choice([0, 1, 2, 3, VOID], size=(3, 7, 9))  # class 4 is nowhere
    predicted = np.where(rng.random(truth.shape) < 0.6, truth, rng.integers(0, 4, truth.shape))
    predicted[truth == VOID] = 4

    pairs = [(t, p) for t, p in zip(truth.flat, predicted.flat, strict=True) if t != VOID]
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

    matrix = confusion_matrix(torch.from_numpy(predicted), torch.from_numpy(truth), classes)
    found = segmentation_metrics(matrix)
    assert {name: found[name] for name in METRICS} == pytest.approx(expected)
    assert found["iou"] == [*(pytest.approx(value) for value in iou), None]
