"""The axes of a search: a range of numbers, or a choice among a few values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trainable.config.schema import ConfigError, Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Condition = Mapping[str, tuple[Value, ...]]  # other axes, and the values of theirs that are meant


@dataclass(frozen=True, kw_only=True)
class Conditional:
    """An axis that may be there only with certain values of others.

    Attributes:
        when: The values of each other axis with which it is there; without them its field is the
            base's.
    """

    when: Condition = field(default_factory=dict, hash=False)

    @property
    def condition(self) -> str:
        """When it is there, as a message words it."""
        of_each = (f"{name} is {' or '.join(map(str, among))}" for name, among in self.when.items())
        return " and ".join(of_each)


@dataclass(frozen=True)
class Range(Conditional):
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


def log_range(low: float, high: float, when: Condition | None = None) -> Range:
    """Return an axis of numbers that are drawn evenly on a logarithmic scale.

    Args:
        low: The smallest number, above 0.
        high: The largest number.
        when: As of a `Range`.
    """
    return Range(low, high, log=True, when=when or {})


@dataclass(frozen=True)
class Choice(Conditional):
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
