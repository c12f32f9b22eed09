"""The working study of a search, in memory: replaying the same events makes the same study again.

Optuna's stores cannot bring back what a kill took: a trial under way stays RUNNING for ever, and a
scheduler's rungs are gone. So the truth is a list of events, and the study follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from analysis.record.schema import OBJECTIVE, is_cost
from sweeps.search.method import BLIND_TO_PRUNED, KEEPING_STATE, Method
from sweeps.search.samplers import FixedSampler, make_pruner, make_sampler
from sweeps.search.spaces.space import Space
from trainable.config.schema import ConfigError, TrialConfig, Value

optuna.logging.set_verbosity(optuna.logging.ERROR)

# How a suggestion ends: with a value; stopped by the scheduler, or diverged, which a sampler is to
# keep away from as from a bad value; or without anything to learn from.
COMPLETE, PRUNED, FAIL = "COMPLETE", "PRUNED", "FAIL"


class ReplayableStudy:
    """A study that asks Optuna for settings and tells it their values.

    Suggestions are numbered from 0, whatever earlier trials are given at the beginning.

    Args:
        method: The sampler, the scheduler and the seed.
        space: The space, whose axes are asked for in their order.
        config: The base config, from which the scheduler learns how long training is.
        objectives: What the values of a trial are, by their recorded names.
    """

    def __init__(
        self,
        method: Method,
        space: Space,
        config: TrialConfig,
        objectives: Sequence[str] = (OBJECTIVE,),
    ) -> None:
        self.method = method
        self.space = space
        # Hyperband chooses a trial's bracket by its number and the study's name.
        self._study = optuna.create_study(
            study_name="search",
            directions=directions_of(objectives),
            sampler=FixedSampler({}),
            pruner=make_pruner(method.scheduler, config),
        )
        self._trials: list[optuna.Trial] = []
        self._complete: list[Sequence[float]] = []

    @property
    def asked(self) -> int:
        """How many settings were asked for."""
        return len(self._trials)

    def give(self, params: Mapping[str, Value], values: Sequence[float]) -> None:
        """Add a trial that ended before the search began; the first `ask` comes later.

        Args:
            params: The trial's params, by the name of the field.
            values: The trial's values, one per objective.
        """
        distributions = self.space.distributions()
        self._study.add_trial(
            optuna.trial.create_trial(
                values=list(values),
                params=dict(params),
                distributions={name: distributions[name] for name in params},
            )
        )

    def ask(self, given: Mapping[str, Value] | None = None) -> dict[str, Value]:
        """Return the params of the next setting.

        Args:
            given: The params of the setting, or None to let the sampler choose.
        """
        method, conditional = self.method, self.space.has_conditions
        self._study.sampler = (
            make_sampler(method.sampler, method.seed, self.asked, conditional=conditional)
            if given is None
            else FixedSampler(given)
        )
        trial = self._study.ask()
        self._trials.append(trial)
        params: dict[str, Value] = {}
        for name, distribution in self.space.distributions().items():
            if self.space.is_active(name, self.space.values(params)):
                params[name] = _suggested(trial, name, distribution)
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
        # TPE notes of a running trial what it drew for axes that are not there, too.
        keeping = KEEPING_STATE if not self.space.has_conditions else (*KEEPING_STATE, "tpe")
        if was_given or self.method.sampler not in keeping:
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
        if len(self._study.directions) > 1:
            return False  # Optuna takes no validations of several objectives
        trial.report(miou, iteration)
        return bool(trial.should_prune())

    def tell(self, number: int, state: str, values: Sequence[float] | None = None) -> None:
        """Tell how a suggestion ended.

        A sampler that does not see pruned trials would suggest their settings again and again; for
        it, a pruned trial counts as much as the worst of each value so far.

        Args:
            number: The suggestion's number, from 0.
            state: COMPLETE, PRUNED or FAIL.
            values: The values of a complete one, one per objective; None for the others.
        """
        if state == COMPLETE:
            assert values is not None  # nosec B101  # cannot happen
            self._complete.append(values)
        elif state == PRUNED and self.method.sampler in BLIND_TO_PRUNED and self._complete:
            state, values = COMPLETE, self._worst
        told = None if values is None else list(values)
        self._study.tell(self._trials[number], told, state=TrialState[state])

    @property
    def complete(self) -> Sequence[FrozenTrial]:
        """The trials that have values, earlier ones that were given among them."""
        return self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])

    @property
    def _worst(self) -> list[float]:
        """The worst of each value so far."""
        worst = {StudyDirection.MAXIMIZE: min, StudyDirection.MINIMIZE: max}
        by_objective = zip(self._study.directions, zip(*self._complete, strict=True), strict=True)
        return [worst[direction](values) for direction, values in by_objective]


def directions_of(objectives: Sequence[str]) -> list[StudyDirection]:
    """Return whether each objective is to be made large or small."""
    small, large = StudyDirection.MINIMIZE, StudyDirection.MAXIMIZE
    return [small if is_cost(name) else large for name in objectives]


def _suggested(trial: optuna.Trial, name: str, distribution: BaseDistribution) -> Value:
    """Return the param that the trial's sampler draws."""
    match distribution:
        case IntDistribution(low=low, high=high, step=step, log=log):
            return trial.suggest_int(name, low, high, step=step, log=log)
        case FloatDistribution(low=low, high=high, log=log):
            return trial.suggest_float(name, low, high, log=log)
        case CategoricalDistribution(choices=choices):
            return cast("Value", trial.suggest_categorical(name, choices))
    raise TypeError(f"no axis has a {type(distribution).__name__}")
