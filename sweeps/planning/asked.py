"""What was asked of a trial, as it was set, and where what is trained differs from that.

A config has sixty fields. Who compares trials wants to see those that somebody set: in a preset, a
file, an option or a script.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from sweeps.planning.plan import Plan, Trial
from trainable.config.schema import (
    ADVERSARY_FIELDS,
    DEFAULTS,
    EXECUTION_FIELDS,
    TrialConfig,
    Value,
)

EFFECTIVE = "effective/"  # begins the names of tags that say what is trained


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked of a sweep and its trials; fields of execution are no part of it.

    Attributes:
        plan: The plan of the sweep.
        given: The fields that were set for all trials, as they were set.
    """

    plan: Plan
    given: Mapping[str, Value]

    def of_sweep(self) -> dict[str, Value]:
        """Return the fields that were set for all trials, without axes and seed."""
        own = (*self.plan.axes, "seed", *EXECUTION_FIELDS)
        return {name: value for name, value in self.given.items() if name not in own}

    def of(self, trial: Trial) -> dict[str, Value]:
        """Return the fields that were set for a trial: those of all, and its own."""
        asked = _values(trial.asked or trial.config)
        base, axes = _values(self.plan.base), (*self.plan.axes, "seed")
        own = {name: x for name, x in asked.items() if name in axes or x != base[name]}
        return self.of_sweep() | own

    def effective(self, trial: Trial) -> dict[str, str]:
        """Return as tags what is trained where it is not what was asked.

        What only a discriminator reads is left out: without one, its value means nothing.
        """
        trained = _values(trial.config)
        asked = {"adversarial": (trial.asked or trial.config).adversarial} | self.of(trial)
        return {
            f"{EFFECTIVE}{name}": str(trained[name])
            for name, value in asked.items()
            if name not in ADVERSARY_FIELDS and trained[name] != value
        }


def given_of(base: TrialConfig) -> dict[str, Value]:
    """Return what somebody must have set of a config, where nothing else tells: no default."""
    return {name: value for name, value in _values(base).items() if value != DEFAULTS[name]}


def _values(config: TrialConfig) -> dict[str, Value]:
    values = dataclasses.asdict(config).items()
    return {name: value for name, value in values if name not in EXECUTION_FIELDS}
