"""The driver is killed: at random times, and at every point of a sweep that has a name."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from dataclasses import dataclass
from itertools import cycle

from faults.bench import Bench
from faults.sweep import GRID, SEARCH, Question, Sweep, kill_all
from faults.verdict import Verdict

ENDS = 5  # kills after which a sweep may end, and another begins


@dataclass(frozen=True)
class Point:
    """A moment in the life of a sweep: before or after the n-th call of one of our functions."""

    name: str
    call: str  # MODULE:FUNCTION:before|after:N
    question: Question = GRID
    short: bool = False


RUN_FOLDER, RECORD = "trainable.runs.folder", "sweeps.record.writer:MlflowWriter"
TRIALS, RUNS = "sweeps.record.trial_runs:TrialRuns", "sweeps.record.mlflow_run:SweepRuns"
POINTS = (
    Point("before the plan", "sweeps.planning.plan:make_plan:before:1"),
    Point("after the plan", "sweeps.planning.plan:make_plan:after:1"),
    Point("the store's tables half made", "sweeps.record.mlflow_store:create_database:before:1"),
    Point("store made", "sweeps.record.mlflow_store:create_database:after:1"),
    Point("Ray started", "sweeps.execution.executor:start_ray:after:1"),
    Point("before the manifest", "sweeps.record.manifest:begin:before:1"),
    Point("manifest written, no parent", "sweeps.record.manifest:begin:after:1"),
    Point("before the experiment", f"{RECORD}._experiment:before:1"),
    Point("experiment made", f"{RECORD}._experiment:after:1"),
    Point("parent made", f"{RECORD}._parent:after:1"),
    Point("run folder made", f"{RUN_FOLDER}:RunFolder.__enter__:after:1"),
    Point("config written", "trainable.runs.training_run:TrainingRun._build:after:1"),
    Point("before a checkpoint", f"{RUN_FOLDER}:RunFolder.save_checkpoint:before:1"),
    Point("checkpoint half written", "trainable.storage.files:sync:before:2"),
    Point("checkpoint without its name", "trainable.storage.files:sync:after:3", short=True),
    Point("checkpoint written", f"{RUN_FOLDER}:RunFolder.save_checkpoint:after:2"),
    Point("a validation reported", "sweeps.execution.in_flight:RunsInFlight.on_result:after:2"),
    Point("before the model", f"{RUN_FOLDER}:RunFolder.save_model:before:1"),
    Point("model written, no result", f"{RUN_FOLDER}:RunFolder.save_model:after:1"),
    Point("result written", f"{RUN_FOLDER}:RunFolder.drop_checkpoints:before:2"),
    Point("checkpoints dropped", f"{RUN_FOLDER}:RunFolder.drop_checkpoints:after:2"),
    Point("a run handed to the publisher", "sweeps.record.publisher:Publisher.publish:after:1"),
    Point("a trial is running", f"{TRIALS}.follow:after:1"),
    Point("a curve has grown", f"{TRIALS}.follow:after:6"),
    Point("before a trial is recorded", f"{TRIALS}._create:before:1"),
    Point("trial made, empty", f"{TRIALS}._create:after:1", short=True),
    Point("trial's numbers logged", f"{RUNS}.log:after:2"),
    Point("trial recorded", f"{TRIALS}._publish_trial:after:2"),
    Point("trials of a run recorded", f"{RECORD}.publish:after:3"),
    Point("all trained", "sweeps.execution.executor:execute:after:1"),
    Point("before the sweep is summed up", f"{RECORD}.summarise:before:1"),
    Point("sweep summed up", f"{RECORD}.summarise:after:1", short=True),
    Point("model logged, not named", f"{RECORD}.name_best:before:1"),
    Point("best named", f"{RECORD}.name_best:after:1"),
    Point("all recorded", "sweeps.record.publisher:conclude:after:1"),
    Point("event about to be logged", "sweeps.search.event_log:EventLog.append:before:3", SEARCH),
    Point("search begun", "sweeps.search.event_log:EventLog.append:after:1", SEARCH),
    Point("ask logged", "sweeps.search.optuna_source:SearchSource._ask:after:2", SEARCH),
    Point("validation logged", "sweeps.search.optuna_source:SearchSource._take_in:after:3", SEARCH),
    Point("end logged, not told", "sweeps.search.optuna_source:SearchSource._end:before:1", SEARCH),
    Point("end told", "sweeps.search.optuna_source:SearchSource._tell:after:2", SEARCH),
    Point("confirmation chosen", "sweeps.search.optuna_source:plan_confirmation:after:1", SEARCH),
    Point("study stored", "sweeps.search.optuna_db:OptunaDatabase.close:after:1", SEARCH),
)


def at_points(bench: Bench) -> Verdict:
    """Kill the driver at each point, in sweeps that suffer a few kills each."""
    points = [point for point in POINTS if point.short or not bench.short]
    total = Verdict(name="driver at points")
    for question in (GRID, SEARCH):
        left = [point for point in points if point.question is question]
        if left:
            total += _all_reached(bench, question, left)
    return total


def _all_reached(bench: Bench, question: Question, points: list[Point]) -> Verdict:
    """Go on with one sweep from point to point while it has work left for them."""
    total = Verdict(name="")
    sweep, begun = bench.sweep(question), time.monotonic()
    for point in points:
        if _killed_at(sweep, point):
            continue
        # This sweep is over: a fresh one passes the point, or none does.
        total += bench.judge(total.name, sweep, begun)
        sweep, begun = bench.sweep(question), time.monotonic()
        if not _killed_at(sweep, point):
            total += Verdict(name="", wrong=(f"{point.name} ({point.call}) was not reached",))
    return total + bench.end(total.name, sweep, begun)


def _killed_at(sweep: Sweep, point: Point) -> bool:
    killed = sweep.finish(FAULTS_POINT=point.call) == -signal.SIGKILL
    sweep.kills += killed
    return killed


def at_random(bench: Bench) -> Verdict:
    """Kill the driver at random times, alone and with all that it started."""
    chance = random.Random(bench.seed)
    total = Verdict(name="driver at random")
    for question in cycle((GRID, GRID, SEARCH)):
        left = bench.kills - total.kills
        if left <= 0:
            return total
        sweep, begun = bench.sweep(question), time.monotonic()
        _kill_at_random(sweep, min(left, ENDS), bench.takes_s(question), chance)
        total += bench.end(total.name, sweep, begun)
    raise AssertionError("a cycle has no end")


def _kill_at_random(sweep: Sweep, kills: int, takes_s: float, chance: random.Random) -> None:
    while sweep.kills < kills:
        driver = sweep.start()
        try:
            driver.wait(chance.uniform(1.0, takes_s))
            return  # it was faster
        except subprocess.TimeoutExpired:
            sweep.kills += 1
        if chance.random() < 0.5:
            kill_all(driver)
        else:
            os.kill(driver.pid, signal.SIGKILL)
            driver.wait()
