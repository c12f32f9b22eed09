"""What a run folder says of a training run that ended; a damaged file is refused by its name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypedDict, TypeVar

from trainable.config.schema import READOUT_FIELDS, ConfigError, Readout
from trainable.runs.folder import RunFolder, RunFolderLockedError
from trainable.runs.keys import RunSpec, readout_key
from trainable.runs.machine import SETTING, Setting
from trainable.storage.faults import machine_fault

if TYPE_CHECKING:
    from trainable.training.metrics import SegmentationMetrics

Content = TypeVar("Content")


class ReadoutResult(TypedDict):
    """What `result.json` holds of one readout.

    Attributes:
        readout: The fields of the `Readout`, as the version that trained it had them.
        averaged: How many weights its average is of.
        swa: The metrics of the averaged network.
    """

    readout: dict[str, Any]
    averaged: int
    swa: SegmentationMetrics


class Origin(TypedDict):
    """What an outcome was made by.

    Attributes:
        attempt: The attempt that it is of.
        code_version: The version of the code that trained it.
        setting: What it was trained on and with.
    """

    attempt: str
    code_version: str
    setting: Setting


@dataclass(frozen=True, kw_only=True)
class Result:
    """The numbers that a training run ended with: the content of `result.json`.

    Attributes:
        val: The metrics of the raw weights.
        readouts: What came of each readout, by its `readout_key`.
        train: The last losses, by their names in the history.
        classes: The names of the classes, in the order of each `iou`.
        iterations: How many were trained.
        images_per_s: Training images per second.
        train_s: Seconds of training, without loading and validating.
        finished_at: Seconds since the epoch of the last row of the history.
        attempt: The attempt that it is of.
        code_version: The version of the code that trained it.
        setting: What it was trained on and with; see `trainable.runs.machine.setting`.
    """

    val: SegmentationMetrics
    readouts: Mapping[str, ReadoutResult]
    train: Mapping[str, float]
    classes: Sequence[str]
    iterations: int
    images_per_s: float
    train_s: float
    finished_at: float
    attempt: str
    code_version: str
    setting: Mapping[str, object]

    @classmethod
    def from_primitives(cls, content: Mapping[str, Any]) -> Self:
        """Return the result that `to_primitives` gave the content of.

        Raises:
            KeyError: Something is missing.
            ValueError: A number is not finite.
            TypeError, AttributeError: Something is of another kind.
        """
        _check_metrics(content["val"])
        for entry in content["readouts"].values():
            _check_metrics(entry["swa"])
            _check_keys(entry, ("averaged", "readout"))
        _check_keys(content, ("classes", "train"))
        _check_origin(content)
        _check_numbers(content, ("iterations", "images_per_s", "train_s", "finished_at"))
        return cls(**{field.name: content[field.name] for field in dataclasses.fields(cls)})

    def to_primitives(self) -> dict[str, Any]:
        """Return the content of `result.json`."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why a training run ended without numbers: the content of `failure.json`.

    Attributes:
        cause: What ended the run, in one line.
        attempt: The attempt that it is of.
        code_version: The version of the code that trained it.
        setting: What it was trained on and with; see `trainable.runs.machine.setting`.
    """

    cause: str
    attempt: str
    code_version: str
    setting: Mapping[str, object]

    @classmethod
    def from_primitives(cls, content: Mapping[str, Any]) -> Self:
        """Return the failure that `to_primitives` gave the content of.

        Raises:
            KeyError: Something is missing.
            TypeError: Something is of another kind.
        """
        _check_keys(content, ("cause",))
        _check_origin(content)
        return cls(**{field.name: content[field.name] for field in dataclasses.fields(cls)})

    def to_primitives(self) -> dict[str, Any]:
        """Return the content of `failure.json`."""
        return dataclasses.asdict(self)


def outcome(folder: RunFolder, spec: RunSpec) -> Result | Failure | None:
    """Return what a run folder holds of what `spec` asks for.

    Returns:
        The result when every readout is there, the failure when the run ended without numbers,
        None when it is still to be trained: also where other code wrote it.

    Raises:
        ConfigError: A file is not what a training run wrote.
    """
    result = read_result(folder)
    if result is not None and _is_of(result, spec):
        wanted = {readout_key(readout) for readout in spec.readouts}
        if wanted <= result.readouts.keys():
            return result
    failure = _read(folder, "failure", Failure.from_primitives)
    return failure if failure is not None and _is_of(failure, spec) else None


def _is_of(ended: Result | Failure, spec: RunSpec) -> bool:
    """Return whether an outcome is of the code and the attempt that a spec wants."""
    is_of_attempt = not spec.attempt or ended.attempt == spec.attempt
    return is_of_attempt and ended.code_version == spec.code_version


def read_result(folder: RunFolder) -> Result | None:
    """Return the numbers of a run folder, of whatever readouts; None where there are none.

    Raises:
        ConfigError: The file is not what a training run wrote.
    """
    return _read(folder, "result", Result.from_primitives)


def read_history(folder: RunFolder) -> list[dict[str, float]]:
    """Return the losses and validations that a run folder holds so far.

    Raises:
        ConfigError: The file is not what a training run wrote.
    """
    return _read(folder, "metrics", _history) or []


def read_description(folder: RunFolder) -> dict[str, Any]:
    """Return what a run folder says of its training, empty where it says nothing.

    Raises:
        ConfigError: The file is not what a training run wrote.
    """
    return _read(folder, "config", dict) or {}


def clear_finished(folder: RunFolder) -> None:
    """Delete the checkpoints of a run that has its result, unless another process writes there.

    Raises:
        ConfigError: A file is not what a training run wrote.
    """
    if has_needless_checkpoints(folder):
        with suppress(RunFolderLockedError), folder:
            folder.drop_checkpoints()


def has_needless_checkpoints(folder: RunFolder) -> bool:
    """Return whether a kill came between a result and the end of the checkpoints that led to it.

    Those of a later attempt, or of one that carries further readouts, are needed.

    Raises:
        ConfigError: A file is not what a training run wrote.
    """
    if next(folder.path.glob("checkpoint-*"), None) is None:
        return False
    result, begun = read_result(folder), read_description(folder)
    if result is None or len(begun["readouts"]) > len(result.readouts):
        return False
    made_by = (result.attempt, result.code_version)
    return bool((begun["attempt"], begun["code_version"]) == made_by)


def with_known_readouts(spec: RunSpec, folder: RunFolder) -> RunSpec:
    """Return what to train: a run that lacks a readout is trained again with those it has besides.

    So all numbers of a run folder come from one trajectory, and none is lost.
    """
    earlier = read_result(folder)
    if earlier is None or outcome(folder, spec) is not None:
        return spec
    return dataclasses.replace(
        spec, readouts=distinct_readouts([*spec.readouts, *_readouts_of(earlier)])
    )


def distinct_readouts(readouts: Iterable[Readout]) -> tuple[Readout, ...]:
    """Return the readouts in one order, each once, so that a restart carries the same ones."""
    several = [*readouts]
    if len(several) == 1:
        return (several[0],)
    unique = {readout_key(readout): readout for readout in several}
    return tuple(unique[key] for key in sorted(unique))


def summary(result: Result, readout: Readout) -> dict[str, float]:
    """Return the metrics of one trial by their recorded names, from a result and a readout."""
    from trainable.training.metrics import METRICS

    swa = result.readouts[readout_key(readout)]["swa"]
    metrics = {f"val/{name}": result.val[name] for name in METRICS}
    metrics |= {f"swa/{name}": swa[name] for name in METRICS}
    return metrics | {"images_per_s": result.images_per_s}


def _readouts_of(result: Result) -> list[Readout]:
    """Return the readouts of a result, less those that an earlier version had other fields for."""
    fields = set(READOUT_FIELDS)
    found = [entry["readout"] for entry in result.readouts.values()]
    return [Readout(**values) for values in found if values.keys() == fields]


def _read(
    folder: RunFolder, name: str, parse: Callable[[dict[str, Any]], Content]
) -> Content | None:
    try:
        content = folder.read(name)
        return None if content is None else parse(content)
    except (OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        if machine_fault(error) is not None:
            raise
        fault = f"there is no {error}" if isinstance(error, LookupError) else str(error)
        raise ConfigError(
            f"{folder.path / name}.json must be what a training run wrote, but {fault}; move the "
            "folder away, and the same command trains the run again"
        ) from error


def _check_origin(content: Mapping[str, Any]) -> None:
    _check_keys(content, ("attempt", "code_version", "setting"))
    _check_keys(content["setting"], SETTING)


def _history(content: Mapping[str, Any]) -> list[dict[str, float]]:
    for row in content["history"]:
        _check_numbers(row, ("iteration", "time", *row))
    return list(content["history"])


def _check_metrics(values: Mapping[str, Any]) -> None:
    from trainable.training.metrics import METRICS

    _check_numbers(values, METRICS)
    _check_keys(values, ("iou", "miou_per_image"))


def _check_keys(values: Mapping[str, Any], names: Iterable[str]) -> None:
    for name in names:
        if name not in values:
            raise KeyError(name)


def _check_numbers(values: Mapping[str, Any], names: Iterable[str]) -> None:
    for name in names:
        if not math.isfinite(values[name]):
            raise ValueError(f"{name} is {values[name]}")
