"""What a search is to do, the settings it suggested, and which of them are trained once more."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from analysis.record.schema import is_cost
from analysis.stats.ranking import not_dominated
from sweeps.planning.objectives import scores_of
from sweeps.planning.plan import Plan, PlannedRun, Trial
from sweeps.planning.state import SweepState
from sweeps.search.event_log import read_events
from sweeps.search.method import Enough, Method
from sweeps.search.spaces.space import Space, with_values
from sweeps.search.study import COMPLETE
from trainable.config.schema import ConfigError, TrialConfig, Value
from trainable.runs.keys import code_version, key_of, readout_key
from trainable.runs.results import Result

Entry = TypeVar("Entry")


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a search is to do.

    Attributes:
        space: The fields that vary, and over which values.
        method: The sampler, the scheduler and their seed.
        asks: How many settings are suggested.
        confirm: How many of the best settings are trained again with other seeds: the best of many
            on one seed owes part of its value to that seed.
        seeds: How many other seeds each of those is trained with.
        enough: When fewer settings than that are.
        points: The settings that come first, before the sampler chooses.
        warm_start: The storages whose finished runs the sampler learns from at the beginning.
    """

    space: Space
    method: Method
    asks: int
    confirm: int
    seeds: int
    enough: Enough = field(default_factory=Enough)
    points: tuple[Mapping[str, Value], ...] = ()
    warm_start: tuple[str, ...] = ()

    def identity(self, plan: Plan) -> dict[str, object]:
        """Return as primitives all that decides the suggestions, besides how trials end."""
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
            "space": self.space.to_primitives(),
            "readouts": self.space.readouts,
            "objectives": list(plan.objectives),
            **dataclasses.asdict(self.method),
            "points": [dict(point) for point in self.points],
            "warm_start": list(self.warm_start),
        }

    def name(self, plan: Plan) -> str:
        """Return the name of the search, which no other search of its sweep has."""
        return f"{plan.sweep_key}-{key_of(self.identity(plan))[:8]}"


@dataclass(kw_only=True)
class Suggestion:
    """A setting that the sampler suggested or a person gave, and what became of it.

    Attributes:
        number: The number of the suggestion within its search, from 0.
        values: The value of each field that the sampler drew.
        run: The training run of the setting.
        trials: The trials of the run that count: one per readout, or the one suggested.
        reports: The mIoU of each validation, by its iteration.
        state: COMPLETE, PRUNED or FAIL; None while the run is under way.
        scores: The value of each objective that the sampler was told; None where it has none.
        cause: Why its worker failed; None where it did not.
        in_training: Whether a driver trains the run for it now.
    """

    number: int
    values: dict[str, Value]
    run: PlannedRun
    trials: tuple[Trial, ...]
    reports: dict[int, float] = field(default_factory=dict)
    state: str | None = None
    scores: tuple[float, ...] | None = None
    cause: str | None = None
    in_training: bool = False

    @property
    def training_key(self) -> str:
        """The key of the training run of the setting."""
        return self.run.spec.training_key


def plan_ask(
    state: SweepState, space: Space, number: int, values: Mapping[str, Value]
) -> Suggestion:
    """Add the training run of a setting to a sweep, with all its readouts.

    Args:
        state: The state of the sweep, which is changed.
        space: The space of the search.
        number: The number of the suggestion, from 0.
        values: The value of each field that the sampler drew.
    """
    fixed = {name: getattr(state.plan.base, name) for name in space.axes} | dict(values)
    (run,) = state.add_trials(space.siblings(state.plan.base, fixed))
    asked_for = run.trials
    if space.readouts == "sampled":
        wanted = readout_key(with_values(state.plan.base, values).readout)
        asked_for = tuple(t for t in run.trials if readout_key(t.config.readout) == wanted)
    for trial in run.trials:
        state.tag(trial.trial_key, phase="search")
    for trial in asked_for:
        state.tag(trial.trial_key, ask=str(number))
    return Suggestion(number=number, values=dict(values), run=run, trials=asked_for)


