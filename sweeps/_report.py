"""The Tune callback that tells screen and record what happens to the training runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray import tune

from sweeps._plan import Plan, PlannedRun
from sweeps._screen import Execution, Screen
from trainable.training_run import summary


class Report(tune.Callback):
    """Translates Tune's events; a trial's name is the training key.

    Args:
        plan: The sweep.
        pending: The runs under way.
        screen: Is told what happens.
        execution: Is given causes of failures, seconds and memory.
        on_outcome: Called for each run that ended, with the cause if its worker failed.
    """

    def __init__(
        self,
        plan: Plan,
        pending: Sequence[PlannedRun],
        screen: Screen,
        execution: Execution,
        on_outcome: Callable[[PlannedRun, str | None], None],
    ) -> None:
        self.plan = plan
        self.runs = {run.spec.training_key: run for run in pending}
        self.screen = screen
        self.execution = execution
        self.on_outcome = on_outcome

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune pickles its callbacks for a restore that is never asked for."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Show the run."""
        run = self.runs[str(trial)]
        label, iterations = run.label(self.plan.axes), run.spec.config.iterations
        self.screen.started(str(trial), label, iterations)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any
    ) -> None:
        """Show how far the run is."""
        self.screen.progressed(str(trial), result["run_iteration"], result["val/miou"])
        self.execution.rss_gb = max(self.execution.rss_gb, result["rss_gb"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Show and pass on what the run folder holds; Tune's own word for the end is not asked."""
        run, busy_s = self.runs[str(trial)], trial.last_result.get("busy_s", 0.0)
        self.execution.busy_s += busy_s
        found = self.plan.outcome(run)
        if found is None:
            self.screen.running.pop(str(trial), None)  # the time budget stopped it
            return
        kind, content = found
        if kind == "result":
            metrics = summary(content, run.trials[0].config.readout)
            self.screen.finished(str(trial), metrics["val/miou"], metrics["swa/miou"], busy_s)
        else:
            self.screen.ended_without_numbers(str(trial), content["cause"])
        self.on_outcome(run, None)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:
        """Show a run whose worker failed more often than it is retried."""
        cause = _last_line(trial.error_file)
        self.execution.causes[str(trial)] = cause
        self.screen.ended_without_numbers(str(trial), cause)
        self.on_outcome(self.runs[str(trial)], cause)


def _last_line(error_file: str | None) -> str:
    if error_file is None or not Path(error_file).exists():
        return "its worker died"
    lines = [line for line in Path(error_file).read_text().splitlines() if line.strip()]
    return lines[-1].strip() if lines else "its worker died"
