"""Seeds where they matter: more of them only for settings that noise does not tell from the best.

A race has rounds. When every run of a round has ended, the best setting and those whose 95 %
intervals reach up to its own get one seed more, until the best stands apart or a limit is reached.
What is decided follows from the run folders alone, so a restart decides the same again.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Sequence

from analysis.stats.ranking import best_of
from sweeps.planning.plan import PlannedRun
from sweeps.planning.ranking import Setting, settings_of
from sweeps.planning.state import SweepState
from trainable.config.schema import ConfigError, TrialConfig
from trainable.runs.keys import key_of, readout_key


class AdaptiveSeeds:
    """A source that trains the first seeds of all settings, then more of the contenders.

    Settings that differ only in their readout share their training runs: a seed serves them all.

    Args:
        state: The state of the sweep, with the first seeds of every setting.
        limit: How many seeds a setting may get.

    Raises:
        ConfigError: There are fewer than two first seeds, or more than the limit.
    """

    def __init__(self, state: SweepState, limit: int) -> None:
        self._state = state
        self._limit = limit
        # By what is trained, whatever the seed: a trial per readout, and the seeds so far.
        self._readouts: dict[str, dict[str, TrialConfig]] = {}
        self._seeds: dict[str, set[int]] = {}
        for trial in state.trials:
            family = _family(trial.config)
            key = readout_key(trial.config.readout)
            self._readouts.setdefault(family, {}).setdefault(key, trial.config)
            self._seeds.setdefault(family, set()).add(trial.config.seed)
        self._check()
        self._left = deque(state.pending())
        self._under_way: set[str] = set()
        self._over = self._cut_off = False
        self._begin_rounds()

    def _check(self) -> None:
        first = len(next(iter(self._seeds.values())))
        if not 2 <= first <= self._limit:
            raise ConfigError(
                "`2 <= --seeds <= --race-limit` must hold for a race, but got "
                f"--seeds {first}, --race-limit {self._limit}"
            )
        last = self._state.plan.base.seed + self._limit - 1
        dataclasses.replace(self._state.plan.base, seed=last)  # refuses what is no seed

    @property
    def exhausted(self) -> bool:
        """Whether the race is decided, its limit reached, or a run of it cut off."""
        return self._over or self._cut_off

    def suggest(self) -> PlannedRun | None:
        """Return the next run of the round, or None while its last runs are under way."""
        if self._cut_off or not self._left:
            return None
        run = self._left.popleft()
        self._under_way.add(run.spec.training_key)
        return run

    def on_result(self, run: PlannedRun, iteration: int, miou: float) -> bool:
        """Return False: no run is stopped early, since a setting needs the numbers of each seed."""
        return False

    def on_complete(self, run: PlannedRun, cause: str | None) -> None:
        """Begin the next round if this was the last run of the present one.

        A run that a budget cut off has no outcome: nothing is decided without it.
        """
        self._under_way.discard(run.spec.training_key)
        self._cut_off = self._cut_off or (cause is None and self._state.outcome(run) is None)
        self._begin_rounds()

    def describe(self) -> str:
        """Return how many seeds the settings got, and what that saved."""
        counts = [len(seeds) for seeds in self._seeds.values()]
        most, trained = max(counts), sum(counts)
        saved = len(counts) * most - trained
        return (
            f"race: {min(counts)} to {most} seeds a setting, {trained} training runs: {saved} "
            f"fewer than {most} seeds for every setting"
        )

    def _begin_rounds(self) -> None:
        """Add rounds until one has a run to be trained, or the race is over."""
        while not (self._left or self._under_way or self.exhausted):
            runs = self._state.add_trials(self._next_seeds())
            self._left.extend(run for run in runs if self._state.outcome(run) is None)
            self._over = not runs

    def _next_seeds(self) -> list[TrialConfig]:
        """Return the trials of one seed more for the contenders, if the best has any beside it."""
        settings = settings_of(self._state)
        contenders = self._contenders(settings)
        if len(contenders) < 2:
            return []
        contended = {_family(setting.config) for setting in contenders}
        trials = []
        for family, seeds in self._seeds.items():
            if family in contended and len(seeds) < self._limit:
                seed = max(seeds) + 1
                seeds.add(seed)
                configs = self._readouts[family].values()
                trials += [dataclasses.replace(config, seed=seed) for config in configs]
        return trials

    def _contenders(self, settings: Sequence[Setting]) -> list[Setting]:
        """Return the best of the settings that were given most seeds, and all that it may not beat.

        It beats a setting whose 95 % interval ends where its own has not begun; a single seed has
        no interval.
        """
        seeds = {setting: len(self._seeds[_family(setting.config)]) for setting in settings}
        most = max(seeds.values(), default=0)
        leading = {setting: setting.by_seed() for setting in settings if seeds[setting] == most}
        if not leading:
            return []
        low = best_of(leading).interval().low
        return [setting for setting in settings if not setting.interval().high < low]


def _family(config: TrialConfig) -> str:
    """Return what settings have in common that share their training runs."""
    identity = config.training_identity()
    return key_of({name: value for name, value in identity.items() if name != "seed"})
