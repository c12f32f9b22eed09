"""Optuna's samplers and pruners by the names that options use, made so that they repeat themselves.

A sampler is made anew for every suggestion, with a seed that follows from the search's seed and
the suggestion's number. So it holds nothing that a restart would have to bring back, and what it
suggests follows from the study alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    SuccessiveHalvingPruner,
)
from optuna.samplers import (
    BaseSampler,
    CmaEsSampler,
    GPSampler,
    QMCSampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import Study
from optuna.trial import FrozenTrial

from sweeps.search.method import OF_ALL_AXES
from sweeps.search.spaces.space import Space
from trainable.config.schema import ConfigError, TrialConfig, Value

STARTUP = 10  # suggestions at random before a model is made; Optuna's default
REDUCTION = 3  # one in three trains on past each rung; Hyperband paper, section 3.6


class FixedSampler(BaseSampler):
    """A sampler that suggests the params that it was given.

    Args:
        params: The params by name.
    """

    def __init__(self, params: Mapping[str, Value]) -> None:
        self.params = dict(params)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return no params, so that `sample_independent` is asked for each."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return no params, since the relative search space is empty."""
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Value:
        """Return the param that was given under this name."""
        return self.params[param_name]


def make_sampler(name: str, seed: int, number: int, *, conditional: bool = False) -> BaseSampler:
    """Return the sampler for one suggestion.

    Args:
        name: One of SAMPLERS.
        seed: The seed of the search.
        number: The number of the suggestion, from 0.
        conditional: Whether some axes are there only with certain values of others.
    """
    own = seed_of(seed, number)
    match name:
        case "tpe":
            # A running trial counts as a bad one, so that slots are not sent to the same place.
            # In a group are axes that are there together; of those in none, none would be modelled.
            with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
                return TPESampler(
                    seed=own,
                    multivariate=True,
                    group=conditional,
                    constant_liar=True,
                    n_startup_trials=STARTUP,
                )
        case "gp":
            return GPSampler(seed=own, n_startup_trials=STARTUP, warn_independent_sampling=False)
        case "cmaes":
            return CmaEsSampler(seed=own, warn_independent_sampling=False)
        case "qmc":
            # The scrambling is one for the whole sequence; the study counts the places in it.
            with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
                return QMCSampler(
                    seed=seed_of(seed),
                    scramble=True,
                    independent_sampler=RandomSampler(seed=own),
                    warn_independent_sampling=False,
                )
    return RandomSampler(seed=own)


def make_pruner(name: str, config: TrialConfig) -> BasePruner:
    """Return the pruner of a scheduler; its steps are training iterations.

    Args:
        name: One of SCHEDULERS.
        config: The base config: its `iterations` are the longest training, and its `eval_every`
            is the first step that is judged.
    """
    match name:
        case "asha":
            return SuccessiveHalvingPruner(
                min_resource=config.eval_every, reduction_factor=REDUCTION
            )
        case "hyperband":
            return HyperbandPruner(
                min_resource=config.eval_every,
                max_resource=config.iterations,
                reduction_factor=REDUCTION,
            )
        case "median":
            return MedianPruner(n_startup_trials=5)
    return NopPruner()


def check_sampler(name: str, space: Space, objectives: int = 1) -> None:
    """Refuse a sampler that cannot draw from a space.

    Args:
        name: One of SAMPLERS.
        space: The space.
        objectives: How many there are.

    Raises:
        ConfigError: It models all axes at once, and some are there only sometimes; or CMA-ES is to
            choose among names, has fewer than two axes to vary, or more than one objective.
    """
    for axis, found in space.suggested.items():
        if found.when and name in OF_ALL_AXES:
            raise ConfigError(
                f"--sampler {name} models all axes at once, but {axis} is there only when "
                f"{found.condition}; take tpe or random"
            )
    if name != "cmaes":
        return
    if objectives > 1:
        raise ConfigError(
            f"--sampler cmaes has one objective, but got {objectives}; take tpe, gp, qmc or random"
        )
    distributions = space.distributions()
    for axis, distribution in distributions.items():
        if isinstance(distribution, CategoricalDistribution):
            raise ConfigError(
                f"--sampler cmaes needs axes of numbers, but {axis} is a choice of names, "
                f"{list(distribution.choices)}; take tpe, gp, qmc or random"
            )
    wide = [axis for axis, distribution in distributions.items() if not distribution.single()]
    if len(wide) < 2:
        raise ConfigError(
            f"--sampler cmaes needs at least 2 axes to vary, but has {len(wide)}; "
            "take tpe, gp, qmc or random"
        )


def check_scheduler(name: str, config: TrialConfig, objectives: int = 1) -> None:
    """Refuse a scheduler that would have nothing to stop, or several things to judge by.

    Args:
        name: One of SCHEDULERS.
        config: The base config of the search.
        objectives: How many there are.

    Raises:
        ConfigError: There is no validation before the last iteration, or several objectives.
    """
    if name != "none" and objectives > 1:
        raise ConfigError(
            f"--scheduler {name} judges by one validation, but there are {objectives} objectives; "
            "leave --scheduler out"
        )
    if name != "none" and config.eval_every >= config.iterations:
        raise ConfigError(
            f"--scheduler {name} needs validations before the end, `eval_every < iterations`, but "
            f"got eval_every={config.eval_every}, iterations={config.iterations}; "
            "lower eval_every"
        )


def seed_of(*entropy: int) -> int:
    """Return a seed that follows from some numbers and differs from that of other numbers."""
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
