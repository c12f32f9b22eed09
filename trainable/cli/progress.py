"""One training run before a person's eyes: a live screen or a line per row, and Ctrl-C."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from trainable.cli.durations import format_seconds
from trainable.cli.options import signals_handled
from trainable.runs.training_run import TrainingRun
from trainable.training.trainer import Trainer

if TYPE_CHECKING:
    from rich.console import RenderableType

BAR = 30  # characters


def train_to_end(run: TrainingRun, *, where: str) -> None:
    """Train to the end, showing how far it is, and let an interrupt wait for whole iterations.

    Args:
        run: The training run.
        where: The words that tell where it is written, shown in the title.

    Raises:
        KeyboardInterrupt: SIGINT, SIGTERM or SIGHUP came, and the run was saved at a recorded
            iteration; the same came again, and it was not.
        NonFiniteLossError: The run diverged.
        BrokenPipeError: Standard error was closed, and the run was saved.
    """
    if run.found:
        return
    config = run.spec.config
    title = (
        f"{config.generator} on {config.dataset}, adversarial={config.adversarial} "
        f"lambda_adv={config.lambda_adv:g} seed={config.seed}, {where}"
    )
    with Progress(run.trainer, title) as progress, _interrupts_noted(progress):
        while True:
            run.advance()
            try:
                progress.update()
            except BrokenPipeError:  # nobody reads on
                run.save()
                raise
            if run.complete:
                break
            if progress.stopping:
                run.save()
                raise KeyboardInterrupt


@contextmanager
def _interrupts_noted(progress: Progress) -> Iterator[None]:
    """Let the first signal wait for whole iterations; the same one again does not wait."""
    first: list[int] = []

    def note(number: int) -> None:
        if number in first:
            raise KeyboardInterrupt
        first.append(number)
        progress.stopping = True

    with signals_handled(note, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        yield


class Progress:
    """Shows on standard error how far a training run is; a terminal shows it live.

    Args:
        trainer: The trainer of the run, before it starts or resumes.
        title: The run in words.
    """

    def __init__(self, trainer: Trainer, title: str) -> None:
        self.trainer = trainer
        self.title = title
        self.stopping = False
        self._latest: dict[str, float] = {}
        self._begun = self._reached = (trainer.iteration, trainer.train_s, time.monotonic())
        self._stack = ExitStack()
        self._is_live = sys.stderr.isatty()

    def __enter__(self) -> Self:
        if self._is_live:
            from rich.console import Console
            from rich.live import Live

            console = Console(stderr=True, highlight=False)
            live = Live(get_renderable=self.render, console=console, refresh_per_second=2)
            self._stack.enter_context(live)
        else:
            print(self.title, file=sys.stderr)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def update(self) -> None:
        """Show the row that the trainer recorded last, unless it is shown already."""
        if self.trainer.iteration == self._reached[0]:
            return
        self._reached = (self.trainer.iteration, self.trainer.train_s, time.monotonic())
        row = self.trainer.history[-1]
        self._latest |= row
        if not self._is_live:
            count = f"{self.trainer.iteration}/{self.trainer.config.iterations}"
            print(f"iteration {count}  {_format_row(row)}  {self._speed()}", file=sys.stderr)

    def render(self) -> RenderableType:
        """Return the live screen for the state of training now."""
        from rich.console import Group
        from rich.text import Text

        trainer, iterations = self.trainer, self.trainer.config.iterations
        bar = ("━" * (BAR * trainer.iteration // iterations)).ljust(BAR, "╌")
        lines = [
            Text(self.title, "bold"),
            Text(f"{bar}  {trainer.iteration}/{iterations}  {self._speed()}{self._time_left()}"),
            Text(_format_row(self._latest)),
        ]
        if self.stopping:
            lines.append(Text("stops at the next recorded iteration; Ctrl-C again stops at once"))
        return Group(*lines)

    def _speed(self) -> str:
        done, train_s, _ = self._since_begun()
        return f"{done * self.trainer.config.batch_size / train_s:.1f} images/s" if done else ""

    def _time_left(self) -> str:
        """Return the time left in words, validations included, at the speed so far."""
        done, _, wall_s = self._since_begun()
        left = self.trainer.config.iterations - self._reached[0]
        if not done or not left:
            return ""
        since_row = time.monotonic() - self._reached[2]
        return f"  about {format_seconds(left * wall_s / done - since_row)} left"

    def _since_begun(self) -> tuple[float, float, float]:
        """Return iterations, seconds of training and seconds by the clock, to the last row."""
        done, train_s, wall_s = (b - a for a, b in zip(self._begun, self._reached, strict=True))
        return done, train_s, wall_s


def _format_row(row: dict[str, float]) -> str:
    return "  ".join(
        f"{name.removeprefix('train/')} {value:.4f}"
        for name, value in row.items()
        if name.startswith(("train/", "val/"))
    )
