"""What earlier commands of a sweep asked for: it belongs to the answer, and is not trained now."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Self

from sweeps.planning.plan import PlannedRun


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


def _without(parts: Iterable[PlannedRun], trial_keys: Container[str]) -> Iterator[PlannedRun]:
    for part in parts:
        kept = tuple(trial for trial in part.trials if trial.trial_key not in trial_keys)
        if kept:
            yield part if kept == part.trials else dataclasses.replace(part, trials=kept)
