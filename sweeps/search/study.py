"""The working study of a search, in memory: replaying the same events makes the same study again.

Optuna's stores cannot bring back what a kill took: a trial under way stays RUNNING for ever, and a
scheduler's rungs are gone. So the truth is a list of events, and the study follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from sweeps.search.method import BLIND_TO_PRUNED, KEEPING_STATE, Method
from sweeps.search.samplers import FixedSampler, make_pruner, make_sampler
from trainable.config.schema import ConfigError, TrialConfig, Value

optuna.logging.set_verbosity(optuna.logging.ERROR)

# How a suggestion ends: with a value; stopped by the scheduler, or diverged, which a sampler is to
# keep away from as from a bad value; or without anything to learn from.
COMPLETE, PRUNED, FAIL = "COMPLETE", "PRUNED", "FAIL"


class ReplayableStudy:
    """A study that asks Optuna for settings and tells it their values; the largest is sought.

    Suggestions are numbered from 0, whatever earlier trials are given at the beginning.

    Args:
        method: The sampler, the scheduler and the seed.
        distributions: The distribution of each param, by the name of its field.
        config: The base config, from which the scheduler learns how long training is.
    """

    def __init__(
        self,
        method: Method,
        distributions: Mapping[str, BaseDistribution],
        config: TrialConfig,
    ) -> None:
        self.method = method
        self.distributions = dict(distributions)
        # Hyperband chooses a trial's bracket by its number and the study's name.
        self._study = optuna.create_study(
            study_name="search",
            direction="maximize",
            sampler=FixedSampler({}),
            pruner=make_pruner(method.scheduler, config),
        )
        self._trials: list[optuna.Trial] = []
        self._worst: float | None = None

    @property
    def asked(self) -> int:
        """How many settings were asked for."""
        return len(self._trials)

    def give(self, params: Mapping[str, Value], value: float) -> None:
        """Add a trial that ended before the search began; the first `ask` comes later.

        Args:
            params: The trial's params, by the name of the field.
            value: The trial's value, a mIoU from 0 to 1.
        """
        self._study.add_trial(
            optuna.trial.create_trial(
                value=value, params=dict(params), distributions=self.distributions
            )
        )

    def ask(self, given: Mapping[str, Value] | None = None) -> dict[str, Value]:
        """Return the params of the next setting.

        Args:
            given: The params of the setting, or None to let the sampler choose.
        """
        method = self.method
        self._study.sampler = (
            make_sampler(method.sampler, method.seed, self.asked)
            if given is None
            else FixedSampler(given)
        )
        self._trials.append(self._study.ask(self.distributions))
        params: dict[str, Value] = self._trials[-1].params
        return params

    def ask_again(self, params: Mapping[str, Value], *, was_given: bool) -> None:
        """Repeat an `ask` of before a restart.

        A sampler that keeps a state in the study is asked again, so that the state is there again.

        Args:
            params: The params that the `ask` returned.
            was_given: Whether they were given, so that no sampler chose them.

        Raises:
            ConfigError: The sampler suggests other params than before.
        """
        if was_given or self.method.sampler not in KEEPING_STATE:
            self.ask(params)
            return
        number = self.asked
        again = self.ask()
        if again != params:
            raise ConfigError(
                f"ask {number} must suggest {dict(params)} once more, but {self.method.sampler} "
                f"of Optuna {optuna.__version__} suggests {again}; install the version that began "
                "the search, or begin another with --no-reuse"
            )

    def report(self, number: int, iteration: int, miou: float) -> bool:
        """Report a validation to the scheduler; return whether the run is to be stopped."""
        trial = self._trials[number]
        trial.report(miou, iteration)
        return bool(trial.should_prune())

    def tell(self, number: int, state: str, value: float | None = None) -> None:
        """Tell how a suggestion ended.

        A sampler that does not see pruned trials would suggest their settings again and again; for
        it, a pruned trial counts as much as the worst complete one.

        Args:
            number: The suggestion's number, from 0.
            state: COMPLETE, PRUNED or FAIL.
            value: The value of a complete one, a mIoU from 0 to 1; None for the others.
        """
        if state == COMPLETE:
            assert value is not None  # nosec B101  # cannot happen
            self._worst = value if self._worst is None else min(value, self._worst)
        elif state == PRUNED and self.method.sampler in BLIND_TO_PRUNED and self._worst is not None:
            state, value = COMPLETE, self._worst
        self._study.tell(self._trials[number], value, state=TrialState[state])
