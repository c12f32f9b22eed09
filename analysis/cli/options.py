"""The options that the commands of the analysis share, and the way bad input is refused.

Those of `trainable.cli` read configs, which the analysis does without.
"""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from trainable.storage.redaction import printable, read_uri, redact


class Parser(argparse.ArgumentParser):
    """argparse with one line per error, the form that every other bad input has."""

    def error(self, message: str) -> NoReturn:
        raise SystemExit(refuse(f"{message}; see `{self.prog} --help`"))


def refuse(message: str) -> int:
    """Say in one line on standard error why the input is not usable, and return the exit code."""
    print(f"error: {printable(redact(' '.join(message.split())))}", file=sys.stderr)
    return 2


def add_record_options(parser: argparse.ArgumentParser, *, no_cache: str) -> None:
    """Add the options that say which record is read, and whether what is kept of it serves.

    Args:
        parser: The parser of a command.
        no_cache: What `--no-cache` does there.
    """
    parser.add_argument(
        "--tracking-uri",
        type=read_uri,
        metavar="URI",
        default="sqlite:///mlflow.db",
        help="MLflow store (default: sqlite:///mlflow.db); `-` reads it from standard input",
    )
    parser.add_argument("--no-cache", dest="cache", action="store_false", help=no_cache)
