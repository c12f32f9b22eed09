"""The options that every sweep script has."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from sweeps.execution.resources import HANG_TIMEOUT_S, Resources
from trainable.cli.options import ConfigOptions, Parser, add_config_options, add_no_reuse, whole
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


@dataclass(frozen=True, kw_only=True)
class SweepOptions(ConfigOptions, StoreOptions):
    """The options of `sweep_parser`.

    Attributes:
        seeds: How many each setting has.
        race: Whether more seeds go to the settings that may be the best, and to no others.
        race_limit: Most seeds of a setting in a race.
        plan: Whether the plan is printed, and nothing trained.
        address: Ray cluster, None for this machine.
        max_concurrent: Training runs at a time, None for as many as fit.
        cpus_per_trial: CPU slots, and threads, of a training run.
        gpus_per_trial: Share of a GPU; `auto` is measured, None is 1 where there is a GPU.
        time_budget: Seconds after which no step of training begins, None for no end.
        gpu_hours: Hours of whole GPUs after which none begins, None for no end.
        hang_timeout: Seconds of silence after which a worker is killed.
        max_trials: After how many ended trials no run begins, None for no end.
        no_reuse: The attempt to train for, None to take what is there.
        no_figures: Whether no figures are drawn at the end.
        no_model: Whether no model of the best trial is logged at the end.
        out: Folder of figures.
        json: Whether one JSON object goes to standard output.
    """

    seeds: int
    race: bool
    race_limit: int
    plan: bool
    address: str | None
    max_concurrent: int | None
    cpus_per_trial: float
    gpus_per_trial: float | Literal["auto"] | None
    time_budget: float | None
    gpu_hours: float | None
    hang_timeout: float
    max_trials: int | None
    no_reuse: str | None
    no_figures: bool
    no_model: bool
    out: str
    json: bool

    @property
    def resources(self) -> Resources:
        """What a training run may take, and where."""
        return Resources(
            address=self.address,
            cpus_per_trial=self.cpus_per_trial,
            gpus_per_trial=self.gpus_per_trial,
            max_concurrent=self.max_concurrent,
            time_budget_s=self.time_budget,
            gpu_hours=self.gpu_hours,
            hang_timeout_s=self.hang_timeout,
        )


def sweep_parser(description: str) -> argparse.ArgumentParser:
    """Return the parser of a sweep script; the script adds the options of its own axes."""
    parser = Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config_options(parser)
    _add_seeds(parser)
    parser.add_argument(
        "--plan", action="store_true", help="print what would be trained, and train nothing"
    )
    add_store_options(parser)
    _add_resources(parser)
    _add_limits(parser)
    add_no_reuse(parser)
    _add_output(parser)
    return parser


def _add_seeds(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seeds",
        type=whole(most=10_000),
        default=3,
        metavar="N",
        help="seeds per setting (default: %(default)s)",
    )
    parser.add_argument(
        "--race",
        action="store_true",
        help="give more seeds to settings that may still be the best, and to no others",
    )
    parser.add_argument(
        "--race-limit",
        type=whole(most=10_000),
        default=10,
        metavar="N",
        help="most seeds of a setting in a race (default: 10)",
    )


def _add_resources(parser: argparse.ArgumentParser) -> None:
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


def _add_limits(parser: argparse.ArgumentParser) -> None:
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


def _add_output(parser: argparse.ArgumentParser) -> None:
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
