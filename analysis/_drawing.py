"""Draw what the catalogue names of one sweep: files, and what the report shows of them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from analysis._artifacts import render, render_csv
from analysis._catalogue import Entry
from analysis._material import Drawn, Material
from analysis._record import RecordError
from analysis._render_tables import to_csv, to_latex, to_markdown


@dataclass(frozen=True, kw_only=True, eq=False)
class Page:
    """One sweep, drawn.

    Attributes:
        material: What it was drawn from.
        drawn: Its figures and tables, the main one first.
        left_out: By name, why a figure or a table cannot be drawn of this sweep.
    """

    material: Material
    drawn: Sequence[Drawn]
    left_out: dict[str, str]


def draw(material: Material, entries: Sequence[Entry]) -> Page:
    """Draw what the sweep has the trials for.

    Raises:
        RecordError: Nothing can be drawn; the reason is that of the main figure.
    """
    drawn: list[Drawn] = []
    left_out: dict[str, str] = {}
    for entry in entries:
        try:
            drawn.append(_draw(entry, material))
        except RecordError as error:
            left_out[entry.name] = str(error)
    if not drawn:
        raise RecordError(next(iter(left_out.values()), "the sweep varies nothing"))
    return Page(material=material, drawn=drawn, left_out=left_out)


def _draw(entry: Entry, material: Material) -> Drawn:
    return _draw_table(entry, material) if entry.figure is None else _draw_figure(entry, material)


def _draw_figure(entry: Entry, material: Material) -> Drawn:
    assert entry.figure is not None  # nosec B101  # cannot happen
    figure = entry.figure(material)
    files = {f"{entry.name}.{kind}": render(figure, kind) for kind in ("pdf", "png", "svg")}
    if entry.numbers is not None:
        files[f"{entry.name}.csv"] = render_csv(entry.numbers(material))
    return Drawn(
        name=entry.name,
        title=_plain(figure.get_suptitle()),
        sentence="",
        caption=_plain(figure.get_supxlabel()),
        table=None,
        files=files,
        trials=material.trials,
    )


def _plain(text: str) -> str:
    """Return a text of a figure in one line, its formulas as plain letters."""
    bare = re.sub(r"\\mathrm\{(\w+)\}", r"\1", text).replace(r"\lambda", "λ").replace("$", "")
    return " ".join(bare.split())


def _draw_table(entry: Entry, material: Material) -> Drawn:
    assert entry.table is not None  # nosec B101  # cannot happen
    table = entry.table(material)
    return Drawn(
        name=entry.name,
        title=table.attrs["title"],
        sentence=table.attrs["finding"],
        caption=table.attrs["caption"],
        table=table,
        files={
            f"{entry.name}.csv": to_csv(table),
            f"{entry.name}.md": to_markdown(table),
            f"{entry.name}.tex": to_latex(table),
        },
        trials=material.trials,
    )
