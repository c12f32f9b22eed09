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
from pathlib import Path
from typing import Any, Self

from trainable.config.schema import ConfigError, Readout, TrialConfig
from trainable.storage.files import hash_of

# The folders whose text decides weights or metrics. What fields of a config mean counts as values.
PACKAGE = Path(__file__).parents[1]
TRAINING_FOLDERS = ("data", "networks", "training")


class OtherCodeError(ConfigError):
    """The code at hand is not that which a training run was planned with."""


def version_on_disk() -> str:
    """Return the hash of the code that trains as its files stand now, 12 hex digits."""
    return hash_of(
        path for folder in TRAINING_FOLDERS for path in sorted((PACKAGE / folder).rglob("*.py"))
    )


def package_version() -> str:
    """Return the hash of all of this package's code as its files stand now, 12 hex digits."""
    return hash_of(sorted(PACKAGE.rglob("*.py")))


_IMPORTED = version_on_disk()  # files may change while a process goes on with what it imported


def code_version() -> str:
    """Return the hash of the code that trains as this process imported it, 12 hex digits."""
    return _IMPORTED


def key_of(value: Mapping[str, Any]) -> str:
    """Return the hash of a mapping of primitives, 16 hex digits, whatever its order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
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
    """Return the key of a readout."""
    return key_of(readout.identity())


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """A training run to be done: one config, the readouts wanted of it, its key, and by which code.

    Attributes:
        config: In its one spelling (`TrialConfig.canonical`); its own readout is not read.
        readouts: The averages to carry, at least one.
        data_fingerprint: What the data must be.
        training_key: `training_key` of the two.
        code_version: Of the code that planned it, which alone may train it.
        attempt: Checkpoints of another attempt are not continued; empty is the usual one.
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
        """Return the run of a config by the code at hand."""
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
        """Refuse to be trained by code of another version.

        Raises:
            OtherCodeError: It is.
        """
        if self.code_version != code_version():
            raise OtherCodeError(
                f"a run must be trained by the code that planned it, version {self.code_version}, "
                f"but {platform.node()} has {code_version()}; install the same code on every node"
            )

    def check_key(self) -> None:
        """Refuse a key that does not follow from the rest, such as another `config` module gives.

        Raises:
            OtherCodeError: It does not.
        """
        key = training_key(self.config, self.data_fingerprint)
        if self.training_key != key:
            raise OtherCodeError(
                f"the key of a run must follow from its config, data and code, as {key} does on "
                f"{platform.node()}, but got {self.training_key}; "
                "install the same code on every node"
            )

    def to_primitives(self) -> dict[str, Any]:
        """Return the spec as mappings, lists and primitives, as JSON stores them."""
        values = dataclasses.asdict(self)
        return values | {"readouts": list(values["readouts"])}

    @classmethod
    def from_primitives(cls, values: Mapping[str, Any]) -> Self:
        """Return the spec that `to_primitives` gave the values of."""
        readouts = tuple(Readout(**readout) for readout in values["readouts"])
        return cls(**{**values, "config": TrialConfig(**values["config"]), "readouts": readouts})


def trial_key(config: TrialConfig, data_fingerprint: str) -> str:
    """Return the key of a trial: its training run's and its readout's in one."""
    training = training_key(config, data_fingerprint)
    return key_of({"training_key": training, "readout": config.readout.identity()})
