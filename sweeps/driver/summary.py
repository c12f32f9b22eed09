"""What is said at the end of a sweep: failures, what is left, the best settings, where to look."""

from __future__ import annotations

import subprocess  # nosec B404  # words, no shell
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from rich.console import RenderableType

from analysis.record.tracking_uri import is_server, ui_command
from analysis.record.version_mix import VersionMix
from analysis.stats.ranking import Ranking
from sweeps.driver.tables import (
    axis_table,
    best_table,
    format_best,
    format_smallest_found,
    rows,
    rows_by_axis,
)
from sweeps.execution.progress import ExecutionStats
from sweeps.planning.counts import Counts, describe_earlier, describe_left
from sweeps.planning.plan import Plan
from sweeps.planning.ranking import BestPoint, Setting, best_of_ranking, rank_settings
from sweeps.planning.state import SweepState
from sweeps.planning.version_mix import mixtures_among, settings_made_on
from trainable.runs.folder import CRASH_LOG
from trainable.runs.results import Failure, Result
from trainable.storage.redaction import redact, redact_uri


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
            "settings": rows(self.ranking, plan.axes),
            "by_axis": rows_by_axis(self.ranking, plan.axes),
        }


def draw(plan: Plan, tracking_uri: str, out: str) -> tuple[str | None, str]:
    """Draw the figures in a process of their own.

    Args:
        plan: The plan of the sweep.
        tracking_uri: MLflow store that holds its record.
        out: Folder of the figures.

    Returns:
        The path of the last figure, None where there is none, and what to say.
    """
    command = [sys.executable, "-m", "analysis.make_figures"]
    command += ["--tracking-uri", "-", "--out", out, "--sweep", plan.sweep_key]
    # The URI is not in the list of processes, where anyone could read it.
    drawn = subprocess.run(  # nosec B603  # words, no shell
        command, input=tracking_uri, capture_output=True, text=True, check=False
    )
    said = drawn.stdout if drawn.returncode == 0 else redact(drawn.stderr, tracking_uri)
    output = said.strip().splitlines()
    path = output[-1] if output else None
    if drawn.returncode == 0 and path:
        return path, path
    return None, f"no figure drawn: {path}"


def record_line(tracking_uri: str) -> str:
    """Return the line that says how to look at the record: its server, or a command."""
    if is_server(tracking_uri):
        return f"record: {redact_uri(tracking_uri)}"
    return f"record: {ui_command(tracking_uri)}"


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
