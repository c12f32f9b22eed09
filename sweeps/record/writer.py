"""The record: one MLflow parent run per sweep, one flat child per trial, written by the driver.

The record is a projection of the run folders: publishing finds a run by its `trial_key` tag and
brings it up to date, so that publishing twice changes nothing, and what a server that was away
missed is made up for the next time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

from analysis.record.mlflow_calls import Patience, StoreError
from sweeps.planning.plan import Plan, PlannedRun, Trial, in_words
from sweeps.planning.ranking import BestPoint
from sweeps.planning.version_mix import mixtures
from sweeps.record.ended_run import EndedRun, detail_of, final_points, params, point
from sweeps.record.manifest import diff_path
from sweeps.record.mlflow_store import EXPERIMENT, open_store, search
from sweeps.record.moved_artifacts import artifact_location, bring_home
from trainable.runs.keys import key_of
from trainable.runs.sample_masks import SAMPLES_FILE
from trainable.storage import json_files

if TYPE_CHECKING:
    from mlflow.entities import Run

SCHEMA = "1"
UNDER_WAY = {"state": "partial", "why_partial": "under way"}
DETAIL_FILE = "result.json"
MOST_OF_A_TAG = 5000  # characters, of what MLflow takes
COUNTS = ("iterations", "batch_size")  # params of every trial
NUMBERS = ("images_per_s",)  # metrics of a finished one, above 0
BATCH = 900  # MLflow's limit is 1000 of metrics, params and tags in one call


@dataclass(kw_only=True)
class MlflowRun:
    """What the record holds of a run, as far as it is asked for again."""

    run_id: str
    status: str
    start_time: int
    end_time: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, run: Run) -> Self:
        """Return what a run of MLflow holds."""
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
        """Seconds that the training run of a finished trial took."""
        if "images_per_s" not in self.metrics:
            return 0.0
        images = int(self.params["iterations"]) * int(self.params["batch_size"])
        return images / self.metrics["images_per_s"]


class MlflowWriter:
    """The MLflow record of one sweep.

    Args:
        plan: The sweep.
        tracking_uri: Of the store; a SQLite file is created when there is none.
        manifest: What the sweep runs on and with: see `_manifest`.
        patience: With all that the store is asked.

    Attributes:
        moved_from: Folder of a SQLite file before it was moved or copied here, empty if it was not.

    Raises:
        StoreError: The store cannot be reached, or holds what no driver of ours wrote.
    """

    def __init__(
        self,
        plan: Plan,
        tracking_uri: str,
        manifest: Mapping[str, Any],
        patience: Patience | None = None,
    ) -> None:
        self.plan = plan
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
            run: One of the plan's.
            cause: Why its worker failed, where the folder holds no outcome.
        """
        ended = EndedRun.read(self.plan, run, cause)
        if ended is None:
            return
        for trial in run.trials:
            self._publish_trial(trial, ended)
        self._tag_total()

    def _publish_trial(self, trial: Trial, ended: EndedRun) -> None:
        tags = dict(ended.setting) | self.plan.tags.get(trial.trial_key, {})
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
        """Return the hash of what is recorded of each trial, by its key."""
        return {key: child.tags.get("record_hash", "") for key, child in self.children.items()}

    def _log_json(self, run: MlflowRun, content: Mapping[str, object], name: str) -> None:
        self.client.log_text(run.run_id, json_files.dumps(content, indent=1).decode(), name)

    def _log_samples(self, child: MlflowRun, content: bytes | None) -> None:
        if content is None:
            return
        with TemporaryDirectory() as folder:
            path = Path(folder) / SAMPLES_FILE
            path.write_bytes(content)
            self.client.log_artifact(child.run_id, str(path))

    def summarise(self, best: BestPoint | None, why_partial: str | None) -> None:
        """Write mean and interval of the best point and the cost onto the parent run, and end it.

        A command that asks for fewer points than are recorded leaves the best point as it is.

        Args:
            best: The best setting, None where there is none.
            why_partial: Why trials lack an outcome, None if all have one.
        """
        ends = [child.end_time for child in self.children.values() if child.end_time]
        when = max(ends, default=None)
        numbers, words = self._cost(), {"state": "partial" if why_partial else "complete"}
        if best is not None and self.children.keys() <= self._keys():
            numbers |= best.numbers()
            for axis, value in best.point.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    numbers[f"best/{axis}"] = value
                else:
                    words[f"best/{axis}"] = str(value)
        if when is not None:
            step = len(self.children)
            points = [point(*item, when, step) for item in numbers.items() if item[1] is not None]
            self.client.log_batch(self.parent.run_id, metrics=points)
        finished = [child.tags for child in self.children.values() if child.status == "FINISHED"]
        for name, text in (
            ("why_partial", why_partial),
            ("mixed", "; ".join(mixtures(finished))),
        ):
            if text:
                words[name] = text
            else:
                self._untag(self.parent, name)
        self._tag(self.parent, words)
        status = "KILLED" if why_partial else "FINISHED"
        end = None if when is None else max(when, self.parent.start_time)
        self.client.set_terminated(self.parent.run_id, status, end)

    def best_trial(self, best: BestPoint) -> tuple[Trial, MlflowRun] | None:
        """Return the trial of the best point whose average has the highest mIoU, and its run."""
        found = []
        for trial in self.plan.trials:
            child = self.children.get(trial.trial_key)
            at_best = all(getattr(trial.config, k) == v for k, v in best.point.items())
            if at_best and child is not None and child.status == "FINISHED":
                found.append((trial, child))
        return max(found, key=lambda one: one[1].metrics["swa/miou"], default=None)

    def holds_model(self, child: MlflowRun) -> bool:
        """Return whether the model of a child's present numbers is logged and named the best."""
        is_best = self.parent.tags.get("best_run") == child.run_id
        return is_best and child.tags.get("model_of") == child.tags["record_hash"]

    def name_best(self, child: MlflowRun, model_uri: str) -> None:
        """Tag the parent with its best trial's run and model."""
        self._tag(self.parent, {"best_run": child.run_id, "best_model": model_uri})
        self._tag(child, {"model_of": child.tags["record_hash"]})

    def _cost(self) -> dict[str, Any]:
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
        return {trial.trial_key for trial in self.plan.trials}

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
            "question": self.plan.question,
            "axes": ",".join(self.plan.axes),
            "data_warnings": "\n".join(self.plan.data.warnings)[:MOST_OF_A_TAG],
        }
        tags = self._common_tags() | {name: text for name, text in asked.items() if text}
        fixed = params(self.plan.base, without=(*self.plan.axes, "seed"))
        found = [MlflowRun.of(run) for run in self._search("tags.kind = 'sweep'")]
        if found:
            parent = self._only(found)
            self.client.update_run(parent.run_id, "RUNNING")
            under_way = UNDER_WAY if self.plan.pending() else {}
            self._tag(parent, tags | under_way)
        else:
            tags |= {"kind": "sweep"} | UNDER_WAY
            parent = MlflowRun.of(
                self.client.create_run(
                    self.experiment_id,
                    start_time=round(self.manifest["created"] * 1000),
                    run_name=self.plan.name,
                    tags=tags,
                )
            )
        self._log(parent, [], fixed, {})
        return parent

    def _children(self) -> dict[str, MlflowRun]:
        """Return the runs of the sweep's trials by trial key, each once and under this parent."""
        found: dict[str, list[MlflowRun]] = {}
        for run in self._trials("tags.kind = 'trial'"):
            found.setdefault(run.tags["trial_key"], []).append(run)
        children = {key: self._only(runs) for key, runs in found.items()}
        for child in children.values():
            self._tag(child, {"mlflow.parentRunId": self.parent.run_id})
        return children

    def _only(self, runs: list[MlflowRun]) -> MlflowRun:
        """Return the first of runs that are the same, and delete the others.

        A server that was slow may have done what its client had given up waiting for.
        """
        for surplus in runs[1:]:
            self.client.delete_run(surplus.run_id)
        return runs[0]

    def _log_capture(self) -> None:
        """Log what the sweep runs on and with, unless that is what the record holds."""
        environment, path = self.manifest["environment"], None
        if self.manifest["diff"]:
            path = diff_path(self.plan.storage, self.plan.sweep_key)
        diff = "" if path is None else path.read_text(errors="replace")
        capture_hash = key_of({"environment": environment, "diff": diff})
        if self.parent.tags.get("capture_hash") == capture_hash:
            return
        self._log_json(self.parent, environment, "environment.json")
        if diff:
            self.client.log_text(self.parent.run_id, diff, "git.diff")
        self._tag(self.parent, {"capture_hash": capture_hash})

    def _create_trial(self, trial: Trial, start_time: int | None) -> MlflowRun:
        """Return a new run for a trial, or that of a driver that shares the record alone.

        It is looked for again once the new one is there: where two are created at once, at least
        one driver sees both and keeps the first.
        """
        child = self._find_trial(trial)
        if child is None:
            self.client.create_run(
                self.experiment_id,
                start_time=start_time,
                run_name=in_words(trial.config, (*self.plan.axes, "seed")),
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
            "schema": SCHEMA,
            "sweep": self.plan.name,
            "sweep_key": self.plan.sweep_key,
            "dataset": self.plan.base.dataset,
            "data_fingerprint": self.plan.data.fingerprint,
            "code_version": self.plan.code_version,
            "git_commit": self.manifest["git_commit"],
        }

    def _log(
        self, run: MlflowRun, points: list[Any], fields: Mapping[str, str], tags: Mapping[str, str]
    ) -> None:
        """Log points, tags, and the params that a run lacks: those of an unfinished one, too."""
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
        """Return the runs of the sweep that fulfil a condition, too, the oldest first."""
        of_sweep = f"tags.sweep_key = '{self.plan.sweep_key}'"
        return search(self.client, self.experiment_id, f"{of_sweep} and {condition}")


def _check_trial(run: Run) -> None:
    """Refuse a trial that lacks what all that follows from it is made of.

    Raises:
        StoreError: It does.
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
