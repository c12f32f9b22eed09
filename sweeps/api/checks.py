"""What a description of a sweep may hold: each part is checked, and turned into values of fields.

A description comes from a YAML file or from Python; the same rules hold for both.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sweeps.search.spaces.axes import Axis, Choice, Range
from trainable.config.loading import presets
from trainable.config.places import Placed, places_of
from trainable.config.schema import (
    DATA_FIELDS,
    DEFAULTS,
    EXECUTION_FIELDS,
    ConfigError,
    TrialConfig,
    Value,
    coerce,
    kind_of,
    shown,
    suggest,
)

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
TAKEN = ("ablation", "joint_search", "lambda_grid", "swa_grid")
RANGE_KEYS = ("low", "high", "log", "step", "when")
CHOICE_KEYS = ("values", "when")
MAX_POINTS = 10_000
MAX_SEEDS = 10_000

KINDS = {field.name: str(field.type) for field in dataclasses.fields(TrialConfig)}

Fields = Mapping[str, Value]  # of a config


def name_of(value: object) -> str:
    """Return the name of a sweep.

    Raises:
        ConfigError: It has other characters than it may, or is that of a sweep that ships.
    """
    name = text_of("name", value)
    if not NAME.fullmatch(name):
        raise ConfigError(f"name must match {NAME.pattern}, but got {name!r}")
    if name in TAKEN:
        raise ConfigError(f"name must not be that of a sweep that ships, but got {name!r}")
    return name


def preset_of(value: object) -> str:
    """Return the name of a preset.

    Raises:
        ConfigError: There is no preset of that name.
    """
    preset = text_of("preset", value)
    if preset not in presets():
        raise ConfigError(f"unknown preset {preset!r}; {suggest(preset, presets())}")
    return preset


def text_of(key: str, value: object) -> str:
    """Return a text on one line.

    Args:
        key: What the text is for.
        value: The text.

    Raises:
        ConfigError: It is none, or empty.
    """
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key} must be text, but got {shown(value)} ({kind_of(value)})")
    return " ".join(value.split())


def seeds_of(value: object) -> int:
    """Return how many seeds each setting has.

    Raises:
        ConfigError: It is no whole number from 1 to MAX_SEEDS.
    """
    if type(value) is not int or not 1 <= value <= MAX_SEEDS:
        raise ConfigError(
            f"seeds must be a whole number from 1 to {MAX_SEEDS}, but got {shown(value)}"
        )
    return value


def base_of(value: object) -> Fields:
    """Return the fields that are changed for all trials.

    Raises:
        ConfigError: A field is unknown, or its value is none of one.
    """
    base = _mapping("base", value)
    for field in base:
        _check_field(field)
    return _fields(base)


def axes_of(value: object) -> Mapping[str, tuple[Value, ...]]:
    """Return the values of each field, of which every combination is a point.

    Raises:
        ConfigError: A field is no axis, has no values, or there are too many points.
    """
    axes: dict[str, tuple[Value, ...]] = {}
    for field, values in _mapping("axes", value).items():
        given = _plain(values)
        if not isinstance(given, list) or not given:
            raise ConfigError(
                f"`{field}: [value, ...]` must hold at least one value, but got {shown(given)} "
                f"({kind_of(given)})"
            )
        _check_axis(field)
        axes[field] = tuple(_coerced(field, one) for one in given)
    size = math.prod(len(values) for values in axes.values())
    if not axes or size > MAX_POINTS:
        raise ConfigError(
            f"axes must have from 1 to {MAX_POINTS} points in all, but have {size if axes else 0}"
        )
    return Placed(axes, places_of(value))


def points_of(value: object) -> tuple[Fields, ...]:
    """Return the fields of each point.

    Raises:
        ConfigError: There are none or too many, or one has no field or one that is no axis.
    """
    given = list(value) if isinstance(value, list | tuple) else None
    if given is None or not 1 <= len(given) <= MAX_POINTS:
        raise ConfigError(
            f"points must be a list of 1 to {MAX_POINTS} points, but got {kind_of(value)}"
            + ("" if given is None else f" of {len(given)}")
        )
    points = [_mapping("a point", point) for point in given]
    if not all(points):
        raise ConfigError("a point must have at least one field, but one is empty")
    for point in points:
        for field in point:
            _check_axis(field)
    return tuple(_fields(point) for point in points)


def space_of(value: object) -> Mapping[str, Axis]:
    """Return the axes of a search; `Space.check` tells later whether they fit the config.

    Raises:
        ConfigError: There is none, or one is neither a range nor a list of values.
    """
    space = _mapping("search", value)
    if not space:
        raise ConfigError("search must have at least one axis, but has none")
    for field in space:
        _check_field(field)
        _check_no_seed(field)
    axes = {field: _axis(field, axis) for field, axis in space.items()}
    return Placed(axes, places_of(space))


def objectives_of(value: object) -> tuple[str, ...]:
    """Return the names of the objectives.

    Raises:
        ConfigError: It is neither a name nor a list of names.
    """
    given = value if isinstance(value, list | tuple) else [value]
    if not given:
        raise ConfigError("objective must be the name of a metric or a list of some, but is empty")
    return tuple(text_of("objective", one) for one in given)


def _axis(field: str, value: object) -> Axis:
    given = _described(field, value)
    when = _when(field, given.pop("when", {}))
    if "values" in given:
        _check_keys(field, given, CHOICE_KEYS)
        return Choice(tuple(_coerced(field, one) for one in given["values"]), when=when)
    _check_keys(field, given, RANGE_KEYS)
    return _range(field, given, when)


def _described(field: str, value: object) -> dict[str, Any]:
    """Return an axis as the keys of a file describe it."""
    match value:
        case Choice():
            return {"values": [*value.values], "when": value.when}
        case Range():
            if value.whole and not isinstance(DEFAULTS[field], int):
                raise ConfigError(f"{field} is no whole number; leave `whole` out, or give a list")
            names = ("low", "high", "log", "step", "when")
            return {name: getattr(value, name) for name in names}
    given = _plain(value)
    if isinstance(given, list):
        return {"values": given}
    found = {str(key): one for key, one in _mapping(field, given).items()}
    if "values" in found:
        found["values"] = _plain(found["values"])
        if not isinstance(found["values"], list):
            raise ConfigError(f"values of {field} must be a list, but got {shown(found['values'])}")
    return found


def _check_keys(field: str, given: Mapping[str, object], known: Sequence[str]) -> None:
    for key in given:
        if key not in known:
            raise ConfigError(f"unknown key {key!r} of {field}; {suggest(key, known)}")


def _when(field: str, value: object) -> dict[str, tuple[Value, ...]]:
    found: dict[str, tuple[Value, ...]] = {}
    for other, values in _mapping(f"when of {field}", value).items():
        _check_field(other)
        given = _plain(values)
        if not isinstance(given, list):
            raise ConfigError(
                f"when of {field} must hold `{other}: [value, ...]`, but got {shown(given)}"
            )
        found[other] = tuple(_coerced(other, one) for one in given)
    return found


def _range(field: str, axis: Mapping[str, Any], when: Mapping[str, tuple[Value, ...]]) -> Range:
    try:
        low, high = float(axis["low"]), float(axis["high"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"`{field}: {{low: number, high: number}}` must hold, but got {dict(axis)}"
        ) from error
    if not isinstance(axis.get("log", False), bool):
        raise ConfigError(f"log of {field} must be true or false, but got {axis['log']!r}")
    step = axis.get("step", 1)
    if type(step) is not int:
        raise ConfigError(f"step of {field} must be a whole number, but got {shown(step)}")
    whole = isinstance(DEFAULTS[field], int)
    return Range(low, high, log=axis.get("log", False), whole=whole, step=step, when=when)


def _mapping(what: str, value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping):
        raise ConfigError(
            f"{what} must hold `field: value`, but got {shown(value)} ({kind_of(value)})"
        )
    return value


def _fields(values: Mapping[str, object]) -> Fields:
    coerced = {field: _coerced(field, value) for field, value in values.items()}
    return Placed(coerced, places_of(values))


def _coerced(field: str, value: object) -> Value:
    # As a config holds them: 1e-3 is text in YAML 1.1, and no value of a float field.
    return coerce(field, KINDS[field], _plain(value))


def _plain(value: object) -> object:
    """Return an array, a number of NumPy or another sequence as YAML would give it."""
    if hasattr(value, "tolist"):
        return value.tolist()
    return list(value) if isinstance(value, tuple | range) else value


def _check_field(field: str) -> None:
    if field not in DEFAULTS:
        raise ConfigError(f"unknown field {field!r}; {suggest(str(field), DEFAULTS)}")


def _check_no_seed(field: str) -> None:
    if field == "seed":
        raise ConfigError("seed is no axis: every point has every seed; say how many in `seeds`")


def _check_axis(field: str) -> None:
    _check_field(field)
    _check_no_seed(field)
    if field in DATA_FIELDS:
        raise ConfigError(f"a sweep has one data set, so {field} is no axis; set it in `base`")
    if field in (*EXECUTION_FIELDS, "weights_sha256"):
        raise ConfigError(
            f"an axis must decide the numbers, but {field} does not; set it in `base`"
        )
