"""Draw several sweeps at a time, in as many processes as there are processors."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from analysis.figures.appearance import Style, current_style, styled
from analysis.record.schema import RecordError
from analysis.record.sweep_data import SweepData
from analysis.report.draw import RenderedItem, RenderedSweep, draw

Drawn = tuple[Sequence[RenderedItem], dict[str, str]]  # the items of a sweep, and what it lacks
DrawOne = Callable[[SweepData, str, Style], Drawn]


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawing:
    """A sweep that is to be drawn.

    Attributes:
        data: What it is drawn from.
        suffix: What the names of its files end with, where another sweep has them without it.
        notes: Sentences on sweeps that might have been drawn instead.
    """

    data: SweepData
    suffix: str = ""
    notes: Sequence[str] = ()


def draw_all(drawings: Sequence[Drawing]) -> list[RenderedSweep]:
    """Draw sweeps in the style of now, here and in a process for each other processor.

    Raises:
        RecordError: As `draw`, of a sweep that cannot be drawn; or a process was killed.
    """
    style = current_style()
    waiting = deque(enumerate(drawings))
    done: dict[int, Drawn] = {}

    def work(take: Callable[[], tuple[int, Drawing]], draw_one: DrawOne) -> None:
        while True:
            try:
                number, one = take()
            except IndexError:  # none is waiting
                return
            done[number] = draw_one(one.data, one.suffix, style)

    helpers = min(len(drawings), len(os.sched_getaffinity(0))) - 1
    if helpers < 1:
        work(waiting.popleft, _draw)
    else:
        # A fork would copy the threads' locks without the threads that release them.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(helpers, context) as pool, ThreadPoolExecutor(helpers) as threads:

            def elsewhere(data: SweepData, suffix: str, style: Style) -> Drawn:
                return pool.submit(_draw, data, suffix, style).result()

            others = [threads.submit(work, waiting.popleft, elsewhere) for _ in range(helpers)]
            work(waiting.pop, _draw)  # from the last on, so that the first is begun elsewhere
            try:
                for other in others:
                    other.result()
            except BrokenProcessPool as error:
                raise RecordError(
                    "a process that drew figures was killed, as happens where memory runs out; "
                    "draw one sweep at a time, with --sweep"
                ) from error
    return [
        RenderedSweep(
            data=one.data,
            items=done[number][0],
            left_out=done[number][1],
            suffix=one.suffix,
            notes=one.notes,
        )
        for number, one in enumerate(drawings)
    ]


def _draw(data: SweepData, suffix: str, style: Style) -> Drawn:
    with styled(style):
        found = draw(data, suffix=suffix)
    return found.items, found.left_out  # without the data, which its sender has
