"""A trained generator out of a run folder: raw weights, and averaged ones of a finished run.

    model.pt              of a finished run: `config`, `classes`, `iteration`, `generator`,
                          `averages` {readout key: {"readout": fields, "state": {name: tensor}}}
    checkpoint-<n>.pt     of a run under way: the same, but its `averages` are not ready for use
    <either>.sha256       its checksum, which must be there in a run folder, and is verified

The file may come from anywhere: what it holds is checked, and no code in it is ever run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainable.config.choices import is_custom
from trainable.config.loading import config_from
from trainable.config.schema import ConfigError, Readout, TrialConfig
from trainable.networks.build import build_generator
from trainable.networks.custom_code import UntrustedNetworkError, check_trusted
from trainable.storage import json_files
from trainable.storage.tensors import BROKEN, DamagedFileError, check_tensors, read_tensors

DESCRIPTION = "config.json"  # which every run folder has

Form = tuple[tuple[int, ...], torch.dtype, torch.layout]  # of a tensor


@dataclass(frozen=True, kw_only=True)
class SavedModel:
    """A generator as it was saved.

    Attributes:
        path: The file that holds it.
        training_key: The key of the run that wrote the file, empty where the file does not say.
        config: The config that it was trained with.
        classes: The names of its C classes; the first is the background.
        iteration: The number of iterations that it was trained for.
        readouts: The readouts of its averages by key; empty for a run under way.
        states: All parameters and buffers by readout key; the raw weights under None.
    """

    path: Path
    training_key: str
    config: TrialConfig
    classes: tuple[str, ...]
    iteration: int
    readouts: dict[str, Readout]
    states: dict[str | None, dict[str, Tensor]]

    def network(self, readout_key: str | None) -> nn.Module:
        """Return the generator in evaluation mode, on the CPU.

        Args:
            readout_key: The key of the average in `readouts` to take; None takes the raw weights.
        """
        network = _skeleton(self.config, self.classes).to_empty(device="cpu")
        network.load_state_dict(self.states[readout_key])
        return network.eval()


def load_model(path: Path, *, networks: Collection[str] = ()) -> SavedModel:
    """Read a saved generator.

    Args:
        path: A `model.pt`, a `checkpoint-*.pt`, or a run folder: its `model.pt`, or else its newest
            checkpoint.
        networks: The networks of one's own, each MODULE:CALLABLE, that the file may name: no module
            is imported since a file says so.

    Raises:
        ConfigError: There is no such file, its checksum does not hold or, in a run folder, is
            missing, it is another run's, or not a generator that this version of the code can
            build; or it names a network of one's own that is not in `networks`.
    """
    is_of_folder = path.is_dir() or (path.parent / DESCRIPTION).exists()
    if path.is_dir():
        path = _newest(path)
    _verify(path, needs_checksum=is_of_folder)
    try:
        # Mapped, not read: of a checkpoint's tensors only the generator's are wanted.
        saved = read_tensors(path, mmap=True)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    except BROKEN as error:
        raise _refused(path, "it cannot be read, or holds code, which is not run") from error
    if not isinstance(saved, dict):
        raise _refused(path, f"it holds a {type(saved).__name__}")
    model = _checked(path, saved, networks)
    _check_run(model)
    return model


def _newest(folder: Path) -> Path:
    model = folder / "model.pt"
    if model.exists():
        return model
    checkpoints = sorted(folder.glob("checkpoint-*.pt"))
    if not checkpoints:
        raise ConfigError(
            f"{folder}: a run folder must hold model.pt or a checkpoint, but holds neither; "
            "train the run, or name another folder"
        )
    return checkpoints[-1]


def _verify(path: Path, *, needs_checksum: bool) -> None:
    if not needs_checksum and not path.with_suffix(".sha256").exists():
        return
    try:
        check_tensors(path)
    except DamagedFileError as error:
        raise ConfigError(f"{error}, or take another checkpoint") from error
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error


def _check_run(model: SavedModel) -> None:
    """Refuse a model beside the description of another run.

    Raises:
        ConfigError: It is, or the description is not what was written.
    """
    description = model.path.with_name(DESCRIPTION)
    if not description.exists():
        return
    try:
        key = json_files.loads(description.read_bytes())["training_key"]
    except (OSError, json_files.ChecksumError) as error:
        raise ConfigError(
            f"{description} must be what a training run wrote, but {error}; restore it, or name a "
            "copy of the model that lies elsewhere"
        ) from error
    if model.training_key != key:
        raise ConfigError(
            f"{model.path}: must be of run {key}, as {DESCRIPTION} beside it, but is of "
            f"{model.training_key or 'none that is named'}; restore the model of the run"
        )


def _checked(path: Path, saved: dict[str, Any], networks: Collection[str]) -> SavedModel:
    """Return the model that the content of a file is, once all of it is known to fit together."""
    try:
        config = config_from(saved["config"])
        check_trusted(config, path, networks)
        classes = tuple(saved["classes"])
        raw, averages = saved["generator"], saved["averages"]
        # A checkpoint has a list: the batch norm of its averages is not settled.
        averages = averages if isinstance(averages, dict) else {}
        if not classes or not all(isinstance(name, str) for name in (*classes, *averages)):
            raise TypeError("its classes or the keys of its averages are not names")
        readouts = {key: _readout(config, one["readout"]) for key, one in averages.items()}
        states = {None: raw} | {key: {**raw, **one["state"]} for key, one in averages.items()}
        wanted = _forms(_skeleton(config, classes).state_dict())
        for state in states.values():
            _compare(wanted, _forms(state))
        return SavedModel(
            path=path,
            training_key=str(saved.get("training_key", "")),
            config=config,
            classes=classes,
            iteration=int(saved["iteration"]),
            readouts=readouts,
            states=states,
        )
    except KeyError as error:
        raise _refused(path, f"it has no {error}") from error
    except UntrustedNetworkError:
        raise
    except (AttributeError, TypeError, ValueError) as error:
        raise _refused(path, str(error)) from error


def _readout(config: TrialConfig, values: Mapping[str, object]) -> Readout:
    """Return a readout whose values were checked as those of a trial are."""
    return config_from({**dataclasses.asdict(config), **values}).readout


def _skeleton(config: TrialConfig, classes: Sequence[str]) -> nn.Module:
    """Build the generator without memory behind it: a file may ask for one of any size.

    One's own has memory: what it does when it is built, no other device may stand in for.
    """
    with torch.device("cpu" if is_custom(config.generator) else "meta"):
        return build_generator(config, len(classes))


def _forms(state: Mapping[str, Tensor]) -> dict[str, Form]:
    return {name: (tuple(one.shape), one.dtype, one.layout) for name, one in state.items()}


def _compare(wanted: dict[str, Form], found: dict[str, Form]) -> None:
    """Refuse tensors that are not those of the generator.

    Raises:
        ValueError: A tensor is missing, not known, or has another shape or type.
    """
    for name in [*wanted, *found]:
        if wanted.get(name) != found.get(name):
            raise ValueError(f"tensor {name} must be {wanted.get(name)}, but is {found.get(name)}")


def _refused(path: Path, cause: str) -> ConfigError:
    return ConfigError(
        f"{path}: must be a model.pt or a checkpoint that a training run of this version wrote, "
        f"but {' '.join(cause.split())}; name another file, or train again"
    )
