"""Measure what the trials under way cost the driver and the MLflow store while they are trained."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps.planning.live_trials import TO_BEGIN, LiveStep, LiveTrials
from sweeps.planning.plan import make_plan
from sweeps.planning.state import SweepState
from sweeps.record.publisher import Publisher
from trainable.cli.options import whole
from trainable.config.loading import load_config
from trainable.data import datasets


@dataclass(frozen=True, kw_only=True)
class RecordLoadOptions:
    """The options of `record`.

    Attributes:
        benchmark: The name of the benchmark.
        trials: How many trials are under way at a time.
        seconds: How long to measure.
    """

    benchmark: str
    trials: int
    seconds: int


class CountedTrials(LiveTrials):
    """Trials under way that count the requests made for them."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0

    def written(self, step: LiveStep, *, more: bool) -> None:
        """Note that a step is in the record, and count its requests."""
        self.requests += 1 if step.rows or step.load else TO_BEGIN
        super().written(step, more=more)


def add_record_load(subparsers: Any) -> None:
    """Add the subcommand to those of `sweeps.benchmark`."""
    parser = subparsers.add_parser("record", help="load of the record while trials are trained")
    parser.add_argument("--trials", type=whole(), default=64, metavar="N", help="default: 64")
    parser.add_argument("--seconds", type=whole(), default=60, metavar="S", help="default: 60")


def record_load(options: RecordLoadOptions) -> dict[str, Any]:
    """Return requests and processor seconds of the driver per second, without and with trials."""
    return {
        "seconds": options.seconds,
        "none_followed": _load(0, options.seconds),
        "followed": {"trials": options.trials} | _load(options.trials, options.seconds),
    }


def _warn(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def _load(count: int, seconds: int) -> dict[str, float]:
    """Return the load of so many trials, each of which reports a row a second."""
    base = load_config()
    live = CountedTrials()
    with tempfile.TemporaryDirectory() as folder:
        plan = make_plan(
            "benchmark", base=base, axes=(), data=datasets.inspect(base), storage=Path(folder)
        )
        state = SweepState.of(plan, [dataclasses.replace(base, seed=n) for n in range(count)])
        with Publisher(state, f"sqlite:///{folder}/mlflow.db", _warn) as publisher:
            publisher.live = live
            while publisher.live.requests == 0 and count:  # until the store is made
                for run in state.runs:
                    live.begin(run)
                time.sleep(0.1)
            began, busy, before = time.monotonic(), time.process_time(), live.requests
            for second in range(seconds):
                for run in state.runs:
                    row = {"iteration": second + 1, "time": time.time(), "train/loss_mce": 0.5}
                    live.tell(run.spec.training_key, [row])
                time.sleep(max(0.0, began + second + 1 - time.monotonic()))
            wall_s = time.monotonic() - began
            return {
                "requests_per_s": (live.requests - before) / wall_s,
                "driver_cpu_share": (time.process_time() - busy) / wall_s,
            }
