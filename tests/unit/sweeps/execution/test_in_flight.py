"""What lies between a source and Tune: each validation told once, stops, ends, a second try."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher
from record_helpers import grid, sweep_state
from tune_helpers import Named, Scripted

from sweeps.execution.in_flight import RunsInFlight
from sweeps.execution.tune_hooks import SourceScheduler, SourceSearcher
from sweeps.planning.plan import PlannedRun
from sweeps.search.source import FixedRuns

FINISHED: Any = Searcher.FINISHED


def runs_of(folder: Path, count: int) -> list[PlannedRun]:
    return list(sweep_state(folder, grid([0.01], seeds=range(count))).runs)


def test_a_searcher_suggests_the_runs_of_its_source_and_then_is_finished(tmp_path: Path) -> None:
    runs = runs_of(tmp_path, 2)
    searcher = SourceSearcher(RunsInFlight(source=FixedRuns(runs)), most=9)
    for run in runs:
        suggested = searcher.suggest("id")
        assert suggested is not None
        assert suggested["training_key"] == run.spec.training_key
        assert json.loads(suggested["spec"]) == run.spec.to_primitives()
    assert searcher.suggest("id") == FINISHED


def test_a_searcher_waits_while_its_source_waits_for_the_end_of_a_run(tmp_path: Path) -> None:
    (run,) = runs_of(tmp_path, 1)
    source = Scripted([run], exhausted=False)
    in_flight = RunsInFlight(source=source)
    searcher = SourceSearcher(in_flight, most=9)
    searcher.suggest("id")
    assert searcher.suggest("id") is None
    in_flight.on_complete(run.spec.training_key, None)
    source.will_be_exhausted = True
    assert searcher.suggest("id") == FINISHED


def test_a_searcher_has_its_fill_and_leaves_the_rest_to_another(tmp_path: Path) -> None:
    in_flight = RunsInFlight(source=FixedRuns(runs_of(tmp_path, 3)))
    first, second = (SourceSearcher(in_flight, most=2) for _ in range(2))
    assert [first.suggest("id") == FINISHED for _ in range(3)] == [False, False, True]
    assert first.more
    assert len(in_flight.under_way) == 2
    assert [second.suggest("id") == FINISHED for _ in range(2)] == [False, True]
    assert not second.more


def test_a_searcher_that_has_its_fill_of_all_leaves_nothing(tmp_path: Path) -> None:
    searcher = SourceSearcher(RunsInFlight(source=FixedRuns(runs_of(tmp_path, 2))), most=2)
    assert [searcher.suggest("id") == FINISHED for _ in range(3)] == [False, False, True]
    assert not searcher.more


def test_a_source_that_waits_for_nothing_is_an_error_and_no_endless_wait(tmp_path: Path) -> None:
    searcher = SourceSearcher(RunsInFlight(source=Scripted([], exhausted=False)), most=9)
    with pytest.raises(RuntimeError, match="none is under way"):
        searcher.suggest("id")


def test_a_run_is_not_trained_twice_at_a_time(tmp_path: Path) -> None:
    (run,) = runs_of(tmp_path, 1)
    in_flight = RunsInFlight(source=FixedRuns([run, run]))
    assert in_flight.suggest() == run
    assert in_flight.suggest() is None
    assert not in_flight.over
    assert not in_flight.drained
    in_flight.on_complete(run.spec.training_key, None)
    assert in_flight.suggest() == run
    assert in_flight.drained


def test_each_validation_is_told_once_though_a_retried_worker_reports_all(tmp_path: Path) -> None:
    (run,) = runs_of(tmp_path, 1)
    source = Scripted([run])
    in_flight = RunsInFlight(source=source)
    in_flight.suggest()
    key = run.spec.training_key
    assert not in_flight.on_result(key, [(4, 0.1), (8, 0.2)])
    assert not in_flight.on_result(key, [(4, 0.1), (8, 0.2), (12, 0.3)])
    assert source.told == [(0, 4, 0.1), (0, 8, 0.2), (0, 12, 0.3)]


def test_a_stop_does_not_depend_on_how_many_validations_a_report_brings(tmp_path: Path) -> None:
    (run,) = runs_of(tmp_path, 1)
    validations = [(4, 0.5), (8, 0.1), (12, 0.6)]
    told = []
    for reports in ([validations], [[one] for one in validations]):
        source = Scripted([run], bar=0.2)
        in_flight = RunsInFlight(source=source)
        in_flight.suggest()
        scheduler = SourceScheduler(in_flight)
        decisions = [
            scheduler.on_trial_result(None, _trial(run), {"validations": report})
            for report in reports
        ]
        assert decisions[-1] == TrialScheduler.STOP
        told.append(source.told)
    assert told[0] == told[1] == [(0, 4, 0.5), (0, 8, 0.1)]


def test_the_validations_of_a_last_report_are_told_too(tmp_path: Path) -> None:
    (run,) = runs_of(tmp_path, 1)
    source = Scripted([run])
    in_flight = RunsInFlight(source=source)
    in_flight.suggest()
    scheduler = SourceScheduler(in_flight)
    scheduler.on_trial_complete(None, _trial(run), {"validations": [(12, 0.4)]})
    assert source.told == [(0, 12, 0.4)]


def test_a_run_without_memory_is_tried_again_when_the_source_has_no_other(tmp_path: Path) -> None:
    first, second = runs_of(tmp_path, 2)
    source = Scripted([first, second])
    in_flight = RunsInFlight(source=source)
    assert [in_flight.suggest(), in_flight.suggest()] == [first, second]
    in_flight.set_aside(first.spec.training_key)
    in_flight.on_complete(second.spec.training_key, None)
    assert source.ends == [(1, None)]
    assert in_flight.over
    in_flight.retry_set_aside()
    assert in_flight.suggest() == first
    in_flight.on_complete(first.spec.training_key, None)
    assert in_flight.over
    assert source.ends == [(1, None), (0, None)]


def test_a_source_that_waits_for_a_run_without_memory_does_not_wait_for_ever(
    tmp_path: Path,
) -> None:
    (run,) = runs_of(tmp_path, 1)
    in_flight = RunsInFlight(source=Scripted([run], exhausted=False))
    in_flight.suggest()
    in_flight.set_aside(run.spec.training_key)
    assert in_flight.suggest() is None
    assert in_flight.over


def test_what_tune_pickles_of_a_search_weighs_nothing(tmp_path: Path) -> None:
    in_flight = RunsInFlight(source=FixedRuns(runs_of(tmp_path, 50)))
    for part in (SourceSearcher(in_flight, most=9), SourceScheduler(in_flight)):
        assert len(pickle.dumps(part)) < 200


def _trial(run: PlannedRun) -> Any:
    return Named(run)
