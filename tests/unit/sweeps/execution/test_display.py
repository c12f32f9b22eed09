"""What a person sees: one line per finished run in a file, a live screen on a terminal."""

from __future__ import annotations

import io
import os
import pty
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from rich.console import Console

from sweeps.driver.console import open_console
from sweeps.execution.display import LiveDisplay, shows_live
from sweeps.execution.notebook import CellOutput, in_notebook
from sweeps.execution.progress import ExecutionStats, Pace


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Screen:
    """A display on a console of some width, with a clock to move."""

    def __init__(self, *, live: bool, width: int = 100, height: int = 25, **fields: object) -> None:
        self.clock = Clock()
        console = Console(
            file=io.StringIO(), force_terminal=live, width=width, height=height, color_system=None
        )
        given: dict[str, object] = {"title": "sweep", "total": 4, "done": 0} | fields
        self.shown = LiveDisplay(
            console=console,
            live=live,
            pace=Pace(self.clock),
            **given,  # type: ignore[arg-type]
        )

    def wait(self, seconds: float) -> None:
        self.clock.now += seconds

    @property
    def printed(self) -> str:
        assert isinstance(self.shown.console.file, io.StringIO)
        return self.shown.console.file.getvalue()

    @property
    def lines(self) -> list[str]:
        with self.shown.console.capture() as captured:
            self.shown.console.print(self.shown.render())
        return [line.rstrip() for line in captured.get().splitlines()]


def test_without_a_terminal_each_finished_run_is_one_line_with_its_numbers_and_the_time() -> None:
    screen = Screen(live=False, total=4, done=1)
    with screen.shown as shown:
        for key in ("a", "b"):
            shown.started(key, f"lambda_adv=0.01 seed={key}", 240)
            screen.wait(1)
            shown.progressed(key, 120, 0.25)
        assert screen.printed == ""
        screen.wait(6)
        shown.finished("b", 0.51239, 0.61, 7.04)
        shown.ended_without_numbers("a", "train/loss_adv is nan [1/2]")
    # 120 iterations took 6 s: what is under way takes 6 s more, and another run 12 s and its start.
    assert screen.printed.splitlines() == [
        "[2/4] lambda_adv=0.01 seed=b: val/miou 0.5124 swa/miou 0.6100 (7.0 s); "
        "00:00:08 elapsed, about 00:00:13 left",
        "[3/4] lambda_adv=0.01 seed=a: FAILED: train/loss_adv is nan [1/2]; "
        "00:00:08 elapsed, about 00:00:13 left",
    ]


def test_a_long_run_says_how_far_it_is_after_a_minute_and_then_seldom() -> None:
    screen = Screen(live=False, total=2)
    screen.shown.started("a", "lambda_adv=0", 1000)
    for _ in range(1300):
        screen.wait(1)
        screen.shown.progressed("a", min(999, int(screen.clock.now) - 1000), None)
    minutes = [line.partition("; ")[2][:8] for line in screen.printed.splitlines()]
    assert minutes == ["00:01:00", "00:11:00", "00:21:00"]
    assert screen.printed.startswith("[0/2] 1 under way; 00:01:00 elapsed, about 00:32:21 left\n")


def test_a_long_line_is_not_broken() -> None:
    screen = Screen(live=False)
    screen.shown.started("a", "x" * 300, 1)
    screen.shown.finished("a", 0.5, 0.5, 1.0)
    assert screen.printed.count("\n") == 1


def test_on_a_terminal_the_screen_says_how_far_all_and_each_run_are() -> None:
    screen = Screen(live=True, total=4, done=1)
    screen.shown.started("a", "lambda_adv=0", 240)
    screen.shown.started("b", "lambda_adv=0.1", 200)
    screen.shown.progressed("b", 50, 0.4321)
    screen.wait(65)
    head, whole, first, second = screen.lines
    assert head.split() == ["sweep", "1/4", "training", "runs"]
    # One of four, and a quarter of another: 31 % of 30 columns.
    assert whole.split() == ["━" * 9 + "╌" * 21, "31", "%", "00:01:05", "elapsed"]
    assert first.split() == ["lambda_adv=0", "╌" * 20, "0/240"]
    assert second.split() == ["lambda_adv=0.1", "━" * 5 + "╌" * 15, "50/200", "val/miou", "0.4321"]


def test_before_a_worker_has_begun_it_is_said_what_is_waited_for() -> None:
    screen = Screen(live=True)
    assert screen.lines[0] == "sweep  0/4 training runs  waiting for the first worker"
    screen.shown.started("a", "lambda_adv=0", 240)
    assert "waiting" not in screen.lines[0]


