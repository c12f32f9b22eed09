"""A sweep from command line to figure: plan, train, record, draw."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from rich.console import Console

from analysis.record.tracking_uri import describe_choice
from sweeps.driver.console import open_console, say, say_all
from sweeps.driver.options import SweepOptions
from sweeps.driver.presentation import Presentation, drawn_by
from sweeps.driver.script import SweepScript
from sweeps.driver.session import OtherPrecisionError, Session, assumed_precision
from sweeps.driver.summary import Drawn, SweepSummary, draw, record_line
from sweeps.execution.executor import ray_slots
from sweeps.execution.lifeline import RayGoneError
from sweeps.execution.resources import ExecutorError, Resources, slots_here
from sweeps.planning.cost import describe
from sweeps.planning.counts import describe_earlier
from sweeps.planning.objectives import read_objectives
from sweeps.planning.plan import make_plan
from sweeps.planning.speed_probe import Probe, probe
from sweeps.planning.state import SweepState
from sweeps.record.ended_run import check_ended
from sweeps.record.manifest import changes, take_over_race, take_over_trials
from sweeps.record.mlflow_store import check_store
from sweeps.record.publisher import Publisher
from sweeps.record.reader import with_weights_of_trial
from sweeps.record.store_check import check_usable
from sweeps.search.adaptive_seeds import AdaptiveSeeds
from sweeps.search.source import FixedRuns, RunSource
from sweeps.storage.mirror import open_storage
from sweeps.storage.threads import ThreadEndedError
from trainable.cli.options import (
    INTERRUPTED,
    OK,
    SOME_FAILED,
    check_writable,
    config_of,
    ended_by_signals,
    give_up,
    given_of,
    resume_command,
)
from trainable.cli.parser import refuse
from trainable.cli.streams import OutputClosed
from trainable.config.schema import DATA_FIELDS, DEFAULTS, ConfigError, TrialConfig, suggest
from trainable.data import datasets
from trainable.networks import pretrained
from trainable.networks.custom_check import check_networks
from trainable.runs.keys import RunSpec
from trainable.storage.faults import machine_fault
from trainable.training.devices import pick_device
from trainable.training.numerics import (
    auto_precision,
    check_precision,
    with_precision,
)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How the work on a sweep ended.

    Attributes:
        summary: What came out of the sweep.
        drawn: What was drawn of it.
        problem: What keeps it from having all of its numbers, empty if nothing does, and where it
            was planned alone.
    """

    summary: SweepSummary
    drawn: Drawn
    problem: str

    def as_primitives(self) -> dict[str, Any]:
        """Return what a program is told."""
        return self.summary.as_primitives() | self.drawn.as_primitives()


@ended_by_signals()
def answer(question: SweepScript, options: SweepOptions, own: argparse.Namespace) -> int:
    """Answer the question of a command and return its exit code.

    Args:
        question: The sweep to run.
        options: The options of `sweep_parser`.
        own: The options that the script added.
    """
    console, command = open_console(stderr=options.json), resume_command(options.no_reuse)
    try:
        ended = carry_out(question, options, own, console, command)
    except (ConfigError, ExecutorError) as error:
        refuse(str(error))
    except RayGoneError as error:
        kept = "what was trained is kept; resume with"
        print(f"error: {error}; {kept}: {command}", file=sys.stderr)
        return SOME_FAILED
    except OutputClosed:
        raise
    except KeyboardInterrupt:
        say(console, f"interrupted; what was trained is kept; resume with: {command}")
        return INTERRUPTED
    except Exception as error:
        fault = fault_of(error)
        if fault is None:
            raise
        return _give_up(fault, command)
    if options.json:
        print(json.dumps(ended.as_primitives()))
    if ended.summary.state.fault:
        return _give_up(ended.summary.state.fault, command)
    return SOME_FAILED if ended.summary.failures or ended.summary.refused else OK


def fault_of(error: Exception) -> str | None:
    """Return what the machine refused, or which thread it ended; None for any other error."""
    fault = machine_fault(error)
    return str(error) if fault is None and isinstance(error, ThreadEndedError) else fault


def _give_up(fault: str, command: str) -> int:
    return give_up(fault, f"what was trained is kept; mend that and resume with: {command}")


