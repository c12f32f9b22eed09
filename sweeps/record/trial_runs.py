"""The MLflow runs of a sweep's trials: find them, make them, bring them up to date."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from analysis.record.mlflow_calls import StoreError
from analysis.record.origin import FACTS, TAG, USER, Origin
from analysis.record.schema import CURVES, DETAIL_FILE, MASKS_FILE
from sweeps.planning.asked import EFFECTIVE, Asked
from sweeps.planning.live_trials import LiveStep
from sweeps.planning.plan import PlannedRun, Trial, format_setting
from sweeps.planning.state import SweepState
from sweeps.record.ended_run import (
    EndedRun,
    as_text,
    config_text,
    curve_points,
    detail_of,
    final_points,
    point,
)
from sweeps.record.mlflow_run import MlflowRun, SweepRuns

if TYPE_CHECKING:
    from mlflow.entities import Metric

COUNTS = ("iterations", "batch_size")  # fields of every trial
NUMBERS = ("images_per_s",)  # metrics of a finished one, above 0


class TrialRuns:
    """The MLflow runs of a sweep's trials, the children of its parent run.

    Args:
        state: The state of the sweep.
        runs: The runs of the sweep.
        parent: The run of the sweep itself.
        asked: What was asked of the trials.
        tags: The tags that every run of the sweep has.
        facts: What is noted of every run of the sweep out of sight.

    Attributes:
        by_key: The runs, by the trial key.

    Raises:
        StoreError: The store cannot be reached, or holds runs that no driver of ours wrote.
    """

    def __init__(
        self,
        state: SweepState,
        runs: SweepRuns,
        parent: MlflowRun,
        *,
        asked: Asked,
        tags: Mapping[str, str],
        facts: Mapping[str, str],
    ) -> None:
        self.state = state
        self.runs = runs
        self.parent = parent
        self.asked = asked
        self.tags = tags
        self.facts = facts
        self.by_key = self._found()

    @property
    def ended(self) -> dict[str, MlflowRun]:
        """The runs of the trials that have ended and are published whole, by the trial key."""
        return {key: run for key, run in self.by_key.items() if "record_hash" in run.facts}

    def publish(self, run: PlannedRun, cause: str | None, is_known: Callable[[str], bool]) -> None:
        """Bring the trials of a training run up to date with its folder.

        Args:
            run: The training run, which is one of the state's.
            cause: Why its worker failed, where the folder holds no outcome.
            is_known: Whether the curves of a trial in the record, by its key, are known to be of
                the training that ended.
        """
        ended = EndedRun.read(self.state, run, cause)
        if ended is None:
            return
        for trial in run.trials:
            self._publish_trial(trial, ended, is_known=is_known(trial.trial_key))

    def _publish_trial(self, trial: Trial, ended: EndedRun, *, is_known: bool) -> None:
        tags = dict(ended.setting) | dict(self.state.tags.get(trial.trial_key, {}))
        asked = self.asked.of(trial)
        record_hash = ended.record_hash(trial, tags, asked)
        child = self.by_key.get(trial.trial_key) or self._create(trial, ended.began)
        if child.facts.get("record_hash") == record_hash:
            return
        points = list(ended.curves)
        if ended.result is not None:
            objectives = self.state.plan.objectives
            points = [*final_points(ended.result, trial, objectives), *points]
        if not is_known:
            child = self._with_curves_of(trial, child, points)
        if ended.result is not None:
            self.runs.log_json(child, detail_of(ended.result, ended.history, trial), DETAIL_FILE)
            self._log_samples(child, ended.samples_of(trial))
            self.runs.untag(child, "cause")
        else:
            tags["cause"] = ended.cause
        self._log(trial, child, points, tags)
        self._end(child, ended.status, ended.ended)
        # Last: its presence says that all of the above is there.
        self.runs.note(child, record_hash=record_hash)

    def follow(self, step: LiveStep) -> bool:
        """Have a trial as RUNNING while it is trained, with its curves so far.

        Only rows that no crash takes back are sent, so that a training that goes on after a crash
        gives the very points again, which MLflow drops, and no step gets a second value.

        Returns:
            Whether there is more to follow: a trial that has its numbers is trained once more for
            the sake of others.
        """
        child = self.by_key.get(step.trial.trial_key) or self._create(step.trial, step.began)
        if child.status == "FINISHED" and "record_hash" in child.facts:
            return False
        points = curve_points(step.rows)
        if step.rows and not step.is_known:
            child = self._with_curves_of(step.trial, child, points, step.began)
        points += [
            point(f"system/{name}", value, step.load_at, step.iteration)
            for name, value in step.load
        ]
        self.runs.forget(child, "record_hash")
        self.runs.untag(child, "cause")
        if child.status != "RUNNING":
            self.runs.client.update_run(child.run_id, "RUNNING")
            child.status, child.end_time = "RUNNING", None
        self._log(step.trial, child, points, {})
        return True

    def _log(
        self, trial: Trial, child: MlflowRun, points: list[Metric], told: Mapping[str, str]
    ) -> None:
        """Log points, and what a trial was made from as its worker told it, or is to be made from.

        Args:
            trial: The trial.
            child: Its run.
            points: Of its metrics.
            told: Its own tags, those of `FACTS` among them.
        """
        tags = {name: text for name, text in told.items() if name not in FACTS}
        tags |= {**self.tags, **self.asked.effective(trial)}
        for name in [one for one in child.tags if one.startswith(EFFECTIVE) and one not in tags]:
            self.runs.untag(child, name)
        facts = {**self.facts, **{name: text for name, text in told.items() if name in FACTS}}
        origin = Origin(
            facts={**facts, "training_key": trial.training_key}, config=config_text(trial.config)
        )
        self.runs.log(child, points, as_text(self.asked.of(trial)), tags, origin)
        self.runs.log_data(child, self.state.plan)

    def end_left_off(self, cause: str, under_way: Container[str] = ()) -> None:
        """End the runs of trials that no one trains any more; trained on, they are RUNNING again.

        Args:
            cause: Why they are not trained to their end.
            under_way: The keys of trials that are being trained.
        """
        for key, child in self.by_key.items():
            if child.status == "RUNNING" and key not in under_way:
                self.runs.tag(child, {"cause": cause})
                self._end(child, "KILLED", None)

    def _end(self, child: MlflowRun, status: str, milliseconds: int | None) -> None:
        child.status = status
        # Where the clock was set back, a run took no time, and not less.
        child.end_time = max(milliseconds or round(time.time() * 1000), child.start_time)
        self.runs.client.set_terminated(child.run_id, child.status, child.end_time)

    def _with_curves_of(
        self,
        trial: Trial,
        child: MlflowRun,
        points: Sequence[Metric],
        start_time: int | None = None,
    ) -> MlflowRun:
        """Return the run of a trial, made anew where its curves are of another training.

        Such a training was lost with its checkpoints, or its run folder was deleted. MLflow deletes
        no point, so the curves of both would stand in one run.

        Args:
            trial: The trial.
            child: Its run.
            points: All points of this training so far.
            start_time: When it was begun, in milliseconds since the epoch.
        """
        name = next((name for name in CURVES[::-1] if name in child.metrics), None)
        if name is None:
            return child
        found = self.runs.client.get_metric_history(child.run_id, name)
        mine = {(one.step, one.timestamp) for one in points if one.key == name}
        if all((one.step, one.timestamp) in mine for one in found):
            return child
        self.runs.client.delete_run(child.run_id)
        del self.by_key[trial.trial_key]
        return self._create(trial, child.start_time if start_time is None else start_time)

    def _log_samples(self, child: MlflowRun, content: bytes | None) -> None:
        if content is None:
            return
        with TemporaryDirectory() as folder:
            path = Path(folder) / MASKS_FILE
            path.write_bytes(content)
            self.runs.client.log_artifact(child.run_id, str(path))

    def _found(self) -> dict[str, MlflowRun]:
        """Return the runs of the sweep's trials by trial key; surplus ones are deleted."""
        found: dict[str, list[MlflowRun]] = {}
        for run in self._search("tags.kind = 'trial'"):
            found.setdefault(run.tags["trial_key"], []).append(run)
        children = {key: self.runs.only(runs) for key, runs in found.items()}
        for child in children.values():
            self.runs.tag(child, {"mlflow.parentRunId": self.parent.run_id, USER: self.runs.owner})
        return children

    def _create(self, trial: Trial, start_time: int | None) -> MlflowRun:
        """Return a new run for a trial, or the run that another driver has just made for it.

        The run is looked for again once the new one is there: where two drivers make one at once,
        at least one of them sees both and keeps the first.
        """
        child = self._find(trial)
        if child is None:
            facts = {**self.facts, "training_key": trial.training_key}
            origin = Origin(facts=facts, config=config_text(trial.config))
            self.runs.client.create_run(
                self.runs.experiment_id,
                start_time=start_time,
                run_name=format_setting(trial.config, (*self.state.plan.axes, "seed")),
                tags=dict(self.tags)
                | {
                    "kind": "trial",
                    "mlflow.parentRunId": self.parent.run_id,
                    "trial_key": trial.trial_key,
                    TAG: origin.tag({}),
                },
            )
            child = self._find(trial)
            if child is None:
                raise StoreError("it took a run and does not give it back")
        self.by_key[trial.trial_key] = child
        return child

    def _find(self, trial: Trial) -> MlflowRun | None:
        found = self._search(f"tags.trial_key = '{trial.trial_key}'")
        return self.runs.only(found) if found else None

    def _search(self, condition: str) -> list[MlflowRun]:
        found = [MlflowRun.of(run) for run in self.runs.search(condition)]
        for run in found:
            _check_trial(run)
        return found


def _check_trial(run: MlflowRun) -> None:
    """Refuse a run of a trial without the tags, fields and metrics that are read later.

    Raises:
        StoreError: The run lacks one of them.
    """
    told, config = {**run.tags, **run.facts}, run.origin.config
    missing = [name for name in ("trial_key", "training_key") if not told.get(name)]
    if run.status == "FINISHED" and "record_hash" in told:
        counts = [name for name in COUNTS if not config.get(name, "").isdecimal()]
        missing += [*counts, *(name for name in NUMBERS if not run.metrics.get(name, 0) > 0)]
    if missing:
        raise StoreError(
            f"its run {run.run_id} lacks {', '.join(missing)}, which a driver of ours wrote; "
            f"`mlflow runs delete --run-id {run.run_id}` lets it be made anew",
            lasting=True,
        )
