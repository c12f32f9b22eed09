"""Markdown as MLflow's pages show it, in which no text of a record can be taken for markup.

Source: those pages make HTML of a note with showdown, flavour "github", and let sanitize-html drop
what is not on its list; images and links stay, and their addresses may be relative.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# Showdown's own marks, HTML's, and those of its flavour: tables, strikethrough, mentions.
MARKS = re.compile(r"[\\`*{}\[\]<>&#|~@!\"]")
# An underscore inside a word, as in names of fields, marks nothing.
LONE_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])")
# An emoji's name, an address that would become a link, and what opens a list.
IN_COMPANY = re.compile(r":(?=\S)|(?<=www)\.|(?<=\d)\.(?=\s)|^[-+]", re.IGNORECASE)

GAP = "&emsp;"  # after a cell


def escape(text: str) -> str:
    """Return a text in one line that markdown shows as it is."""
    line = MARKS.sub(_entity, " ".join(text.split()))
    line = LONE_UNDERSCORE.sub(_entity, line)
    return IN_COMPANY.sub(_entity, line)


def link(text: str, address: str) -> str:
    """Return a link; the address is one that this package made."""
    return f"[{escape(text)}]({address})"


def image(text: str, address: str) -> str:
    """Return an image; the address is one that this package made."""
    return f"![{escape(text)}]({address})"


def code(text: str) -> str:
    """Return a text as a line of code, such as a command."""
    line = " ".join(text.split()).replace("`", "'").replace("|", "¦")
    return f"`{line}`" if line else ""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of cells that are markdown already; the pages set them close together."""
    lines = [[f"{cell}{GAP}" for cell in cells] for cells in (head, *rows)]
    lines.insert(1, ["---"] * len(head))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _entity(found: re.Match[str]) -> str:
    return f"&#{ord(found.group())};"
