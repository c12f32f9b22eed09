"""What the record says of a training run that ended: its folder's content in the record's words."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweeps.planning.plan import Plan, PlannedRun, Trial
from trainable.config.schema import EXECUTION_FIELDS
from trainable.runs.folder import RunFolder
from trainable.runs.keys import key_of, readout_key
from trainable.runs.machine import SETTING
from trainable.runs.results import read_description, read_history, summary
from trainable.runs.sample_masks import SAMPLES_FILE, of_readout, read_samples

if TYPE_CHECKING:
    from mlflow.entities import Metric

CURVES = ("train/loss_mce", "train/loss_adv", "train/loss_disc", "val/miou")
# What a run was made by and on, which decides its last digits, besides the config.
ORIGIN = ("code_version", *SETTING)
STATUS = {"result": "FINISHED", "failure": "FAILED", "stopped": "KILLED"}


@dataclass(frozen=True, kw_only=True)
class EndedRun:
    """A training run that ended, each of its files read once for all of its trials.

    Attributes:
        kind: `result`, `failure`, or `stopped` by the sweep.
        content: Of `result.json`, or the `cause` of an end without numbers.
        history: Losses and validations so far.
        setting: The values of ORIGIN as the worker wrote them, as text.
        samples: File of predicted masks, where there is one and the sweep wants it.
    """

    kind: str
    content: Mapping[str, Any]
    history: Sequence[Mapping[str, float]]
    setting: Mapping[str, str]
    samples: Path | None

    @classmethod
    def read(cls, plan: Plan, run: PlannedRun, cause: str | None) -> EndedRun | None:
        """Return how a run of the plan ended, None where it did not.

        Args:
            plan: The sweep.
            run: One of the plan's.
            cause: Why its worker failed, where the folder holds no outcome.

        Raises:
            ConfigError: One of its files is not as it was written, or another run's.
        """
        found = plan.outcome(run)
        if found is None:
            stopped = plan.stopped.get(run.spec.training_key)
            if stopped is None and cause is None:
                return None
            kind = "failure" if stopped is None or _crashed(plan, run) else "stopped"
            found = kind, {"cause": stopped or cause}
        folder = RunFolder(plan.storage, run.spec.training_key)
        # The outcome alone tells of its making: config.json is of whoever trained here last.
        content, described = found[1], read_description(folder)
        written = {**content, **content["setting"]} if "setting" in content else described
        samples = folder.path / SAMPLES_FILE
        return cls(
            kind=found[0],
            content=content,
            history=read_history(folder),
            setting={name: str(written[name]) for name in ORIGIN if name in written},
            samples=samples if plan.with_samples and samples.exists() else None,
        )

    @property
    def status(self) -> str:
        """The state of its trials in MLflow."""
        return STATUS[self.kind]

    @property
    def began(self) -> int | None:
        """Milliseconds since the epoch of its first recorded iteration."""
        return _milliseconds(self.history[0]["time"]) if self.history else None

    @property
    def ended(self) -> int | None:
        """Milliseconds since the epoch of its last recorded iteration."""
        return _milliseconds(self.history[-1]["time"]) if self.history else None

    @cached_property
    def curves(self) -> list[Metric]:
        """The points of all curves."""
        return [
            _point(name, row[name], row["time"], int(row["iteration"]))
            for row in self.history
            for name in CURVES
            if name in row
        ]

    @cached_property
    def _shared(self) -> str:
        """The hash of what all trials have in common, clocks left out."""
        rows = [{name: row[name] for name in row if name != "time"} for row in self.history]
        of_run = {name: self.content.get(name) for name in ("cause", "val", "train", "iterations")}
        setting = dict(self.setting)
        return key_of({"kind": self.kind, "history": rows, "setting": setting, **of_run})

    def record_hash(self, trial: Trial, tags: Mapping[str, str]) -> str:
        """Return the hash of all that the record is to say of a trial."""
        own = self.content["readouts"][_key(trial)] if self.kind == "result" else None
        samples = self.samples is not None
        return key_of({"run": self._shared, "own": own, "tags": dict(tags), "samples": samples})

    def final(self, trial: Trial) -> Iterator[Metric]:
        """Yield the numbers of a trial at the end of its training."""
        for name, value in summary(dict(self.content), trial.config.readout).items():
            yield _point(name, value, self.content["finished_at"], self.content["iterations"])

    def samples_of(self, trial: Trial) -> bytes | None:
        """Return a file of predicted masks with no average but the trial's, where one is wanted."""
        if self.samples is None:
            return None
        return of_readout(self.samples, trial.config.readout, trial.trial_key)

    def detail(self, trial: Trial) -> dict[str, Any]:
        """Return what a dozen metrics leave out: IoU per class, Eq. 8 as printed, all curves."""
        content, entry = self.content, self.content["readouts"][_key(trial)]
        return {
            "trial_key": trial.trial_key,
            "classes": content["classes"],
            "val/iou": content["val"]["iou"],
            "swa/iou": entry["swa"]["iou"],
            "val/miou_per_image": content["val"]["miou_per_image"],
            "swa/miou_per_image": entry["swa"]["miou_per_image"],
            "averaged": entry["averaged"],
            "history": list(self.history),
        }


def check_ended(plan: Plan) -> None:
    """Refuse run folders that cannot be told of, before anything is done with a plan.

    Raises:
        ConfigError: As `EndedRun.read`, or the file of masks is damaged.
    """
    for run in plan.runs:
        ended = EndedRun.read(plan, run, None)
        if ended is not None and ended.samples is not None:
            read_samples(ended.samples)


def params(config: Any, *, without: Sequence[str] = ()) -> dict[str, str]:
    """Return the fields of a config as the record spells them, without those of execution."""
    left_out = (*EXECUTION_FIELDS, *without)
    values = dataclasses.asdict(config).items()
    return {name: str(value) for name, value in values if name not in left_out}


def point(name: str, value: float, milliseconds: int, step: int) -> Metric:
    """Return a value of a metric."""
    from mlflow.entities import Metric

    return Metric(name, value, milliseconds, step)


def _point(name: str, value: float, time_s: float, step: int) -> Metric:
    return point(name, value, _milliseconds(time_s), step)


def _milliseconds(time_s: float) -> int:
    return round(time_s * 1000)


def _key(trial: Trial) -> str:
    return readout_key(trial.config.readout)


def _crashed(plan: Plan, run: PlannedRun) -> bool:
    """Return whether a search gave a run up since its worker died, in this command or before."""
    tags = [plan.tags.get(trial.trial_key, {}) for trial in run.trials]
    return any(of_trial.get("search_state") == "FAIL" for of_trial in tags)
