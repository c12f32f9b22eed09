"""The driver at scale: what is played is what workers report, and what is made of the counts."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from record_helpers import grid, sweep_state
from small import small_config, spec_of
from training_helpers import run_to_end, tune_config

from sweeps.benchmarking import driver_scale
from sweeps.benchmarking.driver_scale import DriverScaleOptions, Look, Supply, add_driver_scale
from sweeps.benchmarking.played_runs import LEAST_S, RUN_S, PlayedRun
from trainable import ray_trainable
from trainable.cli.parsed_options import read_options
from trainable.ray_trainable import SegmentationTrainable
from trainable.runs.folder import RunFolder
from trainable.runs.results import Result, outcome, read_history


def reports_of(played: PlayedRun) -> list[dict[str, Any]]:
    found = [played.step()]
    while not found[-1]["done"]:
        found.append(played.step())
    return found


@pytest.mark.trains
def test_a_played_run_reports_what_a_worker_does_and_leaves_what_it_leaves(tmp_path: Path) -> None:
    spec = spec_of(small_config())
    real = SegmentationTrainable(tune_config(spec, tmp_path / "real"))
    played = PlayedRun(tune_config(spec, tmp_path / "played"))
    report, reports = run_to_end(real), reports_of(played)
    assert reports[-1].keys() == report.keys()
    assert LEAST_S == ray_trainable.REPORT_S
    rows = [row["iteration"] for one in reports for row in one["rows"]]
    validations = [iteration for one in reports for iteration, _ in one["validations"]]
    history = read_history(RunFolder(tmp_path / "real", spec.training_key))
    assert rows == [row["iteration"] for row in history]
    assert validations == [row["iteration"] for row in history if "val/miou" in row]
    assert isinstance(outcome(RunFolder(tmp_path / "played", spec.training_key), spec), Result)


def test_a_played_run_reports_at_its_interval_and_validations_at_once(tmp_path: Path) -> None:
    spec = spec_of(small_config(iterations=600, eval_every=150, log_every=50, checkpoint_every=300))
    played = PlayedRun(tune_config(spec, tmp_path) | {"report_s": 50.0})
    due_s: list[float] = []
    while True:
        due_s.append(played.due_s)
        if played.step()["done"]:
            break
    assert due_s == [50.0, 25.0] * 4
    assert sum(due_s) == RUN_S


def test_players_need_no_torch() -> None:
    code = "import sys, sweeps.benchmarking.played_runs; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def look(at_s: float, **changes: Any) -> Look:
    """A look whose counts are zero but for these."""
    counts = dict.fromkeys(("cpu_s", "loop_s", "players_cpu_s", "rss_mb"), 0.0)
    numbers = dict.fromkeys(("reports", "ended", "rows", "published"), 0)
    given: dict[str, Any] = {**counts, **numbers, "delays_s": [0.0, 0.0], **changes}
    return Look(at_s=at_s, **given)


def test_what_happened_between_two_looks_is_told_by_the_second() -> None:
    delays = [n / 100 for n in range(1, 100)]
    after = look(14.0, reports=80, cpu_s=3.0, loop_s=2.0, rows=400, delays_s=delays)
    found = after.since(look(10.0, reports=40, cpu_s=1.0, rows=200))
    assert (found["reports_per_s"], found["mlflow_rows_per_s"]) == (10.0, 50.0)
    assert (found["driver_cpu_share"], found["event_loop_share"]) == (0.5, 0.5)
    assert (found["report_delay_p50_s"], found["report_delay_p99_s"]) == (0.5, 0.99)


@pytest.mark.parametrize(
    ("published", "what", "times"), [(5.0, "event loop", 4.0), (2.0, "the record", 2.0)]
)
def test_what_is_full_first_is_what_carries_least_of_what_is_asked(
    published: float, what: str, times: float
) -> None:
    asked = {"reports_per_s": 50.0, "runs_ended_per_s": 1.0, "runs_published_per_s": 1.0}
    most = {"reports_per_s": 200.0, "runs_ended_per_s": 5.0, "runs_published_per_s": published}
    found = driver_scale._full_first(asked, most)
    assert what in found["what"]
    assert found["times_what_is_asked"] == times


def test_a_supply_that_is_cut_short_suggests_nothing_more(tmp_path: Path) -> None:
    supply = Supply(sweep_state(tmp_path, grid([0.01], seeds=range(3))).runs)
    assert supply.suggest() is not None
    supply.left.clear()
    assert (supply.exhausted, supply.suggest()) == (True, None)


@pytest.mark.slow
def test_the_program_measures_few_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_scale, "SETTLE_S", 0.5)
    parser = argparse.ArgumentParser()
    add_driver_scale(parser.add_subparsers(dest="benchmark"))
    parsed = parser.parse_args(["driver-scale", "--slots", "3", "--seconds", "3"])
    found = driver_scale.driver_scale(read_options(DriverScaleOptions, parsed))
    (of_three,) = found["slots"]
    assert of_three["slots"] == 3
    assert 2 < of_three["as_trained"]["reports_per_s"] < 3.5
    at_once = of_three["at_once"]
    assert at_once["reports_per_s"] > 10
    assert 0 < at_once["report_delay_p50_s"] <= at_once["report_delay_p99_s"] < 60
    assert at_once["driver_cpu_share"] >= at_once["event_loop_share"] > 0
