"""A sweep from command line to figure: plan, train, record, draw."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from sweeps._best import best_point
from sweeps._estimate import describe
from sweeps._manifest import changes
from sweeps._plan import Plan, make_plan
from sweeps._publisher import Publisher
from sweeps._run import ExecutorError, Resources, check_resources, execute, ray_slots
from sweeps._screen import Execution, Screen
from sweeps._source import Listed, Source
from trainable import datasets, weights
from trainable.command_line import (
    INTERRUPTED,
    OK,
    SOME_FAILED,
    attempt_of,
    check_writable,
    config_of,
    going_on,
    refuse,
)
from trainable.config import ConfigError, TrialConfig
from trainable.run_folder import CRASH_LOG
from trainable.training_run import pick_device

Trials = Callable[[TrialConfig, Iterable[int], argparse.Namespace], list[TrialConfig]]
Sources = Callable[[Plan, argparse.Namespace], Source]


def listed(plan: Plan, options: argparse.Namespace) -> Source:
    """Return what trains the plan as it is."""
    return Listed(plan.pending())


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a sweep script asks.

    Attributes:
        name: Of the sweep, also in the record.
        axes: The config fields that it varies, besides the seed.
        trials: From the base config, the seeds and the script's options to the trials.
        source: From the plan and the options to what gives the training runs.
    """

    name: str
    axes: tuple[str, ...]
    trials: Trials
    source: Sources = listed


def run_sweep(question: Question, parser: argparse.ArgumentParser) -> int:
    """Answer the question as the command line says, and return the exit code."""
    options = parser.parse_args()
    console = Console(stderr=options.json, highlight=False)
    try:
        plan = _plan(question, options)
        plan.question = (parser.description or "").partition("\n")[0]
        changed = changes(plan, plan.storage)
        check_resources(_resources(options))
    except (ConfigError, ExecutorError) as error:
        refuse(str(error))
    if options.plan:
        _say(console, describe(plan))
        if options.json:
            print(json.dumps(_summary(plan, None, None, [])))
        return OK
    if changed:
        _say(console, "\n  ".join([f"changed since the last {plan.name} here:", *changed]))
    return _answer(question, plan, options, console)


def _plan(question: Question, options: argparse.Namespace) -> Plan:
    base = weights.pin(config_of(options))
    seeds = range(base.seed, base.seed + options.seeds)
    trials = question.trials(base, seeds, options)
    if options.address is None:
        pick_device(base.device)
    storage = Path(options.storage).resolve()
    check_writable("--storage", storage)
    if options.tracking_uri.startswith("sqlite:///"):
        database = Path(options.tracking_uri.removeprefix("sqlite:///")).resolve()
        if not database.parent.exists():
            raise ConfigError(
                "--tracking-uri must lie in a folder that exists, but "
                f"{database.parent} does not; make it first"
            )
        check_writable("--tracking-uri", database.parent)
    data = datasets.inspect(base)
    for network in {config.generator: config for config in trials if config.weights}.values():
        weights.try_out(network, len(data.classes))
    return make_plan(
        question.name,
        trials,
        base=base,
        axes=question.axes,
        data=data,
        storage=storage,
        attempt=attempt_of(options),
    )


def _answer(question: Question, plan: Plan, options: argparse.Namespace, console: Console) -> int:
    pending = plan.pending()
    done = len(plan.runs) - len(pending)
    head = f"{plan.name} on {plan.base.dataset}: {len(plan.trials)} trials"
    counts = f"from {len(plan.runs)} training runs, {done} done"
    left = f"{len(pending)} to train" if pending else "nothing to train"
    if plan.data.skipped:
        _say(console, plan.data.skipped_in_words())
    _say(console, f"{head} {counts}, {left}")
    publisher = Publisher(plan, options.tracking_uri, lambda text: _say(console, text))
    if options.time_budget is not None:
        publisher.why_partial = f"time budget of {options.time_budget:g} s"
    execution = Execution()
    try:
        with ExitStack() as stack:
            slots = None
            if pending:
                slots = stack.enter_context(ray_slots(_resources(options), len(pending)))
            plan.storage.mkdir(parents=True, exist_ok=True)
            stack.enter_context(publisher)
            to_train = {run.spec.training_key for run in pending}
            for run in plan.runs:
                if run.spec.training_key not in to_train:
                    publisher.publish(run)
            if slots is not None:
                screen = Screen(
                    console=console,
                    title=f"{plan.name} on {plan.base.dataset}",
                    total=len(plan.runs),
                    done=done,
                    slots=slots.count,
                )
                stack.enter_context(screen)
                source = question.source(plan, options)
                execution = execute(plan, source, slots, screen, publisher.publish)
    except ExecutorError as error:
        refuse(str(error))
    except KeyboardInterrupt:
        command = going_on(options, sys.argv[0])
        _say(console, f"interrupted; what was trained is kept, go on with: {command}")
        return INTERRUPTED
    if pending:
        _say(
            console,
            f"trained {len(pending) - len(plan.pending())} runs in {execution.wall_s:.0f} s; "
            f"slots busy {execution.utilisation:.2f}; largest worker {execution.rss_gb:.2f} GB",
        )
    return _conclude(plan, options, console, execution, publisher)


