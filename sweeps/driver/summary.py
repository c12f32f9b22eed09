"""What is said at the end of a sweep: failures, what is left, the best settings, where to look."""

from __future__ import annotations

import subprocess  # nosec B404  # words, no shell
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any, cast

from rich.console import RenderableType

from analysis.record.schema import EXPERIMENT
from analysis.record.version_mix import VersionMix
from analysis.stats.ranking import Ranking
from analysis.stats.rounding import count
from sweeps.driver.tables import (
    axis_table,
    best_table,
    format_best,
    format_smallest_found,
    front_rows,
    front_table,
    rows,
    rows_by_axis,
)
from sweeps.execution.progress import ExecutionStats
from sweeps.mlflow_ui.links import Place, describe_record
from sweeps.planning.counts import Counts, describe_earlier, describe_left
from sweeps.planning.ranking import BestPoint, Setting, best_of_ranking, rank_settings
from sweeps.planning.state import SweepState
from sweeps.planning.version_mix import mixtures_among, settings_made_on
from trainable.runs.folder import CRASH_LOG
from trainable.runs.results import Failure, Result
from trainable.storage.redaction import redact

STEPS = ("drawing ", "writing ")  # how the lines begin with which a step is told


@dataclass(frozen=True, kw_only=True)
class SweepSummary:
    """What came out of a sweep so far.

    Attributes:
        state: The state of the sweep.
        failures: Key, label and cause of each training run of this command that ended without
            numbers.
        left: How many training runs of this command are still to be trained.
        ranking: The ranking of the settings that have numbers, None where none has.
        best: The best setting, None where there is none.
        refused: Why workers would not train what other code has planned, empty if they did.
        mixtures: What the trials that have numbers do not share, of what their digits follow from.
    """

    state: SweepState
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    left: int = 0
    ranking: Ranking[Setting] | None = None
    best: BestPoint | None = None
    refused: str = ""
    mixtures: list[VersionMix] = field(default_factory=list)

    @classmethod
    def of(cls, state: SweepState, execution: ExecutionStats) -> SweepSummary:
        """Return what came out of a sweep, judged by its run folders."""
        ranking = rank_settings(state)
        return cls(
            state=state,
            failures=list(_failures(state, execution)),
            left=len(state.pending()) - len(execution.causes),
            ranking=ranking,
            best=best_of_ranking(ranking, state.plan.axes),
            refused=execution.refused,
            mixtures=mixtures_among(settings_made_on(state)),
        )

    @property
    def problem(self) -> str:
        """What keeps the sweep from having all of its numbers, empty if nothing does."""
        state = self.state
        if state.fault or self.refused:
            return state.fault or f"refused: {self.refused}"
        if self.failures:
            _, label, cause = self.failures[0]
            failed = count(len(self.failures), "training run")
            return f"{failed} of {len(state.runs)} failed, the first at {label}: {cause}"
        left = f"{count(self.left, 'training run')} left" if self.left else ""
        spent = f"ended by its {state.why_partial}" if state.why_partial else ""
        return ": ".join(filter(None, (spent, left)))

    def lines(self) -> Iterator[str | RenderableType]:
        """Yield what a person is told, before the figures."""
        yield from self.state.notes
        if self.refused:
            yield f"refused: {self.refused}"
        for key, label, cause in self.failures:
            yield f"failed: {label}: {cause} (log: {self.state.plan.storage / key / CRASH_LOG})"
        left = f"{self.left} training runs are left; the same command resumes the sweep"
        if self.state.why_partial:
            yield f"ended by its {self.state.why_partial}" + (f": {left}" if self.left else "")
        elif self.left:
            yield left
        yield from describe_left(self.state)
        for mixture in self.mixtures:
            yield mixture.sentence
        if self.ranking is not None and self.best is not None:
            yield best_table(self.ranking, self.state.plan.axes)
            front = front_table(self.ranking, self.state.plan.axes)
            if front is not None:
                yield front
            by_axis = axis_table(self.ranking, self.state.plan.axes)
            if by_axis is not None:
                yield by_axis
            if found := format_smallest_found(self.best):
                yield found
            yield format_best(self.best)

    def as_primitives(self) -> dict[str, Any]:
        """Return what a program is told."""
        state, plan = self.state, self.state.plan
        failed = [{"training_key": k, "run": label, "cause": c} for k, label, c in self.failures]
        return {
            "sweep": plan.name,
            "sweep_key": plan.sweep_key,
            "dataset": plan.base.dataset,
            **Counts.of(state, state.known_runs).as_primitives(),
            "asked_now": Counts.of(state, state.runs).as_primitives(),
            "earlier": describe_earlier(state),
            "why_partial": state.why_partial or None,
            "notes": state.notes,
            "mixed": [mixture.counted for mixture in self.mixtures],
            "data_warnings": list(plan.data.warnings),
            "refused": self.refused or None,
            "failed": failed,
            "best": None if self.best is None else self.best.as_primitives(),
            "objectives": list(plan.objectives),
            "settings": rows(self.ranking, plan.axes),
            "front": front_rows(self.ranking, plan.axes),
            "by_axis": rows_by_axis(self.ranking, plan.axes),
        }


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What was drawn of a sweep.

    Attributes:
        report: The path of the report, None where there is none.
        figure: The path of the main figure, None where there is none.
        fault: Why nothing was drawn.
    """

    report: str | None = None
    figure: str | None = None
    fault: str = ""

    def lines(self) -> Iterator[str]:
        """Yield what is said last: the paths, that of the main figure at the end."""
        if self.fault:
            yield f"no figure drawn: {self.fault}"
        yield from (path for path in (self.report, self.figure) if path is not None)

    def as_primitives(self) -> dict[str, str | None]:
        """Return what a program is told."""
        return {"report": self.report, "figure": self.figure}


def draw(
    wanted: str,
    tracking_uri: str,
    out: str,
    say: Callable[[str], None],
    experiment: str = EXPERIMENT,
) -> Drawn:
    """Draw the figures in a process of their own.

    Args:
        wanted: The key of the sweep, or the id of its parent run.
        tracking_uri: MLflow store that holds its record.
        out: Folder of the figures.
        say: Called with each step that takes a while.
        experiment: The name of the experiment.
    """
    command = [sys.executable, "-m", "analysis.make_figures", "--verbose"]
    command += ["--tracking-uri", "-", "--experiment", experiment]
    command += ["--out", out, "--sweep", wanted]
    heard = ""
    with subprocess.Popen(  # nosec B603  # words, no shell
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as drawing:
        asked, drawn, told = (
            cast("IO[str]", pipe) for pipe in (drawing.stdin, drawing.stdout, drawing.stderr)
        )
        try:
            with suppress(BrokenPipeError):  # it has ended, and says why
                # Not in the list of processes, where anyone could read it.
                asked.write(tracking_uri)
                asked.close()
            for line in told:  # its paths, which come at the end, fit into their pipe
                heard = redact(line.strip(), tracking_uri) or heard
                if heard.startswith(STEPS):
                    say(heard)
            paths = drawn.read().splitlines()
        except BaseException:  # an interrupt
            drawing.kill()
            raise
    if drawing.returncode or not paths:
        return Drawn(fault=heard or f"exit code {drawing.returncode}")
    return Drawn(report=paths[0], figure=paths[-1])


def record_line(tracking_uri: str, place: Place | None = None) -> str:
    """Return the line that says how to look at the record: a page of its server, or a command.

    Args:
        tracking_uri: MLflow store that holds the record.
        place: Where the sweep stands in it; None where the store has not answered.
    """
    return f"record: {describe_record(tracking_uri, place)}"


def _failures(state: SweepState, execution: ExecutionStats) -> Iterator[tuple[str, str, str]]:
    for run in state.runs:
        match state.outcome(run):
            case Result():
                cause = None
            case Failure() as failure:
                cause = failure.cause
            case None:
                cause = execution.causes.get(run.spec.training_key)
        if cause is not None:
            yield run.spec.training_key, run.label(state.plan.axes), cause
