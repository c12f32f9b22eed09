"""What a program is given of a sweep: its best setting and a frame of its trials."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from analysis.record.schema import METRICS
from analysis.stats.ranking import in_order
from sweeps.driver.summary import Drawn, SweepSummary
from sweeps.driver.tables import Row, front_rows, rows
from sweeps.planning.objectives import measure
from sweeps.planning.plan import Trial
from sweeps.planning.ranking import BestPoint
from sweeps.record.ended_run import EndedRun

if TYPE_CHECKING:
    import pandas as pd

OPEN = "SCHEDULED"  # MLflow's word; a trial that ended has the status that the record gives it


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What came out of a sweep, judged by its run folders.

    Trials of earlier commands that asked the same question count, too.

    Attributes:
        best: The best setting with the mean of its objective and the interval; None where no trial
            has numbers.
        front: A frame as `settings`, of those that no other beats in all objectives at once; of one
            objective the best alone.
        settings: A frame with a row per setting, the best first: its values on the axes, its
            number of seeds, means and intervals, and how it compares with the best.
        trials: A frame with a row per trial: its values on the axes, its seed, its `status` as in
            the record (SCHEDULED until it has ended) with the `cause` where it has no numbers, its
            metrics by their recorded names, and its keys.
        sweep: The name of the sweep.
        sweep_key: Its key, which `analysis.load_trials` takes, too.
        why_partial: What ended it before all was done, empty if nothing did.
        notes: What else there is to say of it.
        report: The path of the report that was drawn, None where there is none.
        figure: The path of its main figure, None where there is none.
    """

    best: BestPoint | None
    front: pd.DataFrame = field(repr=False)
    settings: pd.DataFrame = field(repr=False)
    trials: pd.DataFrame = field(repr=False)
    sweep: str
    sweep_key: str
    why_partial: str
    notes: tuple[str, ...]
    report: str | None
    figure: str | None

    @classmethod
    def of(cls, summary: SweepSummary, drawn: Drawn) -> Answer:
        """Return what came out of a sweep.

        Args:
            summary: Its end.
            drawn: What was drawn of it.
        """
        plan = summary.state.plan
        return cls(
            best=summary.best,
            front=_frame(front_rows(summary.ranking, plan.axes)),
            settings=_frame(rows(summary.ranking, plan.axes)),
            trials=_trials(summary),
            sweep=plan.name,
            sweep_key=plan.sweep_key,
            why_partial=summary.state.why_partial,
            notes=tuple(summary.state.notes),
            report=drawn.report,
            figure=drawn.figure,
        )


class SweepError(RuntimeError):
    """A sweep did not come to its end, or not all of its trials have numbers.

    Attributes:
        answer: The answer so far; None where the sweep ended before anything was known of it.
    """

    def __init__(self, message: str, answer: Answer | None) -> None:
        super().__init__(message)
        self.answer = answer


def _frame(settings: Sequence[Row]) -> pd.DataFrame:
    import pandas as pd

    found: list[dict[str, Any]] = []
    for row in settings:
        point = row.pop("point")
        assert isinstance(point, dict)  # nosec B101  # as `rows` makes it
        # No interval from one seed: NaN, so that the column holds numbers.
        found.append(point | {k: math.nan if v is None else v for k, v in row.items()})
    return pd.DataFrame(found)


def _trials(summary: SweepSummary) -> pd.DataFrame:
    import pandas as pd

    axes = summary.state.plan.axes
    causes = {key: cause for key, _, cause in summary.failures}
    found = []
    for run in summary.state.known_runs:
        ended = EndedRun.read(summary.state, run, causes.get(run.spec.training_key))
        found += [_row(trial, ended, axes, summary.state.plan.objectives) for trial in run.trials]
    found.sort(key=lambda row: in_order(row[name] for name in (*axes, "seed")))
    objectives = summary.state.plan.objectives
    metrics = dict.fromkeys((*METRICS, *objectives))
    columns = [*axes, "seed", "status", "cause", *metrics, "training_key", "trial_key"]
    return pd.DataFrame(found, columns=columns)


def _row(
    trial: Trial, ended: EndedRun | None, axes: tuple[str, ...], objectives: tuple[str, ...]
) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(trial.config, name) for name in (*axes, "seed")}
    if ended is None:
        row |= {"status": OPEN, "cause": ""}
    else:
        row |= {"status": ended.status, "cause": ended.cause}
        if ended.result is not None:
            row |= measure(ended.result, trial.config.readout, objectives)
            row |= ended.result.train
    return row | {"training_key": trial.training_key, "trial_key": trial.trial_key}
