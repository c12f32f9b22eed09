"""Tables of cells as the content of files: CSV for programs, Markdown for readers."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

import pandas as pd

from analysis.result_tables.cells import Cell, fields, inert, plain, text, value

MARKDOWN = re.compile(r"([\\|*`<])")


def to_csv(table: pd.DataFrame) -> bytes:
    """Return the table as CSV with numbers of six digits; what is absent is an empty field.

    A measured column comes with the ends of its interval, its number of seeds and, for a
    difference, its p-value after correction.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for i, row in enumerate(_widened(table)):
        if i == 0:
            writer.writerow(map(inert, row))
        writer.writerow(inert(plain(cell)) for cell in row.values())
    return out.getvalue().encode()


def to_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of the CSV as numbers with all digits, words in measured ones left out."""
    rows = [{column: value(cell) for column, cell in row.items()} for row in _widened(table)]
    numbers = pd.DataFrame(rows, dtype=object)
    for column in table.attrs["measured"]:
        for name in fields(column, None):  # which have no other type where all are absent
            kind = "Int64" if name == f"{column} n_seeds" else "float64"
            numbers[name] = pd.to_numeric(numbers[name], errors="coerce").astype(kind)
    return numbers


def to_markdown(table: pd.DataFrame) -> bytes:
    """Return the table with its title and caption in GitHub's Markdown."""
    sides = "|".join(":---" if left else "---:" for left in _is_left(table).values())
    lines = [_line(table.columns), f"|{sides}|"]
    lines += [_line(text(cell) for cell in cells.values()) for cells in _rows(table)]
    title, caption = (_escaped(table.attrs[name]) for name in ("title", "caption"))
    body = "\n".join(lines)
    return f"**{title}**\n\n{body}\n\n{caption}\n".encode()


def _widened(table: pd.DataFrame) -> list[dict[str, Cell]]:
    """Return the rows with the columns of a file: measured ones with interval, seeds and p."""
    measured = table.attrs["measured"]
    widened = []
    for cells in _rows(table):
        row: dict[str, Cell] = {}
        for column, cell in cells.items():
            row |= fields(column, cell) if column in measured else {column: cell}
        widened.append(row)
    return widened


def _rows(table: pd.DataFrame) -> list[dict[str, Cell]]:
    columns = [str(column) for column in table.columns]
    return [
        dict(zip(columns, row, strict=True)) for row in table.itertuples(index=False, name=None)
    ]


def _is_left(table: pd.DataFrame) -> dict[str, bool]:
    """Return which columns are words, set to the left; measurements and numbers stand right."""
    measured = table.attrs["measured"]
    return {
        str(column): column not in measured
        and all(isinstance(cell, str) for cell in table[column].tolist())
        for column in table.columns
    }


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _escaped(words: str) -> str:
    return MARKDOWN.sub(r"\\\1", " ".join(words.split()))
