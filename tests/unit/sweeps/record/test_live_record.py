"""What the record shows of a trial while it is trained, and what becomes of that at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from fake_tracking import Tracking, tracking
from record_helpers import fail, finish, grid, history_of, sweep_state
from store_helpers import children_of, parent_of, publish, record_of, runs_of, wait_until

from analysis.record.origin import Origin
from analysis.record.trials import load_trials
from sweeps.planning import live_trials
from sweeps.planning.live_trials import LiveTrials
from sweeps.planning.state import SweepState
from sweeps.record import manifest
from sweeps.record import publisher as publisher_module
from sweeps.record.publisher import LEFT_OFF, Publisher
from sweeps.record.writer import MlflowWriter
from trainable.runs.folder import RunFolder

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

Rows = Sequence[Mapping[str, float]]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_trials, "EVERY_S", 0.0)
    monkeypatch.setattr(live_trials, "REQUESTS_PER_S", 1000.0)
    monkeypatch.setattr(publisher_module, "POLL_S", 0.02)


def one_trial(folder: Path) -> SweepState:
    return sweep_state(folder / "runs", grid([0.01]))


def rows_of(state: SweepState) -> list[dict[str, float]]:
    return history_of(state.runs[0].spec.config)


def child_of(uri: str) -> Any:
    (child,) = [run for run in children_of(uri) if run.info.lifecycle_stage == "active"]
    return child


def curve_of(uri: str, name: str = "train/loss_mce") -> list[tuple[int, int]]:
    """Step and time of each point of the one trial's curve."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    active = [run.info.run_id for run in children_of(uri) if run.info.lifecycle_stage == "active"]
    found = [point for run_id in active for point in client.get_metric_history(run_id, name)]
    return [(point.step, point.timestamp) for point in found]


def follow(state: SweepState, uri: str, rows: Rows, live: LiveTrials | None = None) -> LiveTrials:
    """Write what a driver writes that is killed after these rows."""
    live = live or LiveTrials()
    record = MlflowWriter(state, uri, manifest.begin(state, uri))
    for run in state.runs:
        live.begin(run)
    for told in ([], rows):
        live.tell(state.runs[0].spec.training_key, told)
        while (step := live.next()) is not None and (step.rows or not told):
            live.written(step, more=record.trials.follow(step))
            if not told:
                break
    return live


def test_a_trial_is_running_with_params_tags_and_parent_and_its_curve_grows(
    tmp_path: Path, uri: str
) -> None:
    state = one_trial(tmp_path)
    rows, key = rows_of(state), state.runs[0].spec.training_key
    with Publisher(state, uri, pytest.fail) as publisher:
        publisher.live.begin(state.runs[0])
        wait_until(lambda: children_of(uri) and child_of(uri).data.params)
        begun = child_of(uri)
        publisher.live.tell(key, rows[:2], [("cpu_utilization_percentage", 50.0)])
        wait_until(lambda: len(curve_of(uri)) == 2)
        publisher.live.tell(key, rows[2:4])
        wait_until(lambda: len(curve_of(uri)) == 4)
        growing = child_of(uri)
        finish(state, state.runs[0])
        publisher.publish(state.runs[0])
    assert (begun.info.status, growing.info.status) == ("RUNNING", "RUNNING")
    assert begun.data.params["lambda_adv"] == "0.01"
    assert begun.data.tags["trial_key"] == state.trials[0].trial_key
    assert begun.data.tags["mlflow.parentRunId"] == parent_of(uri).info.run_id
    assert growing.data.metrics["system/cpu_utilization_percentage"] == 50.0
    assert "swa/miou" not in growing.data.metrics
    ended = child_of(uri)
    assert (ended.info.run_id, ended.info.status) == (begun.info.run_id, "FINISHED")
    assert curve_of(uri) == [(int(row["iteration"]), round(row["time"] * 1000)) for row in rows]


