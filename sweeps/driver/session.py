"""One command's work on a sweep: reserve slots, be its only driver, train, and record."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rich.console import Console

from sweeps.driver.console import say, say_all
from sweeps.execution.display import LiveDisplay, shows_live
from sweeps.execution.executor import execute, ray_slots
from sweeps.execution.lifeline import RayGoneError
from sweeps.execution.nodes import check_networks_of_nodes, differences, precisions
from sweeps.execution.progress import ExecutionStats
from sweeps.execution.resources import Resources, Slots
from sweeps.planning.packing import largest
from sweeps.planning.ranking import describe_leader
from sweeps.planning.state import SweepState
from sweeps.record.publisher import Publisher
from sweeps.search.source import FixedRuns, MirroredSource, RunSource, TrialLimit
from sweeps.storage.driver_lock import check_no_driver, only_driver
from trainable.config.schema import ConfigError
from trainable.runs.folder import RunFolder
from trainable.runs.results import clear_finished
from trainable.training.numerics import common_precision

MANY = 1_000_000  # runs or trials: no limit


class OtherPrecisionError(Exception):
    """`precision=auto` means another precision on the nodes that train than was planned with."""

    def __init__(self, precision: str) -> None:
        super().__init__(f"precision=auto is {precision} on the nodes that train; planning anew")
        self.precision = precision


@dataclass(frozen=True, kw_only=True)
class Session:
    """Trains what a sweep still wants and keeps its record, until it is done or ended early.

    Attributes:
        state: The state of the sweep, which the thread that runs the session owns.
        source: The source that suggests the training runs.
        resources: What a training run may take, and where the runs train.
        publisher: The publisher that keeps manifest and record up to date.
        console: The console on which to say what happens.
        most_trials: How many trials may end before the session does, those that ended before
            included; None is without a limit.
    """

    state: SweepState
    source: RunSource
    resources: Resources
    publisher: Publisher
    console: Console
    most_trials: int | None

    def run(self) -> ExecutionStats:
        """Train and publish until the sweep is done or ended early; return the statistics.

        Raises:
            ConfigError: Another process drives the sweep or its search, or the storage cannot be
                made.
            ExecutorError: Ray cannot be reached or lacks the resources, or a node cannot use the
                storage.
            OtherPrecisionError: The plan's precision is not that of the nodes that train.
            KeyboardInterrupt: The driver was interrupted; the record says so.
            RayGoneError: Ray is gone and is not started again; the record says so.
        """
        state, plan = self.state, self.state.plan
        pending = state.pending()
        done = len(state.runs) - len(pending)
        limited = TrialLimit(self.source, state, self.most_trials or MANY)
        execution, slots = ExecutionStats(), None
        check_no_driver(plan.storage, plan.name, plan.sweep_key)
        with ExitStack() as stack:
            if not limited.exhausted:
                slots = self._reserve_slots(stack, len(pending))
            self._open(stack)
            self._publish_what_is_done({run.spec.training_key for run in pending})
            known = len(state.runs)
            if slots is not None:
                execution = self._execute(limited, slots, done)
            for run in state.runs[known:]:  # those added as it went may have been done already
                self.publisher.publish(run)
            if state.pending() or not self.source.exhausted:
                state.end_early(execution.spent or limited.why_partial)
            self._say("completing the record")
        if slots is not None:
            trained = len(state.runs) - len(state.pending()) - done
            self._say(
                f"trained {trained} runs in {execution.wall_s:.0f} s; "
                f"slots busy {execution.utilisation:.2f}; "
                f"largest worker {execution.rss_gb:.2f} GB"
            )
        return execution

    def _reserve_slots(self, stack: ExitStack, pending: int) -> Slots:
        """Start or join Ray for the rest of the session, and compare the nodes that train."""
        wanted = pending if isinstance(self.source, FixedRuns) else MANY
        where = self.resources.address
        self._say("starting Ray" if where is None else f"joining the Ray cluster at {where}")
        measured = largest(self.state) if self.resources.gpus_per_trial == "auto" else None
        ready = ray_slots(
            self.resources, wanted, self.state.plan.workers_storage, measured, self._say
        )
        slots = stack.enter_context(ready)
        check_precision_of_nodes(self.state, slots)
        if where is not None:
            check_networks_of_nodes((run.spec.config for run in self.state.runs), self._say)
        say_all(self.console, differences(slots.nodes))
        return slots

    def _open(self, stack: ExitStack) -> None:
        """Become the only driver, and start the threads that work while it trains."""
        plan = self.state.plan
        make_storage(plan.storage)
        stack.enter_context(only_driver(plan.storage, plan.name, plan.sweep_key))
        if plan.mirror is not None:
            stack.enter_context(plan.mirror.kept_in_step(self._say, self.state.threads))
        if isinstance(self.source, AbstractContextManager):
            stack.enter_context(self.source)  # first: it may refuse, and nothing is recorded then
        stack.enter_context(self.publisher)
        stack.enter_context(self._named_when_ended_early())

    @contextmanager
    def _named_when_ended_early(self) -> Iterator[None]:
        """Let the record say what ended the session, before the publisher writes its end."""
        try:
            yield
        except KeyboardInterrupt:
            self.state.end_early("interrupted")
            raise
        except RayGoneError:
            self.state.end_early("Ray died")
            raise

    def _publish_what_is_done(self, to_train: set[str]) -> None:
        for first, *_ in self.state.earlier.by_key.values():
            self.publisher.publish(first)  # and the other part with it
        for run in self.state.runs:
            key = run.spec.training_key
            if key not in to_train:
                clear_finished(RunFolder(self.state.plan.storage, key, wait_s=0))
                self.publisher.publish(run)

    def _execute(self, limited: RunSource, slots: Slots, done: int) -> ExecutionStats:
        state, plan = self.state, self.state.plan
        screen = LiveDisplay(
            console=self.console,
            title=f"{plan.name} on {plan.base.dataset}",
            total=len(state.runs),
            done=done,
            slots=slots.count,
            grows=not isinstance(self.source, FixedRuns),
            live=shows_live(self.console),
            find_best=partial(describe_leader, state),
        )
        feed = limited if plan.mirror is None else MirroredSource(limited, plan.mirror)
        with screen:
            publisher = self.publisher
            return execute(state, feed, slots, screen, publisher.publish, live=publisher.live)

    def _say(self, text: str) -> None:
        say(self.console, text)


def assumed_precision(precision: str) -> str:
    """Return the note on what `precision=auto` was taken as before the nodes were asked."""
    return (
        f"precision=auto was taken as {precision}, by the device of this machine and not of the "
        "cluster's; say another with --set precision=VALUE"
    )


def check_precision_of_nodes(state: SweepState, slots: Slots) -> None:
    """Compare what `precision=auto` was taken as with what it means on the nodes that train.

    Raises:
        OtherPrecisionError: It means another precision there.
        ConfigError: It means one precision on one node and another on another.
    """
    note = assumed_precision(state.plan.auto_precision)
    if note not in state.notes:
        return
    on_cpus = not slots.gpus or state.plan.base.device == "cpu"
    found = {"the nodes": "fp32"} if on_cpus else precisions(slots.nodes)
    if not found:
        return  # the nodes' GPUs do not say what they are
    precision = common_precision(found)
    if precision != state.plan.auto_precision:
        raise OtherPrecisionError(precision)
    state.withdraw_note(note)


def make_storage(storage: Path) -> None:
    """Make the folder of run folders.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        storage.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the storage (--storage) must be writable, but {storage} cannot be made: "
            f"{error.strerror}; give another folder"
        ) from error
