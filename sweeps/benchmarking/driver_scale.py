"""Measure how many slots one driver carries: `python -m sweeps.benchmark driver-scale`.

In the measurement are the whole driver, as a sweep has it, and the Ray of this machine: Tune's
event loop with our searcher, scheduler and callback, a placement group for each slot, each call of
a worker and each report as a task and an object of Ray, the outcomes in run folders, and the
publisher with its MLflow store on SQLite. A run takes five minutes of training: 120 rows of losses,
six validations, twelve checkpoints.

Not in it are the workers' processes, of which a machine with two processors cannot start a
thousand: a few processes play them (`played_runs`), on the driver's own processors. So the starts
of workers, a network between them and the driver, the screen and a search are left out.

Each number of slots is measured twice in one execution: with reports when workers would make them,
and with reports as fast as the driver takes them, which compresses five minutes.
"""

from __future__ import annotations

import dataclasses
import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

from rich.console import Console

from sweeps.execution.display import LiveDisplay
from sweeps.execution.executor import execute, ray_slots
from sweeps.execution.resources import Resources, own_cpus
from sweeps.planning.live_trials import LiveTrials, Load, Row
from sweeps.planning.plan import PlannedRun, make_plan
from sweeps.planning.state import SweepState
from sweeps.record.publisher import Publisher
from trainable.cli.options import whole
from trainable.config.loading import load_config
from trainable.data import datasets

SLOTS = (64, 256, 1000)
SECONDS = 60
PLAYERS = 2
RUN = ("iterations=6000", "log_every=50", "eval_every=1000", "checkpoint_every=500")
ENDS_PER_S = 10  # runs, at most, however fast they are played
SETTLE_S = 2.0  # after a change of pace
STORE_S = 120.0  # until the store is made, on a busy machine
LAGS = 0.9  # a record that takes less than this share of what ends does not keep up
ROWS = "SELECT count(*) FROM metrics"
PUBLISHED = "SELECT count(*) FROM runs WHERE status = 'FINISHED'"


@dataclass(frozen=True, kw_only=True)
class DriverScaleOptions:
    """The options of `driver-scale`.

    Attributes:
        benchmark: The name of the benchmark.
        slots: The numbers of slots, each measured by itself; None measures those of SLOTS.
        seconds: How long to measure at each pace.
    """

    benchmark: str
    slots: Sequence[int] | None
    seconds: int


def add_driver_scale(subparsers: Any) -> None:
    """Add the subcommand to those of `sweeps.benchmark`."""
    parser = subparsers.add_parser("driver-scale", help="how many slots one driver carries")
    parser.add_argument(
        "--slots",
        type=whole(),
        action="append",
        metavar="N",
        help=f"may be repeated (default: {', '.join(map(str, SLOTS))})",
    )
    parser.add_argument(
        "--seconds", type=whole(), default=SECONDS, metavar="S", help=f"default: {SECONDS}"
    )


