"""What names a training run and a trial: hashes of all that decides their numbers.

The same key names the run folder, the Ray trial and the tag of the MLflow run, so that running a
command again trains only what is missing and two sweeps that share a point share its training.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

from trainable.config import Readout, TrialConfig

# The modules whose text decides weights or metrics. The text of `config` and `shapes` does not
# count: what they decide is in the key as values and as the data's fingerprint.
TRAINING_MODULES = (
    "adversary",
    "augmentation",
    "averaging",
    "batches",
    "convolutions",
    "datasets",
    "decoded",
    "discriminators",
    "files",
    "generators",
    "images",
    "losses",
    "metrics",
    "numerics",
    "sbd",
    "segtrack",
    "trainer",
    "trunk_layout",
    "voc",
    "weights",
)


@cache
def code_version() -> str:
    """Return the hash of the code that trains, 12 hex digits."""
    digest = hashlib.sha256()
    for name in TRAINING_MODULES:
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()[:12]


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
    """A training run to be done: one config, the readouts wanted of it, and its key.

    Attributes:
        config: In its one spelling (`TrialConfig.canonical`); its own readout is not read.
        readouts: The averages to carry, at least one.
        data_fingerprint: What the data must be.
        training_key: `training_key` of the two.
        attempt: Checkpoints of another attempt are not continued; empty is the usual one.
    """

    config: TrialConfig
    readouts: tuple[Readout, ...]
    data_fingerprint: str
    training_key: str
    attempt: str = ""

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
