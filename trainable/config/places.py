"""Where a value was given, for messages about it: a line of a file, or an option."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Self

from trainable.config.schema import ConfigError
from trainable.storage.redaction import shorten


class Placed(dict[Any, Any]):
    """A mapping that knows the place of its keys, such as `my.yaml:7`.

    Attributes:
        places: The places, by key.
    """

    def __init__(self, values: Iterable[Any] = (), places: Mapping[Any, str] | None = None) -> None:
        super().__init__(values)
        self.places = dict(places or {})


class Override(str):
    """A text `key=value` that was given otherwise than by `--set`.

    Attributes:
        by: Where it was given.
    """

    by: str

    def __new__(cls, text: str, *, by: str) -> Self:
        """Return the text, which remembers where it was given."""
        made = super().__new__(cls, text)
        made.by = by
        return made


def place_of(override: str) -> str:
    """Return where a text `key=value` was given."""
    return override.by if isinstance(override, Override) else f"--set {shorten(override)}"


def places_of(values: object) -> dict[Any, str]:
    """Return the places of the keys of a mapping and of all that is in it, the outer ones first."""
    found: dict[Any, str] = {}
    inner: Iterable[object] = ()
    if isinstance(values, Placed):
        found |= values.places
        inner = values.values()
    elif isinstance(values, list):
        inner = values
    for value in inner:
        found = places_of(value) | found
    return found


def located(error: ConfigError, *given: Mapping[Any, str], otherwise: str = "") -> ConfigError:
    """Return an error whose message begins with where the value that it is about was given.

    Args:
        error: The error; it names the field that it is about before others.
        given: Places by field; where a message names several fields, the first mapping that has one
            of them counts.
        otherwise: What the message begins with where nothing that it names has a place.
    """
    named = re.findall(r"\w+", str(error))
    for places in given:
        for name in named:
            if name in places:
                return ConfigError(f"{places[name]}: {error}")
    return ConfigError(f"{otherwise}: {error}") if otherwise else error
