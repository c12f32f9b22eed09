"""A sweep from command line to figure: plan, train, record, draw."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from rich.console import Console, RenderableType

from sweeps.driver.summary import SweepSummary, draw, ui_command
from sweeps.execution.display import LiveDisplay
from sweeps.execution.executor import execute, ray_slots
from sweeps.execution.nodes import differences, precisions
from sweeps.execution.progress import ExecutionStats
from sweeps.execution.resources import ExecutorError, Resources, Slots, check_resources
from sweeps.planning.cost import describe
from sweeps.planning.packing import largest
from sweeps.planning.plan import Plan, make_plan
from sweeps.planning.speed_probe import probe
from sweeps.record.ended_run import check_ended
from sweeps.record.manifest import changes
from sweeps.record.mlflow_store import check_store
from sweeps.record.publisher import Publisher
from sweeps.record.store_check import check_usable
from sweeps.search.race import AdaptiveSeeds
from sweeps.search.source import FixedRuns, MirroredSource, RunSource, TrialLimit
from sweeps.storage.driver_lock import check_no_driver, only_driver
from sweeps.storage.mirror import open_storage
from sweeps.storage.threads import RayGoneError, ThreadEndedError
from trainable.cli.options import (
    INTERRUPTED,
    OK,
    SOME_FAILED,
    attempt_of,
    check_writable,
    config_of,
    ended_by_signals,
    give_up,
    refuse,
    resume_command,
)
from trainable.config.schema import DATA_FIELDS, DEFAULTS, ConfigError, TrialConfig, suggest
from trainable.data import datasets
from trainable.networks import pretrained
from trainable.runs.folder import RunFolder
from trainable.runs.results import clear_finished
from trainable.storage.faults import machine_fault
from trainable.storage.redaction import printable
from trainable.training.devices import pick_device
from trainable.training.numerics import (
    auto_precision,
    check_precision,
    common_precision,
    with_precision,
)

Trials = Callable[[TrialConfig, Iterable[int], argparse.Namespace], list[TrialConfig]]
Sources = Callable[[Plan, argparse.Namespace], RunSource]
MANY = 1_000_000  # runs or trials: no limit
FILE_WIDTH = 160  # of a table that no terminal cuts


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """What a sweep script asks.

    Attributes:
        name: Of the sweep, also in the record.
        axes: The config fields that it varies, besides the seed.
        trials: From the base config, the seeds and the script's options to the trials.
        source: From the plan and the options to what gives the training runs, where those are not
            known before. It is made for `--plan`, too, and writes nothing before it is entered,
            if it is a context manager: that happens when Ray runs and the storage is there.
        question: The same in one sentence.
        settings: `key=value` that this question changes in a preset, before `--set` has its say.
        with_samples: Whether the record takes the predicted masks, too.
    """

    name: str
    axes: tuple[str, ...]
    trials: Trials
    source: Sources | None = None
    question: str = ""
    settings: tuple[str, ...] = ()
    with_samples: bool = False


def run_sweep(question: Sweep, parser: argparse.ArgumentParser) -> int:
    """Answer the question as the command line says, and return the exit code.

    A question that says nothing of itself is the first line of the parser's description.
    """
    asked = question.question or (parser.description or "").partition("\n")[0]
    return answer(dataclasses.replace(question, question=asked), parser.parse_args())


@ended_by_signals()
def answer(question: Sweep, options: argparse.Namespace) -> int:
    """Answer the question as the options of `sweep_parser` say, and return the exit code."""
    console = Console(stderr=options.json, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    try:
        return _answer(question, options, console)
    except RayGoneError as error:
        command = resume_command(options, sys.argv[0])
        kept = "what was trained is kept, go on with"
        print(f"error: {error}; {kept}: {command}", file=sys.stderr)
        return SOME_FAILED
    except KeyboardInterrupt:
        command = resume_command(options, sys.argv[0])
        _say(console, f"interrupted; what was trained is kept, go on with: {command}")
        return INTERRUPTED
    except Exception as error:
        fault = machine_fault(error)
        if fault is None and isinstance(error, ThreadEndedError):
            fault = str(error)
        if fault is None:
            raise
        return _give_up(fault, options)


def _give_up(fault: str, options: argparse.Namespace) -> int:
    command = resume_command(options, sys.argv[0])
    return give_up(fault, f"what was trained is kept; mend that and go on with: {command}")


class OtherPrecisionError(Exception):
    """`precision=auto` means another on the nodes that train than it was planned with."""

    def __init__(self, precision: str) -> None:
        super().__init__(f"precision=auto is {precision} on the nodes that train; planning anew")
        self.precision = precision


def _answer(
    question: Sweep,
    options: argparse.Namespace,
    console: Console,
    precision: str | None = None,
) -> int:
    """Answer a question; a precision is what `auto` was found to mean on a cluster's nodes."""
    try:
        plan = _plan(question, options, precision)
        source = _source(question, plan, options)
        check_ended(plan)
        changed = changes(plan, plan.storage)
        check_resources(_resources(options))
    except (ConfigError, ExecutorError) as error:
        refuse(str(error))
    if options.plan:
        here = options.address is None
        threads = max(1, int(options.cpus_per_trial))
        _say_all(console, plan.data.in_words())
        _say(console, describe(plan, partial(probe, threads=threads) if here else None))
        if options.json:
            print(json.dumps(SweepSummary(plan=plan).as_primitives() | {"figure": None}))
        return OK
    if changed:
        _say(console, "\n  ".join([f"changed since the last {plan.name} here:", *changed]))
    try:
        return _train(plan, source, options, console)
    except OtherPrecisionError as other:
        _say(console, str(other))
        return _answer(question, options, console, other.precision)


