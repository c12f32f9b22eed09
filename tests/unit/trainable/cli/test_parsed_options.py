"""Options: what a parser has read becomes a frozen dataclass once, and is not written to after."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, dataclass
from pathlib import Path

import pytest

from trainable.cli.parsed_options import read_options, split_options

ROOT = Path(__file__).parents[4]
PACKAGES = ("trainable", "sweeps", "analysis")
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


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


# The border, where what argparse has read is turned into options and into what a script has added.
BORDER = {
    "trainable/cli/parsed_options.py": {"read_options", "split_options"},
    "sweeps/driver/script.py": {""},
    "sweeps/driver/start.py": {"start"},
    "sweeps/driver/sweep.py": {"answer", "carry_out", "_prepare", "_plan", "_source"},
    "sweeps/driver/search_options.py": {"search_source"},
    "sweeps/api/options.py": {"options_of", "trials", "source"},
}
GIVEN_THE_REST = {"trials", "source"}  # of any sweep script


def users_of(name: str, node: ast.AST, function: str = "") -> Iterator[str]:
    """The functions that name it, the innermost each time; empty stands for the module."""
    if isinstance(node, ast.FunctionDef):
        function = node.name
    if name in (getattr(node, "attr", None), getattr(node, "id", None)):
        yield function
    for child in ast.iter_child_nodes(node):
        yield from users_of(name, child, function)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_what_argparse_reads_stays_at_the_border(path: Path) -> None:
    tree = ast.parse(path.read_bytes())
    border = BORDER.get(path.relative_to(ROOT).as_posix(), set())
    of_a_script = GIVEN_THE_REST if path.parent == ROOT / "sweeps" else set()
    assert set(users_of("Namespace", tree)) - of_a_script == border
    assert set(users_of("parse_args", tree)) <= {"main", "run", "run_sweep", "swa_cost"}
    kept = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    raw = [text for text in kept if text.endswith("parse_args()") and "_options(" not in text]
    assert all(text.startswith("parsed = ") for text in raw)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_options_are_frozen_and_never_written_to(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ClassDef) and node.name.endswith("Options"):
            made = [ast.unparse(one) for one in node.decorator_list]
            assert made == ["dataclass(frozen=True, kw_only=True)"], node.name
            # The parser has the defaults.
            values = [one.value for one in node.body if isinstance(one, ast.AnnAssign)]
            assert not any(values), node.name
        if isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load):
            assert ast.unparse(node.value) not in ("options", "parsed", "own"), node.lineno
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("setattr", "delattr"):
            assert ast.unparse(node.args[0]) not in ("options", "parsed", "own"), node.lineno
