"""The wall clock is set back while a sweep runs."""

from __future__ import annotations

import time

from faults.bench import Bench
from faults.sweep import GRID, wait_for
from faults.verdict import Verdict
from faults.workers import results

HOUR_S = 3600


def set_back(bench: Bench) -> Verdict:
    """Set the clock back by an hour half-way: no record ends before it began."""
    total = Verdict(name="clock set back")
    for after in (0,) if bench.short else (0, 1, 4, 9):
        total += _set_back(bench, total.name, after)
    return total


def _set_back(bench: Bench, name: str, after: int) -> Verdict:
    """Set the clock back when so many results, and a checkpoint, are there."""
    sweep, begun = bench.sweep(GRID), time.monotonic()
    driver = sweep.start(FAULTS_CLOCK=str(HOUR_S))
    wait_for("a checkpoint", lambda: list(sweep.folder.glob("runs/*/checkpoint-*.pt")), driver)
    wait_for("results", lambda: len(results(sweep)) >= after, driver)
    (sweep.notes / "clock").touch()
    sweep.kills += 1
    return bench.ended(name, sweep, begun, sweep.wait(driver))
