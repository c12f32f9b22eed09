"""A real MLflow server, killed in mid-sweep and started again: every point is there once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from record_helpers import finish, grid, sweep_state
from servers import POSTGRES, Postgres

from sweeps.benchmarking.mlflow_server import MlflowServer
from sweeps.planning.state import SweepState
from sweeps.record import publisher as publisher_module
from sweeps.record.ended_run import EndedRun, final_points
from sweeps.record.publisher import Publisher

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]

START_S = 120.0


@pytest.fixture(params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MlflowServer]:
    """A server on each kind of database; one hands artifacts on, with one they are written to."""
    if request.param == "sqlite":
        options = "--no-serve-artifacts", "--default-artifact-root", str(tmp_path / "artifacts")
        with MlflowServer(f"sqlite:///{tmp_path}/mlflow.db", tmp_path, *options) as server:
            yield server
        return
    if not POSTGRES.is_dir():
        pytest.skip("needs Debian's postgresql-15")
    with Postgres() as postgres:
        options = "--serve-artifacts", "--artifacts-destination", str(tmp_path / "artifacts")
        with MlflowServer(postgres.uri, tmp_path, *options) as server:
            yield server


def children_of(uri: str) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("pixelwise-adversarial")
    if experiment is None:
        return []
    return list(client.search_runs([experiment.experiment_id], "tags.kind = 'trial'"))


def wait_for_children(uri: str, count: int) -> None:
    deadline = time.monotonic() + START_S
    while len(children_of(uri)) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def in_folders(state: SweepState) -> dict[str, list[Any]]:
    """Every point of every metric that the run folders tell of, by trial."""
    points = {}
    for run in state.runs:
        ended = EndedRun.read(state, run, None)
        assert ended is not None
        assert ended.result is not None
        for trial in run.trials:
            each = [*ended.curves, *final_points(ended.result, trial)]
            # A curve's last point may be the number at the end.
            points[trial.trial_key] = sorted({(p.key, p.step, p.timestamp, p.value) for p in each})
    return points


def in_record(uri: str) -> dict[str, list[Any]]:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    children = children_of(uri)
    points = {
        child.data.tags["trial_key"]: sorted(
            (p.key, p.step, p.timestamp, p.value)
            for name in child.data.metrics
            for p in client.get_metric_history(child.info.run_id, name)
        )
        for child in children
    }
    assert len(points) == len(children)
    return points


def test_a_server_killed_in_mid_sweep_and_started_again_has_every_point_once(
    server: MlflowServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(publisher_module, "PAUSE_S", 1.0)
    state = sweep_state(tmp_path / "runs", grid(seeds=range(6)))
    warnings: list[str] = []
    with Publisher(state, server.uri, warnings.append) as publisher:
        for run in state.runs[:6]:
            finish(state, run)
            publisher.publish(run)
        wait_for_children(server.uri, 2)
        server.kill()
        begun = time.monotonic()
        for run in state.runs[6:9]:
            finish(state, run)
            publisher.publish(run)
        assert time.monotonic() - begun < 2.0  # training is not held up
        deadline = time.monotonic() + START_S
        while not warnings:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        server.start()
        wait_for_children(server.uri, 9)  # it is found again while the sweep runs
        for run in state.runs[9:]:
            finish(state, run)
            publisher.publish(run)
    assert len(warnings) == 1
    assert capsys.readouterr().out == ""  # that of `--json`
    assert publisher.reachable
    assert in_record(server.uri) == in_folders(state)
    assert {child.info.status for child in children_of(server.uri)} == {"FINISHED"}
    client = MlflowClient(server.uri)
    for child in children_of(server.uri):
        assert [one.path for one in client.list_artifacts(child.info.run_id)] == ["result.json"]
