"""A study in Optuna's database, brought up to date a trial at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy import DateTime, Integer, column, table, update

from sweeps.search.study import directions_of
from trainable.config.schema import Value

# What `Study.set_metric_names` sets, with a warning that it is experimental.
METRIC_NAMES = "study:metric_names"

TRIALS = table(
    "trials",
    column("trial_id", Integer),
    column("datetime_start", DateTime),
    column("datetime_complete", DateTime),
)

Times = tuple[datetime | None, datetime | None]  # of begin and end, None where it is not known


class StoredStudy:
    """A study of ours; what a person adds to it stays.

    Args:
        database: The database, in which the study is made where it is missing.
        name: The name of the study.
        metrics: What the values of its trials are.
        key: The attribute by which its trials are told apart.
        attributes: What is said of the study.
    """

    def __init__(
        self,
        database: RDBStorage,
        name: str,
        *,
        metrics: Sequence[str],
        key: str,
        attributes: Mapping[str, Value],
    ) -> None:
        self._database, self._key = database, key
        study = _opened(database, name, metrics)
        self._id = database.get_study_id_from_name(name)
        self._trials = {
            trial.user_attrs[key]: trial
            for trial in database.get_all_trials(self._id)
            if key in trial.user_attrs
        }
        if study.metric_names != [*metrics]:
            database.set_study_system_attr(self._id, METRIC_NAMES, [*metrics])
        for name_, value in attributes.items():
            if study.user_attrs.get(name_) != value:
                study.set_user_attr(name_, value)

    def put(self, trial: FrozenTrial, times: Times = (None, None)) -> None:
        """Add a trial, or bring the stored one up to date; one that has ended keeps all but times.

        Args:
            trial: What the trial is now, with its key among its attributes.
            times: When it began and ended.
        """
        key = trial.user_attrs[self._key]
        stored = self._trials.get(key)
        _date(trial, stored, times)
        database = self._database
        if stored is None:
            trial_id = database.create_new_trial(self._id, trial)
            trial.number = database.get_trial_number_from_id(trial_id)
        else:
            trial.number = stored.number
            trial_id = database.get_trial_id_from_study_id_trial_number(self._id, trial.number)
            if not stored.state.is_finished():
                self._update(trial_id, stored, trial)
            self._set_times(trial_id, stored, trial)
        self._trials[key] = trial

    def _update(self, trial_id: int, stored: FrozenTrial, trial: FrozenTrial) -> None:
        database = self._database
        for step, value in trial.intermediate_values.items():
            if step not in stored.intermediate_values:
                database.set_trial_intermediate_value(trial_id, step, value)
        for name, value in trial.user_attrs.items():
            if stored.user_attrs.get(name) != value:
                database.set_trial_user_attr(trial_id, name, value)
        if trial.state != stored.state:
            database.set_trial_state_values(trial_id, trial.state, trial.values)

    def _set_times(self, trial_id: int, stored: FrozenTrial, trial: FrozenTrial) -> None:
        """Store when a trial began and ended, for which Optuna takes the time of its own call."""
        times = {
            "datetime_start": trial.datetime_start,
            "datetime_complete": trial.datetime_complete,
        }
        before = (stored.state, stored.datetime_start, stored.datetime_complete)
        if before != (trial.state, *times.values()):
            with self._database.engine.begin() as connection:
                connection.execute(
                    update(TRIALS).where(TRIALS.c.trial_id == trial_id).values(**times)
                )


def _date(trial: FrozenTrial, stored: FrozenTrial | None, times: Times) -> None:
    """Set when a trial began and ended: as it is known, as it is stored, or now."""
    began, ended = times
    if stored is not None:
        began, ended = began or stored.datetime_start, ended or stored.datetime_complete
    trial.datetime_start = began or trial.datetime_start
    if trial.state.is_finished():
        trial.datetime_complete = ended or trial.datetime_complete


def _opened(database: RDBStorage, name: str, metrics: Sequence[str]) -> optuna.Study:
    """Return the study of a name, made where it is missing.

    One of a version before says nothing of itself and holds readouts among the suggestions: it is
    made anew.
    """

    def opened() -> optuna.Study:
        return optuna.create_study(
            study_name=name,
            storage=database,
            directions=directions_of(metrics),
            load_if_exists=True,
        )

    study = opened()
    if not study.user_attrs and study.get_trials():
        optuna.delete_study(study_name=name, storage=database)
        study = opened()
    return study
