"""Draw several sweeps at a time, in as many processes as there are processors."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

from analysis.figures import FigureSpec
from analysis.figures.appearance import Style, current_style, styled
from analysis.record.schema import RecordError
from analysis.record.sweep_data import SweepData
from analysis.report.catalogue import specs_of
from analysis.report.draw import RenderedSweep, draw
from analysis.report.reuse import Drawn, KeptDrawing

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

    @property
    def figures(self) -> int:
        """How many figures the catalogue names for it."""
        specs = specs_of(self.data.trials, self.suffix).values()
        return sum(isinstance(spec, FigureSpec) for spec in specs)


def draw_all(
    drawings: Sequence[Drawing], *, processes: int = 1, reuse: bool = True
) -> list[RenderedSweep]:
    """Draw sweeps in the current style, several at a time.

    Args:
        drawings: The sweeps.
        processes: How many processes draw, this one among them. More than one asks for a main
            module that another process can import.
        reuse: Whether what was drawn before serves while all that it was drawn from is the same.

    Raises:
        RecordError: As `draw`, of a sweep that cannot be drawn; or a process was killed.
    """
    style = current_style()
    done: dict[int, Drawn] = {}
    kept = [KeptDrawing(one.data, one.suffix) for one in drawings] if reuse else []
    for number, one in enumerate(kept):
        if (drawn := one.load()) is not None:
            done[number] = drawn
    waiting = deque((number, one) for number, one in enumerate(drawings) if number not in done)
    asked = [number for number, _ in waiting]

    def work(take: Callable[[], tuple[int, Drawing]], draw_one: DrawOne) -> None:
        while True:
            try:
                number, one = take()
            except IndexError:  # none is waiting
                return
            done[number] = draw_one(one.data, one.suffix, style)

    helpers = min(len(waiting), processes) - 1
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
    if reuse:
        for number in asked:
            kept[number].save(done[number])
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
