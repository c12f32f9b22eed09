"""What a person sees of a running sweep: a live display, or one line per finished training run."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from trainable.storage.redaction import printable


@dataclass
class Running:
    """A training run under way.

    Attributes:
        label: The values of the run on the sweep's axes, and its seed.
        iterations: How many iterations the run trains in all.
        iteration: How many iterations it has trained.
        miou: The mIoU of its last validation, from 0 to 1; None before the first.
    """

    label: str
    iterations: int
    iteration: int = 0
    miou: float | None = None


@dataclass
class LiveDisplay:
    """Shows how many runs are done, those under way, the best so far and the time left.

    On a terminal the display is live; elsewhere each run that ends gives one line.

    Attributes:
        console: The console to show it on.
        title: The name of the sweep and of its data set.
        total: How many training runs there are as far as known, those done before included.
        done: How many training runs have ended.
        slots: How many training runs are under way at a time, from which the time left follows.
        grows: Whether the sweep adds further runs, which depend on how the first ones end.
        running: The runs under way, by their training key.
        best: The highest mIoU of averaged weights so far, from 0 to 1, and the label of its run.
        failed: How many training runs ended without numbers.
    """

    console: Console
    title: str
    total: int
    done: int
    slots: int = 1
    grows: bool = False
    running: dict[str, Running] = field(default_factory=dict)
    best: tuple[float, str] | None = None
    failed: int = 0
    _run_s: list[float] = field(default_factory=list)
    _live: Live | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(
                get_renderable=self.render, console=self.console, refresh_per_second=2
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def started(self, key: str, label: str, iterations: int) -> None:
        """Show that a run starts."""
        self.running[key] = Running(label=label, iterations=iterations)

    def progressed(self, key: str, iteration: int, miou: float | None) -> None:
        """Show how far a run is."""
        self.running[key].iteration = iteration
        self.running[key].miou = miou

    def finished(self, key: str, val_miou: float, swa_miou: float, busy_s: float) -> None:
        """Show that a run has finished.

        Args:
            key: The training key of the run.
            val_miou: The mIoU of its raw weights, from 0 to 1.
            swa_miou: The mIoU of its best readout, from 0 to 1.
            busy_s: How many seconds a worker was busy with it.
        """
        run = self.running.pop(key)
        self.done += 1
        self._run_s.append(busy_s)
        if self.best is None or swa_miou > self.best[0]:
            self.best = (swa_miou, run.label)
        self._line(
            f"[{self._counts()}] {run.label}: val/miou {val_miou:.4f} "
            f"swa/miou {swa_miou:.4f} ({busy_s:.1f} s)"
        )

    def ended_without_numbers(self, key: str, cause: str) -> None:
        """Show that a run failed or diverged, and why."""
        run = self.running.pop(key)
        self.done += 1
        self.failed += 1
        self._line(f"[{self._counts()}] {run.label}: FAILED: {cause}")

    def stopped(self, key: str, reason: str) -> None:
        """Show that the sweep stopped a run early, and why."""
        run = self.running.pop(key)
        self.done += 1
        self._line(f"[{self._counts()}] {run.label}: {reason}")

    def note(self, text: str) -> None:
        """Print a line that is not about one run."""
        self.console.print(Text(printable(text)), soft_wrap=True)

    def _line(self, text: str) -> None:
        if self._live is None:
            self.note(text)

    def render(self) -> RenderableType:
        """Return what the live display shows now."""
        head = Text.assemble(
            (self.title, "bold"), f"  {self._counts()} training runs", self._time_left()
        )
        if self.failed:
            head.append(f"  {self.failed} failed", "red")
        table = Table(box=None, show_header=False, padding=(0, 2))
        for run in self.running.values():
            share = run.iteration / run.iterations
            bar = ("━" * round(20 * share)).ljust(20, "╌")
            miou = "" if run.miou is None else f"val/miou {run.miou:.4f}"
            table.add_row(run.label, bar, f"{run.iteration}/{run.iterations}", miou)
        parts: list[RenderableType] = [head, table]
        if self.best is not None:
            parts.append(Text(f"best so far: swa/miou {self.best[0]:.4f} at {self.best[1]}"))
        return Group(*parts)

    def _counts(self) -> str:
        return f"{self.done}/{self.total}{'+' if self.grows else ''}"

    def _time_left(self) -> str:
        if not self._run_s or self.grows:
            return ""
        begun = sum(run.iteration / run.iterations for run in self.running.values())
        left_runs = self.total - self.done - begun
        left_s = left_runs * sum(self._run_s) / len(self._run_s) / self.slots
        minutes, seconds = divmod(round(max(0.0, left_s)), 60)
        return f"  about {minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d} left"
