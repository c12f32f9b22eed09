"""Options: what a parser has read becomes a frozen dataclass once, and is not written to after."""

from __future__ import annotations

import argparse
from dataclasses import FrozenInstanceError, dataclass

import pytest

from trainable.cli.parsed_options import read_options, split_options


@dataclass(frozen=True, kw_only=True)
class OwnOptions:
    names: tuple[str, ...]
    most: int | None


def parsed(*argv: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--names", action="append", default=[])
    parser.add_argument("--most", type=int)
    parser.add_argument("--other", nargs="+")
    return parser.parse_args(argv)


def test_what_a_parser_reads_is_split_into_the_options_and_the_rest() -> None:
    options, others = split_options(OwnOptions, parsed("--names=a", "--names=b", "--other", "c"))
    assert options == OwnOptions(names=("a", "b"), most=None)
    assert vars(others) == {"other": ["c"]}
    with pytest.raises(FrozenInstanceError):
        options.most = 3  # type: ignore[misc]


def test_an_option_without_a_field_and_a_field_without_an_option_are_named() -> None:
    with pytest.raises(TypeError, match="OwnOptions lacks what the parser reads: other"):
        read_options(OwnOptions, parsed())
    with pytest.raises(TypeError, match="no parser reads, of OwnOptions: most"):
        read_options(OwnOptions, argparse.Namespace(names=[]))
