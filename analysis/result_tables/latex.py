"""Tables of cells as LaTeX that fits a two-column paper: across one column, or else both.

Widths and heights are estimates for 8 point type. The limits are those of class `article`, 10 pt:
A4 has the narrowest columns, letter paper the shortest. What is too wide stands in parts below each
other, what is too tall in several floats.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from analysis.result_tables.cells import NOT_DISTINGUISHABLE, Best, text
from analysis.result_tables.latex_columns import Column, columns_of, row_numbers
from analysis.result_tables.latex_text import latex_text
from analysis.stats.rounding import DASH, count

PACKAGES = r"% The document loads \usepackage{booktabs,threeparttable}."
ONE_SEED = "‡: one seed, which gives no interval"
# Points.
GAP = 3.0  # to either side of a column
LINE = 9.5  # from one line to the next
RULES = 24.0  # that the rules of one part take
CAPTION = 40.0  # of two lines
TALLEST = 520.0  # of a float; the page has 550
LETTER = 4.4  # on average
RAGGED = 0.95  # of a line is filled
LEAST_ROWS = 8  # fewer in a float, and it takes both columns, where notes are half as tall
MOST_FLOATS = 6  # of one table; LaTeX keeps 18 in mind
MOST_ROWS = 400  # that are looked at: so many floats hold fewer


@dataclass(frozen=True, kw_only=True)
class _Layout:
    environment: str
    width: float  # points
    words: Sequence[float]  # most of it that a column of words takes, as tried one after another


ONE = _Layout(environment="table", width=221, words=(0.4,))
BOTH = _Layout(environment="table*", width=452, words=(0.4, 0.25, 0.12))


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What stands where: columns of the parts below each other, rows of the floats, notes."""

    layout: _Layout
    parts: list[list[Column]]
    floats: list[range]
    notes: list[str]


def to_latex(table: pd.DataFrame, name: str) -> bytes:
    """Return the table as one or more floats of a two-column paper.

    The title is the caption, and the rest stands in notes under the table. Numbers have the digits
    of the other formats, with their points and their `±` below each other. Columns that say the
    same in each row go to the notes where there is no room. Rows that are ordered by merit are cut
    to those that fit one float, and the notes count them.

    Args:
        table: A frame of cells as `table` returns it.
        name: Stem of the table's files: its label is `tab:<name>`.
    """
    plan = _planned(table.head(MOST_ROWS))
    best_first = table.attrs["best_first"]
    plan = replace(plan, floats=plan.floats[: 1 if best_first else MOST_FLOATS])
    if (shown := plan.floats[-1].stop) < len(table):
        which = "best" if best_first else "first"
        told = f"The {which} {shown:,} of {count(len(table), 'row')}; all stand in {name}.csv"
        plan = replace(plan, notes=[told, *plan.notes])
    title = latex_text(_title(table.attrs["title"]), breakable=True)
    lines = [PACKAGES]
    for number in range(len(plan.floats)):
        lines += _float(plan, number, title, name)
    return ("\n".join(lines) + "\n").encode()


def _title(words: str) -> str:
    """Return the title without the number that the table has in the paper reproduced."""
    bare = re.sub(r"^Table \d+(?: \(\w+\))?: ", "", words)
    return bare[:1].upper() + bare[1:]


def _planned(table: pd.DataFrame) -> _Plan:
    for layout, words in ((one, words) for one in (ONE, BOTH) for words in one.words):
        columns = columns_of(table, words * layout.width)
        varied = [column for column in columns if not column.constant] or columns
        for kept in (columns, varied):
            if _width(kept) <= layout.width:
                plan = _in_floats(table, layout, [kept], columns)
                if layout is BOTH or len(plan.floats[0]) >= min(len(table), LEAST_ROWS):
                    return plan
    columns = columns_of(table, BOTH.words[0] * BOTH.width)
    varied = [column for column in columns if not column.constant] or columns
    return _in_floats(table, BOTH, _parts(varied, len(table)), columns)


def _width(columns: Sequence[Column]) -> float:
    return sum(column.width for column in columns) + 2 * GAP * (len(columns) - 1)


def _parts(columns: Sequence[Column], rows: int) -> list[list[Column]]:
    """Return the columns in parts that fit, each of which begins with the numbers of the rows."""
    parts = [[row_numbers(rows)]]
    for column in columns:
        if len(parts[-1]) > 1 and _width([*parts[-1], column]) > BOTH.width:
            parts.append([row_numbers(rows)])
        parts[-1].append(column)
    return parts


