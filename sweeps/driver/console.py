"""What a sweep says in lines of text, beside its live display."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from rich.console import Console, RenderableType

from sweeps.execution.notebook import COLUMNS, in_notebook
from trainable.cli.streams import STDERR, STDOUT, OutputClosed, silence
from trainable.storage.redaction import printable

FILE_WIDTH = 160  # of a table that no terminal cuts


class SweepConsole(Console):
    """A console whose closed output interrupts the sweep, which then ends in order."""

    def on_broken_pipe(self) -> None:
        """Interrupt the thread that drives the sweep, and let no later word of its end fail.

        Raises:
            OutputClosed: In the main thread; another one leaves it to that to find out.
        """
        if threading.current_thread() is threading.main_thread():
            silence(STDERR if self.stderr else STDOUT)
            raise OutputClosed


def open_console(*, stderr: bool = False, quiet: bool = False) -> Console:
    """Return where a sweep says its lines: standard output, standard error, or nowhere."""
    console = SweepConsole(
        stderr=stderr,
        quiet=quiet,
        highlight=False,
        markup=False,
        emoji=False,
        force_jupyter=False,  # it would make a paragraph of each line
        force_terminal=False if in_notebook() else None,  # a kernel says that it has colours
    )
    if not console.is_terminal:
        console.width = COLUMNS if in_notebook() else FILE_WIDTH
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
