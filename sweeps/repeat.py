"""Train a recorded trial again from the beginning, in a temporary folder, and compare the numbers.

    python -m sweeps.repeat RUN_ID [--tracking-uri URI] [--data-root DIR] [--set device=cuda]

RUN_ID is MLflow's id of a finished trial. Numbers, curves and IoU per class must come out with the
same digits; times and speed are not compared. Exit codes: 0 all are the same, 1 some differ, 2 the
run is no finished trial, or code or data are not those that it was trained with. On another kind of
CPU, device or torch, digits may differ though the training is the same: the exit code is 1, and the
reason is printed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from analysis.record.schema import DETAIL_FILE
from analysis.record.tracking_uri import artifacts_folder
from sweeps.driver.options import add_tracking_uri
from sweeps.planning.plan import Trial
from sweeps.record.ended_run import EndedRun, detail_of, final_points
from sweeps.record.mlflow_store import STORE_ERRORS
from sweeps.record.reader import RecordedTrial, read_trial
from trainable.cli.options import (
    INTERRUPTED,
    OK,
    SOME_FAILED,
    ConfigOptions,
    add_network,
    add_set,
    command,
    ended_by_signals,
    execution_of,
)
from trainable.cli.parsed_options import read_options
from trainable.cli.parser import Parser, refuse
from trainable.cli.progress import train_to_end
from trainable.cli.reproduce import Repetition, compare, doubts, numbers
from trainable.config.schema import ConfigError, TrialConfig
from trainable.data import datasets
from trainable.networks import pretrained
from trainable.networks.custom_code import check_trusted
from trainable.runs.keys import RunSpec, code_version
from trainable.runs.results import read_history, read_result
from trainable.runs.training_run import TrainingRun
from trainable.storage import json_files
from trainable.storage.redaction import first_line
from trainable.training.trainer import NonFiniteLossError

CLOCKS = ("images_per_s",)


@dataclass(frozen=True, kw_only=True)
class RepeatOptions(ConfigOptions):
    """The options of this command.

    Attributes:
        run_id: MLflow's, of a finished trial.
        tracking_uri: MLflow store that holds it.
        network: Networks of one's own that the trial may name.
    """

    run_id: str
    tracking_uri: str
    network: tuple[str, ...]


@ended_by_signals()
@command
def main() -> int:
    """Repeat the trial that the command line names, and return the exit code."""
    options = read_options(RepeatOptions, parser().parse_args())
    try:
        trial = read_trial(options.tracking_uri, options.run_id)
        config = _config(trial, options)
        recorded = _recorded(trial, options.tracking_uri)
        repeated = _repeat(trial, config, recorded)
    except ConfigError as error:
        refuse(str(error))
    except NonFiniteLossError as error:
        print(f"error: the repetition ended without numbers: {error}", file=sys.stderr)
        return SOME_FAILED
    except KeyboardInterrupt:
        print("interrupted; a repetition keeps nothing", file=sys.stderr)
        return INTERRUPTED
    for line in [*repeated.differ, repeated.describe()]:
        print(line)
    return SOME_FAILED if repeated.differ else OK


def _config(trial: RecordedTrial, options: RepeatOptions) -> TrialConfig:
    """Return the config to train with, once code and data are known to be those of the trial.

    Raises:
        ConfigError: They are not.
    """
    tags, code = trial.tags, code_version()
    if tags["code_version"] != code:
        raise ConfigError(
            f"a trial is repeated by the code that trained it, version {tags['code_version']}, but "
            f"this is {code}; check out commit {tags['git_commit']}"
        )
    execution = execution_of(options, "a repetition")
    digest = trial.origin.config.get("weights_sha256")
    if digest and not execution.get("weights"):
        raise ConfigError(
            f"the trial began with pretrained weights of SHA-256 {digest[:16]}, but got none; "
            "name their file with --set weights=FILE"
        )
    config = trial.config(**execution)
    check_trusted(config, f"trial {options.run_id}", options.network)
    config = pretrained.pin(config)
    data = datasets.inspect(config)
    if data.fingerprint != tags["data_fingerprint"]:
        raise ConfigError(
            f"a trial is repeated on its own data, fingerprint {tags['data_fingerprint']}, but got "
            f"{data.fingerprint}; name the folder of that with --data-root"
        )
    return config


def _recorded(trial: RecordedTrial, tracking_uri: str) -> dict[str, float]:
    """Return all numbers that the record holds of a trial, by name.

    Raises:
        ConfigError: The store stopped answering, or does not give its artifacts.
    """
    run_id = trial.run.info.run_id
    faults: tuple[type[Exception], ...] = (*STORE_ERRORS, json_files.ChecksumError)
    try:
        points = [
            point
            for name in trial.run.data.metrics
            for point in trial.client.get_metric_history(run_id, name)
        ]
        with TemporaryDirectory() as folder:
            place = artifacts_folder(tracking_uri, trial.run.info.artifact_uri)
            if place is None:
                place = Path(trial.client.download_artifacts(run_id, DETAIL_FILE, folder)).parent
            detail = json_files.loads((place / DETAIL_FILE).read_bytes(), name=DETAIL_FILE)
    except faults as error:
        raise ConfigError(
            f"the record must give all that it holds of {run_id}, but {first_line(error)}; "
            "bring it up to date with `python -m sweeps.publish`"
        ) from error
    return dict(_named(points, detail))


def _repeat(trial: RecordedTrial, config: TrialConfig, recorded: Mapping[str, float]) -> Repetition:
    """Train, and compare all numbers that the record would hold."""
    tags = trial.tags
    torch.set_num_threads(int(tags.get("threads", torch.get_num_threads())))
    # What a record says decides no path: the key is made anew.
    spec = RunSpec.of(config, [config.readout], tags["data_fingerprint"])
    with TemporaryDirectory() as storage, closing(TrainingRun(spec, Path(storage))) as run:
        why = doubts(tags, run.folder.read("config") or {}, config)
        for doubt in why.values():
            print(f"the digits may differ: {doubt}")
        train_to_end(run, where=f"repeating {trial.run.info.run_id}")
        result, history = read_result(run.folder), read_history(run.folder)
    assert result is not None  # nosec B101  # it was trained to its end
    ended = EndedRun(kind="result", result=result, history=history, setting={}, samples=None)
    point_of = Trial(config=spec.config, training_key=spec.training_key, trial_key="")
    points = [*ended.curves, *final_points(result, point_of)]
    obtained = _named(points, detail_of(result, history, point_of))
    count, differ = compare(recorded, dict(obtained))
    return Repetition(numbers=count, differ=differ, doubts=why)


def _named(points: list[Any], detail: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the numbers of metrics and of the detail file; of two at one iteration the later."""
    for one in sorted(points, key=lambda one: one.timestamp):
        if one.key not in CLOCKS:
            yield f"{one.key} after {one.step} iterations", one.value
    for row in detail["history"]:
        for name, value in row.items():
            if name not in ("iteration", "time"):
                yield f"{DETAIL_FILE}: {name} after {row['iteration']} iterations", value
    rest = {name: value for name, value in detail.items() if name != "history"}
    yield from numbers(f"{DETAIL_FILE}: ", rest)


def parser() -> Parser:
    """Return the options of this command."""
    options = Parser(
        description=__doc__,
        module="sweeps.repeat",
        example="RUN_ID --set device=cpu",
    )
    options.add_argument("run_id", metavar="RUN_ID", help="of a finished trial")
    add_tracking_uri(options)
    options.add_argument("--data-root", metavar="DIR", help="folder that holds the real data set")
    add_network(options)
    add_set(options, "where it runs, such as device=cpu")
    options.set_defaults(preset="demo", config=None)  # of which only what is set is taken
    return options


if __name__ == "__main__":
    sys.exit(main())
