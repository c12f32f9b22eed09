"""Time whole training steps on random images, and print one JSON object.

    python -m trainable.benchmark --crop 129 --batch 2 --baseline

times the config that the options name, by default the paper's, and, as asked for, the loop that
people write (`--baseline`), the same training without its averages (`--readouts`), and the same
with another value of a field (`--against precision=fp32`). All run in one process and in turn, so
that noise hits them alike.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from typing import Any

import torch

from trainable.benchmarking.timing import benchmark
from trainable.cli.options import (
    OK,
    ConfigOptions,
    add_config_options,
    command,
    config_of,
    ended_by_signals,
)
from trainable.cli.parsed_options import read_options
from trainable.cli.parser import Parser, refuse
from trainable.config.places import Override
from trainable.config.schema import ConfigError, TrialConfig
from trainable.data.sources.labels import VOID
from trainable.training.devices import pick_device
from trainable.training.numerics import check_precision

ENDLESS = 10**8  # iterations of the training that is timed: the most that a config takes
# Options that are short for `--set`.
FIELDS = {
    "device": "device",
    "generator": "generator",
    "crop": "crop_px",
    "batch": "batch_size",
    "precision": "precision",
    "compile": "compile",
}
# Option, least and most value, default, meaning.
NUMBERS: tuple[tuple[str, int, int, int | None, str], ...] = (
    ("classes", 2, VOID, 21, "of the random labels (default: 21)"),
    ("readouts", 0, 10_000, 0, "averages carried along, every swa_n iterations (default: 0)"),
    ("rounds", 1, 10_000, 20, "of 1 iteration on a CPU, 10 on a GPU, or swa_n (default: 20)"),
    ("warmup", 1, 10_000, None, "iterations before (default: 2 on a CPU, 20 on a GPU)"),
    ("threads", 1, 1024, None, "of the CPU (default: torch's)"),
)


@dataclass(frozen=True, kw_only=True)
class BenchmarkOptions(ConfigOptions):
    """The options of this command.

    Attributes:
        device: What computes. This and the next five are values of fields, as text; None stands for
            the config's own.
        generator: The network.
        crop: Side of a crop, in pixels.
        batch: Images of a batch.
        precision: The precision of the forward pass.
        compile: `true` or None.
        classes: How many classes the random labels have.
        readouts: How many averages are carried along.
        rounds: How often each is timed.
        warmup: Iterations before that, None for the device's default.
        threads: How many threads of the CPU to use, None for torch's choice.
        baseline: Whether the plain loop is timed, too.
        against: Texts `key=value` to be timed, too.
    """

    device: str | None
    generator: str | None
    crop: str | None
    batch: str | None
    precision: str | None
    compile: str | None
    classes: int
    readouts: int
    rounds: int
    warmup: int | None
    threads: int | None
    baseline: bool
    against: tuple[str, ...]


@ended_by_signals()
@command
def main() -> int:
    """Time what the command line asks for, print the numbers, and return the exit code."""
    options = read_options(BenchmarkOptions, parser().parse_args())
    try:
        _check(options)
        config = _endless(options)
        others = {change: _endless(options, change) for change in options.against}
        for change, other in others.items():
            _check_process_wide(change, config, other)
        device = pick_device(config.device)
        for one in (config, *others.values()):
            check_precision(one.precision, device)
    except ConfigError as error:
        refuse(str(error))
    if options.threads:
        torch.set_num_threads(options.threads)
    numbers = benchmark(
        config,
        others,
        device,
        classes=options.classes,
        readouts=options.readouts,
        rounds=options.rounds,
        warmup=options.warmup,
        baseline=options.baseline,
    )
    short = json.loads(json.dumps(numbers), parse_float=lambda text: float(f"{float(text):.5g}"))
    print(json.dumps(short, indent=2))
    return OK


def parser() -> Parser:
    """Return the options of this command."""
    options = Parser(
        description=__doc__,
        module="trainable.benchmark",
        example="--crop 129 --batch 2 --baseline",
    )
    add_config_options(options, preset="voc2012")
    for name, field in FIELDS.items():
        value: dict[str, Any] = {"metavar": "VALUE"}
        if name == "compile":
            value = {"action": "store_const", "const": "true"}
        options.add_argument(f"--{name}", help=f"short for `--set {field}=...`", **value)
    for name, _, _, default, meaning in NUMBERS:
        options.add_argument(f"--{name}", type=int, default=default, metavar="N", help=meaning)
    options.add_argument("--baseline", action="store_true", help="time a plain loop, too")
    options.add_argument(
        "--against",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="time this value of a field, too; may stand several times",
    )
    return options


def _check(options: BenchmarkOptions) -> None:
    for name, least, most, _, _ in NUMBERS:
        value = getattr(options, name)
        if value is not None and not least <= value <= most:
            raise ConfigError(f"`{least} <= {name} <= {most}` must hold, but got {name}={value}")


def _endless(options: BenchmarkOptions, *changes: str) -> TrialConfig:
    """Return the config of the options and changes, to be averaged from the first iteration on."""
    given = [(name, field, getattr(options, name)) for name, field in FIELDS.items()]
    short = [
        Override(f"{field}={value}", by=f"--{name} {value}")
        for name, field, value in given
        if value is not None
    ]
    overrides = (*options.overrides, *short, *changes, f"iterations={ENDLESS}", "swa_threshold=0")
    return config_of(dataclasses.replace(options, overrides=overrides))


def _check_process_wide(change: str, config: TrialConfig, other: TrialConfig) -> None:
    for name in ("device", "deterministic"):
        if getattr(config, name) != getattr(other, name):
            raise ConfigError(
                f"`--against` must not set {name}, which holds for a whole process, but got "
                f"{change}; run the command once for each value"
            )


if __name__ == "__main__":
    sys.exit(main())
