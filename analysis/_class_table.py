"""Table 1: the IoU of every class, baseline and proposed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis._arms import Sides, sides
from analysis._beside_paper import PAIR, Paper, gain_of, marks_note, mean_of, paper_note, table_of
from analysis._cells import Cell, Printed
from analysis._comparisons import Comparison, compare
from analysis._families import corrected
from analysis._frames import RecordError
from analysis._intervals import Interval
from analysis._numbers import count

Details = Mapping[str, Mapping[str, Any]]
GAIN = "gain [points]"
ByClass = dict[str, dict[int, float]]  # class to IoU by seed


def table1(
    trials: pd.DataFrame | None, details: Details, paper: Paper, *, generator: str = ""
) -> pd.DataFrame:
    """Return the IoU of every class, baseline and proposed, with the gain paired by seed.

    Args:
        trials: A frame as `load_trials` returns it, or None where there are no trials.
        details: Per `run_id` the `classes` and, in their order, `val/iou` and `swa/iou`; None for
            a class that neither ground truth nor prediction has. Trials that are not in it are
            left out of the classes and counted.
        paper: The paper's printed numbers; they stand beside ours on their own data set only.
        generator: Which of the frame's; by default the paper's, or else the first by name.

    Raises:
        RecordError: As `sides`; or two runs name other classes.
    """
    printed = paper["table1"]
    found = sides(trials, PAIR, dataset=printed["dataset"], generator=generator)
    own = found.dataset == printed["dataset"]
    classes, scores, lacking = _per_class(found, details)
    classes = classes or (printed["classes"] if own else [])
    absent = [name for name in classes if _is_absent(name, scores)]
    baseline, proposed = (scores[arm.name] for arm in PAIR)
    gains = corrected(
        {name: compare(proposed.get(name, {}), baseline.get(name, {})) for name in classes}
    )
    rows = []
    for name in classes:
        values = {arm.name: scores[arm.name].get(name, {}) for arm in PAIR}
        ours = dict.fromkeys(values, None) if name in absent else _means(values)
        rows.append(_row(name, ours, gains[name], printed if own else None))
    values, gain = {arm.name: found.scores(arm, "miou") for arm in PAIR}, gain_of(found)
    rows.append(_row("mIoU", _means(values), gain, printed if own else None))
    notes = marks_note([*gains.values(), gain], "classes, mIoU by itself")
    if absent:
        told = ", ".join(absent)
        notes.append(f"In neither ground truth nor prediction, so without IoU: {told}")
    if lacking:
        notes.append(f"{count(lacking, 'trial')} without values per class, left out there")
    return table_of("Table 1: IoU per class", found, rows, notes, paper_note(printed, own=own))


def _row(
    name: str,
    ours: Mapping[str, Interval | None],
    gain: Comparison,
    printed: Mapping[str, Any] | None,
) -> dict[str, Cell]:
    row: dict[str, Cell] = {"class": name}
    if printed:
        for arm in PAIR:
            row[f"{arm.name}, paper [%]"] = _printed(printed, arm.name, name)
    for arm in PAIR:
        row[f"{arm.name} [%]"] = ours[arm.name]
    return row | {GAIN: gain}


def _means(values: Mapping[str, Mapping[int, float]]) -> Mapping[str, Interval | None]:
    return {name: mean_of(by_seed) for name, by_seed in values.items()}


def _per_class(found: Sides, details: Details) -> tuple[list[str], dict[str, ByClass], int]:
    """Return the classes, per arm the IoU of each class by seed, and how many trials have none."""
    classes: list[str] = []
    lacking = 0
    scores: dict[str, ByClass] = {arm.name: {} for arm in PAIR}
    for arm in PAIR:
        rows = found.rows[arm.name]
        for run_id, seed in zip(rows["run_id"], rows["seed"], strict=True):
            if run_id not in details:
                lacking += 1
                continue
            detail = details[run_id]
            classes = classes or [*detail["classes"]]
            if classes != [*detail["classes"]]:
                raise RecordError(f"run {run_id} has other classes than the runs before it")
            for name, iou in zip(classes, detail[f"{arm.weights}/iou"], strict=True):
                number = math.nan if iou is None else float(iou)
                scores[arm.name].setdefault(name, {})[int(seed)] = number
    return classes, scores, lacking


def _is_absent(name: str, scores: Mapping[str, ByClass]) -> bool:
    values = [iou for by_class in scores.values() for iou in by_class.get(name, {}).values()]
    return bool(values) and all(math.isnan(iou) for iou in values)


def _printed(printed: Mapping[str, Any], row: str, name: str) -> Printed | None:
    numbers = printed["rows"][row]
    known = dict(zip(printed["classes"], numbers["iou"], strict=True)) | {"mIoU": numbers["miou"]}
    return Printed.of(known[name], printed["unit"]) if name in known else None
