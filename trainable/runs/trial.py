"""One trial from its config to its result: look at data and weights, train, read the outcome."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from trainable.config.schema import TrialConfig
from trainable.data import datasets
from trainable.networks import pretrained
from trainable.runs.folder import RunFolder
from trainable.runs.keys import RunSpec
from trainable.runs.results import Failure, Result, outcome
from trainable.runs.training_run import TrainingRun
from trainable.training.devices import pick_device
from trainable.training.numerics import auto_precision, check_precision, with_precision
from trainable.training.trainer import NonFiniteLossError


def train_trial(config: TrialConfig, storage: Path = Path("runs")) -> Result | Failure:
    """Train a trial in its run folder, unless its outcome is there already, and return that.

    The run folder is the one that a sweep would use. A trial that was interrupted is resumed from
    its last checkpoint.

    Args:
        config: The trial.
        storage: The folder that holds all run folders.

    Raises:
        ConfigError: The data or the weights cannot be used, or the run folder is damaged.
        RunFolderLockedError: Another process trains the same run.
    """
    config = resolve(config)
    data = datasets.inspect(config)
    pretrained.check_start(config)
    spec = RunSpec.of(config, [config.readout], data.fingerprint)
    folder = RunFolder(storage, spec.training_key)
    return outcome(folder, spec) or train_run(spec, storage)


def resolve(config: TrialConfig) -> TrialConfig:
    """Return a config with what depends on this machine settled: weights by hash, and precision.

    Raises:
        ConfigError: The weights cannot be read, or there is no such device or precision here.
    """
    config = pretrained.pin(config)
    device = pick_device(config.device)
    config = with_precision(config, auto_precision(device)).canonical()
    check_precision(config.precision, device)
    return config


def to_the_end(run: TrainingRun) -> None:
    """Train a run until it is complete, and say nothing."""
    while not run.complete:
        run.advance()


def train_run(
    spec: RunSpec, storage: Path, train: Callable[[TrainingRun], None] = to_the_end
) -> Result | Failure:
    """Train a run in its folder and return its outcome; a run that diverges ends as a failure.

    Args:
        spec: The training run.
        storage: The folder that holds all run folders.
        train: Trains the run until it is complete, as `to_the_end` does.

    Raises:
        ConfigError: As for `TrainingRun`.
        RunFolderLockedError: Another process trains the same run.
    """
    with closing(TrainingRun(spec, storage)) as run:
        try:
            train(run)
        except NonFiniteLossError as error:
            run.fail(str(error))
    ended = outcome(RunFolder(storage, spec.training_key), spec)
    assert ended is not None  # nosec B101  # cannot happen
    return ended
