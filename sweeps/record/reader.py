"""Read trials of the record, with the configs that they were trained with."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.record.choice import find
from analysis.record.mlflow_calls import StoreError
from analysis.record.origin import Origin
from analysis.record.schema import (
    EXPERIMENT,
    SCHEMA,
    SWEEPS,
    RecordError,
    Sweep,
    count_ended,
    find_sweeps,
    status_of,
    trials_under,
)
from sweeps.record.mlflow_store import STORE, STORE_ERRORS, open_store, search
from sweeps.record.store_check import lasting_fault
from trainable.config.loading import config_from
from trainable.config.schema import DEFAULTS, ConfigError, TrialConfig, Value
from trainable.runs.keys import readout_key
from trainable.storage.redaction import first_line, redact_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

UNKNOWN = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # of a run that is not there
MADE_FROM = ("training_key", "code_version", "data_fingerprint", "git_commit")
FLAGS = {"True": True, "False": False}

WEIGHTS_OF_RUN = "run:"  # before the id of a trial whose weights another begins with


@dataclass(frozen=True, kw_only=True)
class RecordedTrial:
    """A finished trial of the record.

    Attributes:
        client: The client of the store that holds the trial.
        run: The trial's run, as MLflow returned it.
    """

    client: MlflowClient
    run: Run

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the trial's run, and what its driver noted out of sight."""
        return {**self.run.data.tags, **self.origin.facts}

    @cached_property
    def origin(self) -> Origin:
        """What the trial's run was made from.

        Raises:
            ConfigError: The run does not tell it.
        """
        try:
            return Origin.of_run(self.run)
        except RecordError as error:
            raise ConfigError(str(error)) from error

    def config(self, **changes: Value) -> TrialConfig:
        """Return the config that was trained, with other values of some fields.

        The fields of execution and the path of pretrained weights are not recorded; they have
        their defaults.

        Raises:
            ConfigError: Its fields are not those of this version.
        """
        values: dict[str, Value] = {
            name: FLAGS.get(text, text) if isinstance(DEFAULTS.get(name), bool) else text
            for name, text in self.origin.config.items()
        }
        try:
            return config_from(values | changes)
        except ConfigError as error:
            run_id = self.run.info.run_id
            raise ConfigError(
                f"the config of {run_id} must be those of this version, but {error}"
            ) from error


def with_weights_of_trial(config: TrialConfig, tracking_uri: str, storage: Path) -> TrialConfig:
    """Return the config with the averaged weights of a recorded trial, where it names one.

    Args:
        config: A config, whose `weights` may be `run:RUN_ID`, with MLflow's id of a trial's run.
        tracking_uri: The URI of the MLflow store that holds the trial.
        storage: The folder that holds the run folder of its training run.

    Raises:
        ConfigError: As `read_trial`.
    """
    run_id = config.weights.removeprefix(WEIGHTS_OF_RUN)
    if run_id == config.weights:
        return config
    trial = read_trial(tracking_uri, run_id)
    # The weights that its own training began with are not looked for.
    key = readout_key(trial.config(weights_sha256="").readout)
    folder = storage / trial.tags["training_key"]
    return dataclasses.replace(config, weights=f"{folder}#{key}")


def read_trial(tracking_uri: str, run_id: str) -> RecordedTrial:
    """Return a finished trial of the record.

    Args:
        tracking_uri: The URI of the MLflow store; a SQLite file must exist.
        run_id: MLflow's id of the trial's run.

    Raises:
        ConfigError: The store does not answer or has no such run, or the run is not a finished
            trial.
    """
    where = redact_uri(tracking_uri)
    _check_store(tracking_uri)
    try:
        client = open_store(tracking_uri, create=False)
        run = client.get_run(run_id)
    except STORE_ERRORS as error:
        cause = first_line(error, tracking_uri)
        unknown = isinstance(error, StoreError) and error.code in UNKNOWN
        rule = "RUN_ID must be one of MLflow's" if unknown else "the MLflow store must answer"
        raise ConfigError(
            f"{rule}, but got {run_id!r} and {where}: {cause}; look it up with "
            "`mlflow ui`, or name another store with --tracking-uri"
        ) from error
    trial = RecordedTrial(client=client, run=run)
    _check(trial)
    return trial