def test_a_trial_that_was_followed_is_recorded_as_one_that_was_not(
    tmp_path: Path, uri: str
) -> None:
    state = one_trial(tmp_path)
    follow(state, uri, rows_of(state)[:7])
    finish(state, state.runs[0])
    publish(state, uri)
    followed = record_of(uri)
    (tmp_path / "mlflow.db").unlink()
    publish(state, uri)
    plain = record_of(uri)
    for record in (followed, plain):
        for content in record:
            # What is followed begins by the driver's clock, and a sweep is summed up after it: now.
            # The history in this test was trained years ago.
            del content["start"], content["end"]
        (parent,) = (one for one in record if "trial_key" not in one["tags"])
        parent["metrics"] = {
            name: [(step, value) for step, _, value in points]
            for name, points in parent["metrics"].items()
        }
    assert [list(one) for one in followed] == [list(one) for one in plain]
    assert [one["status"] for one in followed] == ["FINISHED", "FINISHED"]
    differing = [
        key
        for one, other in zip(followed, plain, strict=True)
        for key in one
        if one[key] != other[key]
    ]
    assert differing == []


@pytest.mark.parametrize("resumed_at", [2, 7])
def test_a_trial_goes_on_in_its_run_after_a_kill_and_no_step_has_two_values(
    resumed_at: int, tmp_path: Path, uri: str
) -> None:
    """What came after the last checkpoint is measured again, at another time."""
    state = one_trial(tmp_path)
    rows = rows_of(state)
    follow(state, uri, rows[:2])
    left = child_of(uri)
    assert left.info.status == "RUNNING"
    later = rows[:2] + [row | {"time": row["time"] + 500} for row in rows[2:]]
    follow(one_trial(tmp_path), uri, later[:resumed_at])
    assert child_of(uri).info.run_id == left.info.run_id
    state = one_trial(tmp_path)
    finish(state, state.runs[0], history=later)
    publish(state, uri)
    assert child_of(uri).info.run_id == left.info.run_id
    assert curve_of(uri) == [(int(row["iteration"]), round(row["time"] * 1000)) for row in later]
    assert len(runs_of(uri)) == 2


# Its checkpoints were lost, or its run folder deleted: by the next rows, or by the end alone.
@pytest.mark.parametrize("told", [0, 5])
def test_a_training_from_its_beginning_gets_a_run_of_its_own(
    told: int, tmp_path: Path, uri: str
) -> None:
    state = one_trial(tmp_path)
    follow(state, uri, rows_of(state)[:4])
    left = child_of(uri).info.run_id
    again = [row | {"time": row["time"] + 500} for row in rows_of(state)]
    if told:
        follow(state, uri, again[:told])
        assert [step for step, _ in curve_of(uri)] == [20, 40, 60, 80, 100]
        assert child_of(uri).info.status == "RUNNING"
    finish(state, state.runs[0], history=again)
    publish(state, uri)
    assert child_of(uri).info.run_id != left
    assert curve_of(uri) == [(int(row["iteration"]), round(row["time"] * 1000)) for row in again]


def test_a_checkpoint_lost_under_one_driver_leaves_no_second_curve(
    tmp_path: Path, uri: str
) -> None:
    state = one_trial(tmp_path)
    rows, key = rows_of(state), state.runs[0].spec.training_key
    again = [row | {"time": row["time"] + 500} for row in rows]
    with Publisher(state, uri, pytest.fail) as publisher:
        publisher.live.begin(state.runs[0])
        publisher.live.tell(key, rows[:4])
        wait_until(lambda: children_of(uri) and len(curve_of(uri)) == 4)
        publisher.live.tell(key, again[:2])
        wait_until(lambda: [step for step, _ in curve_of(uri)] == [20, 40])
        finish(state, state.runs[0], history=again)
        publisher.publish(state.runs[0])
    assert curve_of(uri) == [(int(row["iteration"]), round(row["time"] * 1000)) for row in again]


