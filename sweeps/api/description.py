"""A sweep of one's own, as Python and YAML files describe it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from sweeps.api.checks import (
    Fields,
    axes_of,
    base_of,
    name_of,
    objectives_of,
    points_of,
    preset_of,
    seeds_of,
    space_of,
    text_of,
)
from sweeps.search.spaces.axes import Axis, Choice, Range
from trainable.config.loading import MAX_YAML_BYTES, read_yaml
from trainable.config.places import Placed, located, places_of
from trainable.config.schema import ConfigError, Value, suggest

WAYS = ("axes", "points", "search")
OF_A_SEARCH = ("sampler", "scheduler")
EARLIER = {"grid": "axes"}  # what a file called a key before


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep of one's own, to be given to `run`; its fields are the keys of a YAML file.

    One of `axes`, `points` and `search` says what varies.

    Attributes:
        name: The name of the sweep, of a-z, 0-9, `-` and `_`.
        question: The question that the sweep answers, in one sentence.
        preset: The preset that the sweep starts from; None is the demo.
        base: The fields of the preset that are changed for all trials.
        axes: The values of each field; every combination of them is trained.
        points: The fields of each point, where not every combination is to be trained; what a
            point does not name is as in the base.
        search: For each field the values, as a list, or the range, as `log_range`, `Range` or
            `{low: ..., high: ..., log: ..., step: ...}`, among which a sampler chooses; an axis
            that is there only with some values of axes above it has a `when: {field: [value]}`,
            beside its range or its `values`.
        seeds: How many seeds each setting has; None is 3.
        objective: The metric that ranks settings, as `--objective` names it, or several, whose
            Pareto front is told; None is the mIoU of the averaged weights.

    Raises:
        ConfigError: A field or a value is not usable; the message says which and why.
    """

    name: str
    question: str | None = None
    preset: str | None = None
    base: Mapping[str, object] | None = None
    axes: Mapping[str, Sequence[object]] | None = None
    points: Sequence[Mapping[str, object]] | None = None
    search: Mapping[str, Axis | Sequence[object] | Mapping[str, object]] | None = None
    seeds: int | None = None
    objective: str | Sequence[str] | None = None

    def __post_init__(self) -> None:
        for name, checked in CHECKS.items():
            value = getattr(self, name)
            if value is not None or name == "name":
                object.__setattr__(self, name, checked(value))
        found = [way for way in WAYS if getattr(self, way) is not None]
        if len(found) != 1:
            got = " and ".join(found) or "none"
            raise ConfigError(f"one of axes, points and search must be there, but got {got}")

    @classmethod
    def from_yaml(cls, path: str | Path) -> Sweep:
        """Read a sweep from a YAML file whose keys are the fields of this class.

        Args:
            path: The file.

        Raises:
            ConfigError: The file cannot be read, or breaks a rule; the message names the line.
        """
        values = read_yaml(Path(path))
        try:
            return cls(**_keywords(values))
        except ConfigError as error:
            raise located(error, places_of(values), otherwise=str(path)) from error

    def to_yaml(self, path: str | Path) -> None:
        """Write the sweep to a YAML file, which `python -m sweeps.from_file` runs.

        Args:
            path: The file; one that is there is replaced.

        Raises:
            ConfigError: It would be larger than such a file may be.
        """
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        given = {name: _primitives(value) for name, value in found.items() if value is not None}
        text = yaml.safe_dump(given, sort_keys=False, allow_unicode=True, width=100)
        if len(text.encode()) > MAX_YAML_BYTES:
            raise ConfigError(
                f"a file of a sweep may have {MAX_YAML_BYTES} bytes, but this sweep takes "
                f"{len(text.encode())}; give it fewer points"
            )
        Path(path).write_text(text, encoding="utf-8")

    @property
    def varied(self) -> tuple[str, ...]:
        """The fields that differ between its trials, besides the seed."""
        return tuple(dict.fromkeys(itertools.chain(self.space, *self.settings)))

    @property
    def settings(self) -> Sequence[Fields]:
        """The fields of each point, empty for a search."""
        if self.points is not None:
            return cast("Sequence[Fields]", self.points)  # as it was checked
        axes = cast("Mapping[str, Sequence[Value]]", self.axes or {})
        if not axes:
            return ()
        points, places = itertools.product(*axes.values()), places_of(axes)
        return [Placed(zip(axes, point, strict=True), places) for point in points]

    @property
    def space(self) -> Mapping[str, Axis]:
        """The axes of a search, empty where the points are named."""
        return cast("Mapping[str, Axis]", self.search or {})


CHECKS = {
    "name": name_of,
    "question": lambda value: text_of("question", value),
    "preset": preset_of,
    "base": base_of,
    "axes": axes_of,
    "points": points_of,
    "search": space_of,
    "seeds": seeds_of,
    "objective": objectives_of,
}


def _keywords(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a `Sweep` that a file gives.

    Raises:
        ConfigError: It has a key that is none.
    """
    keys = tuple(CHECKS)
    given = {EARLIER.get(key, key): value for key, value in values.items()}
    if len(given) < len(values):
        raise ConfigError("axes must stand once, but stand as `axes` and as `grid`")
    for key in given:
        if key in OF_A_SEARCH and ("axes" in given or "points" in given):
            raise ConfigError(
                f"a grid names its points and takes no {key}; take `{key}` out, or give `search` "
                "instead"
            )
        if key in OF_A_SEARCH:
            raise ConfigError(f"a file says what is searched, not how: give `--{key}` instead")
        if key not in keys:
            raise ConfigError(f"unknown key {key!r}; {suggest(str(key), keys)}")
    return {"name": None} | given


def _condition(axis: Axis) -> dict[str, object]:
    when = {name: list(values) for name, values in axis.when.items()}
    return {"when": when} if when else {}


def _primitives(value: object) -> object:
    """Return what YAML can hold of a part of a sweep."""
    match value:
        case Range():
            how = {"log": value.log, "step": value.step}
            said = {name: one for name, one in how.items() if one != getattr(Range, name)}
            return {"low": value.low, "high": value.high, **said, **_condition(value)}
        case Choice(when=when) if when:
            return {"values": list(value.values), **_condition(value)}
        case Choice():
            return list(value.values)
        case Mapping():
            return {key: _primitives(one) for key, one in value.items()}
        case list() | tuple():
            return [_primitives(one) for one in value]
    return value
