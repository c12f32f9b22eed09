"""The MLflow runs of a sweep's trials: find them, make them, bring them up to date."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from analysis.record.mlflow_calls import StoreError
from analysis.record.schema import DETAIL_FILE, MASKS_FILE
from sweeps.planning.plan import PlannedRun, Trial, format_setting
from sweeps.planning.state import SweepState
from sweeps.record.ended_run import EndedRun, detail_of, final_points, params
from sweeps.record.mlflow_run import MlflowRun, SweepRuns

if TYPE_CHECKING:
    from mlflow.entities import Run

COUNTS = ("iterations", "batch_size")  # params of every trial
NUMBERS = ("images_per_s",)  # metrics of a finished one, above 0


class TrialRuns:
    """The MLflow runs of a sweep's trials, the children of its parent run.

    Args:
        state: The state of the sweep.
        runs: The runs of the sweep.
        parent: The run of the sweep itself.
        tags: The tags that every run of the sweep has.

    Attributes:
        by_key: The runs, by the trial key.

    Raises:
        StoreError: The store cannot be reached, or holds runs that no driver of ours wrote.
    """

    def __init__(
        self, state: SweepState, runs: SweepRuns, parent: MlflowRun, tags: Mapping[str, str]
    ) -> None:
        self.state = state
        self.runs = runs
        self.parent = parent
        self.tags = tags
        self.by_key = self._found()

    def publish(self, run: PlannedRun, cause: str | None = None) -> None:
        """Bring the trials of a training run up to date with its folder.

        Args:
            run: The training run, which is one of the state's.
            cause: Why its worker failed, where the folder holds no outcome.
        """
        ended = EndedRun.read(self.state, run, cause)
        if ended is None:
            return
        for trial in run.trials:
            self._publish_trial(trial, ended)

    def _publish_trial(self, trial: Trial, ended: EndedRun) -> None:
        tags = dict(ended.setting) | dict(self.state.tags.get(trial.trial_key, {}))
        record_hash = ended.record_hash(trial, tags)
        child = self.by_key.get(trial.trial_key) or self._create(trial, ended.began)
        if child.tags.get("record_hash") == record_hash:
            return
        points = list(ended.curves)
        if ended.result is not None:
            points += final_points(ended.result, trial)
            self.runs.log_json(child, detail_of(ended.result, ended.history, trial), DETAIL_FILE)
            self._log_samples(child, ended.samples_of(trial))
            self.runs.untag(child, "cause")
        else:
            tags["cause"] = ended.cause
        self.runs.log(child, points, params(trial.config), tags)
        child.status = ended.status
        # Where the clock was set back, a run took no time, and not less.
        child.end_time = max(ended.ended or round(time.time() * 1000), child.start_time)
        self.runs.client.set_terminated(child.run_id, child.status, child.end_time)
        # Last: its presence says that all of the above is there.
        self.runs.tag(child, {"record_hash": record_hash})

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
            self.runs.tag(child, {"mlflow.parentRunId": self.parent.run_id})
        return children

    def _create(self, trial: Trial, start_time: int | None) -> MlflowRun:
        """Return a new run for a trial, or the run that another driver has just made for it.

        The run is looked for again once the new one is there: where two drivers make one at once,
        at least one of them sees both and keeps the first.
        """
        child = self._find(trial)
        if child is None:
            self.runs.client.create_run(
                self.runs.experiment_id,
                start_time=start_time,
                run_name=format_setting(trial.config, (*self.state.plan.axes, "seed")),
                tags=dict(self.tags)
                | {
                    "kind": "trial",
                    "mlflow.parentRunId": self.parent.run_id,
                    "training_key": trial.training_key,
                    "trial_key": trial.trial_key,
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
        found = self.runs.search(condition)
        for run in found:
            _check_trial(run)
        return [MlflowRun.of(run) for run in found]


def _check_trial(run: Run) -> None:
    """Refuse a run of a trial without the tags, params and metrics that are read later.

    Raises:
        StoreError: The run lacks one of them.
    """
    tags, metrics, whole = run.data.tags, run.data.metrics, run.data.params
    missing = [name for name in ("trial_key", "training_key") if not tags.get(name)]
    if run.info.status == "FINISHED" and "record_hash" in tags:
        counts = [name for name in COUNTS if not whole.get(name, "").isdecimal()]
        missing += [*counts, *(name for name in NUMBERS if not metrics.get(name, 0) > 0)]
    if missing:
        raise StoreError(
            f"its run {run.info.run_id} lacks {', '.join(missing)}, which a driver of ours wrote; "
            f"`mlflow runs delete --run-id {run.info.run_id}` lets it be made anew",
            lasting=True,
        )