@pytest.mark.parametrize("why", ["interrupted", ""])
def test_what_is_left_half_way_is_killed_and_says_why_and_is_running_when_it_goes_on(
    why: str, tmp_path: Path, uri: str
) -> None:
    state = one_trial(tmp_path)
    with Publisher(state, uri, pytest.fail) as publisher:
        publisher.live.begin(state.runs[0])
        publisher.live.tell(state.runs[0].spec.training_key, rows_of(state)[:2])
        wait_until(lambda: children_of(uri) and len(curve_of(uri)) == 2)
        if why:
            state.end_early(why)
    left = child_of(uri)
    assert (left.info.status, left.data.tags["cause"]) == ("KILLED", why or LEFT_OFF)
    assert parent_of(uri).info.status == "KILLED"
    assert parent_of(uri).data.metrics == {}
    follow(one_trial(tmp_path), uri, rows_of(state)[:4])
    child = child_of(uri)
    assert (child.info.run_id, child.info.status) == (left.info.run_id, "RUNNING")
    assert "cause" not in child.data.tags


def test_the_next_driver_kills_what_a_killed_one_left_but_for_what_it_trains(
    tmp_path: Path, uri: str
) -> None:
    state = sweep_state(tmp_path / "runs", grid())
    for run in state.runs:
        live = LiveTrials()
        live.begin(run)
        record = MlflowWriter(state, uri, manifest.begin(state, uri))
        step = live.next()
        assert step is not None
        record.trials.follow(step)
    assert {run.info.status for run in children_of(uri)} == {"RUNNING"}
    with Publisher(state, uri, pytest.fail) as publisher:
        publisher.live.begin(state.runs[1])

        def states() -> dict[str, str]:
            found = children_of(uri)
            return {Origin.of_run(run).facts["training_key"]: run.info.status for run in found}

        first, second = (run.spec.training_key for run in state.runs)
        wait_until(lambda: states() == {first: "KILLED", second: "RUNNING"})
        state.end_early("interrupted")
    assert set(states().values()) == {"KILLED"}


def test_a_trial_that_failed_is_running_when_it_is_tried_again_and_fails_again(
    tmp_path: Path, uri: str
) -> None:
    state = one_trial(tmp_path)
    run = state.runs[0]
    with RunFolder(state.plan.storage, run.spec.training_key) as folder:
        folder.write("metrics", {"history": rows_of(state)[:2]})

    def end() -> Any:
        with Publisher(state, uri, pytest.fail) as publisher:
            publisher.publish(run, "its worker died")
        return child_of(uri)

    failed = end()
    assert failed.info.status == "FAILED"
    follow(state, uri, rows_of(state)[:2])
    again = child_of(uri)
    assert (again.info.run_id, again.info.status) == (failed.info.run_id, "RUNNING")
    assert not {"cause", "record_hash"} & again.data.tags.keys()
    assert Origin.of_run(end()).facts["record_hash"] == Origin.of_run(failed).facts["record_hash"]
    assert child_of(uri).info.status == "FAILED"


def test_a_trial_that_has_its_numbers_stays_finished_while_others_share_its_training(
    tmp_path: Path, uri: str
) -> None:
    state = one_trial(tmp_path)
    finish(state, state.runs[0])
    publish(state, uri)
    before = record_of(uri)
    follow(state, uri, [row | {"time": row["time"] + 500} for row in rows_of(state)])
    assert [one for one in record_of(uri) if "trial_key" in one["tags"]] == [
        one for one in before if "trial_key" in one["tags"]
    ]


