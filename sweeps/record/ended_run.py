"""What the record says of a training run that ended: its folder's content in the record's words."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from analysis.record.schema import CURVES, OBJECTIVE, SCHEMA
from sweeps.planning.objectives import measure
from sweeps.planning.plan import PlannedRun, Trial
from sweeps.planning.state import SweepState
from trainable.config.schema import EXECUTION_FIELDS, TrialConfig, Value
from trainable.runs.folder import SAMPLES_FILE, RunFolder
from trainable.runs.keys import key_of, readout_key
from trainable.runs.machine import SETTING
from trainable.runs.results import Failure, Result, read_description, read_history

if TYPE_CHECKING:
    from mlflow.entities import Metric

# What a run was made by and on, which decides its last digits, besides the config.
ORIGIN = ("code_version", *SETTING)
Kind = Literal["result", "failure", "stopped"]
STATUS: dict[Kind, str] = {"result": "FINISHED", "failure": "FAILED", "stopped": "KILLED"}


@dataclass(frozen=True, kw_only=True)
class EndedRun:
    """What the files of a training run that ended hold, read once for all of its trials.

    Attributes:
        kind: How it ended: with a `result`, of a `failure`, or `stopped` by the sweep.
        result: The numbers that it ended with, None where it has none.
        cause: Why it has no numbers, empty where it has some.
        history: The losses and validations until it ended.
        setting: The values of ORIGIN as the worker wrote them, as text.
        samples: The file of predicted masks, None where there is none or none is wanted.
    """

    kind: Kind
    result: Result | None = None
    cause: str = ""
    history: Sequence[Mapping[str, float]]
    setting: Mapping[str, str]
    samples: Path | None

    @classmethod
    def read(cls, state: SweepState, run: PlannedRun, cause: str | None) -> EndedRun | None:
        """Return how a run of the sweep ended, None where it did not.

        Args:
            state: The state of the sweep.
            run: One of its runs.
            cause: Why its worker failed, where the folder holds no outcome.

        Raises:
            ConfigError: One of its files is not as it was written, or another run's.
        """
        found, stopped = state.outcome(run), state.stopped.get(run.spec.training_key)
        if found is None and stopped is None and cause is None:
            return None
        folder = RunFolder(state.plan.storage, run.spec.training_key)
        described = read_description(folder)
        kind: Kind
        # The outcome alone tells of its making: config.json is of whoever trained here last.
        match found:
            case Result():
                kind, cause, written = "result", None, _origin(found)
            case Failure():
                kind, cause, written = "failure", found.cause, _origin(found)
            case None:
                kind = "failure" if stopped is None or _crashed(state, run) else "stopped"
                cause, written = stopped or cause, described
        samples = folder.path / SAMPLES_FILE
        return cls(
            kind=kind,
            result=found if isinstance(found, Result) else None,
            cause=cause or "",
            history=read_history(folder),
            setting={name: str(written[name]) for name in ORIGIN if name in written},
            samples=samples if state.plan.with_samples and samples.exists() else None,
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
        return curve_points(self.history)

    @cached_property
    def _shared(self) -> str:
        """The hash of what all trials have in common, clocks left out."""
        rows = [{name: row[name] for name in row if name != "time"} for row in self.history]
        numbers: dict[str, object] = {"val": None, "train": None, "iterations": None}
        if self.result is not None:
            numbers = {name: getattr(self.result, name) for name in numbers}
        of_run = {"kind": self.kind, "cause": self.cause or None, "setting": dict(self.setting)}
        return key_of({"history": rows, **of_run, **numbers})

    def record_hash(self, trial: Trial, tags: Mapping[str, str], asked: Mapping[str, Value]) -> str:
        """Return the hash of all that the record is to say of a trial, and how it says it."""
        own = None if self.result is None else self.result.readouts[_key(trial)]
        samples = self.samples is not None
        said = {"tags": dict(tags), "asked": as_text(asked), "schema": SCHEMA}
        return key_of({"run": self._shared, "own": own, "samples": samples, **said})

    def samples_of(self, trial: Trial) -> bytes | None:
        """Return a file of predicted masks with no average but the trial's, where one is wanted."""
        if self.samples is None:
            return None
        from trainable.runs.sample_masks import of_readout

        return of_readout(self.samples, trial.config.readout, trial.trial_key)


def curve_points(history: Iterable[Mapping[str, float]]) -> list[Metric]:
    """Return the points of all curves that rows of a history have, mIoU before any loss.

    MLflow's pages compare runs by the metric that a run got first.
    """
    rows = [*history]
    return [
        _point(name, row[name], row["time"], int(row["iteration"]))
        for name in CURVES
        for row in rows
        if name in row
    ]


def final_points(
    result: Result, trial: Trial, objectives: Sequence[str] = (OBJECTIVE,)
) -> Iterator[Metric]:
    """Yield the numbers of a trial at the end of its training, the objectives first."""
    found = measure(result, trial.config.readout, objectives)
    for name in dict.fromkeys((*objectives, *found)):
        if math.isfinite(found[name]):
            yield _point(name, found[name], result.finished_at, result.iterations)


def detail_of(
    result: Result, history: Sequence[Mapping[str, float]], trial: Trial
) -> dict[str, object]:
    """Return what a dozen metrics leave out: IoU per class, Eq. 8 as printed, all curves."""
    entry = result.readouts[_key(trial)]
    return {
        "trial_key": trial.trial_key,
        "classes": result.classes,
        "val/iou": result.val["iou"],
        "swa/iou": entry["swa"]["iou"],
        "val/miou_per_image": result.val["miou_per_image"],
        "swa/miou_per_image": entry["swa"]["miou_per_image"],
        "averaged": entry["averaged"],
        "history": list(history),
    }


def check_ended(state: SweepState) -> None:
    """Refuse run folders that cannot be told of, before anything is done with a sweep.

    Raises:
        ConfigError: As `EndedRun.read`, or the file of masks is damaged.
    """
    for run in state.known_runs:
        ended = EndedRun.read(state, run, None)
        if ended is not None and ended.samples is not None:
            from trainable.runs.sample_masks import read_samples

            read_samples(ended.samples)


def config_text(config: TrialConfig, *, without: Sequence[str] = ()) -> dict[str, str]:
    """Return the fields of a config as the record spells them, without those of execution."""
    left_out = (*EXECUTION_FIELDS, *without)
    return as_text({k: x for k, x in dataclasses.asdict(config).items() if k not in left_out})


def as_text(values: Mapping[str, Value]) -> dict[str, str]:
    """Return fields of a config as the record spells them."""
    return {name: str(value) for name, value in values.items()}


def point(name: str, value: float, milliseconds: int, step: int) -> Metric:
    """Return a value of a metric."""
    from mlflow.entities import Metric

    return Metric(name, value, milliseconds, step)


def _point(name: str, value: float, time_s: float, step: int) -> Metric:
    return point(name, value, _milliseconds(time_s), step)


def _milliseconds(time_s: float) -> int:
    return round(time_s * 1000)


def _origin(found: Result | Failure) -> dict[str, object]:
    """Return by what and on what an outcome was made."""
    return {"code_version": found.code_version, **found.setting}


def _key(trial: Trial) -> str:
    return readout_key(trial.config.readout)


def _crashed(state: SweepState, run: PlannedRun) -> bool:
    """Return whether a search gave a run up since its worker died, in this command or before."""
    tags = [state.tags.get(trial.trial_key, {}) for trial in run.trials]
    return any(of_trial.get("search_state") == "FAIL" for of_trial in tags)
