"""A training run in its run folder: load, build, resume, train, record. No Ray in it."""

from __future__ import annotations

import dataclasses
import platform
import time
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from trainable import datasets
from trainable.config import DATA_FIELDS, ConfigError, Readout, TrialConfig
from trainable.config_files import config_from
from trainable.datasets import DataSet
from trainable.identity import RunSpec, code_version, readout_key
from trainable.metrics import METRICS
from trainable.run_folder import RunFolder
from trainable.trainer import Trainer, build_trainer


class TrainingRun:
    """Trains what a spec asks for, from the last good checkpoint on, and writes the result.

    Holds the run folder's lock from construction to `close`.

    Args:
        spec: What to train.
        storage: Folder of all run folders.

    Raises:
        ConfigError: The data is not what the spec says.
        RunFolderLockedError: Another process trains this run.
    """

    def __init__(self, spec: RunSpec, storage: Path) -> None:
        self.spec = spec
        self.folder = RunFolder(storage, spec.training_key)
        self._saved_at = -1
        with ExitStack() as stack:
            stack.enter_context(self.folder)
            self.trainer = self._build()
            self._held = stack.pop_all()

    def _build(self) -> Trainer:
        config = self.spec.config
        device = pick_device(config.device)
        data = _load_data(_data_config(config), device)
        if data.fingerprint != self.spec.data_fingerprint:
            raise ConfigError(
                f"the data of {config.dataset} at {config.data_root!r} must have fingerprint "
                f"{self.spec.data_fingerprint}, but has {data.fingerprint}; "
                "use the same data on every node"
            )
        trainer = build_trainer(config, data, self.spec.readouts, device)
        self.folder.write("config", self._describe(device))
        state = self.folder.load_checkpoint()
        if state is not None and state["run"] == self._run_identity():
            trainer.load_state_dict(state)
            self._saved_at = trainer.iteration
        else:
            self.folder.drop_checkpoints()
        return trainer

    def _run_identity(self) -> dict[str, Any]:
        """Return what a checkpoint must agree with, to be continued."""
        return {
            "readouts": [readout_key(readout) for readout in self.spec.readouts],
            "attempt": self.spec.attempt,
        }

    def _describe(self, device: torch.device) -> dict[str, Any]:
        return {
            **self.spec.to_primitives(),
            "code_version": code_version(),
            "torch": torch.__version__,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "threads": torch.get_num_threads(),
            "host": platform.node(),
        }

    def advance(self, *, at_least_s: float = 0.0) -> None:
        """Train on to a recorded iteration, for at least this long unless training ends first.

        After the last iteration the readouts are validated and `result.json` is written.
        """
        deadline = time.monotonic() + at_least_s
        trainer, every = self.trainer, self.spec.config.checkpoint_every
        while not trainer.finished:
            before = trainer.iteration
            trainer.advance()
            if trainer.iteration // every > before // every or trainer.finished:
                self.save()
            if time.monotonic() >= deadline:
                break
        if trainer.finished:
            self._finish()

    def save(self) -> None:
        """Write a checkpoint and the history so far, unless that was done at this iteration."""
        if self.trainer.iteration == self._saved_at:
            return
        self.folder.save_checkpoint(self.trainer.state_dict() | {"run": self._run_identity()})
        self.folder.write("metrics", {"history": self.trainer.history})
        self._saved_at = self.trainer.iteration

    def _finish(self) -> None:
        trainer, config = self.trainer, self.spec.config
        self.folder.write(
            "result",
            {
                "val": trainer.evaluate(trainer.generator),
                "readouts": {
                    readout_key(average.readout): {
                        "readout": dataclasses.asdict(average.readout),
                        "averaged": average.averaged,
                        "swa": trainer.read(average),
                    }
                    for average in trainer.averages
                },
                "train": _last_losses(trainer.history),
                "classes": list(trainer.data.classes),
                "iterations": trainer.iteration,
                "images_per_s": config.iterations * config.batch_size / trainer.train_s,
                "train_s": trainer.train_s,
                "finished_at": trainer.history[-1]["time"],
                "attempt": self.spec.attempt,
            },
        )

    def fail(self, cause: str) -> None:
        """Record that this run ended without a result, and why; it counts as done."""
        self.folder.write("metrics", {"history": self.trainer.history})
        self.folder.write("failure", {"cause": cause, "attempt": self.spec.attempt})

    @property
    def finished(self) -> bool:
        """Whether training has ended."""
        return self.trainer.finished

    def close(self) -> None:
        """Give the run folder back."""
        self._held.close()


def outcome(folder: RunFolder, spec: RunSpec) -> tuple[str, dict[str, Any]] | None:
    """Return what a run folder holds of what `spec` asks for.

    Returns:
        `("result", numbers)` when every readout is there, `("failure", cause)` when the run ended
        without numbers, None when it is still to be trained.
    """
    wanted = {readout_key(readout) for readout in spec.readouts}
    for name in ("result", "failure"):
        content = folder.read(name)
        if content is None or (spec.attempt and content["attempt"] != spec.attempt):
            continue
        if name == "failure" or wanted <= content["readouts"].keys():
            return name, content
    return None


def summary(result: dict[str, Any], readout: Readout) -> dict[str, float]:
    """Return the metrics of one trial by their recorded names, from a result and a readout."""
    swa = result["readouts"][readout_key(readout)]["swa"]
    metrics = {f"val/{name}": result["val"][name] for name in METRICS}
    metrics |= {f"swa/{name}": swa[name] for name in METRICS}
    return metrics | {"images_per_s": result["images_per_s"]}


def pick_device(name: str) -> torch.device:
    """Return the device that a config's `device` means here.

    Raises:
        ConfigError: `cuda` is asked for and there is none.
    """
    has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise ConfigError("device=cuda needs a CUDA device, but torch finds none; use device=auto")
    return torch.device("cuda" if has_cuda and name != "cpu" else "cpu")


def _last_losses(history: list[dict[str, float]]) -> dict[str, float]:
    row = next(row for row in reversed(history) if "train/loss_mce" in row)
    return {name: value for name, value in row.items() if name.startswith("train/")}


def _data_config(config: TrialConfig) -> TrialConfig:
    """Return a config that differs from the defaults only in what decides the data."""
    names = (*DATA_FIELDS, "data_root", "data_device", "cache_dir")
    return config_from({name: getattr(config, name) for name in names})


@lru_cache(maxsize=1)
def _load_data(config: TrialConfig, device: torch.device) -> DataSet:
    """Load a data set once per process: a warm worker goes on with the one it has."""
    data = datasets.load(config)
    return data.to(device) if lies_on(device, config.data_device, data.nbytes) else data


def lies_on(device: torch.device, data_device: str, nbytes: int) -> bool:
    """Return whether a data set of this size is to lie on the training device.

    With `auto` it does on a GPU that has twice as much memory free: the rest is for training.
    """
    if data_device != "auto" or device.type != "cuda":
        return data_device == "device"
    free, _ = torch.cuda.mem_get_info(device)
    return nbytes <= free / 2
