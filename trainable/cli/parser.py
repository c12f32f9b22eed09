"""The parser of every command: groups of options, help that fits a screen, errors of one line.

All three packages use this module; it imports nothing but the standard library and what else they
share.
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import textwrap
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, Protocol

from trainable.storage.redaction import HIDDEN, printable, redact, redact_command, shorten

CONSOLE = "pwa"  # the command whose subcommands are all others
MOST_WORD, MOST_MESSAGE = 400, 4000  # characters of a word, such as a path, and of all
BAD_INPUT = 2
SUCH_AS = ", such as "  # between the title of a group and its example


class OptionGroup(Protocol):
    """What options can be added to: a parser or a group of one."""

    def add_argument(self, *names: str, **how: Any) -> argparse.Action:
        """Add an option, as argparse does."""

    def add_mutually_exclusive_group(self) -> OptionGroup:
        """Return a group of options of which one may stand."""


class Parser(argparse.ArgumentParser):
    """argparse with two lengths of help, and one line per error, as every bad input has.

    `--help` shows the options that are used most and the first paragraph of the description, and
    fits a screen; `--help-all` shows all.

    Args:
        description: The docstring of the command.
        example: Words after the command that show what it is for; none for a subcommand.
        module: The module that `python -m` runs, empty for a script.
        own: The title of the options that belong to no group.
        others: As `argparse.ArgumentParser` takes them.
    """

    def __init__(
        self,
        *,
        description: str | None = None,
        example: str = "",
        module: str = "",
        own: str = "options",
        **others: Any,
    ) -> None:
        prog = others.pop("prog", None) or shlex.join(program(module))
        super().__init__(prog=prog, description=description, add_help=False, **others)
        self._optionals.title = own
        self._rare: set[str] = set()
        self.example = example
        self.examples_of_groups: list[str] = []
        self.formatter_class = partial(_ShortHelp, hidden=self._rare)
        self.add_argument("-h", "--help", action="help", help=argparse.SUPPRESS)
        self.add_argument("--help-all", action=_HelpAll)

    def group(self, title: str, example: str) -> OptionGroup:
        """Return a group of options; its title in `--help-all` has an example of their use."""
        self.examples_of_groups.append(example)
        return self.add_argument_group(f"{title}{SUCH_AS}{example}")

    def rarely(self, *options: str) -> None:
        """Leave options to `--help-all`."""
        self._rare.update(options)

    def format_help(self) -> str:
        """Return what `--help` prints."""
        more = "--help-all shows every option" if self._rare else "--help-all tells more"
        return f"{super().format_help()}{self._example()}{more}\n"

    def format_everything(self) -> str:
        """Return what `--help-all` prints."""
        shown, self.formatter_class = self.formatter_class, _Help
        try:
            return f"{super().format_help()}{self._example()}"
        finally:
            self.formatter_class = shown

    def _example(self) -> str:
        return f"\nexample: {self.prog} {self.example}\n" if self.example else "\n"

    def add_subparsers(self, **options: Any) -> Any:
        """Add subcommands, each of them with both lengths of help."""
        return super().add_subparsers(**{"prog": self.prog, **options})

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        refuse(f"{message}; see `{self.prog} --help`")


class _HelpAll(argparse.Action):
    def __init__(self, option_strings: Sequence[str], **_: Any) -> None:
        unsaid = argparse.SUPPRESS
        super().__init__(option_strings, dest=unsaid, default=unsaid, nargs=0, help=unsaid)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        assert isinstance(parser, Parser)  # nosec B101  # no other has this action
        sys.stdout.write(parser.format_everything())
        parser.exit()


class _Help(argparse.RawDescriptionHelpFormatter):
    """Help whose usage names what must be given, and says that there are options."""

    def __init__(self, prog: str, **others: Any) -> None:
        super().__init__(prog, **{"max_help_position": 26, **others})

    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[Any],
        prefix: str | None = None,
    ) -> None:
        needed = [one for one in actions if one.required or not one.option_strings]
        words = usage or f"{self._prog} [options]{_usage_of(needed)}".replace("%", "%%")
        indent = " " * len("usage: ")
        wrapped = textwrap.fill(words, self._width, initial_indent=indent, subsequent_indent=indent)
        super().add_usage(wrapped.strip(), [], [], prefix)


class _ShortHelp(_Help):
    """Help without some of the options, without examples of groups and lines between them."""

    def __init__(self, prog: str, *, hidden: set[str], **others: Any) -> None:
        super().__init__(prog, **others)
        self._hidden = hidden

    def format_help(self) -> str:
        """Return the help, in which a title of a group alone begins without a blank line."""
        return re.sub(r"(?<=\n)\n(?=\S.*:\n {2})", "", super().format_help())

    def start_section(self, heading: str | None) -> None:
        super().start_section((heading or "").partition(SUCH_AS)[0])

    def add_text(self, text: str | None) -> None:
        first = (text or "").strip().partition("\n\n")[0]
        super().add_text(textwrap.fill(first, self._width) if first else None)

    def add_arguments(self, actions: Iterable[argparse.Action]) -> None:
        shown = [one for one in actions if self._hidden.isdisjoint(one.option_strings)]
        super().add_arguments(shown)


def _usage_of(actions: Sequence[argparse.Action]) -> str:
    formatter = argparse.HelpFormatter(prog="", width=10_000)
    formatter.add_usage(None, actions, [], "")
    words = formatter.format_help().strip()
    return f" {words}" if words else ""


def program(module: str = "") -> list[str]:
    """Return the words that start this program, without its options.

    Args:
        module: The module that `python -m` runs, empty for a script.
    """
    name, _, subcommand = sys.argv[0].partition(" ")
    if name == CONSOLE:  # which puts both words there
        return [name, subcommand]
    return [Path(sys.executable).name, *(["-m", module] if module else [sys.argv[0]])]


def command_line(*words: str) -> str:
    """Return a command of a shell, with its secrets hidden, and whether there are any."""
    shown = shlex.join(redact_command(words))
    return f"{shown} (with the secret for {HIDDEN})" if HIDDEN in shown else shown


def refuse(message: str) -> NoReturn:
    """Say in one line on standard error why the input is not usable, and exit with 2."""
    raise SystemExit(refusal(message))


def refusal(message: str) -> int:
    """Say in one line on standard error why the input is not usable, and return the exit code.

    What gives access is not said: a word of the command line may hold it.
    """
    words = " ".join(shorten(word, MOST_WORD) for word in printable(redact(message)).split())
    sys.stderr.write(f"error: {shorten(words, MOST_MESSAGE)}\n")
    return BAD_INPUT
