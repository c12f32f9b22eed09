"""A sweep from command line to figure: plan, train, record, draw."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from functools import partial

import torch
from rich.console import Console

from analysis.record.tracking_uri import describe_choice
from sweeps.driver.console import open_console, say, say_all
from sweeps.driver.options import SweepOptions
from sweeps.driver.presentation import Presentation, drawn_by
from sweeps.driver.script import Sweep
from sweeps.driver.session import OtherPrecisionError, Session, assumed_precision
from sweeps.driver.summary import Drawn, SweepSummary, draw, record_line
from sweeps.execution.executor import ray_slots
from sweeps.execution.lifeline import RayGoneError
from sweeps.execution.resources import ExecutorError, Resources, slots_here
from sweeps.planning.cost import describe
from sweeps.planning.counts import describe_earlier
from sweeps.planning.plan import make_plan
from sweeps.planning.speed_probe import Probe, probe
from sweeps.planning.state import SweepState
from sweeps.record.ended_run import check_ended
from sweeps.record.manifest import changes, take_over_race, take_over_trials
from sweeps.record.mlflow_store import check_store
from sweeps.record.publisher import Publisher
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
from trainable.runs.keys import RunSpec
from trainable.storage.faults import machine_fault
from trainable.training.devices import pick_device
from trainable.training.numerics import (
    auto_precision,
    check_precision,
    with_precision,
)


@ended_by_signals()
def answer(question: Sweep, options: SweepOptions, own: argparse.Namespace) -> int:
    """Answer the question and return the exit code.

    Args:
        question: The sweep to run.
        options: The options of `sweep_parser`.
        own: The options that the script added.
    """
    if options.config is None:
        overrides = (*question.settings, *options.overrides)
        options = dataclasses.replace(options, overrides=overrides)
    console = open_console(stderr=options.json)
    try:
        return _answer(question, options, own, console)
    except RayGoneError as error:
        command = resume_command(options.no_reuse)
        kept = "what was trained is kept; resume with"
        print(f"error: {error}; {kept}: {command}", file=sys.stderr)
        return SOME_FAILED
    except OutputClosed:
        raise
    except KeyboardInterrupt:
        command = resume_command(options.no_reuse)
        say(console, f"interrupted; what was trained is kept; resume with: {command}")
        return INTERRUPTED
    except Exception as error:
        fault = machine_fault(error)
        if fault is None and isinstance(error, ThreadEndedError):
            fault = str(error)
        if fault is None:
            raise
        return _give_up(fault, options)


def _give_up(fault: str, options: SweepOptions) -> int:
    command = resume_command(options.no_reuse)
    return give_up(fault, f"what was trained is kept; mend that and resume with: {command}")


def _answer(
    question: Sweep,
    options: SweepOptions,
    own: argparse.Namespace,
    console: Console,
    precision: str | None = None,
) -> int:
    """Answer a question; a precision is what `auto` was found to mean on a cluster's nodes."""
    if chosen := describe_choice(options.tracking_uri, options.experiment):
        say(console, f"recording in {chosen}")
    say(console, "checking data, run folders and record")
    try:
        state = _plan(question, options, own, precision)
        source = _source(question, state, options, own)
        take_over_trials(state)
        check_ended(state)
        changed = changes(state, state.plan.storage)
        slots_here(options.resources)
    except (ConfigError, ExecutorError) as error:
        refuse(str(error))
    if options.plan:
        _say_plan(state, options, console, searching=question.source is not None)
        return OK
    if changed:
        say(console, "\n  ".join([f"changed since the last {state.plan.name} here:", *changed]))
    try:
        return _train(state, source, options, console)
    except OtherPrecisionError as other:
        say(console, str(other))
        return _answer(question, options, own, console, other.precision)


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
    if options.json:
        nothing = {"figure": None, "report": None}
        print(json.dumps(SweepSummary(state=state).as_primitives() | nothing))


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
    question: Sweep, options: SweepOptions, own: argparse.Namespace, precision: str | None = None
) -> SweepState:
    given = pretrained.pin(config_of(options))
    device = _device(options, given)
    auto = precision or auto_precision(device)
    base = with_precision(given, auto)
    seeds = range(base.seed, base.seed + options.seeds)
    trials = [with_precision(one, auto) for one in question.trials(base, seeds, own)]
    _check_trials(question, trials, base)
    if options.address is None:
        for one in {base.precision, *(trial.precision for trial in trials)}:
            check_precision(one, device)
    storage, mirror = open_storage(options.storage, with_samples=question.with_samples)
    if mirror is None:
        check_writable("the storage (--storage)", storage)
    if options.register is not None and options.no_model:
        raise ConfigError("--register is of a model that is logged; leave --no-model out")
    check_store(options.tracking_uri)
    check_usable(options.tracking_uri, options.experiment)
    data = datasets.inspect(base)
    for trial in trials or [base]:
        pretrained.check_start(trial)
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
        command=resume_command(options.no_reuse),
        given=given_of(options),
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


def _source(
    question: Sweep, state: SweepState, options: SweepOptions, own: argparse.Namespace
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


def _train(state: SweepState, source: RunSource, options: SweepOptions, console: Console) -> int:
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
    try:
        execution = session.run()
    except (ConfigError, ExecutorError) as error:
        refuse(str(error))
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
) -> int:
    """Say what came out, draw the figures, attach them, and return the exit code."""
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
    if options.json:
        print(json.dumps(conclusion.as_primitives() | drawn.as_primitives()))
    if conclusion.state.fault:
        return _give_up(conclusion.state.fault, options)
    return SOME_FAILED if conclusion.failures or conclusion.refused else OK
