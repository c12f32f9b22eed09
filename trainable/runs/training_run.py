"""A training run in its run folder: load, build, resume, train, record. No Ray in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from trainable.config.choices import imported, references
from trainable.config.loading import config_from
from trainable.config.schema import DATA_FIELDS, ConfigError, TrialConfig
from trainable.data import datasets
from trainable.data.datasets import DataSet
from trainable.networks.pretrained import check_start, load_pretrained
from trainable.runs.folder import RunFolder
from trainable.runs.keys import RunSpec, code_version, readout_key, version_on_disk
from trainable.runs.machine import resumed, setting
from trainable.runs.results import (
    Failure,
    Origin,
    ReadoutResult,
    Result,
    has_needless_checkpoints,
    outcome,
    read_history,
    with_known_readouts,
)
from trainable.runs.sample_masks import Samples
from trainable.training.averaging import Average
from trainable.training.build import build_trainer, new_generator
from trainable.training.devices import lies_on, pick_device
from trainable.training.metrics import SegmentationMetrics
from trainable.training.numerics import check_precision
from trainable.training.trainer import Trainer

# Read before the first and after the last module that trains was imported.
for reference in references():
    imported(reference)
if version_on_disk() != code_version():
    raise ImportError("the code that trains changed while it was imported; start again")

KEPT_BYTES = 2**28  # of training images: 20 batches of the demo are 4 MB


@dataclass(frozen=True, kw_only=True)
class EvaluatedAverage:
    """A readout's average, the metrics of its network, and that network's tensors."""

    average: Average
    swa: SegmentationMetrics
    state: dict[str, torch.Tensor]


class TrainingRun:
    """Trains what a spec asks for, from the last good checkpoint on, and writes the result.

    It holds the run folder's lock from its construction until `close`; `complete` is set when the
    result is written.

    Args:
        spec: The training run.
        storage: The folder that holds all run folders.
        wait_s: Seconds to wait for another process that trains the same run; see `RunFolder`.

    Attributes:
        found: Whether the folder held the outcome when the lock was there, after another process
            had it: then there is no trainer, and the run is complete.

    Raises:
        ConfigError: The data or the pretrained weights are not what the spec says or what it
            needs, or the device does not have its precision.
        OtherCodeError: The code is not the one that planned the run; nothing was written.
        RunFolderLockedError: Another process trains this run.
    """

    trainer: Trainer
    samples: Samples

    def __init__(self, spec: RunSpec, storage: Path, *, wait_s: float | None = None) -> None:
        spec.check_code()
        self.folder = RunFolder(storage, spec.training_key, wait_s=wait_s)
        self._saved_at = -1
        self._validated: list[EvaluatedAverage] = []
        self._drawn: list[torch.Tensor] = []
        with ExitStack() as stack:
            stack.enter_context(self.folder)
            self.spec = with_known_readouts(spec, self.folder)
            self.found = self.complete = outcome(self.folder, self.spec) is not None
            if not self.found:
                self.trainer = self._build()
                self.samples = Samples(self.folder.path, self.trainer)
            elif has_needless_checkpoints(self.folder):  # the worker that finished it was killed
                self.folder.drop_checkpoints()
            self._held = stack.pop_all()

    def _build(self) -> Trainer:
        config = self.spec.config
        device = pick_device(config.device)
        check_precision(config.precision, device)
        data = _load_data(_data_config(config), device)
        if data.fingerprint != self.spec.data_fingerprint:
            raise ConfigError(
                f"the data of {config.dataset} at {config.data_root!r} must have fingerprint "
                f"{self.spec.data_fingerprint}, but has {data.fingerprint}; "
                "use the same data on every node"
            )
        self.spec.check_key()
        check_start(config)
        generator = new_generator(config, len(data.classes))
        self.pretrained = load_pretrained(generator, config) if config.weights else None
        trainer = build_trainer(config, data, self.spec.readouts, device, generator=generator)
        self._setting = setting(device)
        self.folder.write("config", self._describe(trainer))
        state = self.folder.load_checkpoint()
        if state is not None and self._is_of_this_run(state):
            trainer.load_state_dict(state)
            self._setting = resumed(state["setting"], self._setting)
            self._saved_at = trainer.iteration
        else:
            self.folder.drop_checkpoints()
        return trainer

    def _run_identity(self) -> dict[str, object]:
        """Return what a checkpoint must agree with, to be continued."""
        return {
            "readouts": [readout_key(readout) for readout in self.spec.readouts],
            "attempt": self.spec.attempt,
        }

    def _is_of_this_run(self, state: Mapping[str, object]) -> bool:
        is_alike = state["run"] == self._run_identity()
        return is_alike and bool(state["training_key"] == self.spec.training_key)

    def _describe(self, trainer: Trainer) -> dict[str, object]:
        return {
            **self.spec.to_primitives(),
            **self._setting,
            "numerics": trainer.numerics.describe(),
            "pretrained": self.pretrained.describe() if self.pretrained else None,
        }

    def _origin(self) -> Origin:
        """Return what the outcome is made by, so that no other file is needed to tell."""
        return {
            "attempt": self.spec.attempt,
            "code_version": code_version(),
            "setting": self._setting,
        }

    @property
    def history(self) -> list[dict[str, float]]:
        """What was measured so far, also of a run that another process has ended."""
        return read_history(self.folder) if self.found else self.trainer.history

    @property
    def kept_history(self) -> list[dict[str, float]]:
        """The rows of the history that no crash takes back: a checkpoint or the outcome has them.

        A run that goes on after a crash trains from that checkpoint, and measures what came after
        it a second time.
        """
        if self.complete:
            return self.history
        return [row for row in self.history if row["iteration"] <= self._saved_at]

    def advance(self) -> None:
        """Train on to a recorded iteration.

        After the last iteration each call validates one network: the readouts', then the raw
        weights, with which `result.json` is written.
        """
        if self.trainer.finished:
            self._finish_further()
            return
        before, every = self.trainer.iteration, self.spec.config.checkpoint_every
        self.trainer.advance()
        self.samples.take()
        if self.trainer.iteration // every > before // every or self.trainer.finished:
            self.save()

    def save(self) -> None:
        """Write a checkpoint and the history so far, unless that was done at this iteration."""
        if self.complete or self.trainer.iteration == self._saved_at:
            return
        self.folder.save_checkpoint(
            self.trainer.state_dict()
            | self._names()
            | {"run": self._run_identity(), "setting": self._setting}
        )
        self.write_history()
        self._saved_at = self.trainer.iteration

    def write_history(self) -> None:
        """Write what was measured so far."""
        self.folder.write("metrics", {"history": self.trainer.history})

    def _names(self) -> dict[str, object]:
        """Return what a file of tensors needs to be read by itself."""
        return {
            "training_key": self.spec.training_key,
            "config": dataclasses.asdict(self.spec.config),
            "classes": list(self.trainer.data.classes),
        }

    def _finish_further(self) -> None:
        """Validate the next readout, or the raw weights, after which the run is complete.

        What an interruption loses of this is done again from the last checkpoint.
        """
        averages = self.trainer.averages.each
        if len(self._validated) < len(averages):
            self._validated.append(self._validate(averages[len(self._validated)]))
        else:
            self._finish()

    def _validate(self, average: Average) -> EvaluatedAverage:
        trainer = self.trainer
        batches = self._draw(average.readout.swa_batch_norm_batches)
        network = trainer.averages.network(average, trainer.generator, batches)
        swa = trainer.evaluate(network)
        self.samples.take_averaged(average.readout, network)
        state = dict(network.named_buffers()) | trainer.averages.named(average, trainer.generator)
        return EvaluatedAverage(average=average, swa=swa, state=state)

    def _draw(self, count: int) -> Iterator[torch.Tensor]:
        """Yield the images of the first training batches, kept for further readouts if they fit."""
        several = len(self.trainer.averages.each) > 1
        for i in range(count):
            if i < len(self._drawn):
                yield self._drawn[i]
                continue
            images = self.trainer.batches.draw(i)[0]
            if several and images.nbytes * (i + 1) <= KEPT_BYTES:
                self._drawn.append(images)
            yield images

    def _finish(self) -> None:
        trainer, config = self.trainer, self.spec.config
        readouts: dict[str, ReadoutResult] = {}
        averages: dict[str, object] = {}
        for one in self._validated:
            readout = one.average.readout
            key, values = readout_key(readout), dataclasses.asdict(readout)
            readouts[key] = {"readout": values, "averaged": one.average.averaged, "swa": one.swa}
            averages[key] = {"readout": values, "state": one.state}
        val = trainer.evaluate(trainer.generator)
        self.samples.save()
        self.folder.save_model(
            self._names()
            | {
                "iteration": trainer.iteration,
                "generator": trainer.generator.state_dict(),
                "averages": averages,
            }
        )
        result = Result(
            val=val,
            readouts=readouts,
            train=_last_losses(trainer.history),
            classes=list(trainer.data.classes),
            iterations=trainer.iteration,
            images_per_s=config.iterations * config.batch_size / trainer.train_s,
            train_s=trainer.train_s,
            finished_at=trainer.history[-1]["time"],
            **self._origin(),
        )
        self.folder.write("result", result.to_primitives())
        self.folder.drop_checkpoints()
        self.complete = True

    def fail(self, cause: str) -> None:
        """Record that this run ended without a result, and why; it counts as done."""
        self.write_history()
        self.folder.write("failure", Failure(cause=cause, **self._origin()).to_primitives())

    def close(self) -> None:
        """Give the run folder back."""
        self._held.close()


def _last_losses(history: list[dict[str, float]]) -> dict[str, float]:
    row = next(row for row in reversed(history) if "train/loss_mce" in row)
    return {name: value for name, value in row.items() if name.startswith("train/")}


def _data_config(config: TrialConfig) -> TrialConfig:
    """Return a config that differs from the defaults only in what decides the data."""
    names = (*DATA_FIELDS, "data_root", "data_device", "cache_dir")
    return config_from({name: getattr(config, name) for name in names})


@lru_cache(maxsize=1)
def _load_data(config: TrialConfig, device: torch.device) -> DataSet:
    """Load a data set once per process: a warm worker keeps the one it has."""
    data = datasets.load(config)
    return data.to(device) if lies_on(device, config.data_device, data.nbytes) else data
