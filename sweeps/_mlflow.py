"""The record: one MLflow parent run per sweep, one flat child per trial, written by the driver.

The record is a projection of the run folders: publishing finds a run by its `trial_key` tag and
brings it up to date, so that publishing twice changes nothing, and what a server that was away
missed is made up for the next time.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import queue
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from sweeps._best import best_point
from sweeps._plan import Plan, PlannedRun, Trial, in_words
from trainable.config import EXECUTION_FIELDS
from trainable.identity import code_version, key_of, readout_key
from trainable.run_folder import RunFolder
from trainable.training_run import summary

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

EXPERIMENT = "pixelwise-adversarial"
SCHEMA = "1"
CURVES = ("train/loss_mce", "train/loss_adv", "train/loss_disc", "val/miou")
DETAIL_FILE = "result.json"
BATCH = 1000  # MLflow's limit of metrics in one call
PAGE = 500
# Read by mlflow when it is imported or asked: a server that is gone must not hold up a sweep.
MLFLOW_SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "GIT_PYTHON_REFRESH": "quiet",
}


class Record:
    """The MLflow record of one sweep.

    Args:
        plan: The sweep.
        tracking_uri: Of the store; a SQLite file is created when there is none.

    Raises:
        MlflowException: The store cannot be reached.
    """

    def __init__(self, plan: Plan, tracking_uri: str) -> None:
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        self.plan = plan
        create_database(tracking_uri)
        self.client: MlflowClient = MlflowClient(tracking_uri)
        self.experiment_id = self._experiment()
        self.parent = self._parent()
        self.children = {
            run.data.tags["trial_key"]: run
            for run in self._search(f"tags.`mlflow.parentRunId` = '{self.parent.info.run_id}'")
        }
        self._tag_total()

    def publish(self, run: PlannedRun, cause: str | None = None) -> None:
        """Bring the trials of a training run up to date with its folder.

        Args:
            run: One of the plan's.
            cause: Why its worker failed, where the folder holds no outcome.
        """
        found = self.plan.outcome(run)
        if found is None and cause is None:
            return
        kind, content = found or ("failure", {"cause": cause})
        metrics = RunFolder(self.plan.storage, run.spec.training_key).read("metrics")
        history = metrics["history"] if metrics else []
        for trial in run.trials:
            self._publish_trial(trial, kind, content, history)

    def _publish_trial(
        self,
        trial: Trial,
        kind: str,
        content: Mapping[str, Any],
        history: Sequence[Mapping[str, float]],
    ) -> None:
        record_hash = key_of({"kind": kind, "content": content, "history": list(history)})
        run = self.children.get(trial.trial_key)
        if run is not None and run.data.tags.get("record_hash") == record_hash:
            return
        if run is None:
            run = self._create_trial(trial, _milliseconds(history[0]["time"]) if history else None)
        run_id = run.info.run_id
        self._log_params(run, _params(dataclasses.asdict(trial.config)))
        points = list(_points(history))
        if kind == "result":
            final = summary(dict(content), trial.config.readout)
            finished_at = content["finished_at"]
            points += [
                _point(name, value, finished_at, content["iterations"])
                for name, value in final.items()
            ]
            self.client.log_dict(run_id, _detail(trial, content, history), DETAIL_FILE)
            if "cause" in run.data.tags:
                self.client.delete_tag(run_id, "cause")
        else:
            finished_at = history[-1]["time"] if history else None
            self.client.set_tag(run_id, "cause", content["cause"])
        for start in range(0, len(points), BATCH):
            self.client.log_batch(run_id, metrics=points[start : start + BATCH])
        end_time = None if finished_at is None else _milliseconds(finished_at)
        status = "FINISHED" if kind == "result" else "FAILED"
        self.client.set_terminated(run_id, status, end_time)
        # Last: its presence says that all of the above is there.
        self.client.set_tag(run_id, "record_hash", record_hash)
        self.children[trial.trial_key] = self.client.get_run(run_id)

    def summarise(self, best: Mapping[str, Any] | None, *, complete: bool) -> None:
        """Write mean and interval of the best point onto the parent run, and end it.

        A command that asks for fewer points than are recorded leaves the numbers as they are.

        Args:
            best: What `best_point` returned.
            complete: Whether every trial of the sweep has an outcome.
        """
        asked_for_all = self.children.keys() <= {trial.trial_key for trial in self.plan.trials}
        ends = [run.info.end_time for run in self.children.values() if run.info.end_time]
        when = max(ends, default=None)
        if best is not None and when is not None and asked_for_all:
            step = len(self.children)
            numbers = {f"best/{axis}": value for axis, value in best["point"].items()}
            numbers |= {name: value for name, value in best.items() if name != "point"}
            self.client.log_batch(
                self.parent.info.run_id,
                metrics=[
                    _point(name, value, when / 1000, step)
                    for name, value in numbers.items()
                    if value is not None
                ],
            )
        status = "FINISHED" if complete else "KILLED"
        self.client.set_terminated(self.parent.info.run_id, status, when)

    def _experiment(self) -> str:
        found = self.client.get_experiment_by_name(EXPERIMENT)
        if found is not None:
            return str(found.experiment_id)
        return str(self.client.create_experiment(EXPERIMENT))

    def _parent(self) -> Run:
        found = self._search(f"tags.sweep_key = '{self.plan.sweep_key}' and tags.kind = 'sweep'")
        if found:
            parent = found[0]
            self.client.update_run(parent.info.run_id, "RUNNING")
        else:
            parent = self.client.create_run(
                self.experiment_id,
                run_name=self.plan.name,
                tags=self._common_tags() | {"kind": "sweep"},
            )
        fixed = _params(dataclasses.asdict(self.plan.base), without=(*self.plan.axes, "seed"))
        self._log_params(parent, fixed)
        return parent

    def _tag_total(self) -> None:
        """Tag the parent with the number of its trials: those asked for now or ever recorded."""
        keys = {trial.trial_key for trial in self.plan.trials} | self.children.keys()
        total = str(len(keys))
        if self.parent.data.tags.get("trials_total") != total:
            self.client.set_tag(self.parent.info.run_id, "trials_total", total)

    def _create_trial(self, trial: Trial, start_time: int | None) -> Run:
        return self.client.create_run(
            self.experiment_id,
            start_time=start_time,
            run_name=in_words(trial.config, (*self.plan.axes, "seed")),
            tags=self._common_tags()
            | {
                "kind": "trial",
                "mlflow.parentRunId": self.parent.info.run_id,
                "training_key": trial.training_key,
                "trial_key": trial.trial_key,
            },
        )

    def _common_tags(self) -> dict[str, str]:
        return {
            "schema": SCHEMA,
            "sweep": self.plan.name,
            "sweep_key": self.plan.sweep_key,
            "dataset": self.plan.base.dataset,
            "data_fingerprint": self.plan.data.fingerprint,
            "code_version": code_version(),
            "git_commit": git_commit(),
        }

    def _log_params(self, run: Run, params: Mapping[str, str]) -> None:
        """Log the parameters that a run lacks: all of a new one, the rest of an unfinished one."""
        from mlflow.entities import Param

        missing = [Param(*item) for item in params.items() if item[0] not in run.data.params]
        if missing:
            self.client.log_batch(run.info.run_id, params=missing)

    def _search(self, condition: str) -> list[Run]:
        found: list[Run] = []
        token: str | None = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id], condition, max_results=PAGE, page_token=token
            )
            found += page
            token = page.token
            if not token:
                return found


class Publisher:
    """Publishes in a thread of its own, so that a slow store delays the record, not the training.

    When the store fails, one warning is given and publishing stops; the run folders keep what was
    to be told, and the next run of the sweep tells it.

    Args:
        plan: The sweep.
        tracking_uri: Of the store.
        warn: Is given the one warning.
    """

    def __init__(self, plan: Plan, tracking_uri: str, warn: Callable[[str], None]) -> None:
        self.plan = plan
        self.tracking_uri = tracking_uri
        self.warn = warn
        self.reachable = True
        self._queue: queue.Queue[tuple[PlannedRun, str | None] | None] = queue.Queue()
        self._done: Future[None] | None = None

    def publish(self, run: PlannedRun, cause: str | None = None) -> None:
        """Let the trials of a training run be published soon; see `Record.publish`."""
        self._queue.put((run, cause))

    def __enter__(self) -> Self:
        executor = ThreadPoolExecutor(1, thread_name_prefix="publisher")
        self._done = executor.submit(self._work)
        executor.shutdown(wait=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Publish what is left and bring the parent run up to date."""
        self._queue.put(None)
        if self._done is not None:
            self._done.result()

    def _work(self) -> None:
        for name, value in MLFLOW_SETTINGS.items():
            os.environ.setdefault(name, value)
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            record = Record(self.plan, self.tracking_uri)
            for run, cause in iter(self._queue.get, None):
                record.publish(run, cause)
            record.summarise(best_point(self.plan), complete=not self.plan.pending())
        except (MlflowException, SQLAlchemyError, ImportError, OSError) as error:
            self.reachable = False
            self.warn(
                f"warning: the MLflow store {without_password(self.tracking_uri)} cannot be "
                f"written ({_first_line(error)}); training goes on, run the same command again "
                "to catch up"
            )


