"""Log a trained generator as an MLflow model: an exported program that runs without our code.

The program is torch's `pt2`, a graph and its tensors: loading it needs neither this package nor
any unpickling of code, which a pickled module would (`MLFLOW_ALLOW_PICKLE_DESERIALIZATION`).

Shapes: N images, C classes, H and W pixels.
"""

from __future__ import annotations

import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from analysis.record.mlflow_calls import MODEL_S, SMALL_S, call_within
from sweeps.record.environment import git_commit
from sweeps.record.reader import RecordedTrial
from trainable.config.schema import ConfigError, Readout
from trainable.data.augmentation import normalise
from trainable.inference.saved_model import SavedModel, load_model
from trainable.runs.keys import readout_key

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

NAME = "model"  # of the logged model, in its run
# Both even and unequal, so that neither is taken for a constant or for the other.
EXAMPLE = (2, 3, 48, 64)


class Segmenter(nn.Module):
    """A network from RGB images, as files hold them, to the logits of each class at each pixel.

    images uint8 [N, 3, H, W], 0 to 255 -> logits float32 [N, C, H, W]; the mask is
    `logits.argmax(dim=1)`. H and W are the same for the N images and at least the generator's
    least crop.

    Args:
        generator: The generator, in evaluation mode and on the CPU.
        caffe: Whether the generator takes its input as Caffe lays it out; see `normalise`.
    """

    def __init__(self, generator: nn.Module, *, caffe: bool) -> None:
        super().__init__()
        self.generator = generator
        self.caffe = caffe
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.generator(normalise(images, caffe=self.caffe))
        return logits


def segmenter(model: SavedModel, readout: Readout) -> Segmenter:
    """Return the averaged generator of a saved model.

    Args:
        model: The model of a run folder, with all averages that the run carried.
        readout: The readout that names the average.

    Raises:
        ConfigError: The model has no such average.
    """
    key = readout_key(readout)
    if key not in model.readouts:
        raise ConfigError(
            f"{model.path} must hold the average {key} of the trial, but holds "
            f"{', '.join(model.readouts) or 'none'}; train the sweep again"
        )
    network = model.network(key)
    if model.config.memory_format == "channels_last":
        network.to(memory_format=torch.channels_last)
    return Segmenter(network.requires_grad_(False), caffe=model.config.is_caffe)


def log_model(
    trial: RecordedTrial,
    tracking_uri: str,
    run_folder: Path,
    readout: Readout,
    networks: Collection[str] = (),
) -> str:
    """Log the averaged generator of a run folder as the MLflow model of a trial.

    Args:
        trial: The trial, as the record holds it.
        tracking_uri: The URI of the MLflow store that holds the trial.
        run_folder: The folder of the trial's training run.
        readout: The readout of the trial.
        networks: The networks of one's own that the model may name.

    Returns:
        The URI of the model, as `mlflow.pytorch.load_model` takes it.

    Raises:
        ConfigError: The folder does not hold the trial's generator.
        StoreError: The store does not take the model.
    """
    import mlflow

    model = _load(run_folder, trial.tags["training_key"], networks)
    module = segmenter(model, readout)
    example = torch.randint(0, 256, EXAMPLE, dtype=torch.uint8)
    module(example)  # what normalising keeps for later calls must be there before the export
    mlflow.set_tracking_uri(tracking_uri)
    experiment_id = trial.run.info.experiment_id
    call_within(SMALL_S, mlflow.set_experiment, experiment_id=experiment_id)
    logged = call_within(
        MODEL_S,
        mlflow.pytorch.log_model,
        module,
        name=NAME,
        run_id=trial.run.info.run_id,
        serialization_format="pt2",
        input_example=example.numpy(),
        signature=_signature(len(model.classes)),
        pip_requirements=[f"torch=={torch.__version__.partition('+')[0]}", "mlflow"],
        metadata=_metadata(model),
        tags=_source_tags(),
    )
    return str(logged.model_uri)


def _load(run_folder: Path, training_key: str, networks: Collection[str]) -> SavedModel:
    """Return the model of a run folder.

    Raises:
        ConfigError: The folder does not hold the model of this training run.
    """
    model = load_model(run_folder, networks=networks)
    if model.training_key != training_key:
        raise ConfigError(
            f"{model.path}: must be of the trial's run {training_key}, but is of "
            f"{model.training_key}; restore the model of the run"
        )
    return model


def _signature(classes: int) -> ModelSignature:
    """Return the shapes and types of images and logits."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    # Without names: MLflow would make a mapping of a named array, which its own wrapper refuses.
    images = TensorSpec(np.dtype("uint8"), (-1, 3, -1, -1))
    logits = TensorSpec(np.dtype("float32"), (-1, classes, -1, -1))
    return ModelSignature(inputs=Schema([images]), outputs=Schema([logits]))


def _source_tags() -> dict[str, str]:
    """Return the tags that name the code, and nothing of another repository.

    MLflow would note the repository that surrounds this package, whichever that is, with the
    address of its origin, which may hold a token.
    """
    return {
        "mlflow.source.git.commit": git_commit(),
        "mlflow.source.git.branch": "",
        "mlflow.source.git.repoURL": "",
    }


def _metadata(model: SavedModel) -> dict[str, object]:
    """Return what a user of the model should know besides its signature."""
    least = model.config.generator_spec.least_px
    return {
        "input": f"RGB, uint8 [N, 3, H, W], 0 to 255, H and W at least {least}",
        "output": "logits, float32 [N, C, H, W]; the mask is their argmax over C",
        "classes": list(model.classes),
        "iterations": model.iteration,
        "python": sys.version.split()[0],
    }
