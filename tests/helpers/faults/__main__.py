"""Run the scenarios, print what became of each, and end with 1 if a verdict does not hold."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

from faults import clock, disk, kills, many, s3, stores, workers
from faults.bench import Bench
from faults.sweep import NotHereError, NotReachedError
from faults.verdict import Verdict

SCENARIOS: dict[str, Callable[[Bench], Verdict]] = {
    "driver-at-points": kills.at_points,
    "driver-at-random": kills.at_random,
    "worker-at-points": workers.killed_at_points,
    "worker-killed": workers.killed,
    "worker-stopped": workers.stopped,
    "worker-out-of-memory": workers.out_of_memory,
    "raylet-killed": workers.raylet_killed,
    "node-lost": workers.node_lost,
    "postgresql-killed": stores.postgres,
    "sqlite-locked": stores.sqlite_locked,
    "two-drivers": stores.two_drivers,
    "s3": s3.s3,
    "disk-full": disk.full,
    "clock-set-back": clock.set_back,
    "many-trials": many.short_trials,
}


def main() -> int:
    """Run what the command line asks for and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--kills", type=int, default=40, help="of the driver at random times")
    parser.add_argument("--seed", type=int, default=0, help="of these times")
    parser.add_argument("--only", choices=SCENARIOS, nargs="+", help="these scenarios alone")
    parser.add_argument("--short", action="store_true", help="a few kills and points")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    options = parser.parse_args()
    if options.list:
        for name, scenario in SCENARIOS.items():
            print(f"{name:<18} {(scenario.__doc__ or '').splitlines()[0]}")
        return 0
    warnings.filterwarnings("ignore", "The ``noload`` loader strategy is deprecated")
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    bench = Bench(folder=folder, kills=options.kills, seed=options.seed, short=options.short)
    total = Verdict(name="in all")
    for name in options.only or SCENARIOS:
        try:
            verdict = _verdict(name, bench)
        except NotHereError as error:
            print(f"{name:<18} left out: {error}", flush=True)
            continue
        print(verdict.describe(), flush=True)
        total += verdict
    print(total.describe())
    if total.holds:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"the folders are kept: {folder}")
    return 0 if total.holds else 1


def _verdict(name: str, bench: Bench) -> Verdict:
    begun = time.monotonic()
    try:
        return SCENARIOS[name](bench)
    except NotReachedError as error:
        return Verdict(name=name, wrong=(str(error),), seconds=time.monotonic() - begun)


if __name__ == "__main__":
    sys.exit(main())
