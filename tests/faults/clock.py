"""The wall clock is set back while a sweep goes on."""

from __future__ import annotations

import time

from faults.bench import Bench
from faults.sweep import GRID
from faults.verdict import Verdict

HOUR = 3600


def set_back(bench: Bench) -> Verdict:
    """Set the clock back by an hour half-way: no record ends before it began."""
    takes_s = bench.takes_s(GRID)
    total = Verdict(name="clock set back")
    for share in (0.6,) if bench.short else (0.4, 0.5, 0.6, 0.8):
        sweep, begun = bench.sweep(GRID), time.monotonic()
        at = time.monotonic() + share * takes_s
        code = sweep.finish(FAULTS_CLOCK=f"{at}:{-HOUR}")
        sweep.kills += 1
        total += bench.ended(total.name, sweep, begun, code)
    return total