def test_the_time_left_follows_from_the_first_iterations_slots_and_runs_left() -> None:
    """Two runs of ten iterations, a second each: 8 s and 6 s to go, then 5 others in two slots."""
    screen = Screen(live=True, total=7, slots=2)
    for key in "ab":
        screen.shown.started(key, key, 10)
        screen.shown.progressed(key, 0, None)
    assert "left" not in screen.lines[1]
    screen.wait(2)
    screen.shown.progressed("a", 2, None)
    screen.wait(2)
    screen.shown.progressed("b", 4, None)
    # a has 8 s less the 2 s since its report, b 6 s; 5 runs of 10 s on two slots: 6 + 3 x 10 s.
    assert screen.lines[1].endswith("00:00:04 elapsed, about 00:00:36 left")
    screen.wait(3)  # no report, but time goes on
    assert screen.lines[1].endswith("00:00:07 elapsed, about 00:00:33 left")


def test_what_was_trained_before_counts_for_no_speed() -> None:
    screen = Screen(live=True, total=1)
    screen.shown.started("a", "resumed", 1000)
    screen.wait(5)
    screen.shown.progressed("a", 900, None)
    screen.wait(10)
    screen.shown.progressed("a", 910, None)
    assert screen.lines[1].endswith("about 00:01:30 left")


def test_validation_at_the_end_of_a_run_counts() -> None:
    screen = Screen(live=True, total=2)
    screen.shown.started("a", "a", 10)
    screen.shown.progressed("a", 0, None)
    screen.wait(10)
    screen.shown.progressed("a", 10, None)
    assert screen.lines[1].endswith("about 00:00:10 left")
    screen.wait(20)
    screen.shown.finished("a", 0.5, 0.5, 30.0)
    assert screen.lines[1].endswith("about 00:00:30 left")


def test_a_sweep_that_grows_has_no_end_that_is_known() -> None:
    screen = Screen(live=True, grows=True)
    screen.shown.started("a", "a", 10)
    screen.shown.progressed("a", 0, None)
    screen.wait(5)
    screen.shown.progressed("a", 5, None)
    assert screen.lines[0] == "sweep  0/4+ training runs"
    assert screen.lines[1] == "00:00:05 elapsed"


def test_time_left_can_be_longer_than_a_day() -> None:
    screen = Screen(live=True, total=2)
    screen.shown.started("a", "a", 10)
    screen.shown.progressed("a", 0, None)
    screen.wait(90_000)  # 25 hours
    screen.shown.finished("a", 0.5, 0.5, 90_000.0)
    assert screen.lines[1].endswith("1 d 01:00:00 elapsed, about 1 d 01:00:00 left")


LONG = "adversarial=pixelwise discriminator_width=64 generator=deeplab_resnet101 seed=12"


@pytest.mark.parametrize("width", [40, 80, 120])
def test_every_line_fits_the_terminal_and_a_cut_label_keeps_its_seed(width: int) -> None:
    screen = Screen(
        live=True,
        width=width,
        title="my-question-with-a-long-name on segtrackv2",
        total=1234,
        done=1000,
        best=f"swa/miou 0.7000 over 3 seeds at {LONG}",
        failed=3,
    )
    for key in "ab":
        screen.shown.started(key, f"{LONG}{key}", 40000)
        screen.shown.progressed(key, 20000, 0.25)
    screen.wait(100_000)
    screen.shown.progressed("a", 20010, 0.25)
    lines = screen.lines
    assert max(map(len, lines)) <= width
    assert len(lines) == 5
    if width >= 80:
        assert lines[-1].endswith("20000/40000  val/miou 0.2500")
        assert lines[1].endswith("left")
        assert "seed=12b" in lines[-1]


def test_more_runs_than_the_terminal_has_lines_are_counted() -> None:
    screen = Screen(live=True, height=12, total=64)
    for key in range(20):
        screen.shown.started(str(key), f"seed={key}", 10)
    assert len(screen.lines) == 10
    assert screen.lines[-1] == "  and 13 more under way"


def test_the_best_so_far_is_asked_for_when_a_run_has_ended_and_not_too_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, now, costs = [], [0.0], 1.0

    def find() -> str:
        asked.append(now[0])
        now[0] += costs
        return f"answer {len(asked)}"

    monkeypatch.setattr("sweeps.execution.display.time.monotonic", lambda: now[0])
    screen = Screen(live=True, total=99, find_best=find)
    with screen.shown as shown:
        for key in range(40):
            now[0] += 1
            shown.started(str(key), "a", 1)
            shown.finished(str(key), 0.5, 0.5, 1.0)
            assert shown.best == f"answer {len(asked)}"
    assert asked == [0.0, 21.0, 42.0]  # 20 times as long as it takes


def test_without_a_terminal_no_best_is_looked_for() -> None:
    screen = Screen(live=False, find_best=lambda: pytest.fail("asked"))
    with screen.shown as shown:
        shown.started("a", "a", 1)
        shown.finished("a", 0.5, 0.5, 1.0)


