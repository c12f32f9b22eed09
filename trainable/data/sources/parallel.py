"""One function over many files: in threads, in order, with a bar where a person watches."""

from __future__ import annotations

import os
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def in_order(
    function: Callable[[Item], Result], items: Sequence[Item], title: str
) -> Iterator[Iterator[Result]]:
    """Give the results of `function`, one for each item, in the order of the items.

    A few results wait in memory, never all: threads run only so far ahead of who takes them.

    Args:
        function: The function of an item; it must be safe in threads.
        items: The items to work on.
        title: The text beside the bar on standard error; there is no bar where that is no terminal.
    """
    workers = os.cpu_count() or 1
    with (
        ThreadPoolExecutor(workers) as pool,
        _bar(title, len(items)) as advance,
        quiet_pillow(),
    ):
        yield _results(pool, function, items, ahead=2 * workers, advance=advance)


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keep Pillow's warnings (odd metadata, large images) away: what matters is an error of ours.

    Filters belong to the process, not to a thread, so this stands round a pool, not within.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\b")
        yield


def _results(
    pool: ThreadPoolExecutor,
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    ahead: int,
    advance: Callable[[], None],
) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    for number, item in enumerate(items):
        waiting.append(pool.submit(function, item))
        while len(waiting) > ahead or (waiting and number == len(items) - 1):
            yield waiting.popleft().result()
            advance()


@contextmanager
def _bar(title: str, total: int) -> Iterator[Callable[[], None]]:
    if not sys.stderr.isatty():
        yield lambda: None
        return
    # Imported here: only a person at a terminal needs it.
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)
