"""Write the record: one MLflow parent run per sweep, and one flat child run per trial.

The record follows from the run folders alone. Publishing finds a run by its `trial_key` tag and
brings it up to date, so that publishing twice changes nothing, and a server that was away gets what
it missed the next time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

from analysis.record.mlflow_calls import Patience
from analysis.record.origin import USER, Origin
from analysis.record.schema import ENVIRONMENT_FILE, EXPERIMENT, OBJECTIVE, SCHEMA
from sweeps.planning.asked import Asked, given_of
from sweeps.planning.plan import PlannedRun, Trial
from sweeps.planning.ranking import BestPoint
from sweeps.planning.state import SweepState
from sweeps.planning.version_mix import mixtures_among
from sweeps.record.ended_run import as_text, config_text, point
from sweeps.record.environment import owner, source_tags
from sweeps.record.manifest import diff_path
from sweeps.record.mlflow_run import MlflowRun, SweepRuns
from sweeps.record.mlflow_store import open_store
from sweeps.record.moved_artifacts import artifact_location, bring_home
from sweeps.record.trial_runs import TrialRuns
from trainable.config.schema import Value
from trainable.runs.keys import key_of

UNDER_WAY = {"state": "partial", "why_partial": "under way"}
MOST_OF_A_TAG = 5000  # characters, of what MLflow takes


class MlflowWriter:
    """Writes the MLflow record of one sweep.

    Args:
        state: The state of the sweep.
        tracking_uri: The URI of the MLflow store; a SQLite file is made where there is none.
        manifest: What the sweep runs on and with; see `sweeps.record.manifest`.
        patience: How long all calls of the store together may take; None has no limit.

    Attributes:
        experiment: The name of the experiment, as the manifest has it.
        moved_from: The folder that a SQLite file was in before it was moved or copied here, empty
            if it was not.
        parent: The run of the sweep.
        trials: The runs of the sweep's trials.

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
        given = manifest.get("given")  # that of a version before has none
        self.asked = Asked(
            plan=state.plan, given=given_of(state.plan.base) if given is None else given
        )
        self.patience = patience or Patience()
        self.tracking_uri = tracking_uri
        self.experiment = str(manifest.get("experiment") or EXPERIMENT)
        self.moved_from = bring_home(tracking_uri, self.experiment)
        self.client = open_store(tracking_uri, patience=self.patience)
        self.runs = SweepRuns(
            client=self.client,
            experiment_id=self._experiment(),
            sweep_key=state.plan.sweep_key,
            owner=str(manifest.get("owner") or owner()),
        )
        self.parent = self._parent()
        self.trials = TrialRuns(
            state,
            self.runs,
            self.parent,
            asked=self.asked,
            tags=self._common_tags(),
            facts=self._facts(),
        )
        self._tag_total()
        self._log_capture()

    @property
    def children(self) -> dict[str, MlflowRun]:
        """The runs of the sweep's trials, by their trial key."""
        return self.trials.by_key

    def publish(
        self,
        run: PlannedRun,
        cause: str | None = None,
        is_known: Callable[[str], bool] = lambda trial_key: False,
    ) -> None:
        """Bring the trials of a training run up to date with its folder, earlier ones, too.

        Args:
            run: The training run, which is one of the state's.
            cause: Why its worker failed, where the folder holds no outcome.
            is_known: Whether the curves of a trial in the record, by its key, are known to be of
                the training that ended.
        """
        for part in self.state.parts_of(run):
            self.trials.publish(part, cause if part is run else None, is_known)
        self._tag_total()

    def hashes(self) -> dict[str, str]:
        """Return the hash of what the record holds of each trial, by its trial key."""
        return {key: child.facts["record_hash"] for key, child in self.trials.ended.items()}

    def summarise(self, best: BestPoint | None, why_partial: str | None) -> None:
        """Write mean and interval of the best point and the cost onto the parent run, and end it.

        Where trials are recorded that no manifest here tells of, such as those of another storage,
        the best point stays as it is.

        Args:
            best: The best setting, None where there is none.
            why_partial: Why trials lack an outcome, None if all have one.
        """
        ended = self.trials.ended
        if not ended.keys() <= self._keys():
            best = None
        ends = [child.end_time for child in ended.values() if child.end_time]
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
        step = len(self.trials.ended)
        points = [point(k, x, milliseconds, step) for k, x in numbers.items() if x is not None]
        self.client.log_batch(self.parent.run_id, metrics=points)

    def _tag_summary(self, best: BestPoint | None, why_partial: str | None) -> None:
        """Tag whether the sweep is complete, the names at its best point, and mixed versions."""
        tags = {"state": "partial" if why_partial else "complete"}
        if best is not None:
            names = {axis: x for axis, x in best.point.items() if not _is_number(x)}
            tags |= {f"best/{axis}": str(name) for axis, name in names.items()}
        finished = [
            {**child.tags, **child.facts}
            for child in self.children.values()
            if child.status == "FINISHED"
        ]
        for name, text in (
            ("why_partial", why_partial),
            ("mixed", "; ".join(mix.counted for mix in mixtures_among(finished))),
        ):
            if text:
                tags[name] = text
            else:
                self.runs.untag(self.parent, name)
        self.runs.tag(self.parent, tags)

    def best_trial(self, best: BestPoint) -> tuple[Trial, MlflowRun] | None:
        """Return the trial of the best point with the highest objective, and its run."""
        found = []
        for trial in self.state.known_trials:
            child = self.children.get(trial.trial_key)
            at_best = all(getattr(trial.config, k) == v for k, v in best.point.items())
            if at_best and child is not None and child.status == "FINISHED":
                found.append((trial, child))
        objective = self.state.plan.objectives[0]
        return max(found, key=lambda one: one[1].metrics.get(objective, -1.0), default=None)

    def holds_model(self, child: MlflowRun) -> bool:
        """Return whether a child is named the best and the model of its numbers is logged."""
        is_best = self.parent.tags.get("best_run") == child.run_id
        return is_best and child.facts.get("model_of") == child.facts["record_hash"]

    def name_best(self, child: MlflowRun, model_uri: str) -> None:
        """Tag the parent with the run and the model of its best trial."""
        self.runs.tag(self.parent, {"best_run": child.run_id, "best_model": model_uri})
        self.runs.note(child, model_of=child.facts["record_hash"])

    def _cost(self) -> dict[str, float | None]:
        """Return what the sweep cost, by the names of the record's metrics."""
        ended = self.trials.ended
        runs = {child.facts["training_key"]: child.train_s for child in ended.values()}
        return {
            "cost/training_runs": len(runs),
            "cost/naive_runs": len(ended),
            "cost/training_s": sum(runs.values()),
        }

    def _tag_total(self) -> None:
        """Tag the parent with the number of its trials: those asked for now or ever recorded."""
        total = len(self._keys() | self.children.keys())
        self.runs.tag(self.parent, {"trials_total": str(total)})

    def _keys(self) -> set[str]:
        return {trial.trial_key for trial in self.state.known_trials}

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        place = artifact_location(self.tracking_uri, self.experiment)
        created = str(self.client.create_experiment(self.experiment, artifact_location=place))
        bring_home(self.tracking_uri, self.experiment)  # it is tagged with where it is
        return created

    def _parent(self) -> MlflowRun:
        asked = {
            "question": self.state.plan.question,
            "axes": ",".join(self.state.plan.axes),
            "data_warnings": "\n".join(self.state.plan.data.warnings)[:MOST_OF_A_TAG],
        }
        if self.state.plan.objectives != (OBJECTIVE,):
            asked["objectives"] = ",".join(self.state.plan.objectives)
        tags = self._common_tags() | {name: text for name, text in asked.items() if text}
        if self.state.race is not None:
            tags |= {f"race_{k}": str(x) for k, x in dataclasses.asdict(self.state.race).items()}
        found = [MlflowRun.of(run) for run in self.runs.search("tags.kind = 'sweep'")]
        if found:
            parent = self.runs.only(found)
            self.client.update_run(parent.run_id, "RUNNING")
            under_way = UNDER_WAY if self.state.pending() else {}
            self.runs.tag(parent, tags | under_way)
        else:
            tags |= {"kind": "sweep"} | UNDER_WAY
            parent = MlflowRun.of(
                self.client.create_run(
                    self.runs.experiment_id,
                    start_time=round(self.manifest["created"] * 1000),
                    run_name=self.state.plan.name,
                    tags=tags,
                )
            )
        shared = config_text(self.state.plan.base, without=(*self.state.plan.axes, "seed"))
        origin = Origin(facts=self._facts(), config=shared)
        self.runs.log(parent, [], as_text(self.asked.of_sweep()), {}, origin)
        self.runs.log_data(parent, self.state.plan)
        return parent

    def _log_capture(self) -> None:
        """Log what the sweep runs on and with, unless the record holds that already."""
        environment, path = self.manifest["environment"], None
        if self.manifest["diff"]:
            path = diff_path(self.state.plan.storage, self.state.plan.sweep_key)
        diff = "" if path is None else path.read_text(errors="replace")
        capture_hash = key_of({"environment": environment, "diff": diff})
        if self.parent.facts.get("capture_hash") == capture_hash:
            return
        self.runs.log_json(self.parent, environment, ENVIRONMENT_FILE)
        if diff:
            self.client.log_text(self.parent.run_id, diff, "git.diff")
        self.runs.note(self.parent, capture_hash=capture_hash)

    def _common_tags(self) -> dict[str, str]:
        return {
            "schema": str(SCHEMA),
            "sweep": self.state.plan.name,
            "sweep_key": self.state.plan.sweep_key,
            "dataset": self.state.plan.base.dataset,
            USER: self.runs.owner,
            **source_tags(self.manifest["environment"], self.manifest["git_commit"]),
        }

    def _facts(self) -> dict[str, str]:
        return {
            "data_fingerprint": self.state.plan.data.fingerprint,
            "code_version": self.state.plan.code_version,
            "git_commit": self.manifest["git_commit"],
        }


def _is_number(value: Value) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
