"""The space of a search: which config fields vary, and over what."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from trainable.config.schema import (
    DATA_FIELDS,
    DEFAULTS,
    EXECUTION_FIELDS,
    READOUT_FIELDS,
    ConfigError,
    TrialConfig,
    suggest,
)

READOUTS = ("exhaustive", "sampled")
# A study's seed is its own, and one sweep has one data set.
NEVER_SEARCHED = (*DATA_FIELDS, *EXECUTION_FIELDS, "seed", "weights_sha256")
MAX_CORNERS = 1024  # beyond ten axes, each axis alone


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both included.

    Attributes:
        low: The smallest.
        high: The largest.
        log: Whether equal factors, not equal steps, count as equally far.
        whole: Whether only whole numbers count.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def check(self, name: str) -> None:
        """Refuse a range that holds nothing, or that a log scale cannot show."""
        finite = math.isfinite(self.low) and math.isfinite(self.high)
        if not finite or self.low > self.high:
            raise ConfigError(
                f"`low <= high` must hold for {name}, but got {self.low} to {self.high}"
            )
        if self.log and self.low <= 0:
            raise ConfigError(
                f"`low > 0` must hold for {name} on a log scale, but got {self.low}; "
                "raise it, or leave `log` out"
            )
        if self.whole and (self.low != int(self.low) or self.high != int(self.high)):
            raise ConfigError(
                f"{name} must go from one whole number to another, "
                f"but got {self.low} to {self.high}"
            )

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values at which a config's own rules are tried."""
        return self.low, self.high

    @property
    def suggested(self) -> BaseDistribution:
        """What a sampler draws from."""
        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log)
        return FloatDistribution(self.low, self.high, log=self.log)

    @property
    def stored(self) -> BaseDistribution:
        """What the values lie in."""
        return self.suggested

    def contains(self, value: Any) -> bool:
        """Return whether a value lies in it."""
        return bool(self.low <= value <= self.high)

    def param(self, value: Any) -> Any:
        """Return what a sampler calls a value."""
        return value

    def value(self, param: Any) -> Any:
        """Return what a sampler means by a draw."""
        return param

    def in_words(self) -> str:
        """Return the range for a message."""
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Choice:
    """Some values. Numbers are suggested by their place in order, so that near ones are alike."""

    values: tuple[Any, ...]

    def check(self, name: str) -> None:
        """Refuse a choice of nothing, or of the same twice."""
        if not self.values:
            raise ConfigError(f"{name} must have at least one value, but has none; give some")
        if len(set(self.values)) < len(self.values):
            raise ConfigError(f"{name} must have each value once, but got {list(self.values)}")

    @property
    def is_ordered(self) -> bool:
        """Whether the values are numbers."""
        return all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in self.values
        )

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values at which a config's own rules are tried."""
        return self.values

    @property
    def suggested(self) -> BaseDistribution:
        """What a sampler draws from."""
        if self.is_ordered:
            return IntDistribution(0, len(self.values) - 1)
        return CategoricalDistribution(self.values)

    @property
    def stored(self) -> BaseDistribution:
        """What the values lie in."""
        return CategoricalDistribution(self.values)

    def contains(self, value: Any) -> bool:
        """Return whether a value lies in it."""
        return value in self.values

    def param(self, value: Any) -> Any:
        """Return what a sampler calls a value."""
        return sorted(self.values).index(value) if self.is_ordered else value

    def value(self, param: Any) -> Any:
        """Return what a sampler means by a draw."""
        return sorted(self.values)[param] if self.is_ordered else param

    def in_words(self) -> str:
        """Return the values for a message."""
        return f"one of {', '.join(map(str, self.values))}"


Axis = Range | Choice


@dataclass(frozen=True, kw_only=True)
class Space:
    """What a search varies.

    Attributes:
        axes: By config field. A readout's are choices: every training run carries all of them.
        readouts: How readouts are treated, one of READOUTS: `exhaustive` values a training run by
            its best readout, so that a setting of the training weighs once however many readouts
            it has; `sampled` suggests a readout, too, and values that one.
    """

    axes: Mapping[str, Axis]
    readouts: str = "exhaustive"

    def check(self, base: TrialConfig) -> None:
        """Refuse what is no space, or what leads out of a config's bounds.

        Raises:
            ConfigError: A field is not known or not searched, an axis is empty, or a config at a
                corner of the space breaks a rule.
        """
        for name, axis in self.axes.items():
            if name not in DEFAULTS:
                raise ConfigError(f"unknown axis {name!r}; {suggest(name, DEFAULTS)}")
            if name in NEVER_SEARCHED:
                raise ConfigError(f"{name} cannot be searched; set it with --set, or as a sweep")
            axis.check(name)
            if name in READOUT_FIELDS and not isinstance(axis, Choice):
                raise ConfigError(
                    f"{name} must be a list of values, since a training run carries each of them, "
                    f"but is the range {axis.in_words()}; give a list"
                )
        if not self.training:
            raise ConfigError(
                "a search must vary what is trained, but its axes are readouts alone, "
                f"{', '.join(self.axes) or 'none'}; sweeps/swa_grid.py answers them all"
            )
        self._check_corners(base)

    def _check_corners(self, base: TrialConfig) -> None:
        names = list(self.axes)
        ends = [self.axes[name].ends for name in names]
        corners = [dict(zip(names, corner, strict=True)) for corner in _corners(names, ends)]
        for corner in corners:
            try:
                dataclasses.replace(base, **corner)
            except ConfigError as error:
                at = ", ".join(f"{name}={value}" for name, value in corner.items())
                raise ConfigError(f"the space leads out of bounds at {at}: {error}") from error

    @property
    def training(self) -> dict[str, Axis]:
        """The axes that change the weights."""
        return {k: axis for k, axis in self.axes.items() if k not in READOUT_FIELDS}

    @property
    def suggested(self) -> dict[str, Axis]:
        """The axes that a sampler draws on."""
        return dict(self.axes) if self.readouts == "sampled" else self.training

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return what a sampler draws from, by field."""
        return {name: axis.suggested for name, axis in self.suggested.items()}

    def params(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return what a sampler calls the values of a setting; others are left out."""
        return {name: axis.param(values[name]) for name, axis in self.suggested.items()}

    def values(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of a setting that a sampler suggests."""
        return {name: self.axes[name].value(param) for name, param in params.items()}

    def siblings(self, base: TrialConfig, values: Mapping[str, Any]) -> list[TrialConfig]:
        """Return the trials of the training run that a setting belongs to: one per readout."""
        training = {name: values[name] for name in self.training}
        grid = {k: axis.ends for k, axis in self.axes.items() if k in READOUT_FIELDS}
        return [
            dataclasses.replace(base, **training, **dict(zip(grid, readout, strict=True)))
            for readout in itertools.product(*grid.values())
        ]

    def training_grid(self) -> list[dict[str, Any]]:
        """Return every setting of the training, where all of its axes are choices."""
        ends = [axis.ends for axis in self.training.values()]
        return [dict(zip(self.training, point, strict=True)) for point in itertools.product(*ends)]

    def describe(self) -> dict[str, Any]:
        """Return the space in primitives, in the order of its axes."""
        return {
            name: {"kind": type(axis).__name__.lower()} | dataclasses.asdict(axis)
            for name, axis in self.axes.items()
        }


def _corners(names: list[str], ends: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    if math.prod(len(values) for values in ends) <= MAX_CORNERS:
        return list(itertools.product(*ends))
    first = [values[0] for values in ends]
    return [
        (*first[:place], value, *first[place + 1 :])
        for place in range(len(names))
        for value in ends[place]
    ]
