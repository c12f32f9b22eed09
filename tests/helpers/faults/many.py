"""Hundreds of short trials: what the driver holds stays flat."""

from __future__ import annotations

import dataclasses
import os
import time
from dataclasses import dataclass
from pathlib import Path

from faults.bench import Bench
from faults.sweep import GRID, descendants
from faults.verdict import Verdict, look
from faults.workers import results

SEEDS = 100  # of three settings
MB_A_TRIAL = 0.15  # Tune forgets none, and the plan keeps what came of each
MORE_FILES, MORE_PROCESSES = 8, 2


@dataclass(frozen=True)
class Held:
    """What a driver holds when so many results are there."""

    results: int
    mb: float
    files: int
    processes: int


def short_trials(bench: Bench) -> Verdict:
    """Train 300 short trials with flat memory, descriptors and processes."""
    seeds = SEEDS // 4 if bench.short else SEEDS
    options = ("--seeds", str(seeds), "--lambdas", "0", "0.01", "0.1", "--no-model")
    few = ("iterations=4", "log_every=4", "eval_every=4", "checkpoint_every=4")
    question = dataclasses.replace(GRID, options=options, overrides=(*GRID.overrides, *few))
    sweep, begun = bench.alone(question), time.monotonic()
    driver = sweep.start()
    samples: list[Held] = []
    while driver.poll() is None:
        samples.append(_held(driver.pid, len(results(sweep))))
        time.sleep(0.5)
    code = driver.wait()
    left = look(sweep)
    wrong = [*left.odd, *_growth(samples, 3 * seeds)]
    if code != 0:
        wrong.append(f"exit code {code}: {sweep.last_words()}")
    return Verdict(
        name="many trials",
        lost=3 * seeds - len(left.trials),
        doubled=len(left.doubled),
        wrong=tuple(wrong),
        redone=sweep.trained() - 3 * seeds * 4,
        iterations=sweep.trained(),
        seconds=time.monotonic() - begun,
    )


def _held(pid: int, done: int) -> Held:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        files = len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return Held(done, 0.0, 0, 0)
    kb = next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")), 0)
    return Held(done, kb / 1000, files, len(set(descendants(pid))))


def _growth(samples: list[Held], trials: int) -> list[str]:
    """Return what grew between a fifth of the trials and all but the last few."""
    at_work = [one for one in samples if trials / 5 <= one.results < 0.95 * trials]
    if len(at_work) < 2:
        return [f"only {len(at_work)} looks at a driver at work"]
    first, last = at_work[0], at_work[-1]
    allowed = Held(
        last.results,
        first.mb + MB_A_TRIAL * (last.results - first.results),
        first.files + MORE_FILES,
        first.processes + MORE_PROCESSES,
    )
    return [
        f"{name} grew from {getattr(first, name):g} at {first.results} results to "
        f"{getattr(last, name):g} at {last.results}"
        for name in ("mb", "files", "processes")
        if getattr(last, name) > getattr(allowed, name)
    ]
