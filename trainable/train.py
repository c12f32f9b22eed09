"""Train one trial on this machine, without Ray, or repeat exactly what a run folder holds.

    python -m trainable.train --set lambda_adv=0.05
    python -m trainable.train --run-folder runs/0123456789abcdef
    python -m trainable.train --fields lambda

The first trains in the run folder that a sweep would use: what is there already is not trained
again, and what was interrupted is resumed. The second trains the same once more, from the
beginning, in a temporary folder, and compares every number: exit code 0 where all digits are the
same, 1 where some differ, whatever the reason; where the kind of CPU, the device, torch or the code
is another, that is said as the reason. The third lists the fields of a config that have a word in
their name or meaning, and without a word all: what `--set` and `--config` may give.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from trainable.cli.options import (
    INTERRUPTED,
    OK,
    SOME_FAILED,
    ConfigOptions,
    add_config_options,
    add_network,
    add_no_reuse,
    check_writable,
    command,
    config_of,
    ended_by_signals,
    execution_of,
    give_up,
    resume_command,
    whole,
)
from trainable.cli.parsed_options import read_options
from trainable.cli.parser import Parser, refuse
from trainable.cli.progress import train_to_end
from trainable.cli.reproduce import repeat
from trainable.config.fields import describe_fields
from trainable.config.schema import ConfigError, Readout
from trainable.data import datasets
from trainable.data.datasets import DataFacts
from trainable.networks import pretrained
from trainable.networks.custom_check import check_networks
from trainable.runs.folder import RunFolder, RunFolderLockedError
from trainable.runs.keys import RunSpec, readout_key, trial_key
from trainable.runs.results import Failure, Result, outcome
from trainable.runs.trial import resolve, train_run
from trainable.storage.faults import machine_fault
from trainable.training.metrics import METRICS
from trainable.training.trainer import NonFiniteLossError


@dataclass(frozen=True, kw_only=True)
class TrainOptions(ConfigOptions):
    """The options of this command.

    Attributes:
        storage: Folder of run folders, None for the default.
        threads: How many threads of the CPU to use, None for torch's choice.
        no_reuse: The attempt to train for, None to take what is there.
        run_folder: What to repeat, None to train.
        network: Networks of one's own that the run folder may name.
        fields: The word whose fields are listed, empty for all, None to train.
        json: Whether one JSON object goes to standard output.
    """

    storage: str | None
    threads: int | None
    no_reuse: str | None
    run_folder: str | None
    network: tuple[str, ...]
    fields: str | None
    json: bool


@ended_by_signals()
@command
def main() -> int:
    """Do what the command line asks for, and return the exit code."""
    options = read_options(TrainOptions, parser().parse_args())
    try:
        if options.fields is not None:
            print("\n".join(describe_fields(options.fields)))
            return OK
        if options.run_folder is None:
            return _train(options)
        return _repeat(Path(options.run_folder), options)
    except (ConfigError, RunFolderLockedError) as error:
        refuse(str(error))
    except KeyboardInterrupt:
        ends = "a repetition keeps nothing"
        if options.run_folder is None:
            command = resume_command(options.no_reuse, "trainable.train")
            ends = f"resume from the last checkpoint with: {command}"
        print(f"interrupted; {ends}", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        fault = machine_fault(error)
        if fault is None or options.run_folder is not None:
            raise
        command = resume_command(options.no_reuse, "trainable.train")
        return give_up(fault, f"mend that and resume from the last checkpoint with: {command}")


def _train(options: TrainOptions) -> int:
    """Train the trial that the options name, unless its result is there."""
    storage = Path(options.storage or "runs/")
    check_writable("the storage (--storage)", storage)
    spec, data = _spec(options)
    folder = RunFolder(storage, spec.training_key)
    found = outcome(folder, spec)
    if found is None:
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        watched = partial(train_to_end, where=str(folder.path))
        found = train_run(spec, storage, watched)
    else:
        _say(options, f"{folder.path} holds the {_kind(found)} already; --no-reuse trains again")
    return _conclude(options, spec, data, folder, found)


def _spec(options: TrainOptions) -> tuple[RunSpec, DataFacts]:
    """Look at the data and the weights that the options name.

    Returns:
        What is to be trained, and what is to be known of its data.
    """
    config = resolve(config_of(options))
    data = datasets.inspect(config)
    for line in data.describe():
        _say(options, line)
    pretrained.check_start(config)
    check_networks([config], len(data.classes))
    if config.weights:
        _say(options, pretrained.try_out(config, len(data.classes)).describe())
    spec = RunSpec.of(config, [config.readout], data.fingerprint, options.no_reuse or "")
    return spec, data


def _conclude(
    options: TrainOptions,
    spec: RunSpec,
    data: DataFacts,
    folder: RunFolder,
    found: Result | Failure,
) -> int:
    """Say what the run folder holds of the trial, and return the exit code."""
    failure = found.cause if isinstance(found, Failure) else None
    said: dict[str, Any] = {
        "training_key": spec.training_key,
        "trial_key": trial_key(spec.config, spec.data_fingerprint),
        "run_folder": str(folder.path),
        "skipped": list(data.skipped),
        "data_warnings": list(data.warnings),
        "failure": failure,
    }
    match found:
        case Failure():
            print(f"error: {failure}", file=sys.stderr)
        case Result():
            said |= _numbers(found, spec.config.readout)
            for line in _result_lines(said):
                _say(options, line)
    _say(options, f"run folder: {folder.path}")
    if options.json:
        print(json.dumps(said))
    return OK if failure is None else SOME_FAILED


def _kind(found: Result | Failure) -> str:
    return "result" if isinstance(found, Result) else "failure"


def _numbers(result: Result, readout: Readout) -> dict[str, Any]:
    """Return what a result says of one trial."""
    metrics = {"val": result.val, "swa": result.readouts[readout_key(readout)]["swa"]}
    left_out = {
        which: [name for name, iou in zip(result.classes, of["iou"], strict=True) if iou is None]
        for which, of in metrics.items()
    }
    return {
        **metrics,
        "left_out": left_out,
        "classes": result.classes,
        "iterations": result.iterations,
        "train_s": result.train_s,
        "images_per_s": result.images_per_s,
    }


def _result_lines(said: dict[str, Any]) -> Iterator[str]:
    yield (
        f"{said['iterations']} iterations in {said['train_s']:.1f} s, "
        f"{said['images_per_s']:.1f} images/s"
    )
    for which in ("val", "swa"):
        yield "  ".join(f"{which}/{name} {said[which][name]:.4f}" for name in METRICS)
        if said["left_out"][which]:
            yield f"left out of the mean of {which}/miou: {', '.join(said['left_out'][which])}"


def _repeat(folder: Path, options: TrainOptions) -> int:
    """Train again what a run folder holds, and say what of its numbers differs."""
    execution = _execution(options)
    try:
        repeated = repeat(folder, execution, partial(_say, options), options.network)
    except NonFiniteLossError as error:
        print(f"error: the repetition ended without numbers: {error}", file=sys.stderr)
        return SOME_FAILED
    for line in [*repeated.differ, repeated.describe()]:
        _say(options, line)
    if options.json:
        print(json.dumps(dataclasses.asdict(repeated)))
    return SOME_FAILED if repeated.differ else OK


def _execution(options: TrainOptions) -> dict[str, Any]:
    """Return the fields that the options set for a repetition, none of which decides its numbers.

    Raises:
        ConfigError: An option would train something else.
    """
    rule = "--run-folder repeats what the folder holds"
    for name in ("preset", "config", "storage", "threads", "no_reuse"):
        if getattr(options, name) is not None:
            raise ConfigError(f"{rule}, but got --{name.replace('_', '-')}, too; leave it out")
    return execution_of(options, f"{rule} and")


def _say(options: TrainOptions, text: str) -> None:
    print(text, file=sys.stderr if options.json else sys.stdout)


def parser() -> Parser:
    """Return the options of this command."""
    options = Parser(
        description=__doc__,
        module="trainable.train",
        example="--set lambda_adv=0.05 --set iterations=120",
    )
    add_config_options(options)
    options.add_argument("--storage", metavar="DIR", help="folder of run folders (default: runs/)")
    options.add_argument(
        "--threads",
        type=whole(most=4096),
        metavar="N",
        help="of the CPU (default: torch's choice); the last digits depend on it",
    )
    add_no_reuse(options)
    options.add_argument(
        "--run-folder",
        metavar="DIR",
        help="repeat what it holds, with as many threads, and compare; only --data-root and --set "
        "of fields that decide no number may stand beside it",
    )
    add_network(options)
    options.add_argument(
        "--json", action="store_true", help="one JSON object on standard output, at the end"
    )
    options.add_argument(
        "--fields",
        nargs="?",
        const="",
        metavar="WORD",
        help="list the fields of a config that have a word in name or meaning (default: all)",
    )
    # So that a repetition sees whether a preset was asked for.
    options.set_defaults(preset=None)
    return options


if __name__ == "__main__":
    sys.exit(main())