def _conclude(
    plan: Plan,
    options: argparse.Namespace,
    console: Console,
    execution: Execution,
    publisher: Publisher,
) -> int:
    """Say what came out, draw the figures, and return the exit code."""
    failures = _failures(plan, execution)
    for key, label, cause in failures:
        _say(console, f"failed: {label}: {cause} (log: {plan.storage / key / CRASH_LOG})")
    left = len(plan.pending()) - len(execution.causes)
    if left:
        _say(console, f"{left} training runs are left; the same command goes on with them")
    best = best_point(plan)
    if best is not None:
        _say(console, _best_in_words(best))
    figure = None
    if not options.no_figures and publisher.reachable and best is not None:
        figure = _draw(plan, options, console)
    if options.json:
        print(json.dumps(_summary(plan, best, figure, failures)))
    return SOME_FAILED if failures else OK


def _failures(plan: Plan, execution: Execution) -> list[tuple[str, str, str]]:
    """Return key, label and cause of each training run that ended without numbers."""
    failures = []
    for run in plan.runs:
        found = plan.outcome(run)
        cause = execution.causes.get(run.spec.training_key) if found is None else None
        if found is not None and found[0] == "failure":
            cause = found[1]["cause"]
        if cause is not None:
            failures.append((run.spec.training_key, run.label(plan.axes), cause))
    return failures


def _draw(plan: Plan, options: argparse.Namespace, console: Console) -> str | None:
    """Draw the figures in a process of their own; the path of the figure is printed last."""
    command = [sys.executable, "-m", "analysis.make_figures"]
    command += ["--tracking-uri", options.tracking_uri, "--out", options.out]
    command += ["--sweep", plan.sweep_key]
    drawn = subprocess.run(command, capture_output=True, text=True, check=False)
    output = (drawn.stdout if drawn.returncode == 0 else drawn.stderr).strip().splitlines()
    path = output[-1] if output else None
    _say(console, path if drawn.returncode == 0 and path else f"no figure drawn: {path}")
    return path if drawn.returncode == 0 else None


def _resources(options: argparse.Namespace) -> Resources:
    return Resources(
        address=options.address,
        cpus_per_trial=options.cpus_per_trial,
        gpus_per_trial=options.gpus_per_trial,
        max_concurrent=options.max_concurrent,
        time_budget_s=options.time_budget,
    )


def _best_in_words(best: dict[str, Any]) -> str:
    point = ", ".join(f"{axis}={value}" for axis, value in best["point"].items())
    mean, low, high = (best[f"{name}/swa/miou"] for name in ("mean", "ci_low", "ci_high"))
    interval = (
        "no interval from one seed" if low is None else f"95 % interval {low:.4f} to {high:.4f}"
    )
    words = f"best point: {point} with swa/miou {mean:.4f} ({interval}, {best['best/seeds']} seeds)"
    if best["best/others"]:
        alike, others = best["best/not_distinguishable"], best["best/others"]
        words += f"; {alike} of {others} other settings are not distinguishable from it"
    return words


def _summary(
    plan: Plan,
    best: dict[str, Any] | None,
    figure: str | None,
    failures: list[tuple[str, str, str]],
) -> dict[str, Any]:
    pending = plan.pending()
    return {
        "sweep": plan.name,
        "sweep_key": plan.sweep_key,
        "dataset": plan.base.dataset,
        "trials": len(plan.trials),
        "training_runs": len(plan.runs),
        "training_runs_done": len(plan.runs) - len(pending),
        "failed": [
            {"training_key": key, "run": label, "cause": cause} for key, label, cause in failures
        ],
        "best": best,
        "figure": figure,
    }


def _say(console: Console, text: str) -> None:
    console.print(text, soft_wrap=True, markup=False)
