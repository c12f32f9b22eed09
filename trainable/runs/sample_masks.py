"""Predicted masks of a few validation images at several stages of training: Figs. 5 and 7.

`samples.npz` in the run folder, uint8, for images k = 0, 1, ...:
    image-<k> [H, W, 3] RGB, truth-<k> [H, W], raw-<iteration>-<k> [H, W] of the raw weights,
    swa-<readout key>-<k> [H, W] of each average, and swa-<k> of the first of them; `of_readout`
    gives one trial's share of it, with its own average as swa-<k>. The comment of the archive says
    whose it is, with a checksum of all of it.
Looking changes nothing: no random number is drawn and no weight is touched.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from trainable.config.schema import ConfigError, Readout, TrialConfig
from trainable.data.augmentation import normalise
from trainable.runs.folder import SAMPLES_FILE
from trainable.runs.keys import readout_key
from trainable.storage.files import write_atomically
from trainable.storage.json_files import ChecksumError, read_seal, seal_zip
from trainable.training.trainer import Trainer

IMAGES = 4  # rows of Fig. 7
STAGES = (0.05, 0.2, 0.5, 1.0)  # of the iterations: Fig. 5 shows early stages closer together

Masks = dict[str, NDArray[np.uint8]]


def stages_of(config: TrialConfig) -> tuple[int, ...]:
    """Return the recorded iterations that first reach each of STAGES."""
    every = (config.log_every, config.eval_every)
    least = [max(1, math.ceil(share * config.iterations)) for share in STAGES]
    reached = {min(math.ceil(first / n) * n for n in every) for first in least}
    return tuple(sorted({min(iteration, config.iterations) for iteration in reached}))


def spread(count: int) -> list[int]:
    """Return the indices of IMAGES out of `count` images, evenly spread; of fewer images, all."""
    wanted = min(IMAGES, count)
    return [(2 * k + 1) * count // (2 * wanted) for k in range(wanted)]


class Samples:
    """The masks of one training run, written whole whenever there are new ones.

    A run that is resumed keeps the stages that it had reached; one that begins keeps none. A file
    that is damaged is set aside as `samples.bad`: it costs its stages and not the run.

    Args:
        folder: The run folder.
        trainer: The run's trainer, at the iteration from which training begins or is resumed.
    """

    def __init__(self, folder: Path, trainer: Trainer) -> None:
        self._path = folder / SAMPLES_FILE
        self._trainer = trainer
        self._stages = stages_of(trainer.config)
        self._masks: Masks = {}
        if trainer.iteration:
            try:
                self._masks = read_samples(self._path)
            except ConfigError:
                self._path.rename(self._path.with_suffix(".bad"))

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
        """Write the file of samples, with all masks that were predicted so far."""
        content = _packed(self._masks, {"training_key": self._path.parent.name})
        write_atomically(self._path, content)

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


def of_readout(path: Path, readout: Readout, trial_key: str) -> bytes | None:
    """Return one trial's share of a file of samples, its average as `swa-<k>`; None without file.

    Args:
        path: The file of samples of a run folder.
        readout: The readout of the trial.
        trial_key: The key of the trial, which is written into the share.

    Raises:
        ConfigError: The file was changed since it was written, or belongs to another run.
    """
    masks = read_samples(path)
    own = f"swa-{readout_key(readout)}-"
    shared = {name: mask for name, mask in masks.items() if not name.startswith("swa-")}
    averaged = {f"swa-{n.removeprefix(own)}": m for n, m in masks.items() if n.startswith(own)}
    return _packed(shared | averaged, {"trial_key": trial_key}) if masks else None


def read_samples(path: Path) -> Masks:
    """Return the masks in the file of samples of a run folder; without a file there are none.

    Raises:
        ConfigError: The file was changed since it was written, or belongs to another run.
    """
    try:
        content = path.read_bytes()
        key = read_seal(content)["training_key"]
        if key != path.parent.name:
            raise ChecksumError(f"it is of run {key}")
    except FileNotFoundError:
        return {}
    except (ChecksumError, OSError) as error:
        raise ConfigError(
            f"{path} must be what a training run wrote, but {error}; move the file away to do "
            "without its masks, or the folder, and the same command trains the run again"
        ) from error
    with np.load(io.BytesIO(content), allow_pickle=False) as masks:
        return dict(masks)


def _packed(masks: Masks, whose: Mapping[str, object]) -> bytes:
    """Return the file of masks, the same bytes for the same masks."""
    content = io.BytesIO()
    ordered: dict[str, Any] = {name: masks[name] for name in sorted(masks)}
    np.savez_compressed(content, **ordered)
    return seal_zip(content.getvalue(), whose)
