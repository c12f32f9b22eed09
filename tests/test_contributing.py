"""What CONTRIBUTING.md tells a newcomer to write and to run fits the code as it is."""

import ast
import re
import textwrap

import pytest
from paths import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = [textwrap.dedent(block) for block in re.findall(r"(?s)```python\n(.*?)```", TEXT)]
MODULES = [block for block in BLOCKS if block.startswith('"""')]
# Files that the recipes have a newcomer write; all others that the text names are there.
WRITTEN = set(re.findall(r"(?m)^\d+\. `([\w/]+\.py)`[:,]", TEXT))


@pytest.mark.parametrize("block", MODULES, ids=lambda block: block.splitlines()[0][3:40])
def test_a_module_of_a_recipe_imports_what_there_is(block: str) -> None:
    written = {path.removesuffix(".py").replace("/", ".") for path in WRITTEN}
    imports = [node for node in ast.parse(block).body if isinstance(node, ast.ImportFrom)]
    assert imports
    for node in imports:
        for alias in node.names:
            if not {node.module, f"{node.module}.{alias.name}"} & written:
                exec(f"from {node.module} import {alias.name}")


def test_the_recipes_add_a_line_to_dicts_and_lists_that_there_are() -> None:
    edited = re.findall(r"`([\w/]+\.py)`,? (?:in|an import and an entry of) `([A-Z]+)`", TEXT)
    assert len(edited) == 6
    for path, name in edited:
        assert re.search(rf"(?m)^{name}\b.* = \{{$", (ROOT / path).read_text(encoding="utf-8"))


def test_every_path_that_the_text_names_is_there() -> None:
    top = "tests|examples|analysis|sweeps|trainable"
    named = set(re.findall(rf"\b(?:{top})/[\w/]+\.(?:py|yaml)", TEXT))
    assert len(named) > 15
    assert {path for path in named if not (ROOT / path).exists()} <= WRITTEN
    folders = re.findall(r"`((?:trainable|sweeps|analysis)/\w+)`", TEXT)
    assert len(folders) > 8
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []
