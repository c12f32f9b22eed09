"""What names a training run and a trial: hashes of all that decides their numbers.

The same key names the run folder, the Ray trial and the tag of the MLflow run, so that running a
command again trains only what is missing and two sweeps that share a point share its training.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Self

from trainable.config.schema import ConfigError, Readout, TrialConfig
from trainable.storage.files import hash_of
from trainable.storage.json_files import JsonObject

# The code whose text decides weights or metrics: three folders, and the file that says what the
# names in a config stand for. What other fields of a config mean counts as values.
PACKAGE = Path(__file__).parents[1]
TRAINING_FOLDERS = ("data", "networks", "training")
CHOICES = "config/choices.py"
ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


class OtherCodeError(ConfigError):
    """The code of this process is not the code that a training run was planned with."""


def version_on_disk() -> str:
    """Return the hash of the code that trains as its files stand now, 12 hex digits."""
    folders = (sorted((PACKAGE / folder).rglob("*.py")) for folder in TRAINING_FOLDERS)
    return hash_of((PACKAGE / CHOICES, *chain.from_iterable(folders)))


def package_version() -> str:
    """Return the hash of all of this package's code as its files stand now, 12 hex digits."""
    return hash_of(sorted(PACKAGE.rglob("*.py")))


_IMPORTED = version_on_disk()  # files may change while a process keeps what it imported


def code_version() -> str:
    """Return the hash of the code that trains as this process imported it, 12 hex digits."""
    return _IMPORTED


def key_of(value: Mapping[str, object]) -> str:
    """Return the hash of a mapping of primitives, 16 hex digits, whatever its order."""
    text = ENCODER.encode(value)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def training_key(config: TrialConfig, data_fingerprint: str) -> str:
    """Return the key of the training run that `config` belongs to on this data with this code."""
    return key_of(
        {
            "config": config.training_identity(),
            "data_fingerprint": data_fingerprint,
            "code_version": code_version(),
        }
    )


def readout_key(readout: Readout) -> str:
    """Return the key of a readout, a hash of the fields that its rule reads."""
    return key_of(readout.identity())


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """A training run to be done: one config, the readouts wanted of it, its key, and by which code.

    Attributes:
        config: The config in its one spelling (`TrialConfig.canonical`); the readout in it is not
            read.
        readouts: The averages to carry, at least one.
        data_fingerprint: The fingerprint that the data must have.
        training_key: The key that follows from config, data and code; see `training_key`.
        code_version: The version of the code that planned the run; no other may train it.
        attempt: The name of the attempt, usually empty; checkpoints of another attempt are not
            resumed.
    """

    config: TrialConfig
    readouts: tuple[Readout, ...]
    data_fingerprint: str
    training_key: str
    code_version: str = field(default_factory=code_version)
    attempt: str = ""

    @classmethod
    def of(
        cls,
        config: TrialConfig,
        readouts: Iterable[Readout],
        data_fingerprint: str,
        attempt: str = "",
    ) -> Self:
        """Return the training run of a config by the code of this process."""
        canonical = config.canonical()
        return cls(
            config=canonical,
            readouts=tuple(readouts),
            data_fingerprint=data_fingerprint,
            training_key=training_key(canonical, data_fingerprint),
            code_version=code_version(),
            attempt=attempt,
        )

    def check_code(self) -> None:
        """Refuse to be trained by another version of the code than the one that planned the run.

        Raises:
            OtherCodeError: The code of this process is another version.
        """
        if self.code_version != code_version():
            raise OtherCodeError(
                f"a run must be trained by the code that planned it, version {self.code_version}, "
                f"but {platform.node()} has {code_version()}; install the same code on every node"
            )

    def check_key(self) -> None:
        """Refuse a key that does not follow from the rest, such as another `config` module gives.

        Raises:
            OtherCodeError: The key does not follow from config, data and code.
        """
        key = training_key(self.config, self.data_fingerprint)
        if self.training_key != key:
            raise OtherCodeError(
                f"the key of a run must follow from its config, data and code, as {key} does on "
                f"{platform.node()}, but got {self.training_key}; "
                "install the same code on every node"
            )

    def to_primitives(self) -> JsonObject:
        """Return the spec as mappings, lists and primitives, as JSON stores them."""
        values = dataclasses.asdict(self)
        return values | {"readouts": list(values["readouts"])}

    @classmethod
    def from_primitives(cls, values: JsonObject) -> Self:
        """Return the spec that `to_primitives` gave the values of."""
        readouts = tuple(Readout(**readout) for readout in values["readouts"])
        return cls(**{**values, "config": TrialConfig(**values["config"]), "readouts": readouts})


def trial_key(config: TrialConfig, data_fingerprint: str) -> str:
    """Return the key of a trial, a hash of the key of its training run and of its readout."""
    return trial_key_in(training_key(config, data_fingerprint), config.readout)


def trial_key_in(training: str, readout: Readout) -> str:
    """Return the key of the trial that reads a training run, given by its key, like this."""
    return key_of({"training_key": training, "readout": readout.identity()})