def _plan(question: Sweep, options: argparse.Namespace, precision: str | None = None) -> Plan:
    if options.config is None:
        options.overrides = [*question.settings, *options.overrides]
    given = pretrained.pin(config_of(options))
    device = _device(options, given)
    auto = precision or auto_precision(device)
    base = with_precision(given, auto)
    seeds = range(base.seed, base.seed + options.seeds)
    trials = [with_precision(one, auto) for one in question.trials(base, seeds, options)]
    _check_trials(question, trials, base)
    if options.address is None:
        for one in {base.precision, *(trial.precision for trial in trials)}:
            check_precision(one, device)
    storage, mirror = open_storage(options.storage, with_samples=question.with_samples)
    if mirror is None:
        check_writable("--storage", storage)
    check_store(options.tracking_uri)
    check_usable(options.tracking_uri)
    data = datasets.inspect(base)
    for trial in trials or [base]:
        pretrained.check_start(trial)
    for network in {one.generator: one for one in trials or [base] if one.weights}.values():
        pretrained.try_out(network, len(data.classes))
    plan = make_plan(
        question.name,
        trials,
        base=base,
        axes=question.axes,
        data=data,
        storage=storage,
        attempt=attempt_of(options),
    )
    plan.question, plan.with_samples = question.question, question.with_samples
    plan.mirror, plan.auto_precision = mirror, auto
    if options.address is not None and given.precision == "auto" and precision is None:
        plan.notes.append(_assumed(auto))
    return plan


def _assumed(precision: str) -> str:
    return (
        f"precision=auto was taken as {precision}, by the device of this machine and not of the "
        "cluster's; say another with --set precision=VALUE"
    )


def _check_precision_of_nodes(plan: Plan, slots: Slots) -> None:
    """Hold what `precision=auto` was taken as against the nodes that train.

    Raises:
        OtherPrecisionError: It means another there.
        ConfigError: It means one thing on one and another on another.
    """
    note = _assumed(plan.auto_precision)
    if note not in plan.notes:
        return
    on_cpus = not slots.gpus or plan.base.device == "cpu"
    found = {"the nodes": "fp32"} if on_cpus else precisions(slots.nodes)
    if not found:
        return  # the nodes' GPUs do not say what they are
    precision = common_precision(found)
    if precision != plan.auto_precision:
        raise OtherPrecisionError(precision)
    plan.notes.remove(note)


def _device(options: argparse.Namespace, base: TrialConfig) -> torch.device:
    """Return what the workers train on; for those of a cluster this machine's own device stands.

    Raises:
        ConfigError: `cuda` is asked for and this machine, which is to train, has none.
    """
    name = base.device
    if name == "auto" and options.gpus_per_trial == 0:
        name = "cpu"
    if name == "cuda" and options.address is not None:
        name = "auto"
    return pick_device(name)


def _check_trials(question: Sweep, trials: Sequence[TrialConfig], base: TrialConfig) -> None:
    """Refuse what no record could tell apart, or would tell wrongly.

    Raises:
        ConfigError: There is no trial, an axis is no field, or the trials' data sets differ.
    """
    for axis in question.axes:
        if axis not in DEFAULTS:
            raise ConfigError(
                f"unknown axis {axis!r} of {question.name}; {suggest(axis, DEFAULTS)}"
            )
    if question.source is None and not trials:
        raise ConfigError(f"a sweep must have at least one trial, but {question.name} has none")
    for trial in trials:
        for name in DATA_FIELDS:
            if getattr(trial, name) != getattr(base, name):
                raise ConfigError(
                    f"a sweep has one data set, but a trial of {question.name} has "
                    f"{name}={getattr(trial, name)!r}; set it for all with --set {name}=VALUE"
                )


def _source(question: Sweep, plan: Plan, options: argparse.Namespace) -> RunSource:
    """Return what gives the training runs: a search's own, a race, or the plan as it is.

    Raises:
        ConfigError: A race cannot be held, or a search cannot be done.
    """
    if options.race and question.source is not None:
        raise ConfigError(
            f"--race gives seeds to settings that are known, but {question.name} chooses its own; "
            "leave --race out"
        )
    if question.source is not None:
        return question.source(plan, options)
    return AdaptiveSeeds(plan, options.race_limit) if options.race else FixedRuns(plan.pending())


