"""Seeds where they matter: more of them only for settings that noise does not tell from the best.

A race has rounds. When every run of a round has ended, the best setting and those that are not
distinguishable from it get one seed more, until the best stands apart or a limit is reached. Each
look at the numbers has a level of its own, so that what is said holds whenever the race stops: see
`analysis.inference.sequential`. What is decided follows from the run folders alone, so a restart
decides the same again.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace

from analysis.inference.planning import POWER, seeds_for
from analysis.inference.sequential import looks_of
from analysis.record.schema import Race
from analysis.stats.rounding import fixed
from sweeps.planning.plan import PlannedRun
from sweeps.planning.ranking import rank_settings
from sweeps.planning.state import SweepState
from trainable.config.schema import ConfigError, TrialConfig
from trainable.runs.keys import key_of, readout_key


class AdaptiveSeeds:
    """A source that trains the first seeds of all settings, then more of the contenders.

    Settings that differ only in their readout share their training runs: a seed serves them all.
    The race is among the settings that this command asks for.

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
        race = self._checked_race()
        self._looks = looks_of(race)
        state.hold_race(race)
        self._left = deque(state.pending())
        self._under_way: set[str] = set()
        self._over = self._cut_off = False
        self._begin_rounds()

    def _checked_race(self) -> Race:
        first = len(next(iter(self._seeds.values())))
        if not 2 <= first <= self._limit:
            raise ConfigError(
                "`2 <= --seeds <= --race-limit` must hold for a race, but got "
                f"--seeds {first}, --race-limit {self._limit}"
            )
        last = self._state.plan.base.seed + self._limit - 1
        replace(self._state.plan.base, seed=last)  # refuses what is no seed
        return Race(first=first, limit=self._limit)

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
        """Return how many seeds the settings got, and what that saved at the same power."""
        counts = [len(seeds) for seeds in self._seeds.values()]
        trained = sum(counts)
        line = f"race: {min(counts)} to {max(counts)} seeds a setting, {trained} training runs"
        fixed_number = self._fixed_number()
        if fixed_number is None:
            return line
        seeds, difference = fixed_number
        saved = len(counts) * seeds - trained
        compared = f"{abs(saved)} {'fewer' if saved >= 0 else 'more'}"
        return (
            f"{line}: {compared} than with {seeds} seeds for every setting, which would show as "
            f"small a difference to the best ({fixed(100 * difference, 1)} points, power {POWER:g})"
        )

    def _fixed_number(self) -> tuple[int, float] | None:
        """Return how many seeds for all find what the race can, and that smallest difference.

        It is that of the setting which is nearest to the best of those with most seeds.
        """
        ranking = rank_settings(self._state, self._state.runs)
        gains = [] if ranking is None else [*ranking.gains.values()]
        closest = max(gains, key=lambda gain: (gain.n, gain.difference), default=None)
        if ranking is None or closest is None or not math.isfinite(closest.smallest_found):
            return None
        seeds = seeds_for(
            closest.smallest_found,
            len(ranking.order),
            closest.error * math.sqrt(closest.n / 2),
            contenders=len(ranking.contenders),
        )
        return None if seeds is None else (seeds, closest.smallest_found)

    def _begin_rounds(self) -> None:
        """Add rounds until one has a run to be trained, or the race is over."""
        while not (self._left or self._under_way or self.exhausted):
            runs = self._state.add_trials(self._next_seeds())
            self._left.extend(run for run in runs if self._state.outcome(run) is None)
            self._over = not runs

    def _next_seeds(self) -> list[TrialConfig]:
        """Return the trials of the next round, if the best has a contender and a look is left.

        A setting that may be the best after all catches up with the others.
        """
        done = max(len(seeds) for seeds in self._seeds.values())
        wanted = next((look for look in self._looks if look > done), None)
        # A restart knows of later seeds, too; a look is at those of the rounds so far.
        ranking = rank_settings(self._state, self._state.runs)
        if wanted is None or ranking is None or len(ranking.contenders) < 2:
            return []
        contended = {_family(setting.config) for setting in ranking.contenders}
        trials = []
        for family, seeds in self._seeds.items():
            if family in contended:
                more = range(max(seeds) + 1, max(seeds) + 1 + wanted - len(seeds))
                seeds.update(more)
                configs = self._readouts[family].values()
                trials += [replace(config, seed=seed) for seed in more for config in configs]
        return trials


def _family(config: TrialConfig) -> str:
    """Return what settings have in common that share their training runs."""
    identity = config.training_identity()
    return key_of({name: value for name, value in identity.items() if name != "seed"})
