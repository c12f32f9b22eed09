"""Write the record: one MLflow parent run per sweep, and one flat child run per trial.

The record follows from the run folders alone. Publishing finds a run by its `trial_key` tag and
brings it up to date, so that publishing twice changes nothing, and a server that was away gets what
it missed the next time.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self, TypeGuard

from analysis.record.mlflow_calls import Patience, StoreError
from analysis.record.schema import (
    DETAIL_FILE,
    ENVIRONMENT_FILE,
    EXPERIMENT,
    MASKS_FILE,
    SCHEMA,
)
from sweeps.planning.plan import PlannedRun, Trial, format_setting
from sweeps.planning.ranking import BestPoint
from sweeps.planning.state import SweepState
from sweeps.planning.version_mix import mixtures_among
from sweeps.record.ended_run import EndedRun, detail_of, final_points, params, point
from sweeps.record.manifest import diff_path
from sweeps.record.mlflow_store import open_store, search
from sweeps.record.moved_artifacts import artifact_location, bring_home
from trainable.config.schema import Value
from trainable.runs.keys import key_of
from trainable.storage import json_files

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run

UNDER_WAY = {"state": "partial", "why_partial": "under way"}
MOST_OF_A_TAG = 5000  # characters, of what MLflow takes
COUNTS = ("iterations", "batch_size")  # params of every trial
NUMBERS = ("images_per_s",)  # metrics of a finished one, above 0
BATCH = 900  # MLflow's limit is 1000 of metrics, params and tags in one call


@dataclass(kw_only=True)
class MlflowRun:
    """A run of MLflow as the record holds it, kept here so that the store is not asked again.

    Attributes:
        run_id: MLflow's id of the run.
        status: MLflow's status of the run, such as FINISHED.
        start_time: When the run began, in milliseconds since the epoch.
        end_time: When the run ended, in milliseconds since the epoch; None while it has not.
        tags: The tags of the run.
        params: The params of the run, as text.
        metrics: The last value of each metric.
    """

    run_id: str
    status: str
    start_time: int
    end_time: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Run) -> Self:
        """Return the run that MLflow's own object describes."""
        return cls(
            run_id=run.info.run_id,
            status=run.info.status,
            start_time=run.info.start_time,
            end_time=run.info.end_time,
            tags=dict(run.data.tags),
            params=dict(run.data.params),
            metrics=dict(run.data.metrics),
        )

    @property
    def train_s(self) -> float:
        """How many seconds the training run of a finished trial took, 0 of another trial."""
        if "images_per_s" not in self.metrics:
            return 0.0
        images = int(self.params["iterations"]) * int(self.params["batch_size"])
        return images / self.metrics["images_per_s"]