def carry_out(
    question: SweepScript,
    options: SweepOptions,
    own: argparse.Namespace,
    console: Console,
    command: str,
    planned: Callable[[SweepState], object] = id,
) -> Ended:
    """Plan, train, record and draw a sweep; say on a console what happens.

    It neither heeds signals nor ends the process, so that a program can call it in any thread.

    Args:
        question: The sweep to run.
        options: The options of `sweep_parser`.
        own: The options that the script added.
        console: Where to say what happens.
        command: The command line that asks, or resumes; the record keeps it.
        planned: Called with the state of the sweep before anything is trained.

    Raises:
        ConfigError: The sweep cannot be done as it is asked; nothing was trained.
        ExecutorError: Ray cannot be reached or lacks the resources.
        RayGoneError: Ray is gone and is not started again; what was trained is kept.
        KeyboardInterrupt: The driver was interrupted; the record says so.
    """
    if options.config is None:
        overrides = (*question.settings, *options.overrides)
        options = dataclasses.replace(options, overrides=overrides)
    if chosen := describe_choice(options.tracking_uri, options.experiment):
        say(console, f"recording in {chosen}")
    precision = None
    while True:
        state, source = _prepare(question, options, own, console, command, precision)
        planned(state)
        if options.plan:
            _say_plan(state, options, console, searching=question.source is not None)
            return Ended(summary=SweepSummary(state=state), drawn=Drawn(), problem="")
        try:
            return _train(state, source, options, console)
        except OtherPrecisionError as other:
            say(console, str(other))
            precision = other.precision


def _prepare(
    question: SweepScript,
    options: SweepOptions,
    own: argparse.Namespace,
    console: Console,
    command: str,
    precision: str | None,
) -> tuple[SweepState, RunSource]:
    """Return the state of a sweep and the source of its runs, once all of it is checked.

    A precision is what `auto` was found to mean on a cluster's nodes.
    """
    say(console, "checking data, run folders and record")
    state = _plan(question, options, own, command, precision)
    source = _source(question, state, options, own)
    take_over_trials(state)
    check_ended(state)
    changed = changes(state, state.plan.storage)
    slots_here(options.resources)
    if changed and not options.plan:
        say(console, "\n  ".join([f"changed since the last {state.plan.name} here:", *changed]))
    return state, source


def _say_plan(
    state: SweepState, options: SweepOptions, console: Console, *, searching: bool
) -> None:
    """Say what would be trained and what it costs."""

    def measure(spec: RunSpec) -> Probe:
        say(console, "timing a few iterations, since no run was like these")
        return probe(spec, threads=max(1, int(options.cpus_per_trial)))

    say_all(console, state.plan.data.describe())
    here = options.address is None
    slots = _slots(options.resources, len(state.pending()), console)
    say(console, describe(state, measure if here else None, slots=slots, searching=searching))


def _slots(resources: Resources, wanted: int, console: Console) -> int | None:
    """Return how many runs would be under way at a time, None where a cluster does not say."""
    found = slots_here(resources, wanted)
    if found is not None:
        return found.count
    say(console, f"asking the Ray cluster at {resources.address} for its slots")
    try:
        with ray_slots(resources, wanted, say=partial(say, console)) as joined:
            return joined.count
    except ExecutorError as error:
        say(console, f"wall time:       not known: {error}")
        return None