def test_failed_runs_are_counted_apart() -> None:
    screen = Screen(live=True, total=3)
    assert "failed" not in screen.lines[0]
    screen.shown.started("a", "a", 10)
    screen.shown.ended_without_numbers("a", "diverged")
    assert screen.lines[0] == "sweep  1/3 training runs  1 failed"


def test_on_a_terminal_the_live_screen_stands_instead_of_lines() -> None:
    screen = Screen(live=True, total=1, find_best=lambda: "swa/miou 0.6250 over 1 seed")
    with screen.shown as shown:
        shown.started("a", "lambda_adv=0", 10)
        shown.finished("a", 0.5, 0.625, 1.0)
        assert "(1.0 s)" not in screen.printed
    assert "1/1 training runs" in screen.printed
    assert "best so far: swa/miou 0.6250 over 1 seed" in screen.printed


def test_a_note_stands_as_it_is() -> None:
    screen = Screen(live=False)
    screen.shown.note("[red]no markup[/red] :smile:")
    assert screen.printed == "[red]no markup[/red] :smile:\n"


@contextmanager
def terminal() -> Iterator[io.TextIOWrapper]:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as stream:
        yield stream
    os.close(ours)


@pytest.mark.parametrize(
    ("settings", "live"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, True),
        ({"FORCE_COLOR": "1"}, True),
        ({"TERM": "dumb"}, False),
        ({"TERM": "unknown", "FORCE_COLOR": "1"}, False),
    ],
)
def test_a_terminal_that_can_move_its_cursor_shows_what_changes(
    settings: dict[str, str], live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm"} | settings).items():
        monkeypatch.setenv(name, value)
    with terminal() as stream:
        monkeypatch.setattr("sys.stdout", stream)
        assert shows_live(open_console(stderr=False)) == live


@pytest.mark.parametrize("forced", [False, True])
def test_a_file_gets_lines_whatever_the_environment_says(
    forced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if forced:
        monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout", io.StringIO())
    assert not shows_live(open_console(stderr=False))


def test_a_notebook_gets_lines() -> None:
    assert not shows_live(Console(force_jupyter=True))


def test_utilisation_is_the_share_of_the_slots_time() -> None:
    assert ExecutionStats(busy_s=30, wall_s=20, slots=2).utilisation == 0.75
    assert ExecutionStats().utilisation == 0.0


class Cell:
    """The output of a cell: what it showed, one after another."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def display(self, content: dict[str, str], *, raw: bool, display_id: bool) -> Cell:
        assert raw
        assert display_id
        self.shown.append(content["text/plain"])
        return self

    def update(self, content: dict[str, str], *, raw: bool) -> None:
        self.shown.append(content["text/plain"])


def test_in_a_notebook_one_output_of_the_cell_changes_as_it_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cell = Cell()
    monkeypatch.setattr("IPython.display.display", cell.display)
    monkeypatch.setattr("sweeps.execution.display.in_notebook", lambda: True)
    monkeypatch.setattr("sweeps.execution.notebook.EVERY_S", 0.0)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a kernel does
    bests = iter(("", "width=4", "width=8"))
    screen = Screen(live=True, find_best=lambda: next(bests))
    with screen.shown as shown:
        shown.started("a", "width=8 seed=0", 10)
        shown.progressed("a", 5, 0.25)
        shown.finished("a", 0.4, 0.5, busy_s=9)
    assert screen.printed == ""
    assert "0/4 training runs" in cell.shown[0]
    assert "width=8 seed=0" in cell.shown[2]
    assert "5/10  val/miou 0.2500" in cell.shown[2]
    assert "1/4 training runs" in cell.shown[-1]
    assert "best so far: width=8" in cell.shown[-1]
    assert "\x1b" not in "".join(cell.shown)
    assert all(len(line) <= 100 for text in cell.shown for line in text.splitlines())


def test_a_cell_is_not_drawn_more_often_than_an_eye_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    cell, clock = Cell(), Clock()
    monkeypatch.setattr("IPython.display.display", cell.display)
    output = CellOutput(lambda: f"at {clock.now}", clock)
    output.start()
    for _ in range(3):
        clock.now += 0.25
        output.refresh()
    output.stop()
    assert cell.shown == ["at 1000.0", "at 1000.5", "at 1000.75"]


def test_a_kernel_is_known_by_its_shell_and_a_quiet_one_shows_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not in_notebook()
    kernel = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=object()))
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a kernel does
    assert in_notebook()
    console = open_console()
    assert (console.is_terminal, console.width) == (False, 100)
    assert shows_live(open_console(stderr=False))
    assert not shows_live(open_console(stderr=False, quiet=True))
    shell = SimpleNamespace(get_ipython=SimpleNamespace)  # in a terminal
    monkeypatch.setitem(sys.modules, "IPython", shell)
    assert not in_notebook()