def driver_scale(options: DriverScaleOptions) -> dict[str, Any]:
    """Return what each number of slots costs the driver, and what is full first."""
    slots = options.slots or SLOTS
    return {"seconds": options.seconds, "slots": [_measure(n, options.seconds) for n in slots]}


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the driver had done and used at some moment, and how late reports came until then.

    Attributes:
        at_s: The moment, by the monotonic clock.
        cpu_s: Seconds of a processor that the driver's process has used.
        loop_s: Those of them that the thread of Tune's event loop has used.
        players_cpu_s: Those that all players have used.
        rss_mb: The driver's resident memory.
        reports: How many reports it has taken in.
        ended: How many runs have ended.
        rows: How many values of metrics the MLflow store has.
        published: How many runs it has whole.
        delays_s: From the making of each report since the last look until the driver had it.
    """

    at_s: float
    cpu_s: float
    loop_s: float
    players_cpu_s: float
    rss_mb: float
    reports: int
    ended: int
    rows: int
    published: int
    delays_s: Sequence[float]

    def since(self, before: Look) -> dict[str, float]:
        """Return what happened since another look, by the second."""

        def rate(name: str) -> float:
            return float(getattr(self, name) - getattr(before, name)) / (self.at_s - before.at_s)

        parts = quantiles(self.delays_s, n=100)
        return {
            "reports_per_s": rate("reports"),
            "report_delay_p50_s": parts[49],
            "report_delay_p99_s": parts[98],
            "driver_cpu_share": rate("cpu_s"),
            "event_loop_share": rate("loop_s"),
            "player_cpu_share": rate("players_cpu_s") / PLAYERS,
            "runs_ended_per_s": rate("ended"),
            "runs_published_per_s": rate("published"),
            "mlflow_rows_per_s": rate("rows"),
        }


class Supply:
    """A source of runs that may be cut short.

    Args:
        runs: The runs, each to be trained to its end.
    """

    def __init__(self, runs: Iterable[PlannedRun]) -> None:
        self.left = deque(runs)
        self.ended = 0

    @property
    def exhausted(self) -> bool:
        """Whether no run is left."""
        return not self.left

    def suggest(self) -> PlannedRun | None:
        """Return the next run."""
        return self.left.popleft() if self.left else None

    def on_result(self, run: PlannedRun, iteration: int, miou: float) -> bool:
        """Return False: no run is stopped early."""
        return False

    def on_complete(self, run: PlannedRun, cause: str | None) -> None:
        """Count the runs that ended."""
        self.ended += 1


class CountedReports(LiveTrials):
    """Trials under way that count their reports, and change the pace at which runs are played.

    Args:
        slots: How many slots there are.
        report_s: How many seconds lie between two reports of a slot.
        seconds: How long to measure at each pace.
        store: The file of the MLflow store.
        supply: The source of the runs.
        playing: The players.

    Attributes:
        started_s: Seconds until each slot had its first run.
        looks: Before and after the measurement at the one pace, then at the other.
    """

    def __init__(
        self,
        *,
        slots: int,
        report_s: float,
        seconds: float,
        store: Path,
        supply: Supply,
        playing: Sequence[Any],
    ) -> None:
        import ray

        super().__init__()
        self.slots, self.store, self.supply, self.playing = slots, store, supply, playing
        self.started_s = 0.0
        self.looks: list[Look] = []
        self._began_s = time.monotonic()
        self._begun = self._reports = 0
        self._delays_s: list[float] = []
        settle_s = max(SETTLE_S, report_s)
        self._waits_s = deque([settle_s, seconds, SETTLE_S, seconds])
        self._due_s = float("inf")
        self._pids: list[int] = ray.get([one.pid.remote() for one in playing])

    def begin(self, run: PlannedRun) -> None:
        """Take in a run that begins."""
        super().begin(run)
        self._begun += 1
        if self._begun == self.slots:
            self.started_s = time.monotonic() - self._began_s
            self._due_s = time.monotonic() + self._waits_s.popleft()

    def tell(self, training_key: str, rows: Sequence[Row], load: Load = ()) -> None:
        """Take in a report, without the moment that it was made, and look if it is time."""
        from sweeps.benchmarking.played_runs import MADE_AT

        self._reports += 1
        self._delays_s += [time.time() - value for name, value in load if name == MADE_AT]
        super().tell(training_key, rows, [one for one in load if one[0] != MADE_AT])
        if time.monotonic() >= self._due_s:
            self._look()

    def _look(self) -> None:
        import ray

        self.looks.append(self._now())
        self._delays_s = []
        if len(self.looks) == 2:
            ray.get([one.play.remote("at once") for one in self.playing])
        if len(self.looks) == 4:
            self.supply.left.clear()
            ray.get([one.play.remote("over") for one in self.playing])
        wait_s = self._waits_s.popleft() if self._waits_s else float("inf")
        self._due_s = time.monotonic() + wait_s

    def _now(self) -> Look:
        with closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True)) as database:
            rows, published = (database.execute(one).fetchone()[0] for one in (ROWS, PUBLISHED))
        return Look(
            at_s=time.monotonic(),
            cpu_s=time.process_time(),
            loop_s=time.thread_time(),
            players_cpu_s=sum(map(_cpu_s, self._pids)),
            rss_mb=rss_mb(),
            reports=self._reports,
            ended=self.supply.ended,
            rows=rows,
            published=published,
            delays_s=self._delays_s,
        )


def _cpu_s(pid: int) -> float:
    """Return how many seconds of a processor a process has used."""
    of_user, of_system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(of_user) + int(of_system)) / os.sysconf("SC_CLK_TCK")


def rss_mb() -> float:
    """Return this process's resident memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _measure(count: int, seconds: float) -> dict[str, Any]:
    resources = Resources(
        address=None,
        cpus_per_trial=own_cpus() / count,
        gpus_per_trial=0,
        max_concurrent=count,
        time_budget_s=None,
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        open(os.devnull, "w") as nowhere,
        ray_slots(resources, count) as slots,
    ):
        from sweeps.benchmarking.played_runs import PlayedRun, players

        state = _planned(Path(folder), 2 * count + round(ENDS_PER_S * seconds))
        screen = LiveDisplay(console=Console(file=nowhere), title="", total=count, done=0)
        supply, store = Supply(state.runs), Path(folder) / "mlflow.db"
        opened = threading.Event()
        publisher = Publisher(
            state, f"sqlite:///{store}", _warn, with_model=False, opened=lambda _: opened.set()
        )

        def outcome(run: PlannedRun, cause: str | None) -> None:
            if supply.left:  # what comes after is not measured
                publisher.publish(run, cause)

        with players(PLAYERS) as playing, publisher:
            opened.wait(STORE_S)
            publisher.live = live = CountedReports(
                slots=slots.count,
                report_s=slots.report_s,
                seconds=seconds,
                store=store,
                supply=supply,
                playing=playing,
            )
            execute(state, supply, slots, screen, outcome, live=live, trainable=PlayedRun)
    return _in_numbers(slots.count, slots.report_s, live)


