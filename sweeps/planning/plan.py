"""What a sweep asks: its plan, its trials, the runs that answer them, and those of before."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Self

from analysis.record.schema import OBJECTIVE
from analysis.stats.rounding import format_value
from trainable.config.schema import EXECUTION_FIELDS, READOUT_FIELDS, TrialConfig, Value
from trainable.runs.keys import RunSpec, code_version, key_of

if TYPE_CHECKING:
    from sweeps.storage.mirror import Mirror
    from trainable.data.datasets import DataFacts


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One point of a sweep, in its one spelling, with its keys.

    Attributes:
        config: What is trained.
        training_key: Key of its training run.
        trial_key: Its own key.
        asked: The config as it was asked for, where that is known.
    """

    config: TrialConfig
    training_key: str
    trial_key: str
    asked: TrialConfig | None = None


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
class EarlierRuns:
    """The training runs with the trials that earlier commands asked for and this one does not.

    A training run comes in up to two parts: the trials that its folder answers, and those whose
    readouts it lacks. Its further trials may be asked for by this command.

    Attributes:
        by_key: The parts of each run, by its training key.
        stopped: Why those commands wanted no more of a run that has no outcome, by training key.
        tags: The tags that those commands gave trials, by trial key.
        commands: The command that asked for a trial last, by trial key, where that is known.
    """

    by_key: Mapping[str, tuple[PlannedRun, ...]] = field(default_factory=dict)
    stopped: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        runs: Iterable[PlannedRun],
        *,
        stopped: Mapping[str, str],
        tags: Mapping[str, Mapping[str, str]],
        commands: Mapping[str, str],
    ) -> Self:
        """Return what earlier commands asked for; tags and stops of other runs are left out."""
        by_key: dict[str, tuple[PlannedRun, ...]] = {}
        for run in runs:
            key = run.spec.training_key
            by_key[key] = (*by_key.get(key, ()), run)
        trials = [one.trial_key for run in chain(*by_key.values()) for one in run.trials]
        return cls(
            by_key=by_key,
            stopped={key: why for key, why in stopped.items() if key in by_key},
            tags={key: tags[key] for key in trials if key in tags},
            commands={key: commands[key] for key in trials if key in commands},
        )

    @cached_property
    def runs(self) -> tuple[PlannedRun, ...]:
        """All parts of all runs."""
        return tuple(chain(*self.by_key.values()))

    def without(self, training_key: str, trial_keys: Container[str]) -> EarlierRuns:
        """Return what stays when this command asks for some trials of a run."""
        by_key, stopped = dict(self.by_key), dict(self.stopped)
        stopped.pop(training_key, None)
        parts = tuple(_without(by_key.pop(training_key, ()), trial_keys))
        if parts:
            by_key[training_key] = parts
        tags = {key: tag for key, tag in self.tags.items() if key not in trial_keys}
        return dataclasses.replace(self, by_key=by_key, stopped=stopped, tags=tags)

    def commands_of(self, runs: Iterable[PlannedRun]) -> list[str]:
        """Return the commands that asked for some of the runs last, each once."""
        keys = (trial.trial_key for run in runs for trial in run.trials)
        return list(dict.fromkeys(self.commands[key] for key in keys if key in self.commands))


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
        given: The fields of the base that somebody set, as they were set; None if that is unknown.
        objectives: Metrics that settings are judged by; the first ranks them.
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
    given: Mapping[str, Value] | None = None
    objectives: tuple[str, ...] = (OBJECTIVE,)
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
    given: Mapping[str, Value] | None = None,
    objectives: tuple[str, ...] = (OBJECTIVE,),
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
        given: The fields of the base that somebody set, as they were set; None if that is unknown.
        objectives: Metrics that settings are judged by; the first ranks them.
    """
    return Plan(
        name=name,
        sweep_key=_sweep_key(name, base, axes, data.fingerprint, objectives),
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
        given=given,
        objectives=objectives,
    )


def _sweep_key(
    name: str,
    base: TrialConfig,
    axes: tuple[str, ...],
    data_fingerprint: str,
    objectives: tuple[str, ...],
) -> str:
    left_out = (*READOUT_FIELDS, *EXECUTION_FIELDS)
    values = {k: v for k, v in dataclasses.asdict(base).items() if k not in left_out}
    values |= base.readout.identity()
    fixed = {field: value for field, value in values.items() if field not in (*axes, "seed")}
    asked: dict[str, object] = {
        "name": name,
        "fixed": fixed,
        "data_fingerprint": data_fingerprint,
        "code_version": code_version(),
    }
    if objectives != (OBJECTIVE,):
        asked["objectives"] = objectives
    return key_of(asked)


def _without(parts: Iterable[PlannedRun], trial_keys: Container[str]) -> Iterator[PlannedRun]:
    for part in parts:
        kept = tuple(trial for trial in part.trials if trial.trial_key not in trial_keys)
        if kept:
            yield part if kept == part.trials else dataclasses.replace(part, trials=kept)
