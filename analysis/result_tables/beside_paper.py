"""What the tables that stand beside the paper's have in common: means, gains, captions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.result_tables.cells import NOT_DISTINGUISHABLE, Best, Cell, seeds_note, table
from analysis.stats.arms import BASELINE, PROPOSED, WEIGHTS, ArmResults
from analysis.stats.comparisons import Comparison
from analysis.stats.datasets import dataset_name
from analysis.stats.families import compare
from analysis.stats.intervals import Interval, mean_share

Paper = Mapping[str, Any]
PAIR = (BASELINE, PROPOSED)
MIOU_OF = {f"{weights}/miou": f"{words} weights" for weights, words in WEIGHTS.items()}
TOGETHER_NOTE = "Gains are of loss and averaging together, which the table of effects takes apart"


def table_of(
    title: str,
    found: ArmResults,
    rows: Sequence[Mapping[str, Cell]],
    notes: Sequence[str],
    where: Sequence[str],
    best: Best,
) -> pd.DataFrame:
    """Return the table with a caption of all that its reader must know.

    Args:
        title: Number and subject.
        found: Our side, whose mIoU is compared in a sentence.
        rows: The cells.
        notes: Sentences of this table alone, after those on seeds.
        where: Where the paper's numbers are printed.
        best: The cells to set in bold.
    """
    dataset = dataset_name(found.dataset)
    finding = f"{title.partition(':')[0]}: no trials on {dataset} yet"
    if any(len(rows) for rows in found.rows.values()):
        finding = f"mIoU: {gain_of(found).describe(PROPOSED.label, BASELINE.label)}"
        notes = [TOGETHER_NOTE, *notes, finding]
    measured = [name for name in rows[0] if "[" in name and ", paper" not in name]
    cells = [cell for row in rows for cell in row.values()]
    first = f"On the validation set of {dataset}"
    return table(
        rows,
        title=f"{title}, {dataset}",
        finding=finding,
        measured=measured,
        caption=sentences([first, *found.notes, *seeds_note(cells), *notes, *where]),
        best=best,
    )


def gain_of(found: ArmResults) -> Comparison:
    """Return how the proposed mIoU compares with the baseline's."""
    return compare(found.scores(PROPOSED, "miou"), found.scores(BASELINE, "miou"))


def mean_of(values: Mapping[int, float]) -> Interval:
    """Return the mean of the values by seed, with its interval."""
    return mean_share(values.values())


def paper_note(printed: Mapping[str, Any], *, own: bool) -> list[str]:
    """Say where the paper prints its numbers, and that they do not compare on other data."""
    if not own:
        where = dataset_name(printed["dataset"])
        return [f"The paper's {printed['where']} is on {where} and does not compare"]
    return [f"Paper: {printed['where']}, where the numbers stand as fractions"]


def sentences(notes: Iterable[str]) -> str:
    """Return the notes as one paragraph."""
    return " ".join(f"{note}." for note in notes)


def marks_note(gains: Iterable[Comparison], noun: str) -> list[str]:
    """Explain the mark of gains that are not distinguishable, where there is one.

    Args:
        gains: All of one table.
        noun: What the family among them is of, in the plural.
    """
    tested = [gain for gain in gains if gain.n > 1]
    if all(gain.distinguishable for gain in tested):
        return []
    family = max(gain.family for gain in tested)
    over = f" simultaneous over {family:,} {noun}," if family > 1 else ""
    return [f"{NOT_DISTINGUISHABLE}: not distinguishable, the 95 % interval{over} holds 0"]