def _train(plan: Plan, source: RunSource, options: argparse.Namespace, console: Console) -> int:
    pending = plan.pending()
    done = len(plan.runs) - len(pending)
    _announce(plan, len(pending), source, console)
    publisher = Publisher(
        plan,
        options.tracking_uri,
        lambda text: _say(console, text),
        with_model=not options.no_model,
    )
    limited = TrialLimit(source, plan, options.max_trials or MANY)
    execution, slots = ExecutionStats(), None
    try:
        check_no_driver(plan.storage, plan.name, plan.sweep_key)
        with ExitStack() as stack:
            if not limited.exhausted:
                wanted = len(pending) if isinstance(source, FixedRuns) else MANY
                resources = _resources(options)
                measured = largest(plan) if resources.gpus_per_trial == "auto" else None
                ready = ray_slots(
                    resources, wanted, plan.workers_storage, measured, partial(_say, console)
                )
                slots = stack.enter_context(ready)
                _check_precision_of_nodes(plan, slots)
                _say_all(console, differences(slots.nodes))
            _make(plan.storage)
            stack.enter_context(only_driver(plan.storage, plan.name, plan.sweep_key))
            if plan.mirror is not None:
                stack.enter_context(plan.mirror.kept_in_step(partial(_say, console), plan.threads))
            if isinstance(source, AbstractContextManager):
                stack.enter_context(source)  # first: it may refuse, and nothing is recorded then
            stack.enter_context(publisher)
            to_train = {run.spec.training_key for run in pending}
            for run in plan.runs:
                if run.spec.training_key not in to_train:
                    clear_finished(RunFolder(plan.storage, run.spec.training_key, wait_s=0))
                    publisher.publish(run)
            known = len(plan.runs)
            if slots is not None:
                screen = LiveDisplay(
                    console=console,
                    title=f"{plan.name} on {plan.base.dataset}",
                    total=len(plan.runs),
                    done=done,
                    slots=slots.count,
                    grows=not isinstance(source, FixedRuns),
                )
                feed = limited if plan.mirror is None else MirroredSource(limited, plan.mirror)
                with screen:
                    execution = execute(plan, feed, slots, screen, publisher.publish)
            for run in plan.runs[known:]:  # those added as it went may have been done already
                publisher.publish(run)
            if plan.pending() or not source.exhausted:
                plan.why_partial = execution.spent or limited.why_partial
    except (ConfigError, ExecutorError) as error:
        refuse(str(error))
    if slots is not None:
        trained = len(plan.runs) - len(plan.pending()) - done
        _say(
            console,
            f"trained {trained} runs in {execution.wall_s:.0f} s; "
            f"slots busy {execution.utilisation:.2f}; largest worker {execution.rss_gb:.2f} GB",
        )
    if isinstance(source, AdaptiveSeeds):
        plan.notes.append(source.in_words())
    return _conclude(SweepSummary.of(plan, execution), options, console, publisher)


def _make(storage: Path) -> None:
    try:
        storage.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--storage must be writable, but {storage} cannot be made: {error.strerror}; "
            "give another folder"
        ) from error


def _announce(plan: Plan, pending: int, source: RunSource, console: Console) -> None:
    head = f"{plan.name} on {plan.base.dataset}: {len(plan.trials)} trials"
    counts = f"from {len(plan.runs)} training runs, {len(plan.runs) - pending} done"
    left = f"{pending} to train" if pending else "nothing to train"
    if not isinstance(source, FixedRuns) and not source.exhausted:
        left = "more as it goes"
    _say_all(console, plan.data.in_words())
    _say(console, f"{head} {counts}, {left}")


def _conclude(
    conclusion: SweepSummary,
    options: argparse.Namespace,
    console: Console,
    publisher: Publisher,
) -> int:
    """Say what came out, draw the figures, and return the exit code."""
    _say_all(console, conclusion.lines())
    _say(console, ui_command(options.tracking_uri))
    figure = None
    if not options.no_figures and publisher.reachable and conclusion.best is not None:
        figure, words = draw(conclusion.plan, options)
        _say(console, words)
    if options.json:
        print(json.dumps(conclusion.as_primitives() | {"figure": figure}))
    if conclusion.plan.fault:
        return _give_up(conclusion.plan.fault, options)
    return SOME_FAILED if conclusion.failures or conclusion.refused else OK


def _resources(options: argparse.Namespace) -> Resources:
    return Resources(
        address=options.address,
        cpus_per_trial=options.cpus_per_trial,
        gpus_per_trial=options.gpus_per_trial,
        max_concurrent=options.max_concurrent,
        time_budget_s=options.time_budget,
        gpu_hours=options.gpu_hours,
        hang_timeout_s=options.hang_timeout,
    )


def _say_all(console: Console, texts: Iterable[str | RenderableType]) -> None:
    for text in texts:
        _say(console, text)


def _say(console: Console, text: str | RenderableType) -> None:
    if isinstance(text, str):
        console.print(printable(text), soft_wrap=True)
    else:
        console.print(text)
    console.file.flush()  # what is waited for is read while it is
