"""What a search is to do, what it asked for, and which of its settings to train once more."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweeps.planning.plan import Plan, PlannedRun, Trial
from sweeps.search.event_log import read_events
from sweeps.search.space import Space
from sweeps.search.study import COMPLETE, Method
from trainable.config.schema import ConfigError, TrialConfig
from trainable.runs.keys import code_version, key_of, readout_key
from trainable.runs.results import Result, summary

VALUE = "swa/miou"  # on validation: what a search makes large


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a search is to do.

    Attributes:
        space: What varies.
        method: How settings are chosen.
        asks: How many settings are asked for.
        confirm: How many of the best are trained again with other seeds: the best of many on one
            seed owes part of its value to that seed.
        seeds: How many other seeds.
        points: The settings to ask for first, before the sampler chooses.
        warm_start: Storages whose finished runs are told to the sampler at the beginning.
    """

    space: Space
    method: Method
    asks: int
    confirm: int
    seeds: int
    points: tuple[Mapping[str, Any], ...] = ()
    warm_start: tuple[str, ...] = ()

    def describe(self, plan: Plan) -> dict[str, Any]:
        """Return in primitives what decides the suggestions, given how trials end."""
        return {
            "sweep": plan.name,
            "sweep_key": plan.sweep_key,
            "fixed": {
                name: value
                for name, value in plan.base.training_identity().items()
                if name not in self.space.axes
            },
            "data": plan.data.fingerprint,
            "code": code_version(),
            "attempt": plan.attempt,
            "space": self.space.describe(),
            "readouts": self.space.readouts,
            **dataclasses.asdict(self.method),
            "points": [dict(point) for point in self.points],
            "warm_start": list(self.warm_start),
        }

    def name(self, plan: Plan) -> str:
        """Return what names the search among those of its sweep."""
        return f"{plan.sweep_key}-{key_of(self.describe(plan))[:8]}"


@dataclass(kw_only=True)
class Suggestion:
    """A setting that was asked for.

    Attributes:
        number: From 0.
        values: Of the axes that the sampler draws on.
        run: What answers it.
        trials: Those of the run that it stands for: every readout's, or the one suggested.
        reports: Validations by iteration.
        state: How it ended, None while it is under way.
        value: What the sampler was told, if that was a value.
    """

    number: int
    values: dict[str, Any]
    run: PlannedRun
    trials: tuple[Trial, ...]
    reports: dict[int, float] = field(default_factory=dict)
    state: str | None = None
    value: float | None = None

    @property
    def training_key(self) -> str:
        """The key of the run that answers it."""
        return self.run.spec.training_key


def plan_ask(plan: Plan, space: Space, number: int, values: Mapping[str, Any]) -> Suggestion:
    """Add the run that answers an ask to a plan, with all its readouts, and return the ask."""
    fixed = {name: getattr(plan.base, name) for name in space.axes} | dict(values)
    (run,) = plan.add(space.siblings(plan.base, fixed))
    asked_for = run.trials
    if space.readouts == "sampled":
        wanted = readout_key(dataclasses.replace(plan.base, **values).readout)
        asked_for = tuple(t for t in run.trials if readout_key(t.config.readout) == wanted)
    for trial in run.trials:
        plan.tags.setdefault(trial.trial_key, {"phase": "search"})
    for trial in asked_for:
        plan.tags[trial.trial_key].setdefault("ask", str(number))
    return Suggestion(number=number, values=dict(values), run=run, trials=asked_for)


def best_trial(ask: Suggestion, result: Result) -> tuple[float, Trial]:
    """Return the largest value among an ask's trials, and whose it is."""
    values = [(summary(result, trial.config.readout)[VALUE], trial) for trial in ask.trials]
    return max(values, key=lambda pair: pair[0])


def plan_confirmation(plan: Plan, search: Search, asks: Iterable[Suggestion]) -> list[PlannedRun]:
    """Add the best settings to a plan, each with other seeds than the search's; return the runs.

    A setting of the training stands once, with the readout that was best in the search: choosing
    the readout again on the other seeds would flatter them, too.
    """
    found: dict[str, tuple[float, Trial, int]] = {}
    for ask in asks:
        result = plan.outcome(ask.run) if ask.state == COMPLETE else None
        if not isinstance(result, Result):
            continue
        value, trial = best_trial(ask, result)
        if ask.training_key not in found or value > found[ask.training_key][0]:
            found[ask.training_key] = value, trial, ask.number
    ranked = sorted(found.values(), key=lambda entry: (-entry[0], entry[2]))
    runs = {}
    for _, trial, number in ranked[: search.confirm]:
        for run in plan.add(other_seeds(trial.config, search.seeds)):
            runs[run.spec.training_key] = run
            for confirmed in run.trials:
                plan.tags[confirmed.trial_key] = {"phase": "confirm", "ask": str(number)}
    return list(runs.values())


def other_seeds(config: TrialConfig, count: int) -> list[TrialConfig]:
    """Return a trial with the seeds that come after its own."""
    return [dataclasses.replace(config, seed=config.seed + k) for k in range(1, count + 1)]


def describe_changes(facts: Mapping[str, Any], folder: Path) -> list[str]:
    """Return in a line what sets a new search apart from the newest of its name, if there is one.

    Args:
        facts: Of the new one.
        folder: Of the logs, each of which begins with the facts of its search.
    """
    logs = sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in logs:
        try:
            events = read_events(path)[0]
        except ConfigError:
            continue  # another search's, which says so when it is resumed
        if events and events[0].get("sweep") == facts["sweep"]:
            as_logged = json.loads(json.dumps(facts))  # a tuple comes back as a list
            others = ", ".join(_differences(events[0], as_logged))
            return [f"a new search, not that of {path.stem}: {others}; its runs are reused"]
    return []


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Yield what differs, in words; of a mapping, which of its entries."""
    for name in new:
        before, after = old.get(name), new[name]
        if before == after or name == "sweep_key":
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            changed = [k for k in before | after if before.get(k) != after.get(k)]
            yield from (f"{k} {before.get(k)} -> {after.get(k)}" for k in changed)
        else:
            yield f"{name} {before} -> {after}"
