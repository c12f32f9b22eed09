"""The disk is full: the command ends, and resumes when there is room."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from faults.bench import Bench
from faults.sweep import GRID, NotHereError, wait_for
from faults.verdict import Verdict
from faults.workers import results

SIZE = "64m"
ENDS = (0, 1, 2)  # 0: what did not fit was made up for before the end


def full(bench: Bench) -> Verdict:
    """Fill the disk of run folders and record half-way, and make room after the command ended."""
    total = Verdict(name="disk full")
    for after in (1,) if bench.short else (0, 1, 4):
        total += _full(bench, total.name, after)
    return total


def _full(bench: Bench, name: str, after: int) -> Verdict:
    """Fill the disk when so many results are there."""
    sweep, begun = bench.sweep(GRID), time.monotonic()
    with _small_disk(sweep.folder):
        driver = sweep.start()
        wait_for("results", lambda: len(results(sweep)) >= after, driver)
        wait_for("the record", (sweep.folder / "mlflow.db").exists, driver)
        filler = sweep.folder / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass
        sweep.kills += 1
        code = sweep.wait(driver)
        filler.unlink()
        wrong = () if code in ENDS else (f"exit code {code} with a full disk",)
        return bench.end(name, sweep, begun, *wrong)


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    if os.geteuid() != 0:
        raise NotHereError("needs root, to mount a small disk")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        raise NotHereError("needs the right to mount a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
