"""Predicted masks of a few validation images at several stages of training: Figs. 5 and 7.

`samples.npz` in the run folder, uint8, for images k = 0, 1, ...:
    image-<k> [H, W, 3] RGB, truth-<k> [H, W], raw-<iteration>-<k> [H, W] of the raw weights,
    swa-<readout key>-<k> [H, W] of each average, and swa-<k> of the first of them; `of_readout`
    gives one trial's share of it, with its own average as swa-<k>.
Looking changes nothing: no random number is drawn and no weight is touched.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trainable.augmentation import normalise
from trainable.config import Readout, TrialConfig
from trainable.identity import readout_key
from trainable.run_folder import write_atomically
from trainable.trainer import Trainer

SAMPLES_FILE = "samples.npz"
IMAGES = 4  # rows of Fig. 7
STAGES = (0.05, 0.2, 0.5, 1.0)  # of the iterations: Fig. 5 shows early stages closer together

# What NumPy lets through for a broken file, found by breaking files at random: a flipped bit may
# ask for another compression, a password or a later version of zip.
BROKEN = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)

Masks = dict[str, NDArray[np.uint8]]


def stages_of(config: TrialConfig) -> tuple[int, ...]:
    """Return the recorded iterations that first reach each of STAGES."""
    every = (config.log_every, config.eval_every)
    least = [max(1, math.ceil(share * config.iterations)) for share in STAGES]
    reached = {min(math.ceil(first / n) * n for n in every) for first in least}
    return tuple(sorted({min(iteration, config.iterations) for iteration in reached}))


def spread(count: int) -> list[int]:
    """Return the places of IMAGES of `count` images, evenly spread; of fewer all."""
    wanted = min(IMAGES, count)
    return [(2 * k + 1) * count // (2 * wanted) for k in range(wanted)]


class Samples:
    """The masks of one training run, written whole whenever there are new ones.

    A run that goes on keeps the stages that it had reached; one that begins keeps none.

    Args:
        folder: The run folder.
        trainer: Of the run, at the iteration from which it goes on.
    """

    def __init__(self, folder: Path, trainer: Trainer) -> None:
        self._path = folder / SAMPLES_FILE
        self._trainer = trainer
        self._stages = stages_of(trainer.config)
        self._masks = _read(self._path) if trainer.iteration else {}

    def take(self) -> None:
        """Predict with the raw weights and write the file, if this iteration is a stage."""
        iteration = self._trainer.iteration
        if iteration not in self._stages:
            return
        for k, index in enumerate(spread(len(self._trainer.data.val))):
            image, label = self._trainer.data.val.run(index, index + 1)
            self._masks[f"image-{k}"] = image[0].permute(1, 2, 0).cpu().numpy()
            self._masks[f"truth-{k}"] = label[0].cpu().numpy()
        self._predict(self._trainer.generator, f"raw-{iteration}")
        self.save()

    def take_averaged(self, readout: Readout, network: nn.Module) -> None:
        """Predict with an averaged network; `save` writes it."""
        masks = self._predict(network, f"swa-{readout_key(readout)}")
        if readout == self._trainer.averages.each[0].readout:
            self._masks |= {f"swa-{k}": mask for k, mask in enumerate(masks)}

    def save(self) -> None:
        """Write the file."""
        write_atomically(self._path, _packed(self._masks))

    @torch.no_grad()
    def _predict(self, network: nn.Module, name: str) -> list[NDArray[np.uint8]]:
        trainer, masks = self._trainer, []
        network.eval()
        with trainer.numerics.without_search():
            for index in spread(len(trainer.data.val)):
                image = trainer.data.val.run(index, index + 1)[0].to(trainer.device)
                logits = network(normalise(image, caffe=trainer.config.is_caffe))
                masks.append(logits.argmax(dim=1)[0].to(torch.uint8).cpu().numpy())
        self._masks |= {f"{name}-{k}": mask for k, mask in enumerate(masks)}
        return masks


def of_readout(path: Path, readout: Readout) -> bytes | None:
    """Return one trial's share of a file of samples, its average as `swa-<k>`; None without file.

    Args:
        path: Of a run folder's file.
        readout: The trial's.
    """
    masks = _read(path)
    own = f"swa-{readout_key(readout)}-"
    shared = {name: mask for name, mask in masks.items() if not name.startswith("swa-")}
    averaged = {f"swa-{n.removeprefix(own)}": m for n, m in masks.items() if n.startswith(own)}
    return _packed(shared | averaged) if masks else None


def _read(path: Path) -> Masks:
    """Return what a file of samples holds: nothing where there is none, or it is damaged."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as masks:
            return dict(masks)
    except BROKEN:
        return {}


def _packed(masks: Masks) -> bytes:
    """Return the file of masks, the same bytes for the same masks."""
    content = io.BytesIO()
    ordered: dict[str, Any] = {name: masks[name] for name in sorted(masks)}
    np.savez_compressed(content, **ordered)
    return content.getvalue()