def _planned(storage: Path, count: int) -> SweepState:
    base = load_config(overrides=RUN)
    data = datasets.inspect(base)
    plan = make_plan("benchmark", base=base, axes=(), data=data, storage=storage / "runs")
    return SweepState.of(plan, [dataclasses.replace(base, seed=seed) for seed in range(count)])


def _in_numbers(slots: int, report_s: float, live: CountedReports) -> dict[str, Any]:
    """Return what the looks of a measurement say.

    Raises:
        RuntimeError: It ended before all of them.
    """
    if len(live.looks) < 4:
        raise RuntimeError(f"{len(live.looks)} of 4 looks were taken: its runs did not suffice")
    before, trained, settled, full = live.looks
    as_trained, at_once = trained.since(before), full.since(settled)
    grown_mb, ended = full.rss_mb - before.rss_mb, full.ended - before.ended
    return {
        "slots": slots,
        "started_s": live.started_s,
        "reported_every_s": report_s,
        "as_trained": as_trained,
        "at_once": at_once,
        "driver_rss_mb": full.rss_mb,
        "driver_mb_per_1000_trials": 1000 * grown_mb / ended if ended else None,
        "full_first": _full_first(as_trained, at_once),
    }


def _full_first(as_trained: dict[str, float], at_once: dict[str, float]) -> dict[str, Any]:
    """Return what carries the fewest times what workers ask of it, and how much that is."""
    limits = {"Tune's event loop, reports per second": ("reports_per_s", "reports_per_s")}
    if at_once["runs_published_per_s"] < LAGS * at_once["runs_ended_per_s"]:
        limits["the record, runs per second"] = ("runs_published_per_s", "runs_ended_per_s")
    times = {
        name: at_once[most] / as_trained[asked] if as_trained[asked] else float("inf")
        for name, (most, asked) in limits.items()
    }
    first = min(times, key=lambda name: times[name])
    return {"what": first, "rate": at_once[limits[first][0]], "times_what_is_asked": times[first]}


def _warn(text: str) -> None:
    sys.stderr.write(f"{text}\n")
