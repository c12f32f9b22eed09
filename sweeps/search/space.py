"""The space of a search: which fields of the config vary, and over which values."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainable.config.schema import (
    DATA_FIELDS,
    DEFAULTS,
    EXECUTION_FIELDS,
    READOUT_FIELDS,
    ConfigError,
    TrialConfig,
    Value,
    suggest,
)

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

READOUTS = ("exhaustive", "sampled")
# A study's seed is its own, and one sweep has one data set.
NEVER_SEARCHED = (*DATA_FIELDS, *EXECUTION_FIELDS, "seed", "weights_sha256")
MAX_CORNERS = 1024  # beyond ten axes, each axis alone


@dataclass(frozen=True)
class Range:
    """An axis of numbers from `low` to `high`, both included.

    Attributes:
        low: The smallest number.
        high: The largest number.
        log: Whether numbers are drawn evenly on a logarithmic scale.
        whole: Whether only whole numbers are drawn.
        step: How far one whole number is from the next.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False
    step: int = 1

    def check(self, name: str) -> None:
        """Refuse a range without numbers in it, or one that a log scale cannot show.

        Args:
            name: The field that the range is for, as the message calls it.

        Raises:
            ConfigError: The range is refused.
        """
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
        if self.step != 1:
            self._check_step(name)

    def _check_step(self, name: str) -> None:
        if not self.whole or self.log:
            raise ConfigError(
                f"{name} must have whole numbers, on no log scale, to go by steps; leave `step` out"
            )
        if self.step < 1 or (self.high - self.low) % self.step:
            raise ConfigError(
                f"{name} must go from {self.low:g} to {self.high:g} in equal steps, but got "
                f"step={self.step}"
            )

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values with which the rules of the config are tried."""
        return self.low, self.high

    @property
    def suggested(self) -> BaseDistribution:
        """The distribution that a sampler draws a param from."""
        from optuna.distributions import FloatDistribution, IntDistribution

        if self.whole:
            return IntDistribution(int(self.low), int(self.high), log=self.log, step=self.step)
        return FloatDistribution(self.low, self.high, log=self.log)

    @property
    def stored(self) -> BaseDistribution:
        """The distribution that a stored study gives for the values."""
        return self.suggested

    def contains(self, value: Value) -> bool:
        """Return whether a value is a number within the range, and on a step of it."""
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        return self.step == 1 or (value - self.low) % self.step == 0

    def param(self, value: Value) -> Value:
        """Return the sampler's param for a value of the field: the same number."""
        return value

    def value(self, param: Value) -> Value:
        """Return the value of the field for a sampler's param: the same number."""
        return param

    def describe(self) -> str:
        """Return the range as a message words it."""
        by = "" if self.step == 1 else f" by {self.step}"
        return f"{self.low:g} to {self.high:g}{by}"


def log_range(low: float, high: float) -> Range:
    """Return an axis of numbers that are drawn evenly on a logarithmic scale.

    Args:
        low: The smallest number, above 0.
        high: The largest number.
    """
    return Range(low, high, log=True)


@dataclass(frozen=True)
class Choice:
    """An axis of a few values.

    A sampler draws a number by its place among the sorted ones, so that near numbers count as
    alike.

    Attributes:
        values: The values, in the order given.
    """

    values: tuple[Value, ...]

    def check(self, name: str) -> None:
        """Refuse a choice without values, or with one of them twice.

        Args:
            name: The field that the choice is for, as the message calls it.

        Raises:
            ConfigError: The choice is refused.
        """
        if not self.values:
            raise ConfigError(f"{name} must have at least one value, but has none; give some")
        if len(set(self.values)) < len(self.values):
            raise ConfigError(f"{name} must have each value once, but got {list(self.values)}")

    @property
    def is_ordered(self) -> bool:
        """Whether all values are numbers, so that they can be sorted."""
        return all(
            isinstance(value, int | float) and not isinstance(value, bool) for value in self.values
        )

    @property
    def _sorted(self) -> list[Value]:
        """The values that are numbers, the smallest first."""
        return [*sorted(value for value in self.values if isinstance(value, int | float))]

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values with which the rules of the config are tried."""
        return self.values

    @property
    def suggested(self) -> BaseDistribution:
        """The distribution that a sampler draws a param from."""
        from optuna.distributions import CategoricalDistribution, IntDistribution

        if self.is_ordered:
            return IntDistribution(0, len(self.values) - 1)
        return CategoricalDistribution(self.values)

    @property
    def stored(self) -> BaseDistribution:
        """The distribution that a stored study gives for the values."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def contains(self, value: Value) -> bool:
        """Return whether a value is among the choice's."""
        return value in self.values

    def param(self, value: Value) -> Value:
        """Return the sampler's param for a value of the field: a number's place, or the name."""
        return self._sorted.index(value) if self.is_ordered else value

    def value(self, param: Value) -> Value:
        """Return the value of the field for a sampler's param."""
        return self._sorted[int(param)] if self.is_ordered else param

    def describe(self) -> str:
        """Return the values as a message words them."""
        return f"one of {', '.join(map(str, self.values))}"


