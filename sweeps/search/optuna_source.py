"""A search as a source of training runs: it asks Optuna for settings and tells it their values.

Every event is written to a log beside the run folders. A restart replays the log and suggests first
the runs that were under way; after that it suggests the same as a search that never stopped.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Self

from sweeps.planning.plan import PlannedRun
from sweeps.planning.ranking import is_confirmed
from sweeps.planning.state import SweepState
from sweeps.search.event_log import EventLog, damaged
from sweeps.search.optuna_db import OptunaDatabase
from sweeps.search.samplers import check_sampler, check_scheduler
from sweeps.search.stopping import Stopping
from sweeps.search.study import COMPLETE, FAIL, PRUNED, ReplayableStudy
from sweeps.search.suggestions import (
    Search,
    Suggestion,
    best_trial,
    describe_changes,
    other_seeds,
    plan_ask,
    plan_confirmation,
)
from sweeps.search.warm_start import WarmStartTrial, earlier_trials
from trainable.config.schema import ConfigError, Value
from trainable.runs.folder import RunFolder
from trainable.runs.results import Result, read_history
from trainable.storage.json_files import JsonObject
from trainable.storage.redaction import first_line

# What replaying a line raises that lacks something, holds another type or is out of turn.
UNLIKE_AN_EVENT = (LookupError, TypeError, ValueError, AttributeError, RuntimeError, AssertionError)
UNCONFIRMED = "not confirmed with other seeds: the best of many on one seed is biased upward"


class SearchSource:
    """The training runs of a search, in the order of its suggestions, then those that confirm.

    Entered as a context manager, it is the only driver of the search. Before that it writes
    nothing and suggests no run.

    Args:
        state: The state of the sweep; suggestions are added to it, also those of the log.
        search: What the search is to do.

    Attributes:
        asks: The suggestions so far, by their number.

    Raises:
        ConfigError: The space, the sampler or the scheduler cannot be used, or the log is damaged.
    """

    def __init__(self, state: SweepState, search: Search) -> None:
        search.space.check(state.plan.base)
        objectives = state.plan.objectives
        check_sampler(search.method.sampler, search.space, len(objectives))
        check_scheduler(search.method.scheduler, state.plan.base, len(objectives))
        self.state = state
        self.search = search
        self.asks: list[Suggestion] = []
        plan, name = state.plan, search.name(state.plan)
        self._log = EventLog(plan.storage / "searches" / f"{name}.jsonl")
        self._study = ReplayableStudy(search.method, search.space, plan.base, objectives)
        self._stopping = Stopping(search.enough, self._study, objectives)
        self._database = OptunaDatabase(state, search)
        self._cut_off = False  # the execution is ending
        self._confirming: deque[PlannedRun] | None = None
        for number, event in enumerate(self._log.events, start=1):
            self._replay_line(number, event)
        self._unfinished = deque(self._under_way())
        self._choose_when_all_ended()

    def __enter__(self) -> Self:
        """Become the only driver, and tell Optuna of runs that ended while there was none.

        Raises:
            ConfigError: Another process drives the search.
        """
        self._log.open()
        if not self._log.events:
            identity = self.search.identity(self.state.plan)
            for note in describe_changes(identity, self._log.path.parent):
                self.state.note(note)
            given = earlier_trials(self.state, self.search.space, self.search.warm_start)
            # In one line: a kill among several would leave a search that was told of some.
            earlier = [asdict(one) for one in given]
            event = {"event": "search", **identity, "earlier": earlier}
            self._log.append(event)
            self._replay(event)
        self._database.add(self.asks)
        for ask in self._under_way():
            self._answer(ask)
        self._choose_when_all_ended()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Wait until the study is stored, then let another process drive the search."""
        if (self._confirming is None or not self.search.confirm) and not is_confirmed(self.state):
            self.state.note(UNCONFIRMED)
        for ask in self._under_way():
            ask.in_training = False
            self._database.add([ask])
        self._database.close()
        self._log.close()

    def outline(self) -> None:
        """Add as many runs to the sweep as are still to come; their settings are a guess."""
        while len(self.asks) < self.search.asks:
            self._keep(self.search.space.values(self._study.ask(self._point())))
        for ask in self.asks[: self.search.confirm]:
            self.state.add_trials(other_seeds(ask.trials[0].config, self.search.seeds))

    @property
    def exhausted(self) -> bool:
        """Whether all suggestions ended and all runs that confirm the best were suggested."""
        return self._cut_off or (self._confirming is not None and not self._confirming)

    def suggest(self) -> PlannedRun | None:
        """Return the next run that has no outcome yet, or None while that depends on another."""
        if self._cut_off:
            return None
        while self._unfinished:
            ask = self._unfinished.popleft()
            if self._is_to_be_trained(ask):
                return self._train(ask)
        while not self._has_asked_enough:
            ask = self._ask()
            self._answer(ask)
            if self._is_to_be_trained(ask):
                return self._train(ask)
            self._database.add([ask])
        self._choose_when_all_ended()
        return self._confirming.popleft() if self._confirming else None

    def _train(self, ask: Suggestion) -> PlannedRun:
        ask.in_training = True
        self._database.add([ask])
        return ask.run

    def on_result(self, run: PlannedRun, iteration: int, miou: float) -> bool:
        """Report a validation to the scheduler, and return whether the run is to be stopped."""
        asks = self._under_way(run)
        for ask in asks:
            self._take_in(ask, iteration, miou)
        return bool(asks) and not self._under_way(run)

    def on_complete(self, run: PlannedRun, cause: str | None) -> None:
        """Tell Optuna how a run ended; one that was cut off has no outcome and stays open."""
        for ask in self._under_way(run):
            if cause is not None:
                self._tell(ask, FAIL, cause=cause)
            else:
                self._answer(ask)
            self._cut_off = self._cut_off or ask.state is None
        self._choose_when_all_ended()

    def _replay_line(self, number: int, event: JsonObject) -> None:
        """Replay the event of a line of the log.

        Args:
            number: The number of the line, from 1.
            event: The event.

        Raises:
            ConfigError: No search wrote the event, or the sampler suggests other settings now.
        """
        try:
            if number == 1:
                self._check_identity(event)
            self._replay(event)
        except ConfigError:
            raise
        except UNLIKE_AN_EVENT as error:
            fault = f"is no such event ({type(error).__name__}: {first_line(error)})"
            raise damaged(self._log.path, number, fault) from error

    def _check_identity(self, event: JsonObject) -> None:
        identity = self.search.identity(self.state.plan)
        own = json.loads(json.dumps(identity))  # a tuple becomes a list
        if any(event[name] != value for name, value in own.items()):
            raise ValueError("it begins another search")

    def _replay(self, event: JsonObject) -> None:
        """Do what an event did when it was written, without writing it again."""
        match event["event"]:
            case "search":
                for earlier in event["earlier"]:
                    self._give(WarmStartTrial(**earlier))
            case "ask":
                if event["ask"] != len(self.asks):
                    raise ValueError(f"ask {len(self.asks)} comes first")
                params = self.search.space.params_checked(event["values"])
                self._study.ask_again(params, was_given=event["given"])
                self._keep(event["values"])
            case "report":
                ask = self.asks[event["ask"]]
                self._study.report(ask.number, event["iteration"], event["miou"])
                self._note(ask, event["iteration"], event["miou"], stop=event["stop"])
            case "tell":
                ask = self.asks[event["ask"]]
                self._end(ask, event["state"], event["values"])
                ask.cause = event["cause"]
                if event["cause"]:
                    self.state.stop(ask.training_key, event["cause"])
            case kind:
                raise ValueError(f"unknown event {kind!r}")

    def _give(self, earlier: WarmStartTrial) -> None:
        self._study.give(self.search.space.params(earlier.values), earlier.scores)

    def _ask(self) -> Suggestion:
        given = self._point()
        values = self.search.space.values(self._study.ask(given))
        number, was_given = len(self.asks), given is not None
        self._log.append({"event": "ask", "ask": number, "values": values, "given": was_given})
        return self._keep(values)

    def _point(self) -> dict[str, Value] | None:
        """Return the params of the next setting where a person gave it, else None."""
        points = self.search.points[len(self.asks) :]
        return self.search.space.params(points[0]) if points else None

    def _keep(self, values: Mapping[str, Value]) -> Suggestion:
        self.asks.append(plan_ask(self.state, self.search.space, len(self.asks), values))
        return self.asks[-1]

    def _take_in(self, ask: Suggestion, iteration: int, miou: float) -> None:
        """Report a validation to the scheduler, once; a run that it stops has ended as pruned."""
        if iteration in ask.reports or ask.state is not None:
            return
        stop = self._study.report(ask.number, iteration, miou)
        # Nothing is saved by stopping what has come to its end.
        stop = stop and iteration < ask.run.spec.config.iterations
        self._log.append(
            {
                "event": "report",
                "ask": ask.number,
                "iteration": iteration,
                "miou": miou,
                "stop": stop,
            }
        )
        self._note(ask, iteration, miou, stop=stop)
        self._database.add([ask])

    def _note(self, ask: Suggestion, iteration: int, miou: float, *, stop: bool) -> None:
        ask.reports[iteration] = miou
        if not stop:
            return
        self._end(ask, PRUNED, None)
        if not self._under_way(ask.run):
            why = f"stopped by {self.search.method.scheduler} at iteration {iteration}"
            self.state.stop(ask.training_key, why)

    def _answer(self, ask: Suggestion) -> None:
        """Tell Optuna what a run folder holds of a suggestion, if it holds an outcome.

        Its validations are reported to the scheduler first, as if they came now: what a search
        suggests must not depend on whether a folder was there already.
        """
        found = self.state.outcome(ask.run)
        if found is None and ask.training_key not in self.state.stopped:
            return
        for iteration, miou in self._validations(ask):
            self._take_in(ask, iteration, miou)
        if ask.state is not None:
            return
        if not isinstance(found, Result):
            self._tell(ask, PRUNED)
            return
        objectives = self.state.plan.objectives
        best = best_trial(ask, found, objectives)
        if best is None:
            lacking = f"the validation images have no pixel for {', '.join(objectives)}"
            self._tell(ask, FAIL, cause=lacking)
        else:
            self._tell(ask, COMPLETE, scores=best[0])

    def _validations(self, ask: Suggestion) -> list[tuple[int, float]]:
        """Return the validations of a run, from an earlier suggestion or from its folder."""
        for other in self.asks[: ask.number]:
            if other.training_key == ask.training_key:
                return list(other.reports.items())
        rows = read_history(RunFolder(self.state.plan.storage, ask.training_key))
        return [(int(row["iteration"]), row["val/miou"]) for row in rows if "val/miou" in row]

    def _tell(
        self,
        ask: Suggestion,
        state: str,
        *,
        scores: Sequence[float] | None = None,
        cause: str | None = None,
    ) -> None:
        event = {"event": "tell", "ask": ask.number, "state": state}
        self._log.append(event | {"values": scores, "cause": cause})
        ask.cause = cause
        self._end(ask, state, scores)
        self._database.add([ask])

    def _end(self, ask: Suggestion, state: str, scores: Sequence[float] | None) -> None:
        self._study.tell(ask.number, state, scores)
        self._stopping.progress.end(state, scores)
        ask.state, ask.scores = state, None if scores is None else tuple(scores)
        for trial in ask.trials:
            self.state.tag(trial.trial_key, search_state=state)

    def _under_way(self, run: PlannedRun | None = None) -> list[Suggestion]:
        """Return the suggestions that have not ended: all of them, or those of a run."""
        return [
            ask
            for ask in self.asks
            if ask.state is None and (run is None or ask.training_key == run.spec.training_key)
        ]

    def _is_to_be_trained(self, ask: Suggestion) -> bool:
        """Return whether a suggestion is open and no earlier one has its run trained."""
        return ask.state is None and self._under_way(ask.run)[0] is ask

    @property
    def _has_asked_enough(self) -> bool:
        """Whether all settings were asked for, or those that ended were enough."""
        return len(self.asks) >= self.search.asks or bool(self._stopping.why)

    def _choose_when_all_ended(self) -> None:
        """Once all suggestions ended, choose the settings to be trained with other seeds."""
        if self._confirming is None and not self._under_way() and self._has_asked_enough:
            if len(self.asks) < self.search.asks:
                few = f"the search ended after {len(self.asks)} of {self.search.asks} settings"
                self.state.note(f"{few}: {self._stopping.why}")
            runs = plan_confirmation(self.state, self.search, self.asks)
            self._confirming = deque(run for run in runs if self.state.outcome(run) is None)
