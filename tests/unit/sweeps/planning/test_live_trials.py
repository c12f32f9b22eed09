"""Which trials under way get their turn when, and what of their curves is still to be written."""

from __future__ import annotations

from pathlib import Path

import pytest
from record_helpers import grid, history_of, sweep_state

from sweeps.planning import live_trials
from sweeps.planning.live_trials import EVERY_S, MOST_ROWS, REQUESTS_PER_S, LiveStep, LiveTrials
from sweeps.planning.plan import PlannedRun


class Clock:
    """A clock that a test sets, in place of this module's."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(live_trials, "time", clock)
    return clock


def runs_of(folder: Path, count: int) -> list[PlannedRun]:
    return list(sweep_state(folder, grid([0.01], seeds=range(count))).runs)


def written(live: LiveTrials) -> list[LiveStep]:
    """All that may be written at this moment."""
    steps = []
    while (step := live.next()) is not None:
        live.written(step, more=True)
        steps.append(step)
    return steps


def in_seconds(live: LiveTrials, clock: Clock, seconds: int) -> list[LiveStep]:
    """All that is written by one who looks once a second."""
    steps = []
    for _ in range(seconds):
        clock.now += 1
        steps += written(live)
    return steps


def iterations(steps: list[LiveStep]) -> list[list[int]]:
    return [[int(row["iteration"]) for row in step.rows] for step in steps]


def test_each_row_is_written_once_also_where_a_worker_that_resumes_tells_all_again(
    tmp_path: Path, clock: Clock
) -> None:
    (run,) = runs_of(tmp_path, 1)
    rows, live = history_of(run.spec.config), LiveTrials()
    live.begin(run)
    live.begin(run)  # a retry
    assert iterations(written(live)) == [[]]
    live.tell(run.spec.training_key, rows[:2])
    live.tell(run.spec.training_key, rows[:1])  # its worker died and goes on
    live.tell(run.spec.training_key, rows[1:3])
    clock.now += EVERY_S
    assert iterations(written(live)) == [[20, 40, 60]]
    live.tell(run.spec.training_key, rows[:4])
    clock.now += EVERY_S
    assert iterations(written(live)) == [[80]]


def test_a_trial_is_written_to_every_ten_seconds_at_most_and_only_where_there_is_news(
    tmp_path: Path, clock: Clock
) -> None:
    (run,) = runs_of(tmp_path, 1)
    rows, live = history_of(run.spec.config), LiveTrials()
    live.begin(run)
    written(live)
    live.tell(run.spec.training_key, rows[:1])
    clock.now += EVERY_S - 0.1
    assert written(live) == []
    clock.now += 0.1
    assert iterations(written(live)) == [[20]]
    assert in_seconds(live, clock, 60) == []


# Four times the trials, and no more requests.
@pytest.mark.parametrize("count", [64, 256])
def test_the_load_does_not_grow_with_the_number_of_trials(
    count: int, tmp_path: Path, clock: Clock
) -> None:
    runs, live = runs_of(tmp_path, count), LiveTrials()
    for run in runs:
        live.begin(run)
    in_seconds(live, clock, 2 * count)
    rows = history_of(runs[0].spec.config)
    turns: list[LiveStep] = []
    seconds = int(2 * count / REQUESTS_PER_S)
    for second in range(seconds):
        for run in runs:
            row = rows[0] | {"iteration": second + 1, "time": clock.now}
            live.tell(run.spec.training_key, [row])
        turns += in_seconds(live, clock, 1)
    assert REQUESTS_PER_S * (seconds - EVERY_S) <= len(turns) <= REQUESTS_PER_S * (seconds + 1)
    per_trial = [sum(one.trial is run.trials[0] for one in turns) for run in runs]
    assert set(per_trial) <= {1, 2, 3}  # each in turn


def test_what_could_not_be_written_comes_again(tmp_path: Path, clock: Clock) -> None:
    runs, live = runs_of(tmp_path, 2), LiveTrials()
    live.begin(runs[0])
    first = live.next()
    assert first is not None
    live.begin(runs[1])  # meanwhile
    live.tell(runs[0].spec.training_key, history_of(runs[0].spec.config)[:1])
    clock.now += 1
    again = in_seconds(live, clock, 3)
    assert sorted(step.trial.trial_key for step in again) == sorted(
        run.trials[0].trial_key for run in runs
    )
    assert [one for one in iterations(again) if one] == [[20]]


def test_a_run_that_has_ended_gets_nothing_more(tmp_path: Path, clock: Clock) -> None:
    first, second = runs_of(tmp_path, 2)
    live = LiveTrials()
    live.begin(first)
    live.begin(second)
    taken = live.next()
    assert taken is not None
    assert taken.trial is second.trials[0]
    live.end(second.spec.training_key)  # while it is written to
    live.written(taken, more=True)
    live.tell(second.spec.training_key, history_of(second.spec.config))
    assert {one.trial for one in in_seconds(live, clock, 30)} == {first.trials[0]}
    assert live.under_way == {first.trials[0].trial_key}


# Its newest checkpoint was damaged: what comes now was measured at other times.
@pytest.mark.parametrize("shift_s", [0.0, 100.0])
def test_a_training_with_another_history_is_told_from_its_first_row_and_is_not_known(
    shift_s: float, tmp_path: Path, clock: Clock
) -> None:
    (run,) = runs_of(tmp_path, 1)
    rows, live = history_of(run.spec.config), LiveTrials()
    key, trial_key = run.spec.training_key, run.trials[0].trial_key
    live.begin(run)
    live.tell(key, rows[:2])
    written(live)
    assert live.is_known(trial_key)
    live.tell(key, [row | {"time": row["time"] + shift_s} for row in rows[:3]])
    clock.now += EVERY_S
    is_other = shift_s > 0
    assert live.is_known(trial_key) != is_other
    assert iterations(written(live)) == [[20, 40, 60] if is_other else [60]]
    assert live.is_known(trial_key)


def test_a_history_that_changes_while_it_is_written_is_not_taken_for_the_written_one(
    tmp_path: Path, clock: Clock
) -> None:
    (run,) = runs_of(tmp_path, 1)
    rows, live = history_of(run.spec.config), LiveTrials()
    live.begin(run)
    live.tell(run.spec.training_key, rows[:2])
    step = live.next()
    assert step is not None
    live.tell(run.spec.training_key, [row | {"time": row["time"] + 9} for row in rows[:1]])
    live.written(step, more=True)
    assert not live.is_known(run.trials[0].trial_key)
    clock.now += EVERY_S
    assert iterations(written(live)) == [[20]]


def test_what_a_store_that_is_away_does_not_take_is_bounded(tmp_path: Path, clock: Clock) -> None:
    (run,) = runs_of(tmp_path, 1)
    live = LiveTrials()
    live.begin(run)
    for i in range(3):
        live.tell(
            run.spec.training_key,
            [{"iteration": n, "time": n} for n in range(i * MOST_ROWS + 1, (i + 1) * MOST_ROWS)],
        )
    (step,) = written(live)
    assert len(step.rows) == MOST_ROWS
    (left,) = live._runs.values()
    assert len(left.rows) == 0


def test_the_machines_load_comes_with_rows_and_after_the_first_ones_once_a_minute(
    tmp_path: Path, clock: Clock
) -> None:
    (run,) = runs_of(tmp_path, 1)
    rows, live = history_of(run.spec.config), LiveTrials()
    live.begin(run)
    steps = written(live)
    for second in range(130):
        if second == 15:
            live.tell(run.spec.training_key, rows[:1])
        if second % 10 == 0:
            live.tell(run.spec.training_key, [], [("cpu_utilization_percentage", float(second))])
        steps += in_seconds(live, clock, 1)
    assert [dict(step.load) for step in steps] == [
        {},
        *({"cpu_utilization_percentage": value} for value in (10.0, 70.0)),
    ]
    assert [step.iteration for step in steps] == [0, 20, 20]
