"""The record's database goes away and comes back, and two drivers ask the same at once."""

from __future__ import annotations

import sqlite3
import time

from servers import POSTGRES, Postgres

from faults.bench import Bench
from faults.sweep import GRID, NotHereError, wait_for
from faults.verdict import Verdict
from faults.workers import results


def postgres(bench: Bench) -> Verdict:
    """Kill PostgreSQL half-way and start it again: soon, and after the sweep's end."""
    total = Verdict(name="PostgreSQL killed")
    if not POSTGRES.is_dir():
        raise NotHereError("needs Debian's postgresql-15")
    for soon in (True,) if bench.short else (True, False):
        with Postgres() as server:
            total += _killed(bench, total.name, server, soon=soon)
    return total


def _killed(bench: Bench, name: str, server: Postgres, *, soon: bool) -> Verdict:
    sweep, begun = bench.sweep(GRID, tracking_uri=server.uri), time.monotonic()
    driver = sweep.start()
    wait_for("two results", lambda: len(results(sweep)) >= 2, driver)
    server.kill()
    sweep.kills += 1
    if soon:
        wait_for("four results", lambda: len(results(sweep)) >= 4, driver)
        server.start()
    code = sweep.wait(driver)
    if not soon:
        server.start()
        code = code or sweep.finish()
    return bench.ended(name, sweep, begun, code)


def sqlite_locked(bench: Bench) -> Verdict:
    """Hold the lock of the SQLite file for a minute; the same command catches up."""
    sweep, begun = bench.sweep(GRID), time.monotonic()
    driver = sweep.start()
    wait_for("a result", lambda: results(sweep), driver)
    with sqlite3.connect(sweep.folder / "mlflow.db", timeout=60, isolation_level=None) as file:
        file.execute("BEGIN EXCLUSIVE")
        sweep.kills += 1
        time.sleep(25 if bench.short else 60)
        file.execute("ROLLBACK")
    file.close()
    code = sweep.wait(driver)
    return bench.ended("SQLite locked", sweep, begun, code or sweep.finish())


def two_drivers(bench: Bench) -> Verdict:
    """Start the same command twice at once: one trains, the other does not do it again."""
    sweep, begun = bench.sweep(GRID), time.monotonic()
    drivers = [sweep.start(), sweep.start()]
    codes = sorted(sweep.wait(driver) for driver in drivers)
    sweep.kills += 1
    wrong = () if codes in ([0, 0], [0, 2]) else (f"exit codes {codes}",)
    verdict = bench.end("two drivers", sweep, begun, *wrong)
    if verdict.redone:
        verdict += Verdict(name="", wrong=("iterations were trained by both",))
    return verdict
