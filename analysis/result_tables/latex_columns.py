"""One column of a table as LaTeX: head, unit, and cells whose points stand below each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.result_tables.cells import NOT_DISTINGUISHABLE, Best, Cell, text
from analysis.result_tables.latex_text import latex_text, text_width
from analysis.stats.rounding import DASH

NUMBER = re.compile(
    r"(?P<sign>[-+]?)(?P<whole>\d+)(?P<part>\.\d+)?"
    r"(?: ± (?P<half>\d+)(?P<half_part>\.\d+)?|(?P<ends> \([-+\d.]+ to [-+\d.]+\)))?"
    rf"(?P<tail>, {re.escape(NOT_DISTINGUISHABLE)}| \(1 seed\))?"
)
EXPONENT = re.compile(r"([-+]?[\d.]+)e([-+])0*(\d+)")
# What follows a number in other formats, by the mark that it has here.
MARKS = {f", {NOT_DISTINGUISHABLE}": r"$\dagger$", " (1 seed)": r"$\ddagger$"}
IN_DOUBT = r"\tnote{$\dagger$}"
# Points in 8 point type.
DIGIT, POINT, SIGN, PLUS_MINUS, MARK = 4.25, 2.4, 6.6, 13.0, 4.5
INDENT = 8.0  # of a cell's further lines
LONGEST = 88.0  # of a word before it is cut
BOLDER = 0.65  # of a bold digit


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column as LaTeX.

    Attributes:
        name: Its name with its unit, as text.
        head: The lines of its name.
        unit: Its unit, empty where it has none.
        cells: The lines of each cell.
        width: About how many points it takes.
        is_words: Whether it stands to the left.
        constant: What all of its cells say, as text; empty where they differ.
    """

    name: str
    head: list[str]
    unit: str
    cells: list[list[str]]
    width: float
    is_words: bool
    constant: str = ""


def columns_of(table: pd.DataFrame, widest_words: float) -> list[Column]:
    """Return the columns of a table.

    Args:
        table: A frame of cells as `table` returns it.
        widest_words: Points beyond which a column of words is broken into lines; a long word may
            make it wider.
    """
    best: Best = table.attrs["best"]
    found = []
    for name in map(str, table.columns):
        cells = table[name].tolist()
        if name not in table.attrs["measured"] and not any(map(_is_number, cells)):
            found.append(_words(name, [text(cell) for cell in cells], widest_words))
        else:
            found.append(_numbers(name, cells, widest_words, best))
    return found


def row_numbers(rows: int) -> Column:
    """Return a column that numbers the rows from 1."""
    width = max(text_width("row"), DIGIT * len(str(rows)))
    cells = [[str(i + 1)] for i in range(rows)]
    return Column(name="row", head=["row"], unit="", cells=cells, width=width, is_words=False)


def _is_number(cell: Cell) -> bool:
    return not isinstance(cell, str | None)


def _words(name: str, cells: Sequence[str], widest: float) -> Column:
    pieces = (text_width(piece.rstrip()) for cell in cells for piece in _pieces(cell))
    widest = max(widest, min(max(pieces, default=0.0) + INDENT, LONGEST))
    wrapped = [_wrapped(cell, widest - INDENT) for cell in cells]
    lines = [
        [r"\quad " * (k > 0) + latex_text(line) for k, line in enumerate(cell)] for cell in wrapped
    ]
    widths = [text_width(line) + INDENT * (k > 0) for c in wrapped for k, line in enumerate(c)]
    return _under_head(name, cells, lines, max(widths, default=0.0), widest, is_words=True)


def _numbers(name: str, cells: Sequence[Cell], widest: float, best: Best) -> Column:
    told = [text(cell) for cell in cells]
    numbers = [NUMBER.fullmatch(words) for words in told]
    bold, doubtful = (
        {row for row, column in places if column == name} for places in (best.cells, best.doubtful)
    )
    form = _Form.of([number for number in numbers if number], mark=bool(doubtful))
    lines = [
        [form.write(number, bold=i in bold, doubtful=i in doubtful)]
        if number
        else [_centred(told[i])]
        for i, number in enumerate(numbers)
    ]
    words = [text_width(cell) for cell, number in zip(told, numbers, strict=True) if not number]
    content = max([form.width + (form.bolder if bold else 0), *words])
    return _under_head(name, told, lines, content, widest, is_words=False)


