"""What a sweep asks: its plan, its trials, and the training runs that answer them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.stats.rounding import format_value
from trainable.config.schema import EXECUTION_FIELDS, READOUT_FIELDS, TrialConfig
from trainable.runs.keys import RunSpec, code_version, key_of

if TYPE_CHECKING:
    from sweeps.storage.mirror import Mirror
    from trainable.data.datasets import DataFacts


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One point of a sweep, in its one spelling, with its keys."""

    config: TrialConfig
    training_key: str
    trial_key: str


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A training run and the trials that it answers."""

    spec: RunSpec
    trials: tuple[Trial, ...]

    def label(self, axes: Sequence[str]) -> str:
        """Return the run in words: its values on the sweep's axes, and its seed.

        A run that answers several trials names their number instead of their readouts.
        """
        if len(self.trials) == 1:
            return format_setting(self.spec.config, (*axes, "seed"))
        shared = [axis for axis in axes if axis not in READOUT_FIELDS]
        words = format_setting(self.spec.config, (*shared, "seed"))
        return f"{words} ({len(self.trials)} readouts)"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a sweep asks; what becomes of it is its `SweepState`.

    Attributes:
        name: Name of the sweep.
        sweep_key: Alike for all commands that ask the same question with the same data and code,
            however many seeds or points.
        axes: The config fields that the sweep varies, besides the seed.
        base: The config that the axes vary.
        data: Fingerprint and classes of the data set.
        storage: Folder of all run folders.
        mirror: Mirror of the object store that has the run folders, None if `storage` itself does.
        attempt: If not empty, results of other attempts do not count as done.
        auto_precision: What `precision=auto` means where the runs train, for trials to come.
        question: What the sweep asks, in one sentence.
        with_samples: Whether the record is to hold the masks that run folders keep.
        command: The command line that asks, empty where none does.
        code_version: Version of the code that trains the runs, or trained them.
    """

    name: str
    sweep_key: str
    axes: tuple[str, ...]
    base: TrialConfig
    data: DataFacts
    storage: Path
    mirror: Mirror | None = None
    attempt: str = ""
    auto_precision: str = "auto"
    question: str = ""
    with_samples: bool = False
    command: str = ""
    code_version: str = field(default_factory=code_version)

    @property
    def workers_storage(self) -> str:
        """What a worker is told of where run folders lie: a folder or a URI."""
        return str(self.storage) if self.mirror is None else self.mirror.uri


def format_setting(config: TrialConfig, fields: Iterable[str]) -> str:
    """Return the values of some fields as `name=value`, numbers without needless digits."""
    return " ".join(f"{field}={format_value(getattr(config, field))}" for field in fields)


def make_plan(  # noqa: PLR0913  one for each thing asked
    name: str,
    *,
    base: TrialConfig,
    axes: tuple[str, ...],
    data: DataFacts,
    storage: Path,
    mirror: Mirror | None = None,
    attempt: str = "",
    auto_precision: str = "auto",
    question: str = "",
    with_samples: bool = False,
    command: str = "",
) -> Plan:
    """Return what a sweep asks, with the key that follows from it.

    Args:
        name: Name of the sweep.
        base: The config that the axes vary.
        axes: The fields varied, besides the seed.
        data: Fingerprint and classes of the data set that all trials use.
        storage: Folder of all run folders.
        mirror: Mirror of the object store that has the run folders, if one does.
        attempt: If not empty, results of other attempts do not count as done.
        auto_precision: What `precision=auto` means where the runs train.
        question: What the sweep asks, in one sentence.
        with_samples: Whether the record is to hold predicted masks.
        command: The command line that asks, empty where none does.
    """
    return Plan(
        name=name,
        sweep_key=_sweep_key(name, base, axes, data.fingerprint),
        axes=axes,
        base=base,
        data=data,
        storage=storage,
        mirror=mirror,
        attempt=attempt,
        auto_precision=auto_precision,
        question=question,
        with_samples=with_samples,
        command=command,
    )


def _sweep_key(name: str, base: TrialConfig, axes: tuple[str, ...], data_fingerprint: str) -> str:
    left_out = (*READOUT_FIELDS, *EXECUTION_FIELDS)
    values = {k: v for k, v in dataclasses.asdict(base).items() if k not in left_out}
    values |= base.readout.identity()
    fixed = {field: value for field, value in values.items() if field not in (*axes, "seed")}
    return key_of(
        {
            "name": name,
            "fixed": fixed,
            "data_fingerprint": data_fingerprint,
            "code_version": code_version(),
        }
    )
