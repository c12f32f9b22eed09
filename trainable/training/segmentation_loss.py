"""What the generator learns besides the adversary's judgement: Eq. 3, or a loss for rare classes.

Shapes: N images, C classes, H and W pixels.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

from trainable.config.schema import ConfigError, TrialConfig, class_weights_in
from trainable.data.sources.labels import VOID
from trainable.training.losses import loss_mce

LIBRARY = "segmentation_models_pytorch"


class SegmentationLoss:
    """The loss of a generator's logits against labels, by the name in `generator_loss`.

    Args:
        config: The trial.
        labels: All training labels, uint8, by whose frequencies classes may be weighted.
        classes: C.
        device: Where the loss is computed.

    Raises:
        ConfigError: There are not C weights, or the library of a loss is missing.
    """

    def __init__(
        self, config: TrialConfig, labels: Tensor, classes: int, device: torch.device
    ) -> None:
        self.class_weights = class_weights(config, labels, classes, device)
        self._other = _of_library(config.generator_loss)

    def __call__(
        self, logits: Tensor, labels: Tensor, whole: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss to be minimised, and all losses by the names of their curves.

        Args:
            logits: float32 [N, C, H, W].
            labels: int64 [N, H, W].
            whole: The labels of the batch that these are a part of, None where they are all.
        """
        mce = loss_mce(logits, labels, class_weights=self.class_weights, whole=whole)
        losses = {"train/loss_mce": mce}
        if self._other is None:
            return mce, losses
        name, function, adds = self._other
        other: Tensor = function(logits, labels)
        losses[f"train/loss_{name}"] = other
        return (mce + other if adds else other), losses


def class_weights(
    config: TrialConfig, labels: Tensor, classes: int, device: torch.device
) -> Tensor | None:
    """Return the weight of each class in the cross entropy, float32 [C], None where all are 1.

    `inverse_frequency` gives every class that is there the same share of the whole.

    Raises:
        ConfigError: There are not C weights.
    """
    given = class_weights_in(config.class_weights)
    if given == "none":
        return None
    if isinstance(given, str):
        counts = torch.bincount(labels.flatten(), minlength=VOID + 1)[:classes].double()
        there = counts > 0
        weights = torch.where(there, counts.sum() / (there.sum() * counts.clamp(min=1)), 0.0)
        return weights.float().to(device)
    if len(given) != classes:
        raise ConfigError(
            f"class_weights must have one weight for each of the {classes} classes, but has "
            f"{len(given)}; give as many"
        )
    return torch.tensor(given, dtype=torch.float32, device=device)


def _of_library(name: str) -> tuple[str, Any, bool] | None:
    """Return a loss besides the cross entropy: its name, itself, and whether it is added."""
    if name == "ce":
        return None
    try:
        losses = import_module(f"{LIBRARY}.losses")
    except ImportError as error:
        raise ConfigError(
            f"generator_loss={name} needs {LIBRARY}; install it with "
            "`pip install 'pixelwise-adversarial-sweeps[smp]'`"
        ) from error
    if name == "focal":
        return "focal", losses.FocalLoss("multiclass", ignore_index=VOID), False
    return "dice", losses.DiceLoss("multiclass", ignore_index=VOID), True