@dataclass(frozen=True, kw_only=True)
class RecordedSweep:
    """A sweep of the record.

    Attributes:
        sweep: What its parent run says of it.
        base: Its parent run, whose config are the fields that its trials share.
        trials: Its finished trials.
    """

    sweep: Sweep
    base: RecordedTrial
    trials: Sequence[RecordedTrial]


def read_sweep(tracking_uri: str, wanted: str, experiment: str = EXPERIMENT) -> RecordedSweep:
    """Return the sweep that stands for a name, or the one of a key.

    Args:
        tracking_uri: The URI of the MLflow store; a SQLite file must exist.
        wanted: Name of a sweep, its `sweep_key`, or the id of its parent run; see
            `analysis.record.choice.find`.
        experiment: The name of the experiment that holds the sweep.

    Raises:
        ConfigError: The store does not answer or has no such sweep, or none of its trials has
            finished.
    """
    _check_store(tracking_uri, experiment)
    try:
        client = open_store(tracking_uri, create=False)
        place = client.get_experiment_by_name(experiment)
        if place is None:
            raise RecordError(
                f"no experiment {experiment!r}; run a sweep first, or name another with "
                "--experiment"
            )

        def runs_where(condition: str) -> list[Run]:
            return search(client, place.experiment_id, condition)

        trials: dict[str, list[Run]] = {}

        def ended(sweep: Sweep) -> int:
            key = sweep.parent_run_id
            trials[key] = trials.get(key) or runs_where(trials_under(key))
            return count_ended(status_of(run, Origin.of_run(run)) for run in trials[key])

        newest_first = runs_where(SWEEPS)[::-1]

        def sweeps_of(name: str) -> list[Sweep]:
            return [Sweep.of_run(run) for run in find_sweeps(newest_first, name)]

        found = find(wanted, sweeps_of, ended)
        if not ended(found):
            raise RecordError(f"sweep {wanted!r} has no finished trials yet; resume it first")
    except (*STORE_ERRORS, RecordError) as error:
        raise ConfigError(
            f"the record must hold the sweep, but got {wanted!r} and {redact_uri(tracking_uri)}: "
            f"{first_line(error, tracking_uri)}"
        ) from error
    finished = [run for run in trials[found.parent_run_id] if run.info.status == "FINISHED"]
    (parent,) = [run for run in newest_first if run.info.run_id == found.parent_run_id]
    return RecordedSweep(
        sweep=found,
        base=RecordedTrial(client=client, run=parent),
        trials=[RecordedTrial(client=client, run=run) for run in finished],
    )


def _check_store(tracking_uri: str, experiment: str = EXPERIMENT) -> None:
    """Refuse a store that will not give the record, however long one waits.

    Raises:
        ConfigError: It will not.
    """
    fault = lasting_fault(tracking_uri, experiment, writing=False)
    if fault is not None:
        raise ConfigError(f"{STORE} must name a store that holds the record, but {fault}")


def _check(trial: RecordedTrial) -> None:
    """Refuse a run that is not a finished trial of a schema that this version reads.

    Raises:
        ConfigError: The run is refused.
    """
    tags, run, run_id = trial.tags, trial.run, trial.run.info.run_id
    if tags.get("schema", "") not in map(str, range(1, SCHEMA + 1)):
        raise ConfigError(
            f"RUN_ID must name a run of schema {SCHEMA} or before, but {run_id} has "
            f"{tags.get('schema', 'none')}; name a trial of one of our sweeps"
        )
    if tags.get("kind") != "trial":
        raise ConfigError(
            f"RUN_ID must name a trial, but {run_id} is a whole sweep; name one of its children"
        )
    missing = [name for name in MADE_FROM if name not in tags]
    if missing:
        raise ConfigError(
            f"RUN_ID must name a trial with all that its driver wrote, but {run_id} lacks "
            f"{', '.join(missing)}; name another"
        )
    if run.info.status != "FINISHED":
        cause = f" ({tags['cause']})" if "cause" in tags else ""
        raise ConfigError(
            f"RUN_ID must name a finished trial, but {run_id} is {run.info.status}{cause}; "
            "name another"
        )
