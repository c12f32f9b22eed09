"""README and pages: every command is run or says what it needs, and names what there is."""

import dataclasses
import re
import shlex
from pathlib import Path

import documents
import pytest
from paths import ROOT

from trainable.config.schema import TrialConfig

# What a block may need that a test does not have; the first word behind `needs:`.
NEEDS = {
    "cluster": "machines",
    "conda": "a program that CI lacks",
    "data": "data sets that nobody may pass on",
    "docker": "a program that CI lacks",
    "gpu": "a CUDA device",
    "long": "minutes, or hours",
    "network": "a service on the network",
    "pip": "a package index",
    "recipe": "files that a reader writes",
    "server": "a server's name or password",
}
PROGRAMS = "python|pip|pytest|mlflow|ray|docker|conda|kubectl|sbatch|bandit|ruff|pwa"
OF_MLFLOW = {"--allowed-hosts", "--cors-allowed-origins"}
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
BLOCKS = documents.blocks()
# The recipes of CONTRIBUTING.md name what is still to be written: see test_contributing.py.
DESCRIBING = [page for page in documents.PAGES if page.name != "CONTRIBUTING.md"]
CI = (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_block_that_is_not_run_says_what_it_needs() -> None:
    assert len(BLOCKS) > 30
    assert {block.needs.split()[0] for block in BLOCKS if block.needs} <= set(NEEDS)
    assert len([block for block in BLOCKS if not block.needs]) > 15


def test_what_is_said_to_be_run_by_ci_stands_in_its_script() -> None:
    taken = re.findall(r"""grep -m 1 -F (["'])(.*?)\1 README.md""", CI)
    said = [block for block in BLOCKS if ".ci/run" in block.needs]
    assert len(said) >= 4
    for block in said:
        from_readme = any(part in block.text for _, part in taken)
        own = [line for line in block.commands() if f"\n{shlex.split(line)[0]} " in CI]
        assert from_readme or own, block.place


def test_no_command_stands_outside_of_a_block() -> None:
    found = []
    for page in documents.PAGES:
        text = re.sub(r"(?ms)^( *)```.*?^\1```$", "", page.read_text(encoding="utf-8"))
        found += re.findall(rf"(?m)^(?: {{4}}|\t|\$ )(?:[A-Z_]+=\S+ )*(?:{PROGRAMS}) .*$", text)
    assert found == []


def of_ours() -> list[tuple[str, str, str]]:
    """By place, module and command, what the blocks run of ours."""
    lines = [(block.place, line) for block in BLOCKS for line in block.commands()]
    return [(place, module, line) for place, line in lines if (module := documents.module_of(line))]


@pytest.mark.parametrize(("place", "module", "line"), of_ours())
def test_a_block_gives_a_command_the_options_that_it_has(
    place: str, module: str, line: str
) -> None:
    assert set(OPTION.findall(line)) <= documents.options_of(module)


@pytest.mark.parametrize("page", DESCRIBING, ids=lambda page: page.name)
def test_options_named_in_sentences_are_in_some_help(page: Path) -> None:
    ours = frozenset.union(*map(documents.options_of, documents.modules()))
    for piece in documents.described(page):
        if module := documents.module_of(piece):
            assert set(OPTION.findall(piece)) <= documents.options_of(module), piece
        elif piece.startswith(("--", "python")) or not re.match(rf"(?:[A-Z_]+=|{PROGRAMS})", piece):
            assert set(OPTION.findall(piece)) - OF_MLFLOW <= ours, piece


@pytest.mark.parametrize("page", DESCRIBING, ids=lambda page: page.name)
def test_fields_and_files_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    fields = {field.name for field in dataclasses.fields(TrialConfig)}
    assert set(re.findall(r"--set (\w+)=", text)) - {"key", "KEY"} <= fields
    top = "tests|examples|analysis|sweeps|trainable"
    named = set(re.findall(rf"(?<![\w/.-])(?:{top})/[\w/]+\.(?:py|yaml|ipynb|sh)", text))
    assert [path for path in named if not (ROOT / path).exists()] == []
