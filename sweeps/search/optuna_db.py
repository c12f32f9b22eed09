"""The search as a study in a database that `optuna.load_study` and optuna-dashboard open.

The study holds only trials that have ended, so none is ever left RUNNING, and each once, which its
trial key tells. Optuna writes about 80 trials a second to SQLite and the trials of a training run
come by the dozen, so a thread writes them; those that a kill lost are written at the next start.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from analysis.record.schema import OBJECTIVE
from sweeps.planning.state import SweepState
from sweeps.search.space import Space
from sweeps.search.study import COMPLETE
from sweeps.search.suggestions import Suggestion
from sweeps.storage.threads import wait
from trainable.runs.results import Result, summary
from trainable.storage.faults import machine_fault

BUSY_S = 120  # to wait for another sweep that writes


class OptunaDatabase:
    """Writes the trials of suggestions that have ended to `<storage>/optuna.db`.

    Args:
        state: The state of the sweep.
        name: The name of the study.
        space: The space of the search, whose fields are the params of the trials.
    """

    def __init__(self, state: SweepState, name: str, space: Space) -> None:
        self.state = state
        self.name = name
        self.space = space
        self._waiting: list[Suggestion] = []
        self._written: set[str] = set()
        self._study: optuna.Study | None = None
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._jobs: list[Future[None]] = []

    def add(self, asks: Iterable[Suggestion]) -> None:
        """Hand suggestions that have ended to the thread that writes; return at once."""
        self._jobs.append(self._thread.submit(self.state.threads.seen(self._write), list(asks)))

    def close(self) -> None:
        """Wait until all trials are written, or cannot be written now."""
        self._thread.shutdown()
        for job in self._jobs:
            wait("study", job)

    def _write(self, asks: list[Suggestion]) -> None:
        self._waiting += asks
        try:
            if self._study is None:
                self._study = open_study(self.state.plan.storage, self.name)
                # One that a person adds has no key.
                self._written = {
                    trial.user_attrs.get("trial_key", "") for trial in self._study.get_trials()
                }
            while self._waiting:
                for trial in self._stored(self._waiting[0]):
                    self._study.add_trial(trial)
                    self._written.add(trial.user_attrs["trial_key"])
                del self._waiting[0]
        except (StorageInternalError, SQLAlchemyError) as error:
            reason = str(error.__cause__ or error).splitlines()[0]
            if fault := machine_fault(error):
                self.state.machine_refused(fault)
            note = f"{self.name} in optuna.db is behind ({reason}); the same command makes it up"
            self.state.note(note)

    def _stored(self, ask: Suggestion) -> Iterator[FrozenTrial]:
        """Yield the trials of a suggestion that are not written yet."""
        found = self.state.outcome(ask.run) if ask.state == COMPLETE else None
        last = max(ask.reports.items())[1] if ask.reports else None
        for trial in ask.trials:
            if trial.trial_key in self._written:
                continue
            value = last if ask.state == "PRUNED" else None
            if isinstance(found, Result):
                value = summary(found, trial.config.readout)[OBJECTIVE]
            yield optuna.trial.create_trial(
                state=TrialState[str(ask.state)],
                value=value,
                params={name: getattr(trial.config, name) for name in self.space.axes},
                distributions={name: axis.stored for name, axis in self.space.axes.items()},
                intermediate_values=dict(ask.reports),
                user_attrs=_attributes(ask, trial.trial_key),
            )


def open_study(storage: Path, name: str) -> optuna.Study:
    """Return the study of this name in the database of a storage; both are made where missing."""
    database = optuna.storages.RDBStorage(
        f"sqlite:///{storage / 'optuna.db'}",
        engine_kwargs={"connect_args": {"timeout": BUSY_S}},
    )
    return optuna.create_study(
        study_name=name, storage=database, direction="maximize", load_if_exists=True
    )


def _attributes(ask: Suggestion, trial_key: str) -> dict[str, str | int]:
    return {
        "trial_key": trial_key,
        "training_key": ask.training_key,
        "ask": ask.number,
        "seed": ask.run.spec.config.seed,
    }