def _under_head(
    name: str,
    told: Sequence[str],
    cells: list[list[str]],
    content: float,
    widest: float,
    *,
    is_words: bool,
) -> Column:
    """Return a column with a head in lines that are no wider than its content needs."""
    head, unit = _head(name)
    longest = max(text_width(piece.rstrip()) for piece in _pieces(head))
    lines = _wrapped(head, max(content, min(longest, widest)))
    is_constant = len(told) > 1 and len(set(told)) == 1
    return Column(
        name=name,
        head=[latex_text(line) for line in lines],
        unit=latex_text(unit),
        cells=cells,
        width=max([content, text_width(unit), *map(text_width, lines)]),
        is_words=is_words,
        constant=told[0] if is_constant else "",
    )


@dataclass(frozen=True, kw_only=True)
class _Form:
    """How many letters the longest of a column's numbers has, part by part."""

    sign: bool
    whole: int
    part: int  # with its point
    half: int  # 0 where no number has an interval
    half_part: int
    ends: str  # the widest of intervals that are told by their ends, empty where none is
    mark: bool

    @classmethod
    def of(cls, numbers: Sequence[re.Match[str]], *, mark: bool) -> _Form:
        longest = {
            part: max((len(number[part] or "") for number in numbers), default=0)
            for part in ("whole", "part", "half", "half_part")
        }
        return cls(
            ends=max((number["ends"] or "" for number in numbers), key=text_width, default=""),
            sign=any(number["sign"] for number in numbers),
            mark=mark or any(number["tail"] for number in numbers),
            **longest,
        )

    @property
    def width(self) -> float:
        digits = self.whole + max(self.part - 1, 0) + self.half + max(self.half_part - 1, 0)
        points = (self.part > 0) + (self.half_part > 0)
        half = PLUS_MINUS * (self.half > 0)
        others = SIGN * self.sign + text_width(self.ends) + MARK * self.mark
        return DIGIT * digits + POINT * points + half + others

    @property
    def bolder(self) -> float:
        """By how many points a bold mean is wider."""
        return BOLDER * (self.whole + self.part)

    def write(self, number: re.Match[str], *, bold: bool, doubtful: bool) -> str:
        """Return a number, to be set to the right, with room for what others have more."""
        sign = f"${number['sign']}$" if number["sign"] else ""
        mean = f"{number['whole']}{number['part'] or ''}"
        words = rf"{sign}\textbf{{{mean}}}" if bold else f"{sign}{mean}"
        words += _phantom(_decimals(self.part)[len(number["part"] or "") :])
        interval = latex_text(number["ends"]) if number["ends"] else self._half(number)
        words += rf"\rlap{{{interval}}}{_phantom(latex_text(self.ends))}" if self.ends else interval
        if number["tail"]:
            return words + rf"\tnote{{{MARKS[number['tail']]}}}"
        return words + (IN_DOUBT if doubtful else _phantom(IN_DOUBT * self.mark))

    def _half(self, number: re.Match[str]) -> str:
        if number["half"]:
            before = _phantom("0" * (self.half - len(number["half"])))
            part = number["half_part"] or ""
            after = _phantom(_decimals(self.half_part)[len(part) :])
            return rf" $\pm$ {before}{number['half']}{part}{after}"
        return _phantom(rf" $\pm$ {'0' * self.half}{_decimals(self.half_part)}" * (self.half > 0))


def _decimals(length: int) -> str:
    return "." + "0" * (length - 1) if length else ""


def _phantom(words: str) -> str:
    return rf"\phantom{{{words}}}" if words else ""


def _centred(words: str) -> str:
    if found := EXPONENT.fullmatch(words):
        sign = found[2].strip("+")
        words = rf"${found[1]} \cdot 10^{{{sign}{found[3]}}}$"
    else:
        words = "--" if words == DASH else latex_text(words)
    return rf"\multicolumn{{1}}{{c}}{{{words}}}"


def _head(name: str) -> tuple[str, str]:
    """Return a column's name and its unit, which stands at its end in brackets."""
    words, bracket, unit = name.rpartition(" [")
    return (words, unit[:-1]) if bracket and unit.endswith("]") else (name, "")


def _pieces(words: str) -> list[str]:
    """Return the pieces between which a line may be broken, each with what follows it."""
    return re.findall(r"[^\s_]*_+|[^\s_]+\s*", words) or [""]


def _wrapped(words: str, width: float) -> list[str]:
    """Return the words in lines of this width; a piece that is wider is cut."""
    lines = [""]
    for piece in _pieces(words):
        for part in _cut(piece, width):
            if lines[-1] and text_width((lines[-1] + part).rstrip()) > width:
                lines.append("")
            lines[-1] += part
    return [line.strip() for line in lines]


def _cut(piece: str, width: float) -> Iterator[str]:
    while len(piece) > 1 and text_width(piece.rstrip()) > width:
        fitting = (n for n in range(len(piece) - 1, 1, -1) if text_width(piece[:n]) <= width)
        length = next(fitting, 1)
        yield piece[:length]
        piece = piece[length:]
    yield piece
