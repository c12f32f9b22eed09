"""What changes while a sweep runs: its training runs, and what is known of each."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Set
from types import MappingProxyType

from analysis.record.schema import Race
from sweeps.planning.plan import EarlierRuns, Plan, PlannedRun, Trial
from sweeps.storage.threads import Threads
from trainable.config.schema import TrialConfig
from trainable.runs.folder import RunFolder
from trainable.runs.keys import RunSpec, training_key, trial_key_in
from trainable.runs.results import (
    Failure,
    Result,
    distinct_readouts,
    outcome,
    with_known_readouts,
)


class SweepState:
    """The training runs of a sweep, and what became of each so far.

    Its `runs` are those that this command asks for. What earlier commands asked for besides is
    `earlier`: it belongs to the answer, and is not trained.

    It changes by the methods below alone. `owner`, the thread that made it, drives the sweep: it
    alone calls `add_trials`, `add_runs`, `add_earlier`, `stop`, `tag`, `retag`, `hold_race`,
    `end_early` and `withdraw_note`. Other threads may call the others, and read all attributes;
    `stopped` and `tags` are views that grow, so they copy these before a loop.

    Args:
        plan: The plan of the sweep.
        stopped: Why runs were stopped in earlier executions, by training key.
        tags: The tags that trials had in earlier executions, by trial key.

    Attributes:
        plan: The plan of the sweep.
        owner: The thread that drives the sweep.
        threads: Other threads of the driver.
    """

    def __init__(
        self,
        plan: Plan,
        *,
        stopped: Mapping[str, str] | None = None,
        tags: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.plan = plan
        self.owner = threading.current_thread()
        self.threads = Threads()
        self._runs: tuple[PlannedRun, ...] = ()
        self._places: dict[str, int] = {}  # of each run, by its training key
        self._earlier = EarlierRuns()
        self._stopped = dict(stopped or {})
        self._tags: dict[str, Mapping[str, str]] = dict(tags or {})
        self._outcomes: dict[RunSpec, Result | Failure] = {}  # no folder is read again for one
        self._why_partial = self._fault = ""
        self._race: Race | None = None
        self._notes: tuple[str, ...] = ()
        self._writing = threading.Lock()

    @classmethod
    def of(cls, plan: Plan, configs: Iterable[TrialConfig]) -> SweepState:
        """Return the state of a sweep that begins with some trials; see `add_trials`."""
        state = cls(plan)
        # The longest first, so that the last slot to finish idles the others least.
        state.add_trials(sorted(configs, key=lambda config: not config.has_adversary))
        return state

    @property
    def runs(self) -> tuple[PlannedRun, ...]:
        """The training runs, in the order in which to train."""
        return self._runs

    @property
    def trials(self) -> list[Trial]:
        """All trials that this command asks for, by training run."""
        return [trial for run in self._runs for trial in run.trials]

    @property
    def earlier(self) -> EarlierRuns:
        """What earlier commands asked for and this one does not."""
        return self._earlier

    @property
    def known_runs(self) -> tuple[PlannedRun, ...]:
        """All runs that the answer is made of: this command's, and those of earlier ones."""
        return (*self._runs, *self._earlier.runs)

    @property
    def known_trials(self) -> list[Trial]:
        """All trials that the answer is made of, by training run."""
        return [trial for run in self.known_runs for trial in run.trials]

    @property
    def stopped(self) -> Mapping[str, str]:
        """Why the sweep wants no more of a run that has no outcome, by training key."""
        return MappingProxyType(self._stopped)

    @property
    def tags(self) -> Mapping[str, Mapping[str, str]]:
        """What the record is to say of a trial besides, by trial key."""
        return MappingProxyType(self._tags)

    @property
    def race(self) -> Race | None:
        """The race that gives the settings their seeds, with all earlier ones; or None."""
        return self._race

    @property
    def why_partial(self) -> str:
        """What ended the sweep before all of it was done, empty if nothing did."""
        return self._why_partial

    @property
    def fault(self) -> str:
        """What the machine refused first, to be mended before the sweep is resumed; or empty."""
        return self._fault

    @property
    def notes(self) -> list[str]:
        """What a person at the screen is to be told besides, one line each."""
        return list(self._notes)

    def outcome(self, run: PlannedRun) -> Result | Failure | None:
        """Return the outcome that the run's folder holds, None if the run is to be trained.

        An outcome stays: once there, its folder is not read again.
        """
        return self._outcome(run.spec)

    def pending(self) -> list[PlannedRun]:
        """Return the runs that this command still has to train."""
        return [run for run in self._runs if self._is_open(run)]

    def left(self) -> list[PlannedRun]:
        """Return the runs that keep the answer from being whole, also those of earlier commands.

        Each training run comes once.
        """
        return self.left_of(self.known_runs)

    def left_of(self, runs: Iterable[PlannedRun]) -> list[PlannedRun]:
        """Return those of some runs that are to be trained, now or later, each training once."""
        found: dict[str, PlannedRun] = {}
        for run in runs:
            if self._is_open(run):
                found.setdefault(run.spec.training_key, run)
        return list(found.values())

    def parts_of(self, run: PlannedRun) -> tuple[PlannedRun, ...]:
        """Return a run, then those with its training key whose trials earlier commands asked for.

        Once the run is trained again for one more readout, their numbers come from it, too.
        """
        others = self._earlier.by_key.get(run.spec.training_key, ())
        return (run, *(other for other in others if other is not run))

    def add_trials(self, configs: Iterable[TrialConfig]) -> list[PlannedRun]:
        """Take in trials and return the training runs that answer them, in the order given.

        Trials that differ only in their readout share a run, also with trials taken in before; a
        run that lacks a readout is trained again with the ones it has besides: all numbers of a
        run folder come from one trajectory. A trial that stands twice counts once.
        """
        from trainable.training.numerics import with_precision

        self._check_owner()
        plan = self.plan
        merged: dict[str, dict[str, Trial]] = {}
        for config in configs:
            canonical = with_precision(config, plan.auto_precision).canonical()
            key = training_key(canonical, plan.data.fingerprint)
            own = trial_key_in(key, canonical.readout)
            trial = Trial(config=canonical, training_key=key, trial_key=own, asked=config)
            merged.setdefault(key, {})[own] = trial
        runs = list(self._runs)
        answering = [self._merge(key, trials, runs) for key, trials in merged.items()]
        self._runs = tuple(runs)
        return answering

    def add_runs(self, runs: Iterable[PlannedRun]) -> None:
        """Take in runs as they are, such as those of an earlier sweep, and merge nothing."""
        self._check_owner()
        self._runs = (*self._runs, *runs)

    def add_earlier(self, earlier: EarlierRuns) -> None:
        """Take in what earlier commands asked for, less what this one asks for, now or later."""
        self._check_owner()
        for run in self._runs:
            if run.spec.training_key in earlier.by_key:
                asked = {trial.trial_key for trial in run.trials}
                earlier = earlier.without(run.spec.training_key, asked)
        self._earlier = earlier
        self._stopped = {**earlier.stopped, **self._stopped}
        self._tags = {**earlier.tags, **self._tags}

    def stop(self, training_key: str, why: str) -> None:
        """Want no more of a run that has no outcome."""
        self._check_owner()
        self._stopped[training_key] = why

    def tag(self, trial_key: str, **tags: str) -> None:
        """Have the record say something of a trial besides; what it says already stays."""
        self._check_owner()
        self._tags[trial_key] = {**tags, **self._tags.get(trial_key, {})}

    def retag(self, trial_key: str, **tags: str) -> None:
        """Have the record say this of a trial besides, and nothing of what it said before."""
        self._check_owner()
        self._tags[trial_key] = tags

    def hold_race(self, race: Race | None) -> None:
        """Say that seeds are given by a race, now or in an earlier execution."""
        self._check_owner()
        self._race = self._race if race is None else race.joined(self._race)

    def end_early(self, why: str) -> None:
        """Say what ends the sweep before all of it is done."""
        self._check_owner()
        self._why_partial = why

    def withdraw_note(self, note: str) -> None:
        """Tell a person no longer what turned out not to be so."""
        self._check_owner()
        with self._writing:
            self._notes = tuple(one for one in self._notes if one != note)

    def note(self, note: str) -> None:
        """Tell a person something besides, once."""
        with self._writing:
            if note not in self._notes:
                self._notes = (*self._notes, note)

    def machine_refused(self, fault: str) -> None:
        """Take in what the machine refused; of several the first counts."""
        with self._writing:
            self._fault = self._fault or fault

    def _check_owner(self) -> None:
        if (thread := threading.current_thread()) is not self.owner:
            raise RuntimeError(
                f"the state of a sweep must be changed by {self.owner.name}, which drives it, but "
                f"{thread.name} changes it"
            )

    def _outcome(self, spec: RunSpec) -> Result | Failure | None:
        if spec not in self._outcomes:
            found = outcome(RunFolder(self.plan.storage, spec.training_key), spec)
            if found is None:
                return None
            self._outcomes[spec] = found
            self._read_again_of_earlier(spec)
        return self._outcomes[spec]

    def _read_again_of_earlier(self, spec: RunSpec) -> None:
        """Forget what earlier trials had of a folder: this command's run may be trained anew."""
        others = [run.spec for run in self._earlier.by_key.get(spec.training_key, ())]
        if spec not in others:
            for other in others:
                self._outcomes.pop(other, None)

    def _is_open(self, run: PlannedRun) -> bool:
        return run.spec.training_key not in self._stopped and self.outcome(run) is None

    def _merge(self, key: str, trials: dict[str, Trial], runs: list[PlannedRun]) -> PlannedRun:
        place = self._places.get(key)
        known = {} if place is None else {t.trial_key: t for t in runs[place].trials}
        if place is not None and trials.keys() <= known.keys():
            return runs[place]
        if key in self._earlier.by_key:
            self._take_from_earlier(key, trials.keys())
        run = self._planned_run(tuple((known | trials).values()))
        if place is None:
            self._places[key] = len(runs)
            runs.append(run)
        else:
            runs[place] = run
        return run

    def _take_from_earlier(self, key: str, asked: Set[str]) -> None:
        """Ask for what an earlier command asked for: what it said of run and trials is gone."""
        if key in self._earlier.stopped:
            del self._stopped[key]
        for tagged in asked & self._earlier.tags.keys():
            del self._tags[tagged]
        self._earlier = self._earlier.without(key, asked)

    def _planned_run(self, trials: tuple[Trial, ...]) -> PlannedRun:
        plan = self.plan
        readouts = distinct_readouts(trial.config.readout for trial in trials)
        spec = RunSpec(
            config=trials[0].config,
            readouts=readouts,
            data_fingerprint=plan.data.fingerprint,
            training_key=trials[0].training_key,
            attempt=plan.attempt,
        )
        folder = RunFolder(plan.storage, spec.training_key)
        if folder.path.is_dir() and self._outcome(spec) is None:
            spec = with_known_readouts(spec, folder)
        return PlannedRun(spec=spec, trials=trials)
