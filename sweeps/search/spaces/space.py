"""The space of a search: which fields of the config vary, and over which values."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sweeps.search.spaces.axes import Axis, Choice
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


@dataclass(frozen=True, kw_only=True)
class Space:
    """The fields of the config that a search varies.

    Attributes:
        axes: The axis of each field, by its name. The axis of a field of the readout is a
            `Choice`, since every training run carries all of its values. One that is there `when`
            others have certain values comes after them.
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
            self._check_condition(name)
        if not self.training:
            raise ConfigError(
                "a search must vary what is trained, but its axes are readouts alone, "
                f"{', '.join(self.axes) or 'none'}; sweeps/swa_grid.py answers them all"
            )
        self._check_corners(base)

    def _check_condition(self, name: str) -> None:
        above = list(self.axes)[: list(self.axes).index(name)]
        for other, values in self.axes[name].when.items():
            axis = self.axes.get(other)
            if other not in above or not isinstance(axis, Choice):
                raise ConfigError(
                    f"`when` of {name} must name an axis above it that is a list of values, but "
                    f"got {other!r}; {suggest(other, above) if above else 'there is none'}"
                )
            if not values or not all(axis.contains(value) for value in values):
                raise ConfigError(
                    f"`when` of {name} must have values of {other}, {axis.describe()}, but got "
                    f"{list(values)}"
                )
            if name not in READOUT_FIELDS and other in READOUT_FIELDS:
                raise ConfigError(
                    f"`when` of {name} must name what is trained, but {other} is a readout, of "
                    "which a training run carries every value"
                )

    def _check_corners(self, base: TrialConfig) -> None:
        names = list(self.axes)
        ends = [self.axes[name].ends for name in names]
        for place in _corners(names, ends):
            corner = self.active(dict(zip(names, place, strict=True)))
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

    @property
    def has_conditions(self) -> bool:
        """Whether a sampler draws some axis only with certain values of others."""
        return any(axis.when for axis in self.suggested.values())

    def is_active(self, name: str, values: Mapping[str, Value]) -> bool:
        """Return whether an axis is there with some values, of the axes above that are there."""
        when = self.axes[name].when
        return all(other in values and values[other] in among for other, among in when.items())

    def active(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the values of those axes that are there; the fields of others are the base's."""
        found: dict[str, Value] = {}
        for name in self.axes:
            if name in values and self.is_active(name, found):
                found[name] = values[name]
        return found

    def params(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return a sampler's params for the values of a setting; other fields are left out."""
        active, suggested = self.active(values), self.suggested
        return {k: axis.param(active[k]) for k, axis in suggested.items() if k in active}

    def params_checked(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return a sampler's params for the values that an earlier one drew.

        Raises:
            ValueError: They are not those of the axes that are there, or one lies outside its axis.
        """
        there = self.active(values)
        wanted = [name for name in self.suggested if self.is_active(name, there)]
        if list(values) != wanted:
            raise ValueError(f"the axes that are there are {', '.join(wanted)}")
        for name, value in values.items():
            if not self.axes[name].contains(value):
                raise ValueError(f"{name} must be {self.axes[name].describe()}")
        return self.params(values)

    def values(self, params: Mapping[str, Value]) -> dict[str, Value]:
        """Return the values of the fields for a sampler's params."""
        return {name: self.axes[name].value(param) for name, param in params.items()}

    def siblings(self, base: TrialConfig, values: Mapping[str, Value]) -> list[TrialConfig]:
        """Return the trials of the training run that a setting belongs to: one per readout.

        Args:
            base: The config that the axes vary.
            values: The values of the setting, at least those of the axes of the training that
                are there.
        """
        training = {name: values[name] for name in self.training if name in values}
        grid = {k: axis.ends for k, axis in self.axes.items() if k in READOUT_FIELDS}
        trials = (
            with_values(base, self.active(training | dict(zip(grid, readout, strict=True))))
            for readout in itertools.product(*grid.values())
        )
        return list(dict.fromkeys(trials))

    def training_grid(self) -> list[dict[str, Value]]:
        """Return every setting of the training, for a space whose axes are all choices."""
        ends = [axis.ends for axis in self.training.values()]
        points = (dict(zip(self.training, one, strict=True)) for one in itertools.product(*ends))
        settings = {tuple(self.active(point).items()): self.active(point) for point in points}
        return [*settings.values()]

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
    """Return an axis as primitives; what says nothing is left out, as before it could be said."""
    values = {"kind": type(axis).__name__.lower()} | dataclasses.asdict(axis)
    silent: dict[str, object] = {"step": 1, "when": {}}
    return {k: x for k, x in values.items() if k not in silent or x != silent[k]}


def _corners(names: list[str], ends: list[tuple[Value, ...]]) -> list[tuple[Value, ...]]:
    if math.prod(len(values) for values in ends) <= MAX_CORNERS:
        return list(itertools.product(*ends))
    first = [values[0] for values in ends]
    return [
        (*first[:place], value, *first[place + 1 :])
        for place in range(len(names))
        for value in ends[place]
    ]
