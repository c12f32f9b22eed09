"""What a person sees: one line per finished run in a file, a live screen on a terminal."""

import io

from rich.console import Console

from sweeps.execution.display import LiveDisplay
from sweeps.execution.progress import ExecutionStats


def screen(*, terminal: bool, total: int = 4, done: int = 0, slots: int = 1) -> LiveDisplay:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=100, color_system=None)
    return LiveDisplay(console=console, title="sweep", total=total, done=done, slots=slots)


def printed(shown: LiveDisplay) -> str:
    assert isinstance(shown.console.file, io.StringIO)
    return shown.console.file.getvalue()


def rendered(shown: LiveDisplay) -> str:
    with shown.console.capture() as captured:
        shown.console.print(shown.render())
    return captured.get()


def test_without_a_terminal_each_finished_run_is_one_line_with_its_numbers() -> None:
    shown = screen(terminal=False, total=3, done=1)
    with shown:
        for key in ("a", "b"):
            shown.started(key, f"lambda_adv=0.01 seed={key}", 240)
            shown.progressed(key, 120, 0.25)
        assert printed(shown) == ""
        shown.finished("b", 0.51239, 0.61, 7.04)
        shown.ended_without_numbers("a", "train/loss_adv is nan [1/2]")
    assert printed(shown).splitlines() == [
        "[2/3] lambda_adv=0.01 seed=b: val/miou 0.5124 swa/miou 0.6100 (7.0 s)",
        "[3/3] lambda_adv=0.01 seed=a: FAILED: train/loss_adv is nan [1/2]",
    ]


def test_a_long_line_is_not_broken() -> None:
    shown = screen(terminal=False)
    shown.started("a", "x" * 300, 1)
    shown.finished("a", 0.5, 0.5, 1.0)
    assert printed(shown).count("\n") == 1


def test_on_a_terminal_the_screen_says_how_far_each_run_is() -> None:
    shown = screen(terminal=True, total=4, done=1)
    shown.started("a", "lambda_adv=0", 240)
    shown.started("b", "lambda_adv=0.1", 200)
    shown.progressed("b", 50, 0.4321)
    head, first, second = rendered(shown).splitlines()
    assert head.split() == ["sweep", "1/4", "training", "runs"]
    assert first.split() == ["lambda_adv=0", "╌" * 20, "0/240"]
    assert second.split() == ["lambda_adv=0.1", "━" * 5 + "╌" * 15, "50/200", "val/miou", "0.4321"]


def test_the_best_so_far_is_the_highest_average_and_finished_runs_leave_the_screen() -> None:
    shown = screen(terminal=True)
    for key, val, swa in (("a", 0.9, 0.5), ("b", 0.1, 0.7), ("c", 0.8, 0.6)):
        shown.started(key, f"run {key}", 10)
        shown.finished(key, val, swa, 1.0)
    assert rendered(shown).splitlines()[-1] == "best so far: swa/miou 0.7000 at run b"
    assert "3/4" in rendered(shown)
    assert not any(f"run {key}" in rendered(shown) for key in "ac")


def test_time_left_counts_what_is_begun_and_what_goes_on_side_by_side() -> None:
    """Mean 100 s a run; of four left, one is half done: 3.5 runs in two slots take 175 s."""
    shown = screen(terminal=True, total=6, slots=2)
    assert "left" not in rendered(shown)
    for key, busy_s in (("a", 80.0), ("b", 120.0)):
        shown.started(key, key, 10)
        shown.finished(key, 0.5, 0.5, busy_s)
    shown.started("c", "c", 10)
    shown.progressed("c", 5, None)
    assert "about 00:02:55 left" in rendered(shown)


def test_time_left_can_be_longer_than_a_day() -> None:
    shown = screen(terminal=True, total=2)
    shown.started("a", "a", 10)
    shown.finished("a", 0.5, 0.5, 90_000.0)  # 25 hours
    assert "about 01:00:00 left" not in rendered(shown)


def test_failed_runs_are_counted_apart_and_are_no_best() -> None:
    shown = screen(terminal=True, total=3)
    assert "failed" not in rendered(shown)
    shown.started("a", "a", 10)
    shown.ended_without_numbers("a", "diverged")
    assert "1/3 training runs  1 failed" in rendered(shown)
    assert "best" not in rendered(shown)


def test_on_a_terminal_the_live_screen_stands_instead_of_lines() -> None:
    shown = screen(terminal=True, total=1)
    with shown:
        shown.started("a", "lambda_adv=0", 10)
        shown.finished("a", 0.5, 0.625, 1.0)
        assert "swa/miou 0.6250 (1.0 s)" not in printed(shown)
    assert "1/1 training runs" in printed(shown)
    assert "best so far: swa/miou 0.6250 at lambda_adv=0" in printed(shown)


def test_a_note_stands_as_it_is() -> None:
    shown = screen(terminal=False)
    shown.note("[red]no markup[/red] :smile:")
    assert printed(shown) == "[red]no markup[/red] :smile:\n"


def test_utilisation_is_the_share_of_the_slots_time() -> None:
    assert ExecutionStats(busy_s=30, wall_s=20, slots=2).utilisation == 0.75
    assert ExecutionStats().utilisation == 0.0
