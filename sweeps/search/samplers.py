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


def make_sampler(name: str, seed: int, number: int) -> BaseSampler:
    """Return the sampler for one suggestion.

    Args:
        name: One of SAMPLERS.
        seed: The seed of the search.
        number: The number of the suggestion, from 0.
    """
    own = _seed(seed, number)
    match name:
        case "tpe":
            # A running trial counts as a bad one, so that slots are not sent to the same place.
            return TPESampler(
                seed=own, multivariate=True, constant_liar=True, n_startup_trials=STARTUP
            )
        case "gp":
            return GPSampler(seed=own, n_startup_trials=STARTUP, warn_independent_sampling=False)
        case "cmaes":
            return CmaEsSampler(seed=own, warn_independent_sampling=False)
        case "qmc":
            # The scrambling is one for the whole sequence; the study counts the places in it.
            with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
                return QMCSampler(
                    seed=_seed(seed),
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


def check_sampler(name: str, distributions: Mapping[str, BaseDistribution]) -> None:
    """Refuse a sampler that cannot draw from a space.

    Args:
        name: One of SAMPLERS.
        distributions: The distribution of each param, by the name of its field.

    Raises:
        ConfigError: CMA-ES is to choose among names, or has fewer than two axes to vary.
    """
    if name != "cmaes":
        return
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


def check_scheduler(name: str, config: TrialConfig) -> None:
    """Refuse a scheduler that would have nothing to stop.

    Args:
        name: One of SCHEDULERS.
        config: The base config of the search.

    Raises:
        ConfigError: There is no validation before the last iteration.
    """
    if name != "none" and config.eval_every >= config.iterations:
        raise ConfigError(
            f"--scheduler {name} needs validations before the end, `eval_every < iterations`, but "
            f"got eval_every={config.eval_every}, iterations={config.iterations}; "
            "lower eval_every"
        )


def _seed(*entropy: int) -> int:
    """Return a seed that follows from some numbers and differs from that of other numbers."""
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])
