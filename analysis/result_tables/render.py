"""Tables of cells as the content of files: CSV for programs, Markdown and LaTeX for readers."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

import pandas as pd

from analysis.result_tables.cells import Cell, fields, inert, plain, text
from analysis.stats.rounding import DASH

LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "[": "{[}",  # after a line break it would begin an argument
    "]": "{]}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    DASH: "---",
}
MARKDOWN = re.compile(r"([\\|*`<])")


def to_csv(table: pd.DataFrame) -> bytes:
    """Return the table as CSV with numbers of six digits; what is absent is an empty field.

    A measured column comes with the ends of its interval, its number of seeds and, for a
    difference, its p-value after correction.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for i, cells in enumerate(_rows(table)):
        row: dict[str, str] = {}
        for column, cell in cells.items():
            measured = column in table.attrs["measured"]
            row |= fields(column, cell) if measured else {column: plain(cell)}
        if i == 0:
            writer.writerow(map(inert, row))
        writer.writerow(map(inert, row.values()))
    return out.getvalue().encode()


def to_markdown(table: pd.DataFrame) -> bytes:
    """Return the table with its title and caption in GitHub's Markdown."""
    sides = "|".join(":---" if left else "---:" for left in _is_left(table).values())
    lines = [_line(table.columns), f"|{sides}|"]
    lines += [_line(text(cell) for cell in cells.values()) for cells in _rows(table)]
    title, caption = (_escaped(table.attrs[name]) for name in ("title", "caption"))
    body = "\n".join(lines)
    return f"**{title}**\n\n{body}\n\n{caption}\n".encode()


def to_latex(table: pd.DataFrame) -> bytes:
    """Return the table as a floating environment, for which the document loads booktabs."""
    columns = "".join("l" if left else "r" for left in _is_left(table).values())
    head = " & ".join(_latex(str(column)) for column in table.columns)
    body = [
        " & ".join(_latex(text(cell)) for cell in cells.values()) + r" \\" for cells in _rows(table)
    ]
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{_latex(table.attrs['title'])}. {_latex(table.attrs['caption'])}}}",
        rf"  \begin{{tabular}}{{{columns}}}",
        r"    \toprule",
        rf"    {head} \\",
        r"    \midrule",
        *(f"    {line}" for line in body),
        r"    \bottomrule",
        r"  \end{tabular}",
        r"\end{table}",
    ]
    return ("\n".join(lines) + "\n").encode()


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


def _latex(words: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in " ".join(words.split()))
