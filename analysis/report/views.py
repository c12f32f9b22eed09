"""Data frames as HTML tables: aligned numbers, keys to sort by, and a limit on the rows."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TypeGuard

import pandas as pd

from analysis.record.version_mix import HASH_DIGITS, HASHES, SHARED
from analysis.result_tables.cells import NOT_DISTINGUISHABLE
from analysis.stats.datasets import NAMES

# A browser lays out some thousands of rows at once; a few hundred stay quick on a phone.
ROWS_SHOWN = 500
FAILED_SHOWN = 250
SCORES = ("swa/miou", "val/miou")  # what orders trials after the sweep's own objectives
STATUS = {
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "stopped early",
    "RUNNING": "not ended",
}
SIGNS = {  # of a table's cells, and what they stand for
    "±": "±: 95 % interval",
    NOT_DISTINGUISHABLE: f"{NOT_DISTINGUISHABLE}: not distinguishable",
}
MISSING = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
# "75.4 [74.1, 76.2]" counts as a number and is sorted as one; "1f0c" does not.
_LEADING_NUMBER = re.compile(rf"[-+{MINUS}]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?=$|[\s\[(±%*†])")


@dataclass(frozen=True, kw_only=True)
class HtmlCell:
    """A cell of a table: its text, the key it is sorted by, and its link."""

    text: str
    sort: str = ""  # the number as JavaScript reads it; empty for text and where there is none
    href: str | None = None


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column's head; `order` is that in which the rows stand, in words of `aria-sort`."""

    name: str
    numeric: bool
    order: str | None = None


@dataclass(frozen=True, kw_only=True)
class TableView:
    """The columns and rows that the page shows, and how many rows there are in all."""

    columns: list[Column]
    rows: list[list[HtmlCell]]
    total: int


def view_of(frame: pd.DataFrame) -> TableView:
    """Return the frame's columns and first `ROWS_SHOWN` rows, each column in one format."""
    shown = frame.head(ROWS_SHOWN)
    cells = [_cells(list(shown[name])) for name in shown]
    columns = [
        Column(name=str(name), numeric=any(cell.sort for cell in column))
        for name, column in zip(shown, cells, strict=True)
    ]
    return TableView(
        columns=columns,
        rows=[list(row) for row in zip(*cells, strict=True)],
        total=len(frame),
    )


def trials_view(trials: pd.DataFrame, link: Callable[[str], str]) -> TableView:
    """Return the trials, the best first, with a link at each; of very many the telling ones.

    Args:
        trials: As in `Section.trials`.
        link: Gives the address of a run in MLflow.
    """
    chosen = _telling(trials)
    frame = pd.DataFrame({"run": list(chosen["run_id"])})
    names = sorted(chosen.columns.drop("run_id"), key=lambda name: name == "cause")  # words last
    for name in names:
        values = list(chosen[name])
        if _says_nothing(name, trials[name]):
            continue
        if name == "status":
            frame[name] = [STATUS.get(value, value) for value in values]
        elif name.startswith(("swa/", "val/")):
            frame[f"{name} [%]"] = [100 * value for value in values]
        elif name in HASHES:
            frame[name] = list(chosen[name].str[:HASH_DIGITS])
        else:
            frame[name] = values
    view = linked(view_of(frame), [link(run) for run in frame["run"]])
    columns = [
        dataclasses.replace(column, order="descending")
        if column.name == f"{_score(trials)} [%]"
        else column
        for column in view.columns
    ]
    return TableView(columns=columns, rows=view.rows, total=len(trials))


def linked(view: TableView, addresses: Sequence[str]) -> TableView:
    """Return the table with its first column, which names the rows, leading to these addresses."""
    first, *others = view.columns
    return TableView(
        columns=[Column(name=first.name, numeric=False), *others],
        rows=[
            [HtmlCell(text=row[0].text, href=address), *row[1:]]
            for row, address in zip(view.rows, addresses, strict=True)
        ],
        total=view.total,
    )