Axis = Range | Choice


@dataclass(frozen=True, kw_only=True)
class Space:
    """The fields of the config that a search varies.

    Attributes:
        axes: The axis of each field, by its name. The axis of a field of the readout is a
            `Choice`, since every training run carries all of its values.
        readouts: How readouts are treated, one of READOUTS: `exhaustive` values a training run by
            its best readout, so that a setting of the training weighs once however many readouts
            it has; `sampled` suggests a readout, too, and values that one.
    """

    axes: Mapping[str, Axis]
    readouts: str = "exhaustive"

    def check(self, base: TrialConfig) -> None:
        """Refuse a space that cannot be searched, or that leads out of the bounds of a config.

        Args:
            base: The config that the axes vary.

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
                    f"but is the range {axis.describe()}; give a list"
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
                with_values(base, corner)
            except ConfigError as error:
                at = ", ".join(f"{name}={value}" for name, value in corner.items())
                raise ConfigError(f"the space leads out of bounds at {at}: {error}") from error

    @property
    def training(self) -> dict[str, Axis]:
        """The axes that change the weights."""
        return {k: axis for k, axis in self.axes.items() if k not in READOUT_FIELDS}

    @property
    def suggested(self) -> dict[str, Axis]:
        """The axes that a sampler draws a param for."""
        return dict(self.axes) if self.readouts == "sampled" else self.training

    def distributions(self) -> dict[str, BaseDistribution]:
        """Return the distribution of each param that a sampler draws, by field."""
        return {name: axis.suggested for name, axis in self.suggested.items()}

    def params(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return a sampler's params for the values of a setting; other fields are left out."""
        return {name: axis.param(values[name]) for name, axis in self.suggested.items()}

    def values(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """Return the values of the fields for a sampler's params."""
        return {name: self.axes[name].value(param) for name, param in params.items()}

    def siblings(self, base: TrialConfig, values: Mapping[str, Value]) -> list[TrialConfig]:
        """Return the trials of the training run that a setting belongs to: one per readout.

        Args:
            base: The config that the axes vary.
            values: The values of the setting, at least those of the axes of the training.
        """
        training = {name: values[name] for name in self.training}
        grid = {k: axis.ends for k, axis in self.axes.items() if k in READOUT_FIELDS}
        return [
            with_values(base, training | dict(zip(grid, readout, strict=True)))
            for readout in itertools.product(*grid.values())
        ]

    def training_grid(self) -> list[dict[str, Value]]:
        """Return every setting of the training, for a space whose axes are all choices."""
        ends = [axis.ends for axis in self.training.values()]
        return [dict(zip(self.training, point, strict=True)) for point in itertools.product(*ends)]

    def to_primitives(self) -> dict[str, dict[str, object]]:
        """Return the kind and the bounds of each axis as primitives, in the order of the axes."""
        return {name: _primitives(axis) for name, axis in self.axes.items()}


def with_values(config: TrialConfig, values: Mapping[str, object]) -> TrialConfig:
    """Return a config in which some fields have other values, which the config itself checks.

    Raises:
        ConfigError: A value breaks a rule of the config.
    """
    changes: dict[str, Any] = dict(values)
    return dataclasses.replace(config, **changes)


def _primitives(axis: Axis) -> dict[str, object]:
    """Return an axis as primitives; a step of 1 is not said, as before there were steps."""
    values = {"kind": type(axis).__name__.lower()} | dataclasses.asdict(axis)
    return {name: value for name, value in values.items() if (name, value) != ("step", 1)}


def _corners(names: list[str], ends: list[tuple[Value, ...]]) -> list[tuple[Value, ...]]:
    if math.prod(len(values) for values in ends) <= MAX_CORNERS:
        return list(itertools.product(*ends))
    first = [values[0] for values in ends]
    return [
        (*first[:place], value, *first[place + 1 :])
        for place in range(len(names))
        for value in ends[place]
    ]
