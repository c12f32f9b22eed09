"""What stands in a cell of a table: as text for readers, as numbers for programs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pandas as pd

from analysis.stats.comparisons import Comparison
from analysis.stats.intervals import METHOD, Interval
from analysis.stats.rounding import DASH, count, decimals, fixed, percent

NOT_DISTINGUISHABLE = "n.d."


@dataclass(frozen=True, kw_only=True)
class PaperNumber:
    """A number of the paper in percent or points, with the digits it is printed with."""

    text: str

    @classmethod
    def of(cls, number: str, unit: str) -> PaperNumber:
        """Return a printed `fraction` as percent, digit by digit, and any other unit as it is."""
        shift = 2 if unit == "fraction" else 0
        return cls(text=f"{Decimal(number).scaleb(shift):f}")


@dataclass(frozen=True, kw_only=True)
class Spanned:
    """A difference shown with both ends of its interval, which may lie unevenly about it."""

    found: Comparison


Cell = str | int | float | PaperNumber | Interval | Comparison | Spanned | None


Place = tuple[int, str]  # number of a row, and column


@dataclass(frozen=True, kw_only=True)
class Best:
    """Which cells of a table hold its best means.

    Attributes:
        cells: Number of the row and column of each.
        doubtful: Those whose lead is not distinguishable by a comparison that the table shows.
        words: Which means these are.
    """

    cells: frozenset[Place] = frozenset()
    doubtful: frozenset[Place] = frozenset()
    words: str = ""

    @classmethod
    def of_columns(cls, rows: Sequence[Mapping[str, Cell]], words: str) -> Best:
        """Return the highest of our means in each column that has several."""
        columns = {name: None for row in rows for name in row}
        groups = [[(i, name) for i in range(len(rows))] for name in columns]
        return cls._highest(rows, groups, words)

    @classmethod
    def of_rows(cls, rows: Sequence[Mapping[str, Cell]], words: str) -> Best:
        """Return the highest of our means in each row that has several."""
        groups = [[(i, name) for name in row] for i, row in enumerate(rows)]
        return cls._highest(rows, groups, words)

    @classmethod
    def of_setting(cls, rows: Sequence[Mapping[str, Cell]], says: str, mean: str) -> Best:
        """Return the mean in the row that says `best`, where there are others.

        Args:
            rows: One per setting.
            says: The column that says it.
            mean: The column of the mean.
        """
        cells = {(i, mean) for i, row in enumerate(rows) if row[says] == "best" and len(rows) > 1}
        in_doubt = cells if _in_doubt(row[says] for row in rows) else ()
        return cls(cells=frozenset(cells), doubtful=frozenset(in_doubt), words="the best setting")

    @classmethod
    def _highest(
        cls, rows: Sequence[Mapping[str, Cell]], groups: Iterable[Sequence[Place]], words: str
    ) -> Best:
        found: set[Place] = set()
        doubtful: set[Place] = set()
        for group in groups:
            cells = {place: rows[place[0]].get(place[1]) for place in group}
            means = {p: c.mean for p, c in cells.items() if isinstance(c, Interval) and c.n}
            best = max(means.values(), default=math.nan)
            if any(mean < best for mean in means.values()):  # of equal ones none stands out
                highest = {place for place, mean in means.items() if mean == best}
                found |= highest
                doubtful |= highest if _in_doubt(cells.values()) else set()
        return cls(cells=frozenset(found), doubtful=frozenset(doubtful), words=words)


def _in_doubt(cells: Iterable[Cell]) -> bool:
    """Return whether a comparison among the cells finds no difference."""
    tested = (cell for cell in cells if isinstance(cell, Comparison) and cell.n > 1)
    return any(not comparison.distinguishable for comparison in tested)


NONE_BEST = Best()


def table(
    rows: Sequence[Mapping[str, Cell]],
    *,
    title: str,
    finding: str,
    measured: Iterable[str],
    caption: str,
    best: Best = NONE_BEST,
    best_first: bool = False,
) -> pd.DataFrame:
    """Return the rows as a frame of cells.

    Args:
        rows: Each with the same columns; None where there are no trials.
        title: One line that names the data set.
        finding: What came out, in a sentence without its stop, or in several of them, one a line.
        measured: Columns that hold our own or the paper's measurements.
        caption: Sentences that say what counts for which row, and over how many seeds.
        best: The cells to set in bold.
        best_first: Whether the rows are ordered by merit, so that the first are worth most.

    Returns:
        A frame of `Cell`s; `attrs` holds the other arguments, `measured` as a list.
    """
    frame = pd.DataFrame(rows, dtype=object)
    frame.attrs = {
        "title": title,
        "finding": finding,
        "caption": caption,
        "measured": [*measured],
        "best": best,
        "best_first": best_first,
    }
    return frame


def text(cell: Cell) -> str:
    """Return the cell for a reader: a dash where there is nothing to show."""
    match cell:
        case None:
            return DASH
        case Interval():
            return percent(cell)
        case Comparison() | Spanned():
            return _gain(cell) if isinstance(cell, Comparison) else _spanned(cell.found)
        case PaperNumber():
            return cell.text
        case float():
            return f"{cell:.6g}"
        case _:
            return str(cell)


def value(cell: Cell) -> float | str | None:
    """Return what a column is sorted by: percent, points, the number or the text itself."""
    match cell:
        case Interval():
            return 100 * cell.mean if cell.n else None
        case Comparison():
            return 100 * cell.difference if cell.n else None
        case Spanned():
            return value(cell.found)
        case PaperNumber():
            return float(cell.text)
        case _:
            return cell


def inert(words: str) -> str:
    """Return words that a spreadsheet takes for words: one that begins a formula gets a `'`."""
    if not words.startswith(("=", "+", "-", "@", "\t", "\r", "\n")):
        return words
    try:
        float(words)
    except ValueError:
        return f"'{words}".replace("\r", " ")  # which csv would leave without quotes
    return words


def plain(cell: Cell) -> str:
    """Return the cell for a program: six digits, a printed number as printed, or nothing."""
    if isinstance(cell, PaperNumber):
        return cell.text
    found = value(cell)
    if isinstance(found, float):
        return "" if math.isnan(found) else f"{found:.6g}"
    return "" if found is None else str(found)


def fields(column: str, cell: Cell) -> dict[str, Cell]:
    """Return a measured cell as the columns of a file: value, ends of the interval, seeds, p."""
    if isinstance(cell, Spanned):
        return fields(column, cell.found)
    ends: list[Cell] = [None] * 4
    if isinstance(cell, Interval | Comparison):
        p = cell.p_corrected if isinstance(cell, Comparison) else None
        ends = [100 * cell.low, 100 * cell.high, cell.n, p]
    names = (f"{column} {end}" for end in ("ci_low", "ci_high", "n_seeds", "p"))
    return {column: cell} | dict(zip(names, ends, strict=True))


def seeds_note(cells: Iterable[Cell]) -> list[str]:
    """Say over how many seeds the means are, which interval they have, and what was left out."""
    found = [cell for cell in cells if isinstance(cell, Interval)]
    seeds = [cell.n for cell in found if cell.n]
    if not seeds:
        return []
    least, most = min(seeds), max(seeds)
    told = count(most, "seed") if least == most else f"{least} to {most} seeds"
    notes = [f"Means over {told}; ±: {METHOD} over seeds"]
    if most < 2:
        notes = ["One seed, which gives no interval"]
    if missing := sum(cell.missing for cell in found):
        notes.append(f"{count(missing, 'value')} without a finite number, left out")
    return notes


def _gain(found: Comparison) -> str:
    if not found.n:
        return DASH
    half = 100 * (found.high - found.difference)
    size = fixed(100 * found.difference, decimals(half), signed=True)
    if math.isnan(half):
        return f"{size} ({count(found.n, 'seed')})"
    mark = "" if found.distinguishable else f", {NOT_DISTINGUISHABLE}"
    return f"{size} ± {fixed(half, decimals(half))}{mark}"


def _spanned(found: Comparison) -> str:
    size, low, high = (
        fixed(100 * number, found.places, signed=True)
        for number in (found.difference, found.low, found.high)
    )
    if math.isnan(found.half):
        return f"{size} ({count(found.n, 'seed')})"
    return f"{size} ({low} to {high})"
