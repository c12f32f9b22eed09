"""The border where what argparse has read becomes the frozen dataclass of a command's options."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any, ClassVar, Protocol, TypeVar


class Dataclass(Protocol):
    """What every dataclass has."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]


Options = TypeVar("Options", bound=Dataclass)


def read_options(kind: type[Options], parsed: argparse.Namespace) -> Options:
    """Return what a parser has read as the options of one command.

    Args:
        kind: The dataclass of the options, whose defaults are the parser's.
        parsed: What `parse_args` returned; of each list a tuple is taken.

    Raises:
        TypeError: The names of the parser and of the dataclass differ.
    """
    options, others = split_options(kind, parsed)
    if vars(others):
        raise TypeError(f"{kind.__name__} lacks what the parser reads: {', '.join(vars(others))}")
    return options


def split_options(
    kind: type[Options], parsed: argparse.Namespace
) -> tuple[Options, argparse.Namespace]:
    """Return what a parser has read as options, and apart from them what else it has read.

    Raises:
        TypeError: The parser does not read a field of the dataclass.
    """
    values = vars(parsed)
    names = [field.name for field in dataclasses.fields(kind)]
    missing = [name for name in names if name not in values]
    if missing:
        raise TypeError(f"no parser reads, of {kind.__name__}: {', '.join(missing)}")
    options = kind(**{name: _frozen(values[name]) for name in names})
    others = {name: value for name, value in values.items() if name not in names}
    return options, argparse.Namespace(**others)


def _frozen(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
