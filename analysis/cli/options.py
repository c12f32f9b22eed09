"""The options that the commands of the analysis share, and the way bad input is refused.

Those of `trainable.cli` read configs, which the analysis does without.
"""

from __future__ import annotations

import argparse

from analysis.record.tracking_uri import (
    DEFAULT_EXPERIMENT,
    DEFAULT_URI,
    EXPERIMENT_VARIABLE,
    URI_VARIABLE,
    default_experiment,
    default_uri,
    experiment_name,
)
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
        default=default_uri(),
        help=f"MLflow store (default: ${URI_VARIABLE} or {DEFAULT_URI}); `-` reads it from "
        "standard input",
    )
    parser.add_argument(
        "--experiment",
        type=experiment_name,
        metavar="NAME",
        default=default_experiment(),
        help=f"MLflow's experiment (default: ${EXPERIMENT_VARIABLE} or {DEFAULT_EXPERIMENT})",
    )
    parser.add_argument("--no-cache", dest="cache", action="store_false", help=no_cache)
