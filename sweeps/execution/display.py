"""What a person sees of a running sweep: a live display, or one line per finished training run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from sweeps.execution.notebook import CellOutput, in_notebook
from sweeps.execution.progress import Pace, Running
from trainable.cli.durations import format_seconds
from trainable.storage.redaction import printable

BAR, BAR_OF_A_RUN, NARROW = 30, 20, 100  # columns; a narrower terminal has half of each
LINES_BESIDE_RUNS = 5  # of a terminal: title, bar, best, how many more, and one below
FIRST_S, SILENT_S = 60.0, 600.0  # without a line, where each run gives one
RARELY = 20  # times as long as it takes to find the best setting, none is looked for again


def shows_live(console: Console) -> bool:
    """Return whether what changes can be shown: on a terminal that can move its cursor, in a cell.

    Not so in a file, whatever FORCE_COLOR says, or with TERM=dumb.
    """
    if in_notebook():
        return not console.quiet
    return console.is_terminal and not console.is_dumb_terminal and console.file.isatty()


@dataclass
class LiveDisplay:
    """Shows how many runs are done, those under way, the best so far and the time left.

    Where `live` is not set, each run that ends gives one line.

    Attributes:
        console: The console to show it on.
        title: The name of the sweep and of its data set.
        total: How many training runs there are as far as known, those done before included.
        done: How many training runs have ended.
        slots: How many training runs are under way at a time, from which the time left follows.
        grows: Whether the sweep adds further runs, which depend on how the first ones end.
        live: Whether the console shows what changes; see `shows_live`.
        find_best: Returns in words the best setting so far, empty where there is none.
        pace: The pace of the runs.
        running: The runs under way, by their training key.
        best: What `find_best` said last.
        failed: How many training runs ended without numbers.
    """

    console: Console
    title: str
    total: int
    done: int
    slots: int = 1
    grows: bool = False
    live: bool = False
    find_best: Callable[[], str] = str
    pace: Pace = field(default_factory=Pace)
    running: dict[str, Running] = field(default_factory=dict)
    best: str = ""
    failed: int = 0
    _began_s: float = 0.0
    _line_due_s: float = 0.0
    _best_after_s: float = 0.0
    _live: Live | CellOutput | None = None

    def __post_init__(self) -> None:
        self._began_s = self.pace.clock()
        self._line_due_s = self._began_s + FIRST_S

    def __enter__(self) -> Self:
        if self.live:
            self._find_best()
            self._live = (
                CellOutput(self.render)
                if in_notebook()
                else Live(get_renderable=self.render, console=self.console, refresh_per_second=2)
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(self._live, CellOutput) and kind is None:
            self._find_best()  # a cell keeps what it has shown last
        if self._live is not None:
            self._live.stop()

    def started(self, key: str, label: str, iterations: int) -> None:
        """Show that a run starts."""
        self.running[key] = self.pace.begin(printable(label), iterations)
        self._changed()

    def progressed(self, key: str, iteration: int, miou: float | None) -> None:
        """Show how far a run is."""
        self.running[key].miou = miou
        self.pace.report(self.running[key], iteration)
        self._changed()
        if self.pace.clock() >= self._line_due_s:
            self._line(f"{len(self.running)} under way")

    def finished(self, key: str, val_miou: float, swa_miou: float, busy_s: float) -> None:
        """Show that a run has finished.

        Args:
            key: The training key of the run.
            val_miou: The mIoU of its raw weights, from 0 to 1.
            swa_miou: The mIoU of its best readout, from 0 to 1.
            busy_s: How many seconds a worker was busy with it.
        """
        words = f"val/miou {val_miou:.4f} swa/miou {swa_miou:.4f} ({busy_s:.1f} s)"
        self._ended(key, words, complete=True)
        if self.live and time.monotonic() >= self._best_after_s:
            self._find_best()

    def ended_without_numbers(self, key: str, cause: str) -> None:
        """Show that a run failed or diverged, and why."""
        self.failed += 1
        self._ended(key, f"FAILED: {cause}", complete=False)

    def stopped(self, key: str, reason: str) -> None:
        """Show that the sweep stopped a run early, and why."""
        self._ended(key, reason, complete=False)

    def note(self, text: str) -> None:
        """Print a line that is not about one run."""
        self.console.print(Text(printable(text)), soft_wrap=True)

    def _ended(self, key: str, words: str, *, complete: bool) -> None:
        run = self.running.pop(key)
        self.done += 1
        self.pace.end(run, complete=complete)
        self._changed()
        self._line(f"{run.label}: {words}")

    def _changed(self) -> None:
        """Have a cell show what is new; a terminal looks by itself."""
        if isinstance(self._live, CellOutput):
            self._live.refresh()

    def _line(self, words: str) -> None:
        """Print a line where nothing is shown live, and no other for a while if no run ends."""
        self._line_due_s = self.pace.clock() + SILENT_S
        if self._live is None:
            self.note(f"[{self._counts()}] {words}; {self._times()}")

    def _find_best(self) -> None:
        """Look for the best setting, at most for a small part of the driver's time."""
        begun = time.monotonic()
        self.best = self.find_best()
        now = time.monotonic()
        self._best_after_s = now + RARELY * (now - begun)

    def render(self) -> RenderableType:
        """Return what the live display shows now, in lines that fit the terminal."""
        running = list(self.running.values())
        head = Text.assemble((printable(self.title), "bold"), f"  {self._counts()} training runs")
        if self.failed:
            head.append(f"  {self.failed} failed", "red")
        if not self.pace.begun:
            head.append("  waiting for the first worker")
        lines = [head, Text(self._whole(running))]
        if self.best:
            lines.append(Text(f"best so far: {printable(self.best)}"))
        room = max(1, self.console.height - LINES_BESIDE_RUNS)
        lines += [Text(line) for line in self._rows(running[:room])]
        if len(running) > room:
            lines.append(Text(f"  and {len(running) - room} more under way"))
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        return Group(*lines)

    def _whole(self, running: list[Running]) -> str:
        """Return the line of the sweep as a whole: a bar where its end is known, and its times."""
        if self.grows or not self.total:
            return self._times()
        share = (self.done + sum(run.share for run in running)) / self.total
        return f"{self._bar(share, BAR)} {100 * share:3.0f} %  {self._times()}"

    def _rows(self, running: list[Running]) -> list[str]:
        """Return a line for each run under way, in columns; a long label gives way."""
        counts = [f"{run.iteration}/{run.iterations}" for run in running]
        mious = ["" if run.miou is None else f"  val/miou {run.miou:.4f}" for run in running]
        longest = max(map(len, counts), default=0)
        tails = [
            f"  {self._bar(run.share, BAR_OF_A_RUN)}  {count:>{longest}}{miou}"
            for run, count, miou in zip(running, counts, mious, strict=True)
        ]
        room = self.console.width - 2 - max(map(len, tails), default=0)
        width = min(max(0, room), max((len(run.label) for run in running), default=0))
        return [
            f"  {_shortened(run.label, width):<{width}}{tail}"
            for run, tail in zip(running, tails, strict=True)
        ]

    def _bar(self, share: float, columns: int) -> str:
        columns //= 2 if self.console.width < NARROW else 1
        return ("━" * round(columns * min(1.0, share))).ljust(columns, "╌")

    def _counts(self) -> str:
        return f"{self.done}/{self.total}{'+' if self.grows else ''}"

    def _times(self) -> str:
        elapsed = f"{format_seconds(self.pace.clock() - self._began_s)} elapsed"
        waiting = self.total - self.done - len(self.running)
        if self.grows or not (waiting or self.running):
            return elapsed
        left_s = self.pace.left_s(list(self.running.values()), waiting, self.slots)
        return elapsed if left_s is None else f"{elapsed}, about {format_seconds(left_s)} left"


def _shortened(label: str, width: int) -> str:
    """Return a label that fits, cut in its middle: at its end stands what tells seeds apart."""
    if len(label) <= width:
        return label
    end = max(0, min(width - 2, 12))
    return f"{label[: max(0, width - end - 1)]}…{label[len(label) - end :]}"
