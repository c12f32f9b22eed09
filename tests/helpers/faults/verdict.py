"""What a sweep left behind, and whether it is what an undisturbed one leaves."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from mlflow import MlflowClient
from training_helpers import CLOCKS

from analysis.record.origin import TAG, Origin
from analysis.record.schema import CURVES, EXPERIMENT
from faults.sweep import Sweep
from trainable.storage import json_files
from trainable.storage.tensors import load_tensors

# Tags that name a run of MLflow or a moment, and metrics of the sweep that sum up clocks.
OF_THE_MOMENT = (
    *("best_run", "best_model", "model_of", "record_hash", "mlflow.parentRunId"),
    *("capture_hash", "git_commit"),
    # The page of a sweep has links to its runs, by their ids.
    *("mlflow.note.content", "mlflow.pixelwise.note", "mlflow.pixelwise.attached"),
)
FEW = 8  # lines of one kind
TIMES = (*CLOCKS, "sha256", "cost/training_s")  # the checksum covers the clocks, too


@dataclass(frozen=True, kw_only=True)
class Left:
    """What a sweep left, clocks left out.

    Attributes:
        results: The numbers of each run folder, by training key.
        tensors: Each tensor of each model, by training key and name, as bytes.
        trials: Params, metrics, tags and names of files of each trial in the record, by trial key.
        doubled: Trial keys, and parents, that stand more than once.
        parent: Metrics and tags of the sweep.
        study: The stored Optuna trials, if it was a search.
        odd: What no sweep may leave, in words.
    """

    results: dict[str, Any]
    tensors: dict[str, dict[str, bytes]]
    trials: dict[str, Any]
    doubled: tuple[str, ...]
    parent: dict[str, Any]
    study: list[Any]
    odd: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a scenario came to; it holds if nothing is lost, doubled, different or wrong."""

    name: str
    kills: int = 0
    lost: int = 0
    doubled: int = 0
    differing: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()
    redone: int = 0
    iterations: int = 0
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        return not (self.lost or self.doubled or self.differing or self.wrong)

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(
            name=self.name,
            kills=self.kills + other.kills,
            lost=self.lost + other.lost,
            doubled=self.doubled + other.doubled,
            differing=self.differing + other.differing,
            wrong=self.wrong + other.wrong,
            redone=self.redone + other.redone,
            iterations=self.iterations + other.iterations,
            seconds=self.seconds + other.seconds,
        )

    def describe(self) -> str:
        share = self.redone / self.iterations if self.iterations else 0.0
        bits = "differ" if self.differing else "equal"
        words = (
            f"{self.name:<18} {'ok' if self.holds else 'FAILED':<6} {self.kills:>3} survived, "
            f"{self.lost} lost, {self.doubled} doubled, bits {bits}, "
            f"{self.redone} of {self.iterations} iterations twice ({share:.1%}), "
            f"{self.seconds:.0f} s"
        )
        return "\n    ".join([words, *_first(self.differing), *_first(self.wrong)])


@dataclass(kw_only=True)
class Judge:
    """Compares with undisturbed sweeps, each run once."""

    undisturbed: dict[str, Left] = field(default_factory=dict)
    iterations: dict[str, int] = field(default_factory=dict)

    def learn(self, sweep: Sweep) -> None:
        """Take a sweep as the undisturbed one of its question."""
        self.undisturbed[sweep.question.script] = left = look(sweep)
        self.iterations[sweep.question.script] = sweep.trained()
        assert left.trials, sweep.said()
        assert not left.odd, left.odd

    def judge(self, name: str, sweep: Sweep, begun: float, wrong: tuple[str, ...] = ()) -> Verdict:
        """Return what became of a sweep, after it ended."""
        left, right = look(sweep), self.undisturbed[sweep.question.script]
        needed = self.iterations[sweep.question.script]
        lost = (right.trials.keys() - left.trials.keys()) | (
            right.results.keys() - left.results.keys()
        )
        return Verdict(
            name=name,
            kills=sweep.kills,
            lost=len(lost),
            doubled=len(left.doubled),
            differing=tuple(_differing(left, right)),
            wrong=wrong + left.odd,
            redone=sweep.trained() - needed,
            iterations=sweep.trained(),
            seconds=time.monotonic() - begun,
        )


