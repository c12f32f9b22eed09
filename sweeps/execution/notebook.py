"""What a running sweep shows in a notebook: one output of its cell, which changes as it goes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from io import StringIO
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType

if TYPE_CHECKING:
    from IPython.display import DisplayHandle

EVERY_S = 0.5  # between two changes
COLUMNS = 100  # that fit beside the margin of a page


def in_notebook() -> bool:
    """Return whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")  # nobody but the kernel loads it
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


class CellOutput:
    """Shows what a function returns, as an output of the cell that runs.

    It changes when it is told to, in the thread that tells it: an event loop or a thread of its own
    is not needed.

    Args:
        render: Returns what to show.
        clock: Returns the seconds since some moment.
    """

    def __init__(
        self, render: Callable[[], RenderableType], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._render = render
        self._clock = clock
        self._due_s = 0.0
        self._handle: DisplayHandle | None = None

    def start(self) -> None:
        """Begin to show it."""
        from IPython.display import display

        self._handle = display(self._content(), raw=True, display_id=True)
        self._due_s = self._clock() + EVERY_S

    def refresh(self) -> None:
        """Show it anew, unless that was done a moment ago."""
        if self._clock() >= self._due_s:
            self._update()

    def stop(self) -> None:
        """Show how it ended."""
        self._update()

    def _update(self) -> None:
        if self._handle is not None:
            self._handle.update(self._content(), raw=True)
        self._due_s = self._clock() + EVERY_S

    def _content(self) -> dict[str, str]:
        page = Console(
            file=StringIO(),
            width=COLUMNS,
            highlight=False,
            force_jupyter=False,
            force_terminal=False,  # a kernel says that it has colours
        )
        page.print(self._render())
        assert isinstance(page.file, StringIO)  # nosec B101  # as made above
        return {"text/plain": page.file.getvalue().rstrip()}
