"""The search as studies in a database that `optuna.load_study` and optuna-dashboard open.

One study holds the suggestions, each as a trial with its number: waiting, running, or as it ended.
Where a run answers for several readouts, another holds these, so that they do not weigh as if each
had been suggested. Both follow from the log of the search and the run folders: what a kill or a
locked database lost is written at the next start, and a trial that a driver left running is waiting
once the next has ended. Optuna writes about 80 trials a second to SQLite and readouts come by the
dozen, so a thread writes them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from sweeps.planning.objectives import measure
from sweeps.planning.plan import Trial
from sweeps.planning.state import SweepState
from sweeps.search.stored_study import StoredStudy, Times
from sweeps.search.study import COMPLETE
from sweeps.search.suggestions import Search, Suggestion, best_trial
from sweeps.storage.threads import wait
from trainable.config.schema import READOUT_FIELDS, ConfigError, Value
from trainable.runs.folder import RunFolder
from trainable.runs.results import Failure, Result, read_history, summary
from trainable.storage.faults import machine_fault

BUSY_S = 120  # to wait for another sweep that writes


class OptunaDatabase:
    """Writes the suggestions of a search, and their readouts, to `<storage>/optuna.db`.

    Args:
        state: The state of the sweep.
        search: What the search is to do.
    """

    def __init__(self, state: SweepState, search: Search) -> None:
        self.state = state
        self.search = search
        self.name = f"{state.plan.name}-{search.name(state.plan)}"
        self._waiting: dict[int, Suggestion] = {}
        self._asks: StoredStudy | None = None
        self._readouts: StoredStudy | None = None
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._jobs: list[Future[None]] = []

    def add(self, asks: Iterable[Suggestion]) -> None:
        """Hand suggestions that are new or changed to the thread that writes; return at once."""
        now = [replace(ask, reports=dict(ask.reports)) for ask in asks]  # they go on changing
        self._jobs.append(self._thread.submit(self.state.threads.seen(self._write), now))

    def close(self) -> None:
        """Wait until all is written, or cannot be written now."""
        self._thread.shutdown()
        for job in self._jobs:
            wait("study", job)

    def _write(self, asks: list[Suggestion]) -> None:
        self._waiting |= {ask.number: ask for ask in asks}
        try:
            if self._asks is None:
                self._open()
            for number in list(self._waiting):
                self._store(self._waiting[number])
                del self._waiting[number]
        except (StorageInternalError, SQLAlchemyError) as error:
            self._asks = None  # what reached the database is looked up anew
            reason = str(error.__cause__ or error).splitlines()[0]
            if fault := machine_fault(error):
                self.state.machine_refused(fault)
            note = f"{self.name} in optuna.db is behind ({reason}); the same command makes it up"
            self.state.note(note)

    def _open(self) -> None:
        database = open_database(self.state.plan.storage)
        said, objectives = self._attributes(), self.state.plan.objectives
        if _readouts_of(self.search) > 1:
            self._readouts = StoredStudy(
                database,
                f"{self.name} (readouts)",
                metrics=objectives,
                key="trial_key",
                attributes=said
                | {"value": f"{', '.join(objectives)} of each readout of each complete run"},
            )
        self._asks = StoredStudy(
            database, self.name, metrics=objectives, key="ask", attributes=said
        )

    def _attributes(self) -> dict[str, Value]:
        """Return what both studies say of themselves."""
        plan, search = self.state.plan, self.search
        readouts = _readouts_of(search)
        of_what = "the readout suggested"
        if readouts > 1:
            of_what = (
                f"the best of the {readouts} readouts of a run; each is in {self.name} (readouts)"
            )
        return {
            "question": plan.question,
            "value": f"{', '.join(plan.objectives)} of {of_what}",
            "sampler": search.method.sampler,
            "scheduler": search.method.scheduler,
            "dataset": plan.base.dataset,  # a page of the dashboard ends here
            "sweep": plan.name,
            "sweep_key": plan.sweep_key,
            "data_fingerprint": plan.data.fingerprint,
            "code_version": plan.code_version,
            "seed": search.method.seed,
        }

    def _store(self, ask: Suggestion) -> None:
        assert self._asks is not None, "open comes first"  # nosec B101  # cannot happen
        found = self.state.outcome(ask.run) if ask.state is not None else None
        result = found if isinstance(found, Result) and ask.state == COMPLETE else None
        folder = RunFolder(self.state.plan.storage, ask.training_key)
        times = _times(folder, ended=ask.state is not None)
        self._asks.put(self._suggestion(ask, found), times)
        if self._readouts is not None and result is not None:
            for trial in ask.trials:
                self._readouts.put(self._readout(ask, trial, result), times)

    def _suggestion(self, ask: Suggestion, found: Result | Failure | None) -> FrozenTrial:
        """Return a suggestion as a trial, with the params that its sampler drew."""
        space = self.search.space
        return optuna.trial.create_trial(
            state=_state(ask),
            # Of one that was pruned, a validation before the end would stand among final numbers.
            values=None if ask.scores is None else [*ask.scores],
            params=ask.values,
            distributions={name: space.axes[name].stored for name in ask.values},
            # Optuna takes no validations of several objectives.
            intermediate_values=dict(ask.reports) if len(self.state.plan.objectives) == 1 else {},
            user_attrs=_attributes(ask) | self._said_of(ask, found),
        )

    def _said_of(self, ask: Suggestion, found: Result | Failure | None) -> dict[str, Value]:
        """Return which readout gave a suggestion its value, or why it has none."""
        if isinstance(found, Result) and ask.state == COMPLETE:
            best = self._best(ask, found)
            chosen = [name for name in self.search.space.axes if name in READOUT_FIELDS]
            return {
                "trial_key": best.trial_key,
                **{name: getattr(best.config, name) for name in chosen},
                "val/miou": summary(found, best.config.readout)["val/miou"],
            }
        cause = found.cause if isinstance(found, Failure) else ask.cause
        cause = cause or self.state.stopped.get(ask.training_key)
        return {"cause": cause} if cause and ask.state is not None else {}

    def _best(self, ask: Suggestion, result: Result) -> Trial:
        found = best_trial(ask, result, self.state.plan.objectives)
        assert found is not None, "a complete one has values"  # nosec B101  # cannot happen
        return found[1]

    def _readout(self, ask: Suggestion, trial: Trial, result: Result) -> FrozenTrial:
        space, objectives = self.search.space, self.state.plan.objectives
        params = space.active({name: getattr(trial.config, name) for name in space.axes})
        known = measure(result, trial.config.readout, objectives)
        return optuna.trial.create_trial(
            values=[known[name] for name in objectives],
            params=params,
            distributions={name: space.axes[name].stored for name in params},
            user_attrs=_attributes(ask) | {"trial_key": trial.trial_key},
        )


def open_database(storage: Path) -> RDBStorage:
    """Return the database of a storage, which is made where it is missing."""
    return RDBStorage(
        f"sqlite:///{storage / 'optuna.db'}",
        engine_kwargs={"connect_args": {"timeout": BUSY_S}},
    )


def _readouts_of(search: Search) -> int:
    """Return how many readouts of a run count, which a sampler does not choose among."""
    left = [axis for name, axis in search.space.axes.items() if name not in search.space.suggested]
    return math.prod(len(axis.ends) for axis in left)


def _state(ask: Suggestion) -> TrialState:
    if ask.state is not None:
        return TrialState[ask.state]
    return TrialState.RUNNING if ask.in_training else TrialState.WAITING


def _attributes(ask: Suggestion) -> dict[str, Value]:
    return {
        "ask": ask.number,
        "training_key": ask.training_key,
        "seed": ask.run.spec.config.seed,
    }


def _times(folder: RunFolder, *, ended: bool) -> Times:
    """Return when a run trained, as its folder tells: from iteration 0, by its first rows."""
    try:
        rows = read_history(folder)
    except ConfigError:
        rows = []  # who needs its numbers refuses it
    if not rows:
        return None, None
    first, second = rows[0], rows[min(1, len(rows) - 1)]
    steps = second["iteration"] - first["iteration"]
    per_step = (second["time"] - first["time"]) / steps if steps else 0.0
    began = datetime.fromtimestamp(first["time"] - first["iteration"] * per_step)
    return began, datetime.fromtimestamp(rows[-1]["time"]) if ended else None
