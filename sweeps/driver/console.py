"""What a sweep says in lines of text, beside its live display."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, RenderableType

from trainable.storage.redaction import printable

FILE_WIDTH = 160  # of a table that no terminal cuts


def open_console(*, stderr: bool) -> Console:
    """Return where a sweep says its lines: standard output, or standard error."""
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    return console


def say(console: Console, text: str | RenderableType) -> None:
    """Print a text or a table at once."""
    if isinstance(text, str):
        console.print(printable(text), soft_wrap=True)
    else:
        console.print(text)
    console.file.flush()  # what is waited for is read while it is


def say_all(console: Console, texts: Iterable[str | RenderableType]) -> None:
    """Print texts and tables, one after another."""
    for text in texts:
        say(console, text)
