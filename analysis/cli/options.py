"""The options that the commands of the analysis share, and the way bad input is refused.

Those of `trainable.cli` read configs, which the analysis does without.
"""

from __future__ import annotations

import argparse

from trainable.storage.redaction import read_uri


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