def best_trial(
    ask: Suggestion, result: Result, objectives: Sequence[str]
) -> tuple[tuple[float, ...], Trial] | None:
    """Return the trial of a suggestion that is best in the first objective, and its values.

    None where no trial has a value of every objective.
    """
    found = ((scores_of(result, one.config.readout, objectives), one) for one in ask.trials)
    known = [(scores, trial) for scores, trial in found if scores is not None]
    return max(known, key=lambda pair: pair[0][0], default=None)


def plan_confirmation(
    state: SweepState, search: Search, asks: Iterable[Suggestion]
) -> list[PlannedRun]:
    """Add the best settings to a sweep, each with other seeds than the search's; return the runs.

    Each setting of the training comes once, with the readout that was best in the search: choosing
    the readout again on the other seeds would bias those upward, too. Of several objectives, they
    are settings that none beats in all of them, from the one end to the other.

    Args:
        state: The state of the sweep, which is changed.
        search: The search, which says how many settings and seeds.
        asks: All suggestions of the search, each of which has ended.
    """
    objectives = state.plan.objectives
    found: dict[str, tuple[tuple[float, ...], Trial, int]] = {}
    for ask in asks:
        result = state.outcome(ask.run) if ask.state == COMPLETE else None
        best = best_trial(ask, result, objectives) if isinstance(result, Result) else None
        if best is None:
            continue
        scores, trial = best
        if ask.training_key not in found or scores[0] > found[ask.training_key][0][0]:
            found[ask.training_key] = scores, trial, ask.number
    ranked = sorted(found.values(), key=lambda entry: (-entry[0][0], entry[2]))
    if len(objectives) > 1:
        costs = [is_cost(name) for name in objectives]
        front = not_dominated({entry[2]: entry[0] for entry in ranked}, costs)
        ranked = spread([entry for entry in ranked if entry[2] in front], search.confirm)
    runs = {}
    for _, trial, number in ranked[: search.confirm]:
        for run in state.add_trials(other_seeds(trial.config, search.seeds)):
            runs[run.spec.training_key] = run
            for confirmed in run.trials:
                state.retag(confirmed.trial_key, phase="confirm", ask=str(number))
    return list(runs.values())


def spread(entries: Sequence[Entry], most: int) -> list[Entry]:
    """Return at most so many entries, evenly from the first to the last."""
    if len(entries) <= most or most < 2:
        return [*entries[:most]]
    return [entries[round(k * (len(entries) - 1) / (most - 1))] for k in range(most)]


def other_seeds(config: TrialConfig, count: int) -> list[TrialConfig]:
    """Return a trial with each of the `count` seeds that come after its own."""
    return [dataclasses.replace(config, seed=config.seed + k) for k in range(1, count + 1)]


def describe_changes(identity: Mapping[str, object], folder: Path) -> list[str]:
    """Return in a line how a new search differs from the newest of its sweep, if there is one.

    Args:
        identity: What `Search.identity` returns of the new search.
        folder: The folder of the logs, each of which begins with the identity of its search.
    """
    logs = sorted(folder.glob("*.jsonl"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in logs:
        try:
            events = read_events(path)[0]
        except ConfigError:
            continue  # another search's, which says so when it is resumed
        if events and events[0].get("sweep") == identity["sweep"]:
            as_logged = json.loads(json.dumps(identity))  # a tuple comes back as a list
            others = ", ".join(_differences(events[0], as_logged))
            return [f"a new search, not that of {path.stem}: {others}; its runs are reused"]
    return []


def _differences(old: Mapping[str, object], new: Mapping[str, object]) -> Iterator[str]:
    """Yield each entry that differs, with both values; of a mapping, its entries that differ."""
    for name in new:
        before, after = old.get(name), new[name]
        if before == after or name == "sweep_key":
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            changed = [k for k in before | after if before.get(k) != after.get(k)]
            yield from (f"{k} {before.get(k)} -> {after.get(k)}" for k in changed)
        else:
            yield f"{name} {before} -> {after}"
