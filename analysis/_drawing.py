"""Draw what the catalogue names of one sweep: files, and what the report shows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analysis._artifacts import render, render_csv
from analysis._catalogue import Entry
from analysis._material import Drawn, Material
from analysis._record import RecordError


@dataclass(frozen=True, kw_only=True, eq=False)
class Page:
    """One sweep, drawn.

    Attributes:
        material: What it was drawn from.
        drawn: Its figures and tables, the main one first.
        files: By name, all that is to be written of them.
        left_out: By name, why a figure or a table cannot be drawn of this sweep.
    """

    material: Material
    drawn: Sequence[Drawn]
    files: dict[str, bytes]
    left_out: dict[str, str]


def draw(material: Material, entries: Sequence[Entry]) -> Page:
    """Draw what the sweep has the trials for.

    Raises:
        RecordError: The sweep's main figure, the first of the entries, cannot be drawn.
    """
    drawn: list[Drawn] = []
    files: dict[str, bytes] = {}
    left_out: dict[str, str] = {}
    for entry in entries:
        try:
            found = _draw(entry, material)
        except RecordError as error:
            if entry is entries[0]:
                raise
            left_out[entry.name] = str(error)
        else:
            drawn.append(found)
            files |= found.files
    return Page(material=material, drawn=drawn, files=files, left_out=left_out)


def _draw(entry: Entry, material: Material) -> Drawn:
    files: dict[str, bytes] = {}
    title = caption = ""
    if entry.figure is not None:
        figure = entry.figure(material)
        files = {f"{entry.name}.{kind}": render(figure, kind) for kind in ("pdf", "png")}
        title, caption = figure.get_suptitle(), " ".join(figure.get_supxlabel().split())
    table = None if entry.numbers is None else entry.numbers(material)
    if table is not None:
        files[f"{entry.name}.csv"] = render_csv(table)
    return Drawn(
        name=entry.name,
        title=title,
        sentence="",
        caption=caption,
        table=table,
        files=files,
        trials=material.trials,
    )
