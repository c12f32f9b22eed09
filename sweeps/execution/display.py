"""What a person sees of a running sweep: a live screen, or one line per finished training run."""

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
    """A training run under way."""

    label: str
    iterations: int
    iteration: int = 0
    miou: float | None = None


@dataclass
class LiveDisplay:
    """Shows done and total, the running trials, the best so far and the time left.

    On a terminal the screen is live; elsewhere each finished or failed run gives one line.

    Attributes:
        console: Where to show it.
        title: Name of the sweep and of its data set.
        total: Training runs in all, as far as known, those done before included.
        done: Training runs done.
        slots: Training runs at a time, from which the time left follows.
        grows: Whether further runs follow from what the first ones give.
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
        """Show a run that starts."""
        self.running[key] = Running(label=label, iterations=iterations)

    def progressed(self, key: str, iteration: int, miou: float | None) -> None:
        """Show how far a run is."""
        self.running[key].iteration = iteration
        self.running[key].miou = miou

    def finished(self, key: str, val_miou: float, swa_miou: float, busy_s: float) -> None:
        """Show a run that has its numbers, as fractions; `busy_s` is what it took.

        Of several readouts, `swa_miou` is the best one's.
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
        """Show a run that failed or diverged."""
        run = self.running.pop(key)
        self.done += 1
        self.failed += 1
        self._line(f"[{self._counts()}] {run.label}: FAILED: {cause}")

    def stopped(self, key: str, reason: str) -> None:
        """Show a run of which the sweep wants no more."""
        run = self.running.pop(key)
        self.done += 1
        self._line(f"[{self._counts()}] {run.label}: {reason}")

    def note(self, text: str) -> None:
        """Say something beside the runs."""
        self.console.print(Text(printable(text)), soft_wrap=True)

    def _line(self, text: str) -> None:
        if self._live is None:
            self.note(text)

    def render(self) -> RenderableType:
        """Return the live screen as it stands now."""
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