def create_database(tracking_uri: str) -> None:
    """Create the SQLite file of a tracking URI whole or not at all, where there is none.

    MLflow builds a new database in some fifty migrations; a process killed among them leaves one
    that no version reads.
    """
    from mlflow.store.tracking import DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from sqlalchemy.engine import make_url

    url = make_url(tracking_uri) if tracking_uri.startswith("sqlite") else None
    if url is None or not url.database or Path(url.database).exists():
        return
    path = Path(url.database)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        store = SqlAlchemyStore(
            url.set(database=str(temporary)).render_as_string(hide_password=False),
            DEFAULT_LOCAL_FILE_AND_ARTIFACT_PATH,
        )
        store.engine.dispose()
        with suppress(FileExistsError):  # another sweep was faster: its file is as good
            os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def git_commit() -> str:
    """Return the commit of the code, `-dirty` after it if changed since; `unknown` outside git."""
    folder = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude", "*"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit.stdout.strip()


def _params(values: Mapping[str, Any], without: Sequence[str] = ()) -> dict[str, str]:
    left_out = (*EXECUTION_FIELDS, *without)
    return {name: str(value) for name, value in values.items() if name not in left_out}


def _points(history: Sequence[Mapping[str, float]]) -> Iterator[Metric]:
    for row in history:
        for name in CURVES:
            if name in row:
                yield _point(name, row[name], row["time"], int(row["iteration"]))


def _point(name: str, value: float, time_s: float, step: int) -> Metric:
    from mlflow.entities import Metric

    return Metric(name, value, _milliseconds(time_s), step)


def _milliseconds(time_s: float) -> int:
    return round(time_s * 1000)


def _detail(
    trial: Trial, content: Mapping[str, Any], history: Sequence[Mapping[str, float]]
) -> dict[str, Any]:
    """Return what a dozen metrics leave out: IoU per class, Eq. 8 as printed, all curves."""
    entry = content["readouts"][readout_key(trial.config.readout)]
    return {
        "classes": content["classes"],
        "val/iou": content["val"]["iou"],
        "swa/iou": entry["swa"]["iou"],
        "val/miou_per_image": content["val"]["miou_per_image"],
        "swa/miou_per_image": entry["swa"]["miou_per_image"],
        "averaged": entry["averaged"],
        "history": list(history),
    }


def without_password(text: str) -> str:
    """Return a text with what stands before the host of any URI in it left out."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", text)


def _first_line(error: Exception) -> str:
    lines = without_password(str(error)).splitlines()
    return lines[0][:200] if lines else type(error).__name__
