"""The paper's Tables 2 to 4, each a pure function from frames of trials to a frame of cells.

Everything is in percent, or in points where it is a difference; the paper's own numbers keep the
digits they are printed with, and a row or column without trials has dashes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.record.schema import RecordError
from analysis.result_tables.beside_paper import (
    PAIR,
    Paper,
    gain_of,
    marks_note,
    mean_of,
    paper_note,
    sentences,
    table_of,
)
from analysis.result_tables.cells import Best, Cell, PaperNumber, seeds_note, table
from analysis.result_tables.effects import effects_of, loss_findings
from analysis.stats.arms import BASELINE, PIXELWISE, STANDARD, ArmResults, sides
from analysis.stats.comparisons import Comparison
from analysis.stats.datasets import dataset_name
from analysis.stats.families import gains
from analysis.stats.intervals import Interval
from analysis.stats.rounding import count

LOSSES = (BASELINE, STANDARD, PIXELWISE)
TOGETHER = "loss and averaging together"
WEIGHTS_NOTE = (
    "The rows differ in loss and averaging together, so the losses are compared with averaged "
    "weights of all"
)
COMMON = {
    "acc": "overall acc. [%]",
    "macc": "mAcc. [%]",
    "fwiou": "fwIoU [%]",
    "miou": "mIoU [%]",
}


def table2_left(trials: pd.DataFrame | None, paper: Paper, *, generator: str = "") -> pd.DataFrame:
    """Return mIoU without and with an adversary: the methods the paper cites, and our trials.

    Args and errors are those of `table1`; the printed rows stand whatever our data set is.
    """
    printed = paper["table2_left"]
    found = sides(trials, PAIR, dataset=printed["dataset"], generator=generator)
    gain = gain_of(found)
    columns = {"baseline": "baseline [%]", "adversarial": "adv. [%]", "gain": "gain [points]"}
    rows: list[dict[str, Cell]] = [
        {"method": row["method"]}
        | {label: PaperNumber.of(row[key], printed["unit"]) for key, label in columns.items()}
        for row in printed["rows"]
    ]
    row: dict[str, Cell] = {"method": f"ours, {dataset_name(found.dataset)}"}
    ours: list[Cell] = [*(mean_of(found.scores(arm, "miou")) for arm in PAIR), gain]
    rows.append(row | dict(zip(columns.values(), ours, strict=True)))
    notes = [
        *marks_note([gain], "comparison"),
        "; ".join(f"{key.rstrip('*')} {title}" for key, title in printed["references"].items()),
        printed["footnote"],
    ]
    if found.dataset != printed["dataset"]:
        notes.append(f"Ours is not on {dataset_name(printed['dataset'])} and does not compare")
    where = [f"All other rows: {printed['where']} of the paper, as printed"]
    best = Best.of_rows(rows, "the higher of our two means")
    return table_of("Table 2 (left): adversarial approaches", found, rows, notes, where, best)


def table2_right(trials: pd.DataFrame | None, paper: Paper, *, generator: str = "") -> pd.DataFrame:
    """Return the common metrics of baseline and proposed on the frame's data set.

    Args and errors are those of `table1`.
    """
    return _common_metrics("Table 2 (right)", paper["table2_right"], trials, generator)


def table3(trials: pd.DataFrame | None, paper: Paper, *, generator: str = "") -> pd.DataFrame:
    """Return the common metrics of baseline and proposed on SegTrack-v2.

    Args and errors are those of `table1`; trials of another data set are refused, too.
    """
    printed = paper["table3"]
    if trials is not None and trials.attrs["dataset"] != printed["dataset"]:
        raise RecordError(
            f"Table 3 is on {printed['dataset']}, but the trials are on {trials.attrs['dataset']}"
        )
    return _common_metrics("Table 3", printed, trials, generator)


def table4(frames: Sequence[pd.DataFrame], paper: Paper, *, generator: str = "") -> pd.DataFrame:
    """Return mIoU by adversarial loss and data set.

    Args:
        frames: One per data set; the paper's two have their columns without trials, too.
        paper: The paper's printed numbers.
        generator: Which of each frame's; by default the paper's, or else the first by name.

    Raises:
        RecordError: As `sides`; or two frames are on one data set.
    """
    printed = paper["table4"]
    given = {frame.attrs["dataset"]: frame for frame in frames}
    if len(given) < len(frames):
        raise RecordError("Table 4 takes one sweep per data set, but two are on the same one")
    rows: list[dict[str, Cell]] = [{"loss": arm.name} for arm in LOSSES]
    notes, findings, cells = [], [], []
    for dataset in dict.fromkeys([*printed["rows"]["baseline"], *given]):
        title = dataset_name(dataset)
        found = sides(given.get(dataset), LOSSES, dataset=dataset, generator=generator)
        for row, arm, numbers in zip(rows, LOSSES, printed["rows"].values(), strict=True):
            if dataset in numbers:
                row[f"{title}, paper [%]"] = PaperNumber.of(numbers[dataset], printed["unit"])
            row[f"{title} [%]"] = mean_of(found.scores(arm, "miou"))
            cells.append(row[f"{title} [%]"])
        apart = effects_of(given.get(dataset), dataset=dataset, generator=generator)
        compared = loss_findings(apart)
        notes.append(f"{title}: " + "; ".join([*found.notes, *compared]))
        findings += [f"{title}: {words}" for words in compared[:1]]
    return table(
        rows,
        title="Table 4: adversarial losses, mIoU",
        finding="\n".join(findings) or "No losses to compare yet",
        measured=[name for name in rows[0] if name.endswith(" [%]") and ", paper" not in name],
        caption=sentences(
            [*notes, WEIGHTS_NOTE, *seeds_note(cells), *paper_note(printed, own=True)]
        ),
        best=Best.of_columns(rows, "the highest of our means on a data set"),
    )


def _common_metrics(
    name: str, printed: Mapping[str, Any], trials: pd.DataFrame | None, generator: str
) -> pd.DataFrame:
    found = sides(trials, PAIR, dataset=printed["dataset"], generator=generator)
    own = found.dataset == printed["dataset"]
    rows: list[dict[str, Cell]] = []
    for label, numbers in printed["rows"].items() if own else ():
        row: dict[str, Cell] = {"method": f"{label}, paper"}
        rows.append(
            row | {c: PaperNumber.of(numbers[m], printed["unit"]) for m, c in COMMON.items()}
        )
    scores = {arm.name: {m: found.scores(arm, m) for m in COMMON} for arm in PAIR}
    for arm in PAIR:
        row = {"method": arm.name}
        rows.append(row | {label: mean_of(scores[arm.name][m]) for m, label in COMMON.items()})
    proposed, baseline = (
        {m: scores[arm.name][m] for m in COMMON if m != "miou"} for arm in PAIR[::-1]
    )
    # The paper's main metric (section 4.1) is by itself.
    by_metric = {**gains(proposed, baseline).each, "miou": gain_of(found)}
    row = {"method": "gain, in points"}
    rows.append(row | {label: by_metric[m] for m, label in COMMON.items()})
    notes = marks_note(by_metric.values(), "metrics beside mIoU")
    title, where = f"{name}: common metrics, {TOGETHER}", paper_note(printed, own=own)
    best = Best.of_columns(rows, "the higher of our two means of a metric")
    return table_of(title, found, rows, notes, where, best)


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
    by_class = _gains_by_class(classes, scores)
    rows = []
    for name in classes:
        values = {arm.name: scores[arm.name].get(name, {}) for arm in PAIR}
        ours = dict.fromkeys(values, None) if name in absent else _means(values)
        rows.append(_row(name, ours, by_class[name], printed if own else None))
    values, gain = {arm.name: found.scores(arm, "miou") for arm in PAIR}, gain_of(found)
    rows.append(_row("mIoU", _means(values), gain, printed if own else None))
    notes = marks_note([*by_class.values(), gain], "classes")
    notes += _count_gains(by_class.values())
    if absent:
        told = ", ".join(absent)
        notes.append(f"In neither ground truth nor prediction, so without IoU: {told}")
    if lacking:
        notes.append(f"{count(lacking, 'trial')} without values per class, left out there")
    title, where = f"Table 1: IoU per class, {TOGETHER}", paper_note(printed, own=own)
    best = Best.of_rows(rows, "the higher of our two means of a class")
    return table_of(title, found, rows, notes, where, best)


def class_gains(trials: pd.DataFrame, details: Details) -> dict[str, Comparison]:
    """Return what the proposed IoU of each class exceeds the baseline's by, as in Table 1.

    Args:
        trials: As of `table1`.
        details: As of `table1`.

    Raises:
        RecordError: As `table1`.
    """
    classes, scores, _ = _per_class(sides(trials, PAIR, dataset=""), details)
    return _gains_by_class(classes, scores)


def _gains_by_class(classes: Sequence[str], scores: Mapping[str, ByClass]) -> dict[str, Comparison]:
    """Return the gain of each class within seeds, with intervals for all classes at once."""
    baseline, proposed = (
        {name: scores[arm.name].get(name, {}) for name in classes} for arm in PAIR
    )
    return dict(gains(proposed, baseline).each)


def _count_gains(by_class: Iterable[Comparison]) -> list[str]:
    """Say how many classes gain, as far as the intervals tell it of all at once."""
    tested = [gain for gain in by_class if gain.n > 1]
    if not tested:
        return []
    up, down = sum(gain.low > 0 for gain in tested), sum(gain.high < 0 for gain in tested)
    higher = sum(gain.difference > 0 for gain in tested)
    return [
        f"{higher} of the {len(tested)} classes with an interval are higher; with 95 % between "
        f"{up} and {len(tested) - down} gain"
    ]


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


def _per_class(found: ArmResults, details: Details) -> tuple[list[str], dict[str, ByClass], int]:
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


def _printed(printed: Mapping[str, Any], row: str, name: str) -> PaperNumber | None:
    numbers = printed["rows"][row]
    known = dict(zip(printed["classes"], numbers["iou"], strict=True)) | {"mIoU": numbers["miou"]}
    return PaperNumber.of(known[name], printed["unit"]) if name in known else None
