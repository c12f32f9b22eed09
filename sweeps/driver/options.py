"""The options that every sweep script has."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from analysis.record.schema import OBJECTIVE, SECONDS_TRAINED
from analysis.record.tracking_uri import (
    DEFAULT_EXPERIMENT,
    DEFAULT_URI,
    EXPERIMENT_VARIABLE,
    URI_VARIABLE,
    default_experiment,
    default_uri,
    experiment_name,
    named_by,
)
from sweeps.execution.resources import HANG_TIMEOUT_S, Resources
from sweeps.mlflow_ui.registry import registered_name
from trainable.cli.options import ConfigOptions, add_config_options, add_no_reuse, whole
from trainable.cli.parser import OptionGroup, Parser
from trainable.storage.redaction import UNQUOTED, is_unclear, read_uri, redact_uri

STORES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https")


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """The options of `add_store_options`.

    Attributes:
        tracking_uri: MLflow store.
        experiment: MLflow's experiment in it.
        storage: Folder or object store of the run folders.
    """

    tracking_uri: str
    experiment: str
    storage: str


@dataclass(frozen=True, kw_only=True)
class SweepOptions(ConfigOptions, StoreOptions):
    """The options of `sweep_parser`.

    Attributes:
        seeds: How many each setting has.
        objectives: Metrics that settings are judged by, as they were named; empty is the default.
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
        register: The registered model that it becomes a version of, None for none.
        out: Folder of figures.
        json: Whether one JSON object goes to standard output.
    """

    seeds: int
    objectives: list[str]
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
    register: str | None
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


def sweep_parser(
    description: str,
    example: str = "--seeds 4 --plan",
    seeds: int | None = 3,
    kind: type[Parser] = Parser,
) -> Parser:
    """Return the parser of a sweep script; the script adds the options of its own axes.

    Args:
        description: The docstring of the script.
        example: Options of the script, to show what it is for.
        seeds: How many each setting has by default; None where a file says it.
        kind: The class of the parser.
    """
    parser = kind(description=description, example=example, own="what is swept")
    add_config_options(parser)
    _add_objective(parser)
    _add_seeds(parser, seeds)
    add_store_options(parser)
    _add_resources(parser)
    _add_limits(parser)
    _add_output(parser)
    return parser


def _add_objective(parser: Parser) -> None:
    group = parser.group("objective", "--objective val/miou --objective cost/train_s")
    group.add_argument(
        "--objective",
        dest="objectives",
        action="append",
        default=[],
        metavar="NAME",
        help="metric that ranks settings, such as val/miou, miou_per_image or iou/CLASS (default: "
        f"{OBJECTIVE}); with others, such as {SECONDS_TRAINED}, their Pareto front is told, too",
    )
    parser.rarely("--objective")


def _add_seeds(parser: Parser, default: int | None) -> None:
    group = parser.group("seeds", "--seeds 3 --race --race-limit 12")
    group.add_argument(
        "--seeds",
        type=whole(most=10_000),
        default=default,
        metavar="N",
        help=f"per setting (default: {default or 'as the file says, or 3'})",
    )
    group.add_argument(
        "--race",
        action="store_true",
        help="more seeds for those that may be the best alone",
    )
    group.add_argument(
        "--race-limit",
        type=whole(most=10_000),
        default=10,
        metavar="N",
        help="most seeds of a setting in a race (default: 10)",
    )
    parser.rarely("--race-limit")


def _add_resources(parser: Parser) -> None:
    group = parser.group("resources", "--max-concurrent 4 --gpus-per-trial 0.5")
    group.add_argument("--address", metavar="RAY", help="Ray cluster (default: this machine)")
    group.add_argument(
        "--max-concurrent",
        type=whole(),
        metavar="N",
        help="training runs at a time (default: as many as fit)",
    )
    group.add_argument(
        "--cpus-per-trial",
        type=number(positive=True),
        default=1.0,
        metavar="X",
        help="CPU slots, and threads, of a training run (default: 1)",
    )
    group.add_argument(
        "--gpus-per-trial",
        type=_share,
        metavar="X",
        help="share of a GPU (default: 1 where there is one); `auto` measures how many runs fit",
    )
    parser.rarely("--address", "--max-concurrent", "--cpus-per-trial", "--gpus-per-trial")


def _add_limits(parser: Parser) -> None:
    group = parser.group("limits", "--time-budget 3600 --max-trials 50")
    group.add_argument(
        "--time-budget",
        type=number(positive=True),
        metavar="SECONDS",
        help="start no step of training after this time",
    )
    group.add_argument(
        "--gpu-hours",
        type=number(positive=True),
        metavar="X",
        help="start no step of training when so many hours of whole GPUs are used",
    )
    group.add_argument(
        "--hang-timeout",
        type=number(positive=True),
        default=HANG_TIMEOUT_S,
        metavar="SECONDS",
        help=f"kill a worker that is silent so long, and try again (default: {HANG_TIMEOUT_S:g})",
    )
    group.add_argument(
        "--max-trials",
        type=whole(),
        metavar="N",
        help="begin no run when so many trials have ended",
    )
    parser.rarely("--time-budget", "--gpu-hours", "--hang-timeout", "--max-trials")


def _add_output(parser: Parser) -> None:
    group = parser.group("output", "--plan --json")
    group.add_argument(
        "--plan", action="store_true", help="print what would be trained, and train nothing"
    )
    group.add_argument(
        "--json", action="store_true", help="one JSON object on standard output, at the end"
    )
    group.add_argument("--no-figures", action="store_true", help="draw no figures at the end")
    group.add_argument(
        "--no-model",
        action="store_true",
        help="log no model of the best trial at the end; `python -m sweeps.publish` does it later",
    )
    add_register(group)
    group.add_argument(
        "--out", default="figures/", metavar="DIR", help="folder of figures (default: figures/)"
    )
    add_no_reuse(group)
    parser.rarely("--out", "--no-figures", "--no-model", "--register", "--no-reuse", "--json")


def add_register(parser: OptionGroup) -> None:
    """Add the option that registers the model of the best trial."""
    parser.add_argument(
        "--register",
        type=registered_name,
        metavar="NAME",
        help="make the model of the best trial a version of this registered model of MLflow",
    )


def add_tracking_uri(parser: OptionGroup) -> None:
    """Add the option that says which store holds the record."""
    parser.add_argument(
        "--tracking-uri",
        type=tracking_uri,
        default=default_uri(),
        metavar="URI",
        help=f"MLflow store (default: ${URI_VARIABLE} or {DEFAULT_URI}); `-` reads it from "
        "standard input",
    )


def add_experiment(parser: OptionGroup) -> None:
    """Add the option that says which experiment of the store holds the record."""
    parser.add_argument(
        "--experiment",
        type=experiment_name,
        default=default_experiment(),
        metavar="NAME",
        help=f"MLflow's experiment (default: ${EXPERIMENT_VARIABLE} or {DEFAULT_EXPERIMENT})",
    )


def add_store_options(parser: Parser) -> None:
    """Add the options that say where the record and the run folders are."""
    group = parser.group("record and storage", "--tracking-uri http://localhost:5000")
    add_tracking_uri(group)
    add_experiment(group)
    group.add_argument(
        "--storage",
        default="runs/",
        metavar="DIR|URI",
        help="run folders, for all nodes to see (default: runs/)",
    )


def tracking_uri(text: str) -> str:
    """Read the option that names an MLflow store."""
    uri = read_uri(text)
    of = named_by(URI_VARIABLE, text)
    scheme = uri.partition("://")[0].partition("+")[0]
    if "://" not in uri or scheme not in STORES:
        raise argparse.ArgumentTypeError(
            f"must begin with one of {', '.join(STORES)} and `://`, but got {redact_uri(uri)!r}{of}"
        )
    if is_unclear(uri):
        raise argparse.ArgumentTypeError(f"must say where its password ends{of}: {UNQUOTED}")
    return uri


def _share(text: str) -> float | str:
    return text if text == "auto" else number(positive=False)(text)


def number(*, positive: bool) -> Callable[[str], float]:
    """Return what reads a number, above 0 or of at least 0, for an option."""
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
