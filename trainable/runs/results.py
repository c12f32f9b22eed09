"""What a run folder says of a training run that ended; a damaged file is refused by its name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from trainable.config.schema import READOUT_FIELDS, ConfigError, Readout
from trainable.runs.folder import RunFolder, RunFolderLockedError
from trainable.runs.keys import RunSpec, readout_key
from trainable.runs.machine import SETTING
from trainable.storage.faults import machine_fault
from trainable.training.metrics import METRICS


def outcome(folder: RunFolder, spec: RunSpec) -> tuple[str, dict[str, Any]] | None:
    """Return what a run folder holds of what `spec` asks for.

    Returns:
        `("result", numbers)` when every readout is there, `("failure", cause)` when the run ended
        without numbers, None when it is still to be trained: also where other code wrote it.

    Raises:
        ConfigError: A file is not what a training run wrote.
    """
    wanted = {readout_key(readout) for readout in spec.readouts}
    for name, check in (("result", _check_result), ("failure", _check_failure)):
        content = _read(folder, name, check)
        if content is None or not _is_of(content, spec):
            continue
        if name == "failure" or wanted <= content["readouts"].keys():
            return name, content
    return None


def _is_of(content: Mapping[str, Any], spec: RunSpec) -> bool:
    """Return whether an outcome is of the code and the attempt that a spec wants."""
    is_of_attempt = not spec.attempt or content["attempt"] == spec.attempt
    return is_of_attempt and bool(content["code_version"] == spec.code_version)


def read_result(folder: RunFolder) -> dict[str, Any] | None:
    """Return the numbers of a run folder, of whatever readouts; None where there are none.

    Raises:
        ConfigError: The file is not what a training run wrote.
    """
    return _read(folder, "result", _check_result)


def read_history(folder: RunFolder) -> list[dict[str, float]]:
    """Return the losses and validations that a run folder holds so far.

    Raises:
        ConfigError: The file is not what a training run wrote.
    """
    metrics = _read(folder, "metrics", _check_history)
    return [] if metrics is None else list(metrics["history"])


def read_description(folder: RunFolder) -> dict[str, Any]:
    """Return what a run folder says of its training, empty where it says nothing.

    Raises:
        ConfigError: The file is not what a training run wrote.
    """
    return _read(folder, "config", lambda content: content.keys()) or {}


def clear_finished(folder: RunFolder) -> None:
    """Delete the checkpoints of a run that has its result: a kill came before its worker could.

    Those of a later attempt, or of one that carries further readouts, are kept, and so are those of
    a run that another process writes.

    Raises:
        ConfigError: A file is not what a training run wrote.
    """
    if next(folder.path.glob("checkpoint-*"), None) is None:
        return
    result, begun = read_result(folder), read_description(folder)
    if result is None or len(begun["readouts"]) > len(result["readouts"]):
        return
    if all(begun[name] == result[name] for name in ("attempt", "code_version")):
        with suppress(RunFolderLockedError), folder:
            folder.drop_checkpoints()


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
    unique = {readout_key(readout): readout for readout in readouts}
    return tuple(unique[key] for key in sorted(unique))


def summary(result: Mapping[str, Any], readout: Readout) -> dict[str, float]:
    """Return the metrics of one trial by their recorded names, from a result and a readout."""
    swa = result["readouts"][readout_key(readout)]["swa"]
    metrics = {f"val/{name}": result["val"][name] for name in METRICS}
    metrics |= {f"swa/{name}": swa[name] for name in METRICS}
    return metrics | {"images_per_s": result["images_per_s"]}


def _readouts_of(result: Mapping[str, Any]) -> list[Readout]:
    """Return the readouts of a result, less those that an earlier version had other fields for."""
    fields = set(READOUT_FIELDS)
    found = [entry["readout"] for entry in result["readouts"].values()]
    return [Readout(**values) for values in found if values.keys() == fields]


def _read(
    folder: RunFolder, name: str, check: Callable[[dict[str, Any]], Any]
) -> dict[str, Any] | None:
    try:
        content = folder.read(name)
        if content is not None:
            check(content)
    except (OSError, LookupError, TypeError, ValueError, AttributeError) as error:
        if machine_fault(error) is not None:
            raise
        fault = f"there is no {error}" if isinstance(error, LookupError) else str(error)
        raise ConfigError(
            f"{folder.path / name}.json must be what a training run wrote, but {fault}; move the "
            "folder away, and the same command trains the run again"
        ) from error
    return content


def _check_result(content: dict[str, Any]) -> None:
    _check_metrics(content["val"])
    for entry in content["readouts"].values():
        _check_metrics(entry["swa"])
        _check_keys(entry, ("averaged", "readout"))
    _check_keys(content, ("classes", "train"))
    _check_origin(content)
    _check_numbers(content, ("iterations", "images_per_s", "train_s", "finished_at"))


def _check_failure(content: dict[str, Any]) -> None:
    _check_keys(content, ("cause",))
    _check_origin(content)


def _check_origin(content: Mapping[str, Any]) -> None:
    _check_keys(content, ("attempt", "code_version", "setting"))
    _check_keys(content["setting"], SETTING)


def _check_history(content: dict[str, Any]) -> None:
    for row in content["history"]:
        _check_numbers(row, ("iteration", "time", *row))


def _check_metrics(values: Mapping[str, Any]) -> None:
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
