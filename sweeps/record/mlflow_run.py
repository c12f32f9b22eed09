"""The runs of a sweep in the MLflow store: find them, and write to them what they lack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from analysis.record.mlflow_calls import StoreError
from analysis.record.origin import FACTS, TAG, USER, Origin, RecordError
from sweeps.record.mlflow_store import search
from trainable.storage import json_files

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

    from sweeps.planning.plan import Plan

MLFLOW_DATASET_CONTEXT = "mlflow.data.context"  # MLflow's tag of what a data set is used for
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
        origin: What the run was made from.
        digests: Those of the data sets that the run is known to have used.
    """

    run_id: str
    status: str
    start_time: int
    end_time: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    origin: Origin = field(default_factory=Origin)
    digests: frozenset[str] = frozenset()

    @classmethod
    def of(cls, run: Run) -> Self:
        """Return the run that MLflow's own object describes.

        Raises:
            StoreError: Its tag of what it was made from holds something else.
        """
        try:
            origin = Origin.of_run(run)
        except RecordError as error:
            raise StoreError(str(error), lasting=True) from error
        used = () if run.inputs is None else run.inputs.dataset_inputs
        return cls(
            run_id=run.info.run_id,
            status=run.info.status,
            start_time=run.info.start_time,
            end_time=run.info.end_time,
            tags=dict(run.data.tags),
            params=dict(run.data.params),
            metrics=dict(run.data.metrics),
            origin=origin,
            digests=frozenset(one.dataset.digest for one in used),
        )

    @property
    def facts(self) -> Mapping[str, str]:
        """What its driver noted of it out of sight; see `analysis.record.origin.FACTS`."""
        return self.origin.facts

    @property
    def train_s(self) -> float:
        """How many seconds the training run of a finished trial took, 0 of another trial."""
        if "images_per_s" not in self.metrics:
            return 0.0
        config = self.origin.config
        images = int(config["iterations"]) * int(config["batch_size"])
        return images / self.metrics["images_per_s"]


@dataclass(frozen=True, kw_only=True)
class SweepRuns:
    """The runs of one person's sweep in an experiment of MLflow.

    Another's sweep of the same key stands beside it, and is left alone. A record of before says of
    no run whose it is: whoever goes on with it first takes it over.

    Attributes:
        client: The client of the store.
        experiment_id: MLflow's id of the experiment.
        sweep_key: The key of the sweep, which is a tag of its runs.
        owner: Who began the sweep, as `user@host`.
    """

    client: MlflowClient
    experiment_id: str
    sweep_key: str
    owner: str

    def search(self, condition: str) -> list[Run]:
        """Return the runs of the sweep that match a condition, the oldest first."""
        of_sweep = f"tags.sweep_key = '{self.sweep_key}'"
        found = search(self.client, self.experiment_id, f"{of_sweep} and {condition}")
        return [run for run in found if run.data.tags.get(USER, self.owner) == self.owner]

    def only(self, runs: list[MlflowRun]) -> MlflowRun:
        """Return the first of several runs of one trial or of the sweep, and delete the others.

        A slow server may have made a run after its client had given up waiting for it. Runs of no
        one stay where the owner has one.
        """
        own = [run for run in runs if USER in run.tags] or runs
        for surplus in own[1:]:
            self.client.delete_run(surplus.run_id)
        return own[0]

    def log_data(self, run: MlflowRun, plan: Plan) -> None:
        """Log the data set of a sweep as an input of a run, unless that is known."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        name, data = plan.base.dataset, plan.data
        if data.fingerprint in run.digests:
            return
        dataset = Dataset(
            name=name,
            digest=data.fingerprint,
            source_type="pixelwise-adversarial",
            source=json_files.dumps({"dataset": name}).decode(),
            profile=json_files.dumps({"classes": list(data.classes)}).decode(),
        )
        used = DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, "training, validation")])
        self.client.log_inputs(run.run_id, [used])
        run.digests |= {data.fingerprint}

    def log(
        self,
        run: MlflowRun,
        points: list[Metric],
        fields: Mapping[str, str],
        tags: Mapping[str, str],
        origin: Origin | None = None,
    ) -> None:
        """Log points of metrics, changed tags, and the params that a run lacks.

        Args:
            run: The run.
            points: Of its metrics.
            fields: Its params; what it has already stays, since MLflow lets no param change.
            tags: Its tags.
            origin: What it was made from, besides what it says of that already.
        """
        if origin is not None:
            whole = Origin(facts={**run.facts, **origin.facts}, config=origin.config)
            run.origin = whole
            tags = {**tags, TAG: whole.tag({**fields, **run.params})}
        self._log(run, points, fields, tags)
        if origin is not None:
            for name in FACTS:  # tags of schema 1
                self.untag(run, name)

    def _log(
        self,
        run: MlflowRun,
        points: list[Metric],
        fields: Mapping[str, str],
        tags: Mapping[str, str],
    ) -> None:
        from mlflow.entities import Param, RunTag

        missing = [Param(*item) for item in fields.items() if item[0] not in run.params]
        changed = [RunTag(*item) for item in tags.items() if run.tags.get(item[0]) != item[1]]
        if missing or changed or points:
            self.client.log_batch(run.run_id, points[:BATCH], missing, changed)
        for start in range(BATCH, len(points), BATCH):
            self.client.log_batch(run.run_id, points[start : start + BATCH])
        run.params = {**fields, **run.params}
        run.tags |= tags
        run.metrics |= {one.key: one.value for one in points}

    def tag(self, run: MlflowRun, tags: Mapping[str, str]) -> None:
        """Set the tags that a run does not have with these texts, one by one and in their order."""
        for name, text in tags.items():
            if run.tags.get(name) != text:
                self.client.set_tag(run.run_id, name, text)
                run.tags[name] = text

    def note(self, run: MlflowRun, **facts: str) -> None:
        """Note something of a run out of sight."""
        run.origin = replace(run.origin, facts={**run.facts, **facts})
        self.tag(run, {TAG: run.origin.tag(run.params)})

    def forget(self, run: MlflowRun, name: str) -> None:
        """Note no longer what was noted of a run out of sight."""
        if name in run.facts:
            facts = {one: text for one, text in run.facts.items() if one != name}
            run.origin = replace(run.origin, facts=facts)
            self.tag(run, {TAG: run.origin.tag(run.params)})
            self.untag(run, name)  # of schema 1

    def untag(self, run: MlflowRun, name: str) -> None:
        """Delete a tag of a run, where it has it."""
        if run.tags.pop(name, None) is not None:
            self.client.delete_tag(run.run_id, name)

    def log_json(self, run: MlflowRun, content: Mapping[str, object], name: str) -> None:
        """Log an artifact in JSON."""
        self.client.log_text(run.run_id, json_files.dumps(content, indent=1).decode(), name)
