"""What settings are judged by: metrics of a trial, of which the first ranks them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from analysis.record.schema import OBJECTIVE, SECONDS_TRAINED, is_cost
from trainable.config.schema import ConfigError, Readout, suggest
from trainable.runs.keys import readout_key
from trainable.runs.results import Result, summary

if TYPE_CHECKING:
    from trainable.training.metrics import MetricName

IOU = "iou/"  # and the name of a class
RECORDABLE = re.compile(r"[/\w.\- :]+")  # names of metrics that MLflow takes


def read_objectives(given: Sequence[str], classes: Sequence[str]) -> tuple[str, ...]:
    """Return objectives by their recorded names.

    Args:
        given: Names as a person says them: without `val/`, which is of the raw weights, `swa/`, of
            the averaged ones, is meant. None at all are `swa/miou`.
        classes: The names of the data set's classes.

    Raises:
        ConfigError: There is no such metric, one stands twice, or a cost stands first.
    """
    from trainable.training.metrics import METRICS

    of_weights = (*METRICS, "miou_per_image", *(f"{IOU}{name}" for name in classes))
    known = [f"{weights}/{name}" for weights in ("swa", "val") for name in of_weights]
    known.append(SECONDS_TRAINED)
    found = [name if name in known else f"swa/{name}" for name in given] or [OBJECTIVE]
    for name, said in zip(found, given or [OBJECTIVE], strict=True):
        if name not in known:
            raise ConfigError(f"unknown objective {said!r}; {suggest(name, known)}")
        if not RECORDABLE.fullmatch(name):
            raise ConfigError(
                f"an objective must have letters, digits and ' _.-:/' alone, for MLflow, but got "
                f"{said!r}; take another, or rename the class"
            )
    if len(set(found)) < len(found):
        raise ConfigError(f"each objective must stand once, but got {', '.join(found)}")
    if is_cost(found[0]):
        raise ConfigError(
            f"the first objective ranks settings, so it must be a quality, but got {found[0]}; "
            f"name one before it, such as {OBJECTIVE}"
        )
    return tuple(found)


def measure(result: Result, readout: Readout, objectives: Sequence[str]) -> dict[str, float]:
    """Return the metrics of one trial by their recorded names, its objectives among them.

    An objective is NaN where the validation images have no pixel to tell it by.
    """
    known = summary(result, readout)
    return known | {name: _value(result, readout, name) for name in objectives if name not in known}


def scores_of(
    result: Result, readout: Readout, objectives: Sequence[str]
) -> tuple[float, ...] | None:
    """Return the value of each objective of one trial, None where it lacks one."""
    known = measure(result, readout, objectives)
    scores = tuple(known[name] for name in objectives)
    return scores if all(map(math.isfinite, scores)) else None


def _value(result: Result, readout: Readout, name: str) -> float:
    if name == SECONDS_TRAINED:
        return result.train_s
    weights, _, metric = name.partition("/")
    found = result.val if weights == "val" else result.readouts[readout_key(readout)]["swa"]
    value: float | None
    if metric.startswith(IOU):
        value = found["iou"][result.classes.index(metric.removeprefix(IOU))]
    else:
        value = found[cast("MetricName", metric)]
    return math.nan if value is None else value