class MlflowWriter:
    """Writes the MLflow record of one sweep.

    Args:
        state: The state of the sweep.
        tracking_uri: The URI of the MLflow store; a SQLite file is made where there is none.
        manifest: What the sweep runs on and with; see `sweeps.record.manifest`.
        patience: How long all calls of the store together may take; None has no limit.

    Attributes:
        moved_from: The folder that a SQLite file was in before it was moved or copied here, empty
            if it was not.
        parent: The run of the sweep.
        children: The runs of the sweep's trials, by their trial key.

    Raises:
        StoreError: The store cannot be reached, or holds runs that no driver of ours wrote.
    """

    def __init__(
        self,
        state: SweepState,
        tracking_uri: str,
        manifest: Mapping[str, Any],
        patience: Patience | None = None,
    ) -> None:
        self.state = state
        self.manifest = manifest
        self.patience = patience or Patience()
        self.tracking_uri = tracking_uri
        self.moved_from = bring_home(tracking_uri)
        self.client = open_store(tracking_uri, patience=self.patience)
        self.experiment_id = self._experiment()
        self.parent = self._parent()
        self.children = self._children()
        self._tag_total()
        self._log_capture()

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
        self._tag_total()

    def _publish_trial(self, trial: Trial, ended: EndedRun) -> None:
        tags = dict(ended.setting) | dict(self.state.tags.get(trial.trial_key, {}))
        record_hash = ended.record_hash(trial, tags)
        child = self.children.get(trial.trial_key) or self._create_trial(trial, ended.began)
        if child.tags.get("record_hash") == record_hash:
            return
        points = list(ended.curves)
        if ended.result is not None:
            points += final_points(ended.result, trial)
            self._log_json(child, detail_of(ended.result, ended.history, trial), DETAIL_FILE)
            self._log_samples(child, ended.samples_of(trial))
            self._untag(child, "cause")
        else:
            tags["cause"] = ended.cause
        self._log(child, points, params(trial.config), tags)
        child.status = ended.status
        # Where the clock was set back, a run took no time, and not less.
        child.end_time = max(ended.ended or round(time.time() * 1000), child.start_time)
        self.client.set_terminated(child.run_id, child.status, child.end_time)
        # Last: its presence says that all of the above is there.
        self._tag(child, {"record_hash": record_hash})

    def hashes(self) -> dict[str, str]:
        """Return the hash of what the record holds of each trial, by its trial key."""
        return {key: child.tags.get("record_hash", "") for key, child in self.children.items()}

    def _log_json(self, run: MlflowRun, content: Mapping[str, object], name: str) -> None:
        self.client.log_text(run.run_id, json_files.dumps(content, indent=1).decode(), name)

    def _log_samples(self, child: MlflowRun, content: bytes | None) -> None:
        if content is None:
            return
        with TemporaryDirectory() as folder:
            path = Path(folder) / MASKS_FILE
            path.write_bytes(content)
            self.client.log_artifact(child.run_id, str(path))

    def summarise(self, best: BestPoint | None, why_partial: str | None) -> None:
        """Write mean and interval of the best point and the cost onto the parent run, and end it.

        A command that asks for fewer points than are recorded leaves the best point as it is.

        Args:
            best: The best setting, None where there is none.
            why_partial: Why trials lack an outcome, None if all have one.
        """
        if not self.children.keys() <= self._keys():
            best = None
        ends = [child.end_time for child in self.children.values() if child.end_time]
        last_end = max(ends, default=None)
        if last_end is not None:
            self._log_summary(best, last_end)
        self._tag_summary(best, why_partial)
        status = "KILLED" if why_partial else "FINISHED"
        end = None if last_end is None else max(last_end, self.parent.start_time)
        self.client.set_terminated(self.parent.run_id, status, end)

    def _log_summary(self, best: BestPoint | None, milliseconds: int) -> None:
        """Log what the sweep cost, and the numbers of its best point, as of the last end."""
        numbers = self._cost()
        if best is not None:
            numbers |= best.numbers()
            numbers |= {f"best/{axis}": x for axis, x in best.point.items() if _is_number(x)}
        step = len(self.children)
        points = [point(k, x, milliseconds, step) for k, x in numbers.items() if x is not None]
        self.client.log_batch(self.parent.run_id, metrics=points)

    def _tag_summary(self, best: BestPoint | None, why_partial: str | None) -> None:
        """Tag whether the sweep is complete, the names at its best point, and mixed versions."""
        tags = {"state": "partial" if why_partial else "complete"}
        if best is not None:
            names = {axis: x for axis, x in best.point.items() if not _is_number(x)}
            tags |= {f"best/{axis}": str(name) for axis, name in names.items()}
        finished = [child.tags for child in self.children.values() if child.status == "FINISHED"]
        for name, text in (
            ("why_partial", why_partial),
            ("mixed", "; ".join(mix.counted for mix in mixtures_among(finished))),
        ):
            if text:
                tags[name] = text
            else:
                self._untag(self.parent, name)
        self._tag(self.parent, tags)

    def best_trial(self, best: BestPoint) -> tuple[Trial, MlflowRun] | None:
        """Return the trial of the best point with the highest mIoU of its average, and its run."""
        found = []
        for trial in self.state.trials:
            child = self.children.get(trial.trial_key)
            at_best = all(getattr(trial.config, k) == v for k, v in best.point.items())
            if at_best and child is not None and child.status == "FINISHED":
                found.append((trial, child))
        return max(found, key=lambda one: one[1].metrics["swa/miou"], default=None)

    def holds_model(self, child: MlflowRun) -> bool:
        """Return whether a child is named the best and the model of its numbers is logged."""
        is_best = self.parent.tags.get("best_run") == child.run_id
        return is_best and child.tags.get("model_of") == child.tags["record_hash"]

    def name_best(self, child: MlflowRun, model_uri: str) -> None:
        """Tag the parent with the run and the model of its best trial."""
        self._tag(self.parent, {"best_run": child.run_id, "best_model": model_uri})
        self._tag(child, {"model_of": child.tags["record_hash"]})

    def _cost(self) -> dict[str, float | None]:
        """Return what the sweep cost, by the names of the record's metrics."""
        runs = {child.tags["training_key"]: child.train_s for child in self.children.values()}
        return {
            "cost/training_runs": len(runs),
            "cost/naive_runs": len(self.children),
            "cost/training_s": sum(runs.values()),
        }

    def _tag_total(self) -> None:
        """Tag the parent with the number of its trials: those asked for now or ever recorded."""
        total = len(self._keys() | self.children.keys())
        self._tag(self.parent, {"trials_total": str(total)})

    def _keys(self) -> set[str]:
        return {trial.trial_key for trial in self.state.trials}

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        place = artifact_location(self.tracking_uri)
        created = str(self.client.create_experiment(EXPERIMENT, artifact_location=place))
        bring_home(self.tracking_uri)  # it is tagged with where it is
        return created

    def _parent(self) -> MlflowRun:
        asked = {
            "question": self.state.plan.question,
            "axes": ",".join(self.state.plan.axes),
            "data_warnings": "\n".join(self.state.plan.data.warnings)[:MOST_OF_A_TAG],
        }
        tags = self._common_tags() | {name: text for name, text in asked.items() if text}
        if self.state.race is not None:
            tags |= {f"race_{k}": str(x) for k, x in dataclasses.asdict(self.state.race).items()}
        fixed = params(self.state.plan.base, without=(*self.state.plan.axes, "seed"))
        found = [MlflowRun.of(run) for run in self._search("tags.kind = 'sweep'")]
        if found:
            parent = self._only(found)
            self.client.update_run(parent.run_id, "RUNNING")
            under_way = UNDER_WAY if self.state.pending() else {}
            self._tag(parent, tags | under_way)
        else:
            tags |= {"kind": "sweep"} | UNDER_WAY
            parent = MlflowRun.of(
                self.client.create_run(
                    self.experiment_id,
                    start_time=round(self.manifest["created"] * 1000),
                    run_name=self.state.plan.name,
                    tags=tags,
                )
            )
        self._log(parent, [], fixed, {})
        return parent

    def _children(self) -> dict[str, MlflowRun]:
        """Return the runs of the sweep's trials by trial key; surplus ones are deleted."""
        found: dict[str, list[MlflowRun]] = {}
        for run in self._trials("tags.kind = 'trial'"):
            found.setdefault(run.tags["trial_key"], []).append(run)
        children = {key: self._only(runs) for key, runs in found.items()}
        for child in children.values():
            self._tag(child, {"mlflow.parentRunId": self.parent.run_id})
        return children

    def _only(self, runs: list[MlflowRun]) -> MlflowRun:
        """Return the first of several runs of one trial or sweep, and delete the others.

        A slow server may have made a run after its client had given up waiting for it.
        """
        for surplus in runs[1:]:
            self.client.delete_run(surplus.run_id)
        return runs[0]

    def _log_capture(self) -> None:
        """Log what the sweep runs on and with, unless the record holds that already."""
        environment, path = self.manifest["environment"], None
        if self.manifest["diff"]:
            path = diff_path(self.state.plan.storage, self.state.plan.sweep_key)
        diff = "" if path is None else path.read_text(errors="replace")
        capture_hash = key_of({"environment": environment, "diff": diff})
        if self.parent.tags.get("capture_hash") == capture_hash:
            return
        self._log_json(self.parent, environment, ENVIRONMENT_FILE)
        if diff:
            self.client.log_text(self.parent.run_id, diff, "git.diff")
        self._tag(self.parent, {"capture_hash": capture_hash})

    def _create_trial(self, trial: Trial, start_time: int | None) -> MlflowRun:
        """Return a new run for a trial, or the run that another driver has just made for it.

        The run is looked for again once the new one is there: where two drivers make one at once,
        at least one of them sees both and keeps the first.
        """
        child = self._find_trial(trial)
        if child is None:
            self.client.create_run(
                self.experiment_id,
                start_time=start_time,
                run_name=format_setting(trial.config, (*self.state.plan.axes, "seed")),
                tags=self._common_tags()
                | {
                    "kind": "trial",
                    "mlflow.parentRunId": self.parent.run_id,
                    "training_key": trial.training_key,
                    "trial_key": trial.trial_key,
                },
            )
            child = self._find_trial(trial)
            if child is None:
                raise StoreError("it took a run and does not give it back")
        self.children[trial.trial_key] = child
        return child

    def _find_trial(self, trial: Trial) -> MlflowRun | None:
        found = self._trials(f"tags.trial_key = '{trial.trial_key}'")
        return self._only(found) if found else None

    def _common_tags(self) -> dict[str, str]:
        return {
            "schema": str(SCHEMA),
            "sweep": self.state.plan.name,
            "sweep_key": self.state.plan.sweep_key,
            "dataset": self.state.plan.base.dataset,
            "data_fingerprint": self.state.plan.data.fingerprint,
            "code_version": self.state.plan.code_version,
            "git_commit": self.manifest["git_commit"],
        }

    def _log(
        self,
        run: MlflowRun,
        points: list[Metric],
        fields: Mapping[str, str],
        tags: Mapping[str, str],
    ) -> None:
        """Log points of metrics, changed tags, and the params that a run lacks."""
        from mlflow.entities import Param, RunTag

        missing = [Param(*item) for item in fields.items() if item[0] not in run.params]
        changed = [RunTag(*item) for item in tags.items() if run.tags.get(item[0]) != item[1]]
        if missing or changed or points:
            self.client.log_batch(run.run_id, points[:BATCH], missing, changed)
        for start in range(BATCH, len(points), BATCH):
            self.client.log_batch(run.run_id, points[start : start + BATCH])
        run.params |= fields
        run.tags |= tags
        run.metrics |= {one.key: one.value for one in points}

    def _tag(self, run: MlflowRun, tags: Mapping[str, str]) -> None:
        for name, text in tags.items():
            if run.tags.get(name) != text:
                self.client.set_tag(run.run_id, name, text)
                run.tags[name] = text

    def _untag(self, run: MlflowRun, name: str) -> None:
        if run.tags.pop(name, None) is not None:
            self.client.delete_tag(run.run_id, name)

    def _trials(self, condition: str) -> list[MlflowRun]:
        found = self._search(condition)
        for run in found:
            _check_trial(run)
        return [MlflowRun.of(run) for run in found]

    def _search(self, condition: str) -> list[Run]:
        """Return the runs of the sweep that match a condition, the oldest first."""
        of_sweep = f"tags.sweep_key = '{self.state.plan.sweep_key}'"
        return search(self.client, self.experiment_id, f"{of_sweep} and {condition}")


def _is_number(value: Value) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