def look(sweep: Sweep) -> Left:
    """Return what a sweep left behind."""
    storage = sweep.folder / "runs"
    client = MlflowClient(sweep.tracking_uri)
    parents, children = _record(client)
    trials: dict[str, Any] = {}
    counts = Counter(child.data.tags["trial_key"] for child in children)
    counts.update("parent" for _ in parents)
    for child in children:
        # How far a run trains before it hears that it is stopped is a matter of time.
        stopped = child.info.status == "KILLED"
        trials[child.data.tags["trial_key"]] = {
            **_without(child.data.params, ()),
            **({} if stopped else _without(_measured_once(child.data.metrics), TIMES)),
            **_without(_told(child), OF_THE_MOMENT),
            "status": child.info.status,
            "files": sorted(one.path for one in client.list_artifacts(child.info.run_id)),
        }
    return Left(
        results={
            path.parent.name: _without(json_files.loads(path.read_bytes()), TIMES)
            for path in storage.glob("*/result.json")
        },
        tensors={
            path.parent.name: dict(_bytes_of("", load_tensors(path)))
            for path in storage.glob("*/model.pt")
        },
        trials=trials,
        doubled=tuple(key for key, count in counts.items() if count > 1),
        parent={
            key: value
            for parent in parents
            for one in (parent.data.metrics, _told(parent))
            for key, value in _without(one, (*TIMES, *OF_THE_MOMENT)).items()
        },
        study=_study(storage / "optuna.db"),
        odd=tuple(_odd(sweep, client, parents, children)),
    )


def _told(run: Any) -> dict[str, Any]:
    """Return the tags of a run, and what it was made from apart from its one tag."""
    origin = Origin.of_run(run)
    tags = {name: text for name, text in run.data.tags.items() if name != TAG}
    return {**tags, **origin.facts, "config": dict(origin.config)}


def _record(client: MlflowClient) -> tuple[list[Any], list[Any]]:
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        return [], []
    found = [experiment.experiment_id]
    parents = client.search_runs(found, "tags.kind = 'sweep'")
    return list(parents), list(client.search_runs(found, "tags.kind = 'trial'", max_results=5000))


def _measured_once(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out how busy the machine was."""
    return {name: value for name, value in metrics.items() if not name.startswith("system/")}


def _odd(
    sweep: Sweep, client: MlflowClient, parents: list[Any], children: list[Any]
) -> Iterator[str]:
    """Yield what must not be, whatever an undisturbed sweep did."""
    if "Traceback" in sweep.said():
        yield f"a traceback: {sweep.notes / 'said'}"
    for run in (*parents, *children):
        began, ended = run.info.start_time, run.info.end_time
        if ended is not None and ended < began:
            yield f"{run.info.run_name} ended {began - ended} ms before it began"
    of_parents = {parent.info.run_id for parent in parents}
    for child in children:
        if child.data.tags.get("mlflow.parentRunId") not in of_parents:
            yield f"{child.info.run_name} has no parent"
        for name in CURVES:
            points = client.get_metric_history(child.info.run_id, name)
            steps = Counter(point.step for point in points)
            for step in [step for step, count in steps.items() if count > 1]:
                yield f"{child.info.run_name} has {name} twice at step {step}"
    for path in sweep.folder.rglob(".*.tmp"):
        yield f"{path.relative_to(sweep.folder)} is left behind"
    for path in sweep.folder.glob("runs/*/metrics.json"):
        if (path.parent / "result.json").exists():
            for left in path.parent.glob("checkpoint-*"):
                yield f"{left.relative_to(sweep.folder)} is left behind"
        times = [row["time"] for row in json_files.loads(path.read_bytes())["history"]]
        if times != sorted(times):
            yield f"the history of {path.parent.name} goes back in time"


def _study(path: Path) -> list[Any]:
    if not path.exists():
        return []
    storage = f"sqlite:///{path}"
    return [
        (name, trial.number, trial.state.name, trial.params, trial.values)
        for name in sorted(optuna.get_all_study_names(storage))
        for trial in optuna.load_study(study_name=name, storage=storage).trials
    ]


def _differing(left: Left, right: Left) -> Iterator[str]:
    """Yield what is not as it was, of what both have."""
    for name in ("results", "tensors", "trials"):
        there, expected = getattr(left, name), getattr(right, name)
        for key in sorted(expected.keys() & there.keys()):
            if there[key] != expected[key]:
                which = _keys_that_differ(there[key], expected[key])
                yield f"{name} of {key} differ in {', '.join(which)}"
        if surplus := sorted(there.keys() - expected.keys()):
            yield f"{name} of {', '.join(surplus)} should not be there"
    if left.parent != right.parent:
        yield f"the sweep differs in {', '.join(_keys_that_differ(left.parent, right.parent))}"
    if left.study != right.study:
        yield "the stored study differs"


def _keys_that_differ(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [
        f"{key} ({_short(one.get(key))} for {_short(other.get(key))})"
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    ][:3]


def _first(lines: tuple[str, ...]) -> list[str]:
    more = len(lines) - FEW
    return [*lines[:FEW], *([f"and {more} more"] if more > 0 else [])]


def _short(value: Any) -> str:
    return repr(value)[:60]


def _without(values: Mapping[str, Any], left_out: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in left_out}


def _bytes_of(name: str, value: Any) -> Iterator[tuple[str, bytes]]:
    """Yield the tensors and numbers of a nested state under their whole names."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _bytes_of(f"{name}/{key}", one)
    elif hasattr(value, "numpy"):
        yield name, value.numpy().tobytes()
    else:
        yield name, repr(value).encode()
