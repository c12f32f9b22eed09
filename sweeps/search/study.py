"""The working study of a search: in memory, and the same again when its events are done again.

Optuna's stores cannot bring back what a kill took: an ask under way stays RUNNING for ever, and a
scheduler's rungs are gone. So the truth is a list of events, and the study follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from sweeps.search.samplers import (
    BLIND_TO_PRUNED,
    KEEPING_STATE,
    FixedSampler,
    make_pruner,
    make_sampler,
)
from trainable.config.schema import ConfigError, TrialConfig

optuna.logging.set_verbosity(optuna.logging.ERROR)

# How an ask ends: with a value; stopped by the scheduler, or diverged, which a sampler is to keep
# away from as from a bad value; or without anything to learn from.
COMPLETE, PRUNED, FAIL = "COMPLETE", "PRUNED", "FAIL"


@dataclass(frozen=True, kw_only=True)
class Method:
    """How a search chooses.

    Attributes:
        sampler: One of `_samplers.SAMPLERS`.
        scheduler: One of `_samplers.SCHEDULERS`.
        seed: What all suggestions follow from.
    """

    sampler: str
    scheduler: str
    seed: int


class ReplayableStudy:
    """Asks Optuna for settings and tells it what became of them; the largest value is sought.

    Asks are numbered from 0, whatever earlier trials are given at the beginning.

    Args:
        method: How to choose.
        distributions: What to choose from, by name.
        config: Says how long training is, for the scheduler.
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

    def give(self, params: Mapping[str, Any], value: float) -> None:
        """Take in an earlier trial, before the first ask."""
        self._study.add_trial(
            optuna.trial.create_trial(
                value=value, params=dict(params), distributions=self.distributions
            )
        )

    def ask(self, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the next setting.

        Args:
            given: The setting, where the sampler is not to choose.
        """
        method = self.method
        self._study.sampler = (
            make_sampler(method.sampler, method.seed, self.asked)
            if given is None
            else FixedSampler(given)
        )
        self._trials.append(self._study.ask(self.distributions))
        params: dict[str, Any] = self._trials[-1].params
        return params

    def ask_again(self, params: Mapping[str, Any], *, was_given: bool) -> None:
        """Ask for what was asked for before a restart.

        A sampler that keeps a state in the study has to bring it there once more.

        Args:
            params: The setting that came.
            was_given: Whether no sampler chose it.

        Raises:
            ConfigError: The sampler suggests something else.
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
        """Take in a validation and return whether the scheduler wants no more of the ask."""
        trial = self._trials[number]
        trial.report(miou, iteration)
        return bool(trial.should_prune())

    def tell(self, number: int, state: str, value: float | None = None) -> None:
        """End an ask.

        A sampler that does not see pruned trials would go where they were again and again; for
        it, one counts as much as the worst complete one.

        Args:
            number: Of the ask.
            state: COMPLETE, PRUNED or FAIL.
            value: Of a complete one.
        """
        if state == COMPLETE:
            assert value is not None  # nosec B101  # cannot happen
            self._worst = value if self._worst is None else min(value, self._worst)
        elif state == PRUNED and self.method.sampler in BLIND_TO_PRUNED and self._worst is not None:
            state, value = COMPLETE, self._worst
        self._study.tell(self._trials[number], value, state=TrialState[state])