def test_the_analysis_takes_no_trial_for_ended_that_was_left_half_way(
    tmp_path: Path, uri: str
) -> None:
    state = sweep_state(tmp_path / "runs", grid([0.0, 0.01, 0.1]))
    left, stopped, done = state.runs
    fail(state, stopped, "nan")
    (state.plan.storage / stopped.spec.training_key / "failure.json").unlink()
    state.stop(stopped.spec.training_key, "pruned")
    finish(state, done)
    with Publisher(state, uri, pytest.fail) as publisher:
        publisher.live.begin(left)
        publisher.live.tell(left.spec.training_key, rows_of(state)[:2])
        wait_until(lambda: any(run.data.metrics for run in children_of(uri)))
        publisher.publish(done)
        state.end_early("interrupted")
    assert sorted(run.info.status for run in children_of(uri)) == ["FINISHED", "KILLED", "KILLED"]
    trials = load_trials(uri).set_index("training_key")
    names = {left: "RUNNING", stopped: "KILLED", done: "FINISHED"}
    assert {run.spec.training_key: name for run, name in names.items()} == dict(trials["status"])
    assert trials["end_time_s"].isna().sum() == 1
    assert parent_of(uri).data.metrics["cost/naive_runs"] == 2


# A server


@pytest.fixture
def server(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    with tracking(tmp_path, empty_store, monkeypatch) as found:
        yield found


def test_points_that_a_server_did_not_take_are_caught_up(
    server: Tracking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "PAUSE_S", 0.05)
    state = one_trial(tmp_path)
    rows, key = rows_of(state), state.runs[0].spec.training_key
    warnings: list[str] = []
    with Publisher(state, server.uri, warnings.append) as publisher:
        publisher.live.begin(state.runs[0])
        publisher.live.tell(key, rows[:2])
        wait_until(lambda: children_of(server.uri) and len(curve_of(server.uri)) == 2)
        server.where, server.status, server.content = "log-batch", 503, b"away"
        publisher.live.tell(key, rows[2:4])
        wait_until(lambda: warnings)
        publisher.live.tell(key, rows[4:6])
        server.status, server.content = 0, None
        wait_until(lambda: len(curve_of(server.uri)) == 6)
        finish(state, state.runs[0])
        publisher.publish(state.runs[0])
    assert len(warnings) == 1
    assert child_of(server.uri).info.status == "FINISHED"
    assert len(curve_of(server.uri)) == len(rows)


def test_a_new_trial_takes_few_requests_and_its_rows_one_each_time(
    server: Tracking, tmp_path: Path
) -> None:
    state = one_trial(tmp_path)
    rows = rows_of(state)
    record = MlflowWriter(state, server.uri, manifest.begin(state, server.uri))
    live = LiveTrials()
    live.begin(state.runs[0])

    def asked_for(rows: Rows) -> list[str]:
        live.tell(state.runs[0].spec.training_key, rows)
        server.asked.clear()
        step = live.next()
        assert step is not None
        live.written(step, more=record.trials.follow(step))
        return [address.rpartition("/")[2] for address in server.asked]

    assert asked_for([]) == ["search", "create", "search", "log-batch", "log-inputs"]
    assert len(server.asked) == live_trials.TO_BEGIN
    for count in (2, 4, 6):
        assert asked_for(rows[count - 2 : count]) == ["log-batch"]


def first_metric(uri: str) -> str:
    """The metric that MLflow's page of comparisons shows of the one trial: the first it got."""
    return str(next(iter(child_of(uri).data.metrics)))


def test_a_trial_that_was_followed_is_compared_by_the_miou_of_its_curve(
    tmp_path: Path, uri: str
) -> None:
    state = one_trial(tmp_path)
    rows, key = rows_of(state), state.runs[0].spec.training_key
    assert "val/miou" not in rows[0]
    live = LiveTrials()
    live.begin(state.runs[0])
    live.tell(key, [], [("cpu_utilization_percentage", 50.0)])
    follow(state, uri, rows, live)
    assert first_metric(uri) == "val/miou"
    assert "system/cpu_utilization_percentage" in child_of(uri).data.metrics


def test_a_trial_that_was_not_followed_is_compared_by_the_averaged_miou(
    tmp_path: Path, uri: str
) -> None:
    state = one_trial(tmp_path)
    finish(state, state.runs[0])
    publish(state, uri)
    assert first_metric(uri) == "swa/miou"
