"""Where a config comes from: a preset or a YAML file, and `key=value` overrides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from trainable.config.places import Placed, located, place_of, places_of
from trainable.config.schema import (
    ARGUMENTS_FIELDS,
    DEFAULTS,
    ConfigError,
    TrialConfig,
    arguments_in,
    kind_of,
    shown,
    suggest,
)
from trainable.storage.bounded_reads import read_bounded
from trainable.storage.redaction import shorten

PRESET_DIR = Path(__file__).parents[1] / "presets"
MAX_YAML_BYTES = 64 * 1024


def presets() -> list[str]:
    """Return the names of the presets that ship with the package."""
    return sorted(path.stem for path in PRESET_DIR.glob("*.yaml"))


def load_config(
    *, preset: str = "demo", file: str | None = None, overrides: Iterable[str] = ()
) -> TrialConfig:
    """Read a preset or a YAML file, apply `key=value` overrides, and check the outcome.

    Args:
        preset: A name from `presets()`; not read when `file` is given.
        file: Path of a YAML file with values for the fields of `TrialConfig`.
        overrides: Texts `key=value`, later ones winning.

    Raises:
        ConfigError: The preset, the file, a key or a value is not usable.
    """
    return load_given(preset=preset, file=file, overrides=overrides)[0]


def load_given(
    *, preset: str = "demo", file: str | None = None, overrides: Iterable[str] = ()
) -> tuple[TrialConfig, tuple[str, ...]]:
    """Return what `load_config` does, and the names of the fields that were set.

    Raises:
        ConfigError: As `load_config`.
    """
    if file is None and preset not in presets():
        raise ConfigError(f"unknown preset {shown(preset)}; {suggest(preset, presets())}")
    values = read_yaml(PRESET_DIR / f"{preset}.yaml" if file is None else Path(file))
    given: dict[str, str] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"`--set key=value` must hold, but got {shown(text)}")
        _set(values, key.strip(), _parse_scalar(key.strip(), value))
        given[key.strip().partition(".")[0]] = place_of(text)
    try:
        return config_from(values), tuple(values)
    except ConfigError as error:  # a preset by itself is right
        raise located(error, given, {} if file is None else places_of(values)) from error


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    """Set a field, or, where a key is `FIELD.NAME`, one name of a field of arguments.

    Raises:
        ConfigError: The field is none of arguments.
    """
    field, dot, name = key.partition(".")
    if not dot:
        values[field] = value
    elif field not in ARGUMENTS_FIELDS:
        raise ConfigError(
            f"unknown key {shown(key)}; names with a dot are of {', '.join(ARGUMENTS_FIELDS)}"
        )
    else:
        before = values.get(field) or {}
        before = arguments_in(before) if isinstance(before, str) else before
        values[field] = {**before, name: value}


def config_from(values: Mapping[str, Any]) -> TrialConfig:
    """Build a config from a mapping, refusing keys that the schema does not have."""
    for key in values:
        if key not in DEFAULTS:
            raise ConfigError(f"unknown key {shown(key)}; {suggest(str(key), DEFAULTS)}")
    return TrialConfig(**values)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one mapping from a YAML file; `places_of` tells on which line each key stands.

    Raises:
        ConfigError: The file is missing, too large, a device or a pipe, not UTF-8, not YAML, not a
            mapping, holds an alias, or names a key twice.
    """
    try:
        raw = read_bounded(path, MAX_YAML_BYTES)
        text = raw.decode("utf-8")
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} must be UTF-8, but byte {error.start} is not") from error
    try:
        values = _Loader(text, str(path)).get_single_data()
    except _NOT_YAML as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else path
        cause = getattr(error, "problem", None) or " ".join(str(error).split())
        raise ConfigError(f"{place} is not usable YAML: {cause}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold `key: value` lines, but holds {kind_of(values)}")
    return values


# Besides its own error PyYAML lets through what a date such as 2020-13-45, a number of more than
# 4,300 digits, and nesting without end raise.
_NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """PyYAML's safe loader without aliases (no expansion bombs), tags and duplicate keys.

    Args:
        text: The content of a file, or a value.
        name: What the file is called in the places of keys.
    """

    def __init__(self, text: str, name: str = "--set") -> None:
        super().__init__(text)
        self.name = name

    def compose_node(self, parent: Any, index: Any) -> Any:
        if getattr(self.peek_event(), "tag", None) is not None:
            raise _fault("tags are not allowed", self.peek_event())
        if self.check_event(yaml.AliasEvent):
            raise _fault("aliases are not allowed", self.peek_event())
        return super().compose_node(parent, index)

    def construct_placed(self, node: Any) -> Iterator[Placed]:
        places = {
            self.construct_object(
                key, deep=True
            ): f"{key.start_mark.name}:{key.start_mark.line + 1}"
            for key, _ in node.value
            if isinstance(key, yaml.ScalarNode)
        }
        data = Placed(places=places)
        yield data  # as PyYAML wants it of what may hold itself
        data.update(self.construct_mapping(node))

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            name = repr(self.construct_object(key, deep=True))  # a list is a key, too, in YAML
            if name in seen:
                raise _fault(f"key {shorten(name)} stands twice", key)
            seen.add(name)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_placed)


def _fault(problem: str, event: Any) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def _parse_scalar(key: str, text: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)  # nosec B506  # a SafeLoader
    except _NOT_YAML as error:
        raise ConfigError(
            f"{shown(key)[1:-1]}={shown(text)} is not a value that YAML can read"
        ) from error
