"""Trials to training runs: merge what differs only in its readout, leave out what is done."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.storage.threads import Threads
from trainable.config.schema import EXECUTION_FIELDS, READOUT_FIELDS, TrialConfig
from trainable.data.datasets import DataFacts
from trainable.runs.folder import RunFolder
from trainable.runs.keys import RunSpec, code_version, key_of, training_key, trial_key
from trainable.runs.results import Failure, Result, distinct_readouts, outcome, with_known_readouts
from trainable.training.numerics import with_precision

if TYPE_CHECKING:
    from sweeps.storage.mirror import Mirror


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
            return in_words(self.spec.config, (*axes, "seed"))
        shared = [axis for axis in axes if axis not in READOUT_FIELDS]
        words = in_words(self.spec.config, (*shared, "seed"))
        return f"{words} ({len(self.trials)} readouts)"


@dataclass(kw_only=True)
class Plan:
    """A sweep's trials, the training runs that answer them, and where their folders lie.

    A sweep that chooses as it goes adds trials to it while others train.

    Attributes:
        name: Of the sweep.
        sweep_key: Alike for all commands that ask the same question with the same data and code,
            however many seeds or points.
        axes: The config fields that the sweep varies, besides the seed.
        base: The config that the axes vary.
        data: Fingerprint and classes of the data set.
        storage: Folder of all run folders.
        mirror: Of the object store that has them, if `storage` only mirrors one.
        attempt: If not empty, results of other attempts do not count as done.
        auto_precision: What `precision=auto` means where the runs train, for trials to come.
        runs: The training runs, in the order in which to train.
        stopped: Why this sweep wants no more of a run that has no outcome, by training key.
        tags: What the record is to say of a trial besides, by trial key.
        question: What the sweep asks, in one sentence.
        with_samples: Whether the record is to hold the masks that run folders keep.
        why_partial: What ended the sweep before all of it was done, empty if nothing did.
        notes: What a person at the screen is to be told besides, one line each.
        code_version: Of the code that trains the runs, or trained them.
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
    runs: list[PlannedRun] = field(default_factory=list)
    stopped: dict[str, str] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    question: str = ""
    with_samples: bool = False
    why_partial: str = ""
    notes: list[str] = field(default_factory=list)
    code_version: str = field(default_factory=code_version)
    _places: dict[str, int] = field(default_factory=dict)  # of each run, by its training key
    threads: Threads = field(default_factory=Threads)  # of the driver
    fault: str = ""  # what the machine refused first: that is mended before the sweep goes on
    # An outcome stays: no folder is read again for it.
    _outcomes: dict[RunSpec, Result | Failure] = field(default_factory=dict)

    @property
    def trials(self) -> list[Trial]:
        """All trials, by training run."""
        return [trial for run in self.runs for trial in run.trials]

    def outcome(self, run: PlannedRun) -> Result | Failure | None:
        """Return the result or failure that the run's folder holds, None if it is to be trained."""
        return self._outcome(run.spec)

    def _outcome(self, spec: RunSpec) -> Result | Failure | None:
        if spec not in self._outcomes:
            found = outcome(RunFolder(self.storage, spec.training_key), spec)
            if found is None:
                return None
            self._outcomes[spec] = found
        return self._outcomes[spec]

    @property
    def workers_storage(self) -> str:
        """What a worker is told of where run folders lie: a folder or a URI."""
        return str(self.storage) if self.mirror is None else self.mirror.uri

    def pending(self) -> list[PlannedRun]:
        """Return the runs that are still to be trained."""
        return [
            run
            for run in self.runs
            if run.spec.training_key not in self.stopped and self.outcome(run) is None
        ]

    def add(self, configs: Iterable[TrialConfig]) -> list[PlannedRun]:
        """Take in trials and return the training runs that answer them, in the order given.

        Trials that differ only in their readout share a run, also with trials taken in before; a
        run that lacks a readout is trained again with the ones it has besides: all numbers of a
        run folder come from one trajectory. A trial that stands twice counts once.
        """
        merged: dict[str, dict[str, Trial]] = {}
        for config in configs:
            canonical = with_precision(config, self.auto_precision).canonical()
            trial = Trial(
                config=canonical,
                training_key=training_key(canonical, self.data.fingerprint),
                trial_key=trial_key(canonical, self.data.fingerprint),
            )
            merged.setdefault(trial.training_key, {})[trial.trial_key] = trial
        return [self._merge(key, trials) for key, trials in merged.items()]

    def _merge(self, key: str, trials: dict[str, Trial]) -> PlannedRun:
        place = self._places.get(key)
        known = {} if place is None else {t.trial_key: t for t in self.runs[place].trials}
        if place is not None and trials.keys() <= known.keys():
            return self.runs[place]
        run = self._planned_run(tuple((known | trials).values()))
        if place is None:
            self._places[key] = len(self.runs)
            self.runs.append(run)
        else:
            self.runs[place] = run
        return run

    def _planned_run(self, trials: tuple[Trial, ...]) -> PlannedRun:
        readouts = distinct_readouts(trial.config.readout for trial in trials)
        spec = RunSpec.of(trials[0].config, readouts, self.data.fingerprint, self.attempt)
        if self._outcome(spec) is None:
            spec = with_known_readouts(spec, RunFolder(self.storage, spec.training_key))
        return PlannedRun(spec=spec, trials=trials)


def in_words(config: TrialConfig, fields: Iterable[str]) -> str:
    """Return the values of some fields as `name=value`, numbers without needless digits."""
    values = {field: getattr(config, field) for field in fields}
    return " ".join(
        f"{field}={value:g}" if isinstance(value, float) else f"{field}={value}"
        for field, value in values.items()
    )


def make_plan(
    name: str,
    configs: Iterable[TrialConfig],
    *,
    base: TrialConfig,
    axes: tuple[str, ...],
    data: DataFacts,
    storage: Path,
    attempt: str = "",
    question: str = "",
) -> Plan:
    """Merge trials into training runs; see `Plan.add`.

    Args:
        name: Of the sweep.
        configs: The trials; one that stands twice counts once.
        base: The config that the axes vary.
        axes: The fields varied, besides the seed.
        data: Of the data set that all trials use.
        storage: Folder of all run folders.
        attempt: If not empty, results of other attempts do not count as done.
        question: What the sweep asks, in one sentence.
    """
    plan = Plan(
        name=name,
        sweep_key=_sweep_key(name, base, axes, data.fingerprint),
        axes=axes,
        base=base,
        data=data,
        storage=storage,
        attempt=attempt,
        question=question,
    )
    # The longest first, so that the last slot to finish idles the others least.
    plan.add(sorted(configs, key=lambda config: not config.has_adversary))
    return plan


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