def _in_floats(
    table: pd.DataFrame, layout: _Layout, parts: list[list[Column]], columns: Sequence[Column]
) -> _Plan:
    """Return the plan with as many rows in each float as its height allows, one at least."""
    shown = [column for part in parts for column in part]
    notes = _notes(table, [column for column in columns if column not in shown])
    letters = sum(len(note) + 2 for note in notes)
    lines = 3 + int(letters * LETTER / (RAGGED * layout.width))  # two may count what is left out
    room = TALLEST - CAPTION - LINE * lines
    room -= sum(RULES + LINE * (1 + max(len(column.head) for column in part)) for part in parts)
    floats, start, used = [], 0, 0.0
    for i in range(len(table)):
        height = LINE * sum(max(len(column.cells[i]) for column in part) for part in parts)
        if used + height > room and i > start:
            floats.append(range(start, i))
            start, used = i, 0.0
        used += height
    floats.append(range(start, len(table)))
    return _Plan(layout=layout, parts=parts, floats=floats, notes=notes)


def _notes(table: pd.DataFrame, left_out: Sequence[Column]) -> list[str]:
    """Return the sentences under the table, as text without their stops."""
    best: Best = table.attrs["best"]
    notes = [f"Bold: {best.words}"] if best.cells else []
    if best.doubtful:
        notes = [f"{notes[0]}; with a †, its lead is not distinguishable"]
    if same := [f"{c.name} {c.constant}" for c in left_out if c.constant != DASH]:
        notes.append(f"In each row: {'; '.join(same)}")
    if absent := [c.name for c in left_out if c.constant == DASH]:
        notes.append(f"No values: {', '.join(absent)}")
    cells = [text(cell) for name in table for cell in table[name].tolist()]
    if any(cell.endswith(" (1 seed)") for cell in cells):
        notes.append(ONE_SEED)
    caption = table.attrs["caption"].strip().removesuffix(".")
    return [note.replace(NOT_DISTINGUISHABLE, "†") for note in (*notes, caption) if note]


def _float(plan: _Plan, number: int, title: str, name: str) -> list[str]:
    caption = [rf"\caption{{{title}}}", rf"\label{{tab:{name}}}"]
    if number:
        caption = [r"\addtocounter{table}{-1}", rf"\caption{{{title} (continued)}}"]
    is_last = number == len(plan.floats) - 1
    notes = plan.notes if is_last else ["The notes stand under the last part"]
    parts = [_tabular(part, plan.floats[number]) for part in plan.parts]
    told = " ".join(latex_text(f"{note}.", breakable=True) for note in notes)
    below = [
        r"\begin{tablenotes}[flushleft]\footnotesize\raggedright",
        rf"\item[] {told}",
        r"\end{tablenotes}",
    ]
    return [
        rf"\begin{{{plan.layout.environment}}}",
        r"\centering",
        r"\begin{threeparttable}",
        *caption,
        rf"\footnotesize\setlength{{\tabcolsep}}{{{GAP:g}pt}}",
        *parts[0],
        *(line for part in parts[1:] for line in (r"\par\smallskip", *part)),
        *(below if told else ()),
        r"\end{threeparttable}",
        rf"\end{{{plan.layout.environment}}}",
    ]


def _tabular(columns: Sequence[Column], rows: range) -> list[str]:
    sides = "".join("l" if column.is_words else "r" for column in columns)
    height = max(len(column.head) for column in columns)
    heads = [[""] * (height - len(column.head)) + column.head for column in columns]
    lines = [
        rf"\begin{{tabular*}}{{\linewidth}}{{@{{\extracolsep{{\fill}}}}{sides}@{{}}}}",
        r"\toprule",
        *(_row(map(_over, (head[k] for head in heads), columns)) for k in range(height)),
        *_units(columns),
        r"\midrule",
    ]
    for i in rows:
        tallest = max(len(column.cells[i]) for column in columns)
        lines += [
            _row("".join(column.cells[i][k : k + 1]) for column in columns) for k in range(tallest)
        ]
    return [*lines, r"\bottomrule", r"\end{tabular*}"]


def _over(line: str, column: Column) -> str:
    return line if column.is_words or not line else rf"\multicolumn{{1}}{{c}}{{{line}}}"


def _units(columns: Sequence[Column]) -> list[str]:
    """Return the line of units, each once over its neighbouring columns."""
    if not any(column.unit for column in columns):
        return []
    runs: list[list[int]] = []  # numbers of neighbours with one unit
    for i, column in enumerate(columns):
        if runs and column.unit and column.unit == columns[i - 1].unit:
            runs[-1].append(i)
        else:
            runs.append([i])
    rules = [rf"\cmidrule(lr){{{run[0] + 1}-{run[-1] + 1}}}" for run in runs if len(run) > 1]
    cells = [
        rf"\multicolumn{{{len(run)}}}{{c}}{{{unit}}}" if (unit := columns[run[0]].unit) else ""
        for run in runs
    ]
    return [*rules, _row(cells)]


def _row(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"