def _plan(
    question: SweepScript,
    options: SweepOptions,
    own: argparse.Namespace,
    command: str = "",
    precision: str | None = None,
) -> SweepState:
    storage, mirror = open_storage(options.storage, with_samples=question.with_samples)
    given = pretrained.pin(with_weights_of_trial(config_of(options), options.tracking_uri, storage))
    device = _device(options, given)
    auto = precision or auto_precision(device)
    base = with_precision(given, auto)
    seeds = range(base.seed, base.seed + options.seeds)
    trials = [with_precision(one, auto) for one in question.trials(base, seeds, own)]
    _check_trials(question, trials, base)
    if options.address is None:
        for one in {base.precision, *(trial.precision for trial in trials)}:
            check_precision(one, device)
    if mirror is None:
        check_writable("the storage (--storage)", storage)
    if options.register is not None and options.no_model:
        raise ConfigError("--register is of a model that is logged; leave --no-model out")
    check_store(options.tracking_uri)
    check_usable(options.tracking_uri, options.experiment)
    data = datasets.inspect(base)
    for trial in trials or [base]:
        pretrained.check_start(trial)
    check_networks(trials or [base], len(data.classes))
    for network in {one.generator: one for one in trials or [base] if one.weights}.values():
        pretrained.try_out(network, len(data.classes))
    plan = make_plan(
        question.name,
        base=base,
        axes=question.axes,
        data=data,
        storage=storage,
        mirror=mirror,
        attempt=options.no_reuse or "",
        auto_precision=auto,
        question=question.question,
        with_samples=question.with_samples,
        command=command,
        given=given_of(options),
        objectives=read_objectives(options.objectives, data.classes),
    )
    state = SweepState.of(plan, trials)
    take_over_race(state)
    if options.address is not None and given.precision == "auto" and precision is None:
        state.note(assumed_precision(auto))
    return state


def _device(options: SweepOptions, base: TrialConfig) -> torch.device:
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


def _check_trials(question: SweepScript, trials: Sequence[TrialConfig], base: TrialConfig) -> None:
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


def _source(
    question: SweepScript, state: SweepState, options: SweepOptions, own: argparse.Namespace
) -> RunSource:
    """Return what gives the training runs: a search's own, a race, or the runs as they are.

    Raises:
        ConfigError: A race cannot be held, or a search cannot be done.
    """
    if options.race and question.source is not None:
        raise ConfigError(
            f"--race gives seeds to settings that are known, but {question.name} chooses its own; "
            "leave --race out"
        )
    if question.source is not None:
        return question.source(state, options, own)
    return AdaptiveSeeds(state, options.race_limit) if options.race else FixedRuns(state.pending())


def _train(state: SweepState, source: RunSource, options: SweepOptions, console: Console) -> Ended:
    _announce(state, source, console)
    presentation = Presentation(
        options.tracking_uri,
        partial(say, console),
        experiment=options.experiment,
        register=options.register,
    )
    publisher = Publisher(
        state,
        options.tracking_uri,
        partial(say, console),
        say=partial(say, console),
        experiment=options.experiment,
        with_model=not options.no_model,
        opened=presentation.open,
    )
    session = Session(
        state=state,
        source=source,
        resources=options.resources,
        publisher=publisher,
        console=console,
        most_trials=options.max_trials,
    )
    execution = session.run()
    if isinstance(source, AdaptiveSeeds):
        state.note(source.describe())
    conclusion = SweepSummary.of(state, execution)
    return _conclude(conclusion, options, console, publisher, presentation)


def _announce(state: SweepState, source: RunSource, console: Console) -> None:
    pending = len(state.pending())
    head = f"{state.plan.name} on {state.plan.base.dataset}: {len(state.trials)} trials"
    counts = f"from {len(state.runs)} training runs, {len(state.runs) - pending} done"
    left = f"{pending} to train" if pending else "nothing to train"
    if not isinstance(source, FixedRuns) and not source.exhausted:
        left = "more as it goes"
    say_all(console, state.plan.data.describe())
    say(console, f"{head} {counts}, {left}")
    say_all(console, describe_earlier(state))


def _conclude(
    conclusion: SweepSummary,
    options: SweepOptions,
    console: Console,
    publisher: Publisher,
    presentation: Presentation,
) -> Ended:
    """Say what came out, draw the figures and attach them."""
    say_all(console, conclusion.lines())
    say(console, record_line(options.tracking_uri, presentation.place))
    drawn = Drawn()
    if not options.no_figures and publisher.reachable and conclusion.best is not None:
        place = presentation.place
        drawn = draw(
            conclusion.state.plan.sweep_key if place is None else place.parent_id,
            options.tracking_uri,
            options.out,
            partial(say, console),
            options.experiment,
        )
    if publisher.reachable:
        attached = drawn_by(drawn.figure, conclusion.state.plan.sweep_key)
        presentation.conclude(conclusion, attached)
    say_all(console, drawn.lines())
    return Ended(summary=conclusion, drawn=drawn, problem=conclusion.problem)
