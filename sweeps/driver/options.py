"""The options that every sweep script has."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass

from sweeps.execution.resources import HANG_TIMEOUT_S
from trainable.cli.options import Parser, add_config_options, add_no_reuse, whole
from trainable.storage.redaction import UNQUOTED, is_unclear, read_uri, redact_uri

STORES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https")


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """The options of `add_store_options`.

    Attributes:
        tracking_uri: MLflow store.
        storage: Folder or object store of the run folders.
    """

    tracking_uri: str
    storage: str


def sweep_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of a sweep script; the script adds the options of its own axes."""
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_options(parser)
    parser.add_argument(
        "--seeds",
        type=whole(most=10_000),
        default=3,
        metavar="N",
        help="seeds per setting (default: 3)",
    )
    parser.add_argument(
        "--race",
        action="store_true",
        help="give more seeds to settings whose intervals overlap the best's, and to no others",
    )
    parser.add_argument(
        "--race-limit",
        type=whole(most=10_000),
        default=10,
        metavar="N",
        help="most seeds of a setting in a race (default: 10)",
    )
    parser.add_argument(
        "--plan", action="store_true", help="print what would be trained, and train nothing"
    )
    add_store_options(parser)
    parser.add_argument("--address", metavar="RAY", help="Ray cluster (default: this machine)")
    parser.add_argument(
        "--max-concurrent", type=whole(), metavar="N", help="training runs at a time"
    )
    parser.add_argument(
        "--cpus-per-trial",
        type=_number(positive=True),
        default=1.0,
        metavar="X",
        help="CPU slots, and threads, of a training run (default: 1)",
    )
    parser.add_argument(
        "--gpus-per-trial",
        type=_share,
        metavar="X",
        help="share of a GPU (default: 1 where there is one); `auto` measures how many runs fit",
    )
    parser.add_argument(
        "--time-budget",
        type=_number(positive=True),
        metavar="SECONDS",
        help="start no step of training after this time",
    )
    parser.add_argument(
        "--gpu-hours",
        type=_number(positive=True),
        metavar="X",
        help="start no step of training when so many hours of whole GPUs are used",
    )
    parser.add_argument(
        "--hang-timeout",
        type=_number(positive=True),
        default=HANG_TIMEOUT_S,
        metavar="SECONDS",
        help=f"kill a worker that is silent so long, and try again (default: {HANG_TIMEOUT_S:g})",
    )
    parser.add_argument(
        "--max-trials",
        type=whole(),
        metavar="N",
        help="begin no run when so many trials have ended",
    )
    add_no_reuse(parser)
    parser.add_argument("--no-figures", action="store_true", help="draw no figures at the end")
    parser.add_argument(
        "--no-model",
        action="store_true",
        help="log no model of the best trial at the end; `python -m sweeps.publish` does it later",
    )
    parser.add_argument(
        "--out", default="figures/", metavar="DIR", help="folder of figures (default: figures/)"
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object on standard output, at the end"
    )
    return parser


def add_tracking_uri(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where the record is."""
    parser.add_argument(
        "--tracking-uri",
        type=tracking_uri,
        default="sqlite:///mlflow.db",
        metavar="URI",
        help="MLflow store (default: sqlite:///mlflow.db); `-` reads it from standard input",
    )


def add_store_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where the record and the run folders are."""
    add_tracking_uri(parser)
    parser.add_argument(
        "--storage",
        default="runs/",
        metavar="DIR|URI",
        help="folder of run folders, which all nodes see, or an object store (default: runs/)",
    )


def tracking_uri(text: str) -> str:
    """Read the option that names an MLflow store."""
    uri = read_uri(text)
    scheme = uri.partition("://")[0].partition("+")[0]
    if "://" not in uri or scheme not in STORES:
        raise argparse.ArgumentTypeError(
            f"must begin with one of {', '.join(STORES)} and `://`, but got {redact_uri(uri)!r}"
        )
    if is_unclear(uri):
        raise argparse.ArgumentTypeError(f"must say where its password ends: {UNQUOTED}")
    return uri


def _share(text: str) -> float | str:
    return text if text == "auto" else _number(positive=False)(text)


def _number(*, positive: bool) -> Callable[[str], float]:
    rule = "above 0" if positive else "of at least 0"

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < 0 or (positive and value == 0):
            raise argparse.ArgumentTypeError(f"must be a number {rule}, but got {text!r}")
        return value

    return read