def describe_shown(trials: pd.DataFrame) -> str:
    """Return which of very many trials are shown, empty where all are."""
    if len(trials) <= ROWS_SHOWN:
        return ""
    shown, status = _telling(trials)["status"], trials["status"]
    failed, all_failed = int((shown == "FAILED").sum()), int((status == "FAILED").sum())
    chosen = f"the {len(shown) - failed} best by {_score(trials)}"
    if failed:
        chosen += f" and {failed} of the {all_failed} failed"
    return f"{len(shown)} of {len(trials)} trials are shown: {chosen}"


def legend_of(frame: pd.DataFrame) -> str:
    """Return what the signs of a table stand for."""
    cells = [str(cell) for column in frame for cell in frame[column]]
    used = [words for sign, words in SIGNS.items() if any(sign in cell for cell in cells)]
    return f"{'; '.join(used)}." if used else ""


def without_sentences(caption: str, sentences: str) -> str:
    """Return a caption without those of its sentences, one a line here, that stand elsewhere."""
    for line in sentences.splitlines():
        caption = caption.replace(f"{line}.", "")
    return " ".join(caption.split())


def heading_of(title: str, dataset: str) -> tuple[str, str]:
    """Return what a title names, and on which data, which all titles of a section say alike."""
    name = re.escape(NAMES.get(dataset, dataset))
    found = re.search(rf"(, | on )(?={name}\b)", title) if dataset else None
    return (title, "") if found is None else (title[: found.start()], title[found.start() :])


def _telling(trials: pd.DataFrame) -> pd.DataFrame:
    ordered = trials.sort_values(_score(trials), ascending=False, kind="stable")
    if len(trials) <= ROWS_SHOWN:
        return ordered
    is_failed = ordered["status"] == "FAILED"
    failed = ordered[is_failed].head(FAILED_SHOWN)
    return pd.concat([ordered[~is_failed].head(ROWS_SHOWN - len(failed)), failed])


def _score(trials: pd.DataFrame) -> str:
    names = (*trials.attrs.get("objectives", ()), *SCORES)
    return next((name for name in names if trials[name].notna().any()), SCORES[0])


def _says_nothing(name: str, column: pd.Series) -> bool:
    """Whether no trial has a cause, or all are of the same code, data, torch or processor."""
    return (name == "cause" and bool(column.isna().all())) or (
        name in SHARED and column[column != ""].nunique() < 2
    )


def _cells(values: Sequence[object]) -> list[HtmlCell]:
    numbers = [float(value) for value in values if _is_number(value)]
    write = _format_for(numbers)
    cells = [_cell(value, write) for value in values]
    if all(cell.sort for cell in cells if cell.text != MISSING):
        return cells
    return [HtmlCell(text=cell.text) for cell in cells]  # words among numbers: sorted as words


def _cell(value: object, write: Callable[[float], str]) -> HtmlCell:
    if _is_number(value):
        text = str(value) if isinstance(value, Integral) else write(float(value))
        return HtmlCell(text=text, sort=repr(float(value)).replace("inf", "Infinity"))
    if value is None or value == "" or pd.isna(value):
        return HtmlCell(text=MISSING)
    text = str(value)
    found = _LEADING_NUMBER.match(text)
    return HtmlCell(text=text, sort=found[0].replace(MINUS, "-") if found else "")


def _is_number(value: object) -> TypeGuard[Real]:
    return isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)


def _format_for(numbers: Sequence[float]) -> Callable[[float], str]:
    """Return one format for a column: four digits of the largest number, as far as they exist."""
    sizes = [abs(number) for number in numbers if number and math.isfinite(number)]
    if not sizes:
        return "{:.4g}".format
    places = max(0, 3 - math.floor(math.log10(max(sizes))))
    if min(sizes) < 10 ** (1 - places):  # it would keep one digit at most
        return "{:.4g}".format
    used = max(len(f"{size:.{places}f}".rstrip("0").partition(".")[2]) for size in sizes)
    return f"{{:.{used}f}}".format
