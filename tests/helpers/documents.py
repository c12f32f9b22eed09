"""The commands that README and pages print, and what stands in them."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from unittest import mock

from paths import ROOT

from sweeps.pwa import MODULES

PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
)
PACKAGES = ("trainable", "sweeps", "analysis")
BLOCK = re.compile(
    r"""(?msx)
    (?: ^[ ]*<!--[ ](?P<mark>needs|serves):[ ](?P<what>[^\n]*?)[ ]-->\n )?
    ^(?P<indent>[ ]*)```(?P<language>sh|bash|shell|console)\n
    (?P<text>.*?)
    ^(?P=indent)```$
    """
)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A block of commands.

    Attributes:
        place: Page and line.
        needs: What it needs and a test does not have; empty where it is run as it stands.
        serves: The port on which it serves until it is ended, 0 for what ends by itself.
        text: The commands.
    """

    place: str
    needs: str
    serves: int
    text: str

    def commands(self) -> list[str]:
        """Return its commands, each on one line."""
        return self.text.replace("\\\n", " ").strip().splitlines()


def blocks() -> list[Block]:
    """Return the blocks of all pages."""
    return [block for page in PAGES for block in blocks_in(page.read_text("utf-8"), page.name)]


def blocks_in(text: str, name: str) -> Iterator[Block]:
    """Yield the blocks of a page."""
    for hit in BLOCK.finditer(text):
        yield Block(
            place=f"{name}:{text.count(chr(10), 0, hit.start('language')) + 1}",
            needs=hit["what"] if hit["mark"] == "needs" else "",
            serves=int(hit["what"]) if hit["mark"] == "serves" else 0,
            text=re.sub(f"(?m)^{hit['indent']}", "", hit["text"]),
        )


def module_of(command: str) -> str:
    """Return the module that a command line of ours runs, empty for a program of others."""
    words = shlex.split(command.rpartition("|")[2].rpartition("&&")[2])
    while words and re.match(r"[A-Z_]+=", words[0]):
        words = words[1:]
    if words[:1] == ["pwa"]:
        return MODULES.get(words[1], "sweeps.pwa") if words[1:] else "sweeps.pwa"
    if words[:2] == ["python", "-m"] and len(words) > 2:
        return words[2] if words[2].split(".")[0] in PACKAGES else ""
    if words[:1] == ["python"] and re.match("(sweeps|analysis)/", words[1]):
        return words[1].removesuffix(".py").replace("/", ".")
    return ""


@cache
def options_of(module: str) -> frozenset[str]:
    """Return the options that the help of a command names."""
    said = io.StringIO()
    main = importlib.import_module(module).main
    for arguments in (
        ["--help-all"],
        *([[name, "--help-all"] for name in SUBCOMMANDS.get(module, ())]),
    ):
        with (
            mock.patch.object(sys, "argv", [module, *arguments]),
            contextlib.redirect_stdout(said),
            contextlib.suppress(SystemExit),
        ):
            main()
    found = re.findall(r"(?<![\w-])--[a-z][\w-]*", said.getvalue())
    return frozenset({"--help", "--help-all", *found})


def modules() -> list[str]:
    """Return the modules that are commands."""
    files = [path for name in PACKAGES for path in (ROOT / name).glob("*.py")]
    commands = [path for path in files if "\ndef main(" in path.read_text("utf-8")]
    return [f"{path.parent.name}.{path.stem}" for path in sorted(commands)]


SUBCOMMANDS = {
    "trainable.prepare": ("check", "voc-aug"),
    "sweeps.benchmark": ("trials", "swa", "search"),
    "analysis.benchmark": ("statistics", "race"),
}


def described(page: Path) -> list[str]:
    """Return the pieces of code within the sentences and tables of a page."""
    text = re.sub(r"(?ms)^ *```.*?^ *```$", "", page.read_text("utf-8"))
    return [" ".join(piece.split()) for piece in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]
