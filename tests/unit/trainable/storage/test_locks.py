"""One writer of a run folder, one driver of a sweep: who comes second is told who was first."""

from __future__ import annotations

import fcntl
import io
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from driver_helpers import options, question
from record_helpers import finish, grid, sweep_state
from rich.console import Console
from small import small_config, spec_of
from training_helpers import run_to_end, train, tune_config
from tune_helpers import Named

from analysis.record.origin import Origin
from sweeps import publish as command
from sweeps.driver.sweep import answer
from sweeps.execution import executor
from sweeps.execution.display import LiveDisplay
from sweeps.execution.in_flight import RunsInFlight
from sweeps.execution.progress import ExecutionStats
from sweeps.execution.resources import Slots
from sweeps.execution.tune_hooks import TuneCallback
from sweeps.record.writer import MlflowWriter
from sweeps.search.source import FixedRuns
from sweeps.storage import driver_lock
from sweeps.storage.driver_lock import only_driver, only_writer
from trainable.config.schema import ConfigError
from trainable.ray_trainable import SegmentationTrainable
from trainable.runs.folder import RunFolder
from trainable.storage import locks
from trainable.storage.locks import FileLock, LockHeldError

MINE = f"another process (PID {os.getpid()} on {platform.node()})"
HOLD = """
import sys, time
from pathlib import Path
from trainable.storage.locks import FileLock
with FileLock(Path(sys.argv[1]), 0.0):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def held(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold the lock on a file."""
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            yield holder
        finally:
            holder.kill()


# A lock


def test_who_comes_second_is_told_pid_and_host_and_a_kill_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held(path) as holder:
        with pytest.raises(LockHeldError) as refused, FileLock(path, 0.0):
            pass
        assert str(refused.value) == f"another process (PID {holder.pid} on {platform.node()})"
        holder.kill()
        with FileLock(path, 20.0):
            assert path.read_text() == f"{os.getpid()} {platform.node()}\n"


def test_a_look_at_a_lock_neither_makes_nor_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    FileLock(path, 0.0).check_free()
    assert not path.exists()
    with FileLock(path, 0.0), pytest.raises(LockHeldError, match=f"PID {os.getpid()} on"):
        FileLock(path, 0.0).check_free()
    FileLock(path, 0.0).check_free()
    with FileLock(path, 0.0):
        pass


def test_a_stopped_holder_is_waited_for_and_named_now_and_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGSTOP neither frees a lock nor ends its holder."""
    monkeypatch.setattr(locks, "SAID_AFTER_S", 0.1)
    monkeypatch.setattr(locks, "SAID_EVERY_S", 0.2)
    monkeypatch.setattr(locks, "LOOK_S", 0.05)
    path = tmp_path / "lock"
    said: list[str] = []
    with held(path) as holder:
        holder.send_signal(signal.SIGSTOP)
        with pytest.raises(LockHeldError), FileLock(path, 0.8, said.append):
            pass
        assert 2 <= len(said) <= 4
        one = f"waiting for another process (PID {holder.pid} on {platform.node()}), which holds"
        assert set(said) == {f"{one} {path}"}


def test_a_lock_that_is_deleted_while_it_is_taken_is_not_held_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flock, calls = tmp_path / "lock", fcntl.flock, list[int]()

    def late(file: int, operation: int) -> None:
        if not calls:
            path.unlink()  # its last holder's, as it ends
        calls.append(file)
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    with FileLock(path, 1.0), pytest.raises(LockHeldError):
        FileLock(path, 0.0).__enter__()


def test_a_holder_that_could_not_write_its_name_is_just_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    path = tmp_path / "lock"
    path.write_text("1 elsewhere\n")  # who held it before
    monkeypatch.setattr(os, "pwrite", full)
    with FileLock(path, 0.0), pytest.raises(LockHeldError, match=r"^another process$"):
        FileLock(path, 0.0).__enter__()


# A driver


def everything(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_second_driver_of_a_sweep_is_refused_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[str] = []

    def start(*_: object) -> None:
        raise ConfigError("Ray is not to start here")

    monkeypatch.setattr("sweeps.driver.session.ray_slots", start)
    look = driver_lock.check_no_driver

    def noted(storage: Path, name: str, sweep_key: str) -> None:
        keys.append(sweep_key)
        look(storage, name, sweep_key)

    monkeypatch.setattr("sweeps.driver.session.check_no_driver", noted)
    with pytest.raises(SystemExit):
        answer(question([{}]), *options(tmp_path))  # no driver: on to Ray
    assert "not to start" in capsys.readouterr().err
    storage = tmp_path / "runs"
    storage.mkdir()
    with only_driver(storage, "mine", keys[0]):
        before = everything(tmp_path)
        with pytest.raises(SystemExit) as ended:
            answer(question([{}]), *options(tmp_path))
        assert everything(tmp_path) == before
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        f"error: a sweep must have one driver, but {MINE} drives mine in {storage}; "
        "wait for it or end it, or give another --storage\n"
    )


def test_who_lost_the_race_for_a_sweep_while_ray_started_is_refused_as_well(tmp_path: Path) -> None:
    with only_driver(tmp_path, "mine", "key"):
        with pytest.raises(ConfigError, match="must have one driver"), only_driver(
            tmp_path, "mine", "key"
        ):  # fmt: skip
            pass
        with only_driver(tmp_path, "other", "another key"):
            pass
    with only_driver(tmp_path, "mine", "key"):
        pass


def test_publish_is_refused_while_a_driver_is_at_work(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sweeps.record import manifest

    state = sweep_state(tmp_path / "runs", grid())
    finish(state, state.runs[0])
    manifest.begin(state, uri)
    monkeypatch.setattr("sys.argv", ["publish", "--storage", str(state.plan.storage)])
    with only_driver(state.plan.storage, state.plan.name, state.plan.sweep_key):
        before = everything(tmp_path)
        with pytest.raises(SystemExit) as ended:
            command.main()
        assert everything(tmp_path) == before
    assert ended.value.code == 2
    assert f"but {MINE} drives lambda_grid in {state.plan.storage}" in capsys.readouterr().err
    assert command.main() == 0


# A record that two drivers share


def test_two_records_of_one_sweep_hold_each_trial_once(tmp_path: Path, uri: str) -> None:
    """Both are open before either publishes, as drivers with storages of their own have them."""
    from store_helpers import children_of

    from sweeps.record import manifest

    plans = [sweep_state(tmp_path / name, grid()) for name in ("one", "two")]
    records = []
    for state in plans:
        for run in state.runs:
            finish(state, run)
        records.append(MlflowWriter(state, uri, manifest.begin(state, uri)))
    for number in range(2):
        for state, record in zip(plans, records, strict=True):
            record.publish(state.runs[number])
    children = children_of(uri)
    assert len(children) == len({one.data.tags["trial_key"] for one in children}) == 2


def test_a_trial_created_at_the_same_time_elsewhere_is_kept_once(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On two machines no lock holds: the other driver creates it between our look and our run."""
    from store_helpers import children_of

    from sweeps.record import manifest

    plans = [sweep_state(tmp_path / name, grid([0.0])) for name in ("one", "two")]
    for state in plans:
        finish(state, state.runs[0])
    ours, theirs = (MlflowWriter(state, uri, manifest.begin(state, uri)) for state in plans)
    create = ours.client.create_run

    def late(*args: Any, **kwargs: Any) -> Any:
        theirs.publish(plans[1].runs[0])
        return create(*args, **kwargs)

    monkeypatch.setattr(ours.client, "create_run", late)
    ours.publish(plans[0].runs[0])
    (child,) = [one for one in children_of(uri) if one.info.lifecycle_stage == "active"]
    assert child.info.status == "FINISHED"
    assert Origin.of_run(child).facts["record_hash"]


def test_one_driver_at_a_time_writes_to_a_record(tmp_path: Path, uri: str) -> None:
    inside, order = threading.Event(), []

    def other() -> None:
        inside.wait()
        with only_writer(uri, "key"):
            order.append("other")

    thread = threading.Thread(target=other)
    thread.start()
    with only_writer(uri, "key"):
        inside.set()
        time.sleep(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "other"]


def test_a_record_is_written_where_no_lock_can_be_kept(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with only_writer(uri, "key"):
        pass


# A run that two sweeps share


@pytest.mark.trains
def test_a_worker_waits_for_the_other_sweep_and_takes_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainable.ray_trainable.REPORT_S", 0.05)
    spec = spec_of(small_config(iterations=2))
    train(spec, tmp_path / "elsewhere")
    actor = SegmentationTrainable(tune_config(spec, tmp_path / "runs"))
    with RunFolder(tmp_path / "runs", spec.training_key) as folder:
        for _ in range(2):
            report = actor.step()
            assert not report.get("done")
            assert report["waits"] == (
                f"{folder.path} is being written by {MINE}; wait for it or end it"
            )
            assert report["busy_s"] == 0
        shutil.copytree(tmp_path / "elsewhere" / spec.training_key, folder.path, dirs_exist_ok=True)
    written = (folder.path / "result.json").stat().st_mtime_ns
    report = run_to_end(actor)
    assert "waits" not in report
    assert (folder.path / "result.json").stat().st_mtime_ns == written
    assert not (folder.path / "error.txt").exists()


def test_a_wait_is_told_after_a_while_and_then_each_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = sweep_state(tmp_path, grid([0.01]))
    in_flight = RunsInFlight(source=FixedRuns(state.runs))
    run = in_flight.suggest()
    assert run is not None
    console = Console(record=True, width=200, file=io.StringIO())
    screen = LiveDisplay(console=console, title="", total=1, done=0)
    callback = TuneCallback(
        state,
        in_flight,
        screen,
        ExecutionStats(),
        lambda run, cause: None,
        gpus=0,
        hang_timeout_s=60,
    )
    now = [0.0]
    monkeypatch.setattr("sweeps.execution.tune_hooks.time.monotonic", lambda: now[0])
    trial: Any = Named(run)
    callback.on_trial_start(0, [], trial)
    waiting: dict[str, Any] = {"busy_s": 0, "rss_gb": 0, "run_iteration": 0, "val/miou": None}
    waiting |= {"waits": "for P", "rows": []}
    for second in range(130):
        now[0] = float(second)
        callback.on_trial_result(0, [], trial, waiting)
    said = console.export_text().splitlines()
    assert said == ["lambda_adv=0.01 seed=0 waits: for P"] * 3  # after 5, 65 and 125 seconds
    callback.on_trial_result(0, [], trial, {k: v for k, v in waiting.items() if k != "waits"})
    callback.on_trial_result(0, [], trial, waiting)
    assert console.export_text() == ""


def test_a_sweep_clears_only_its_own_scratch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another that is under way in the same storage loses nothing when this one ends."""
    from ray import tune

    state = sweep_state(tmp_path, grid([0.01]))
    other = tmp_path / ".tune" / "another" / "file"
    other.parent.mkdir(parents=True)
    other.write_text("")
    places = []

    class Fitted:
        def __init__(self, *_: Any, run_config: Any, **__: Any) -> None:
            self.place = Path(run_config.storage_path)
            places.append(self.place)

        def fit(self) -> None:
            self.place.mkdir(parents=True)

    monkeypatch.setattr(tune, "Tuner", Fitted)
    monkeypatch.setattr(tune, "with_resources", lambda trainable, _: trainable)
    slots = Slots(count=1, cpus=1, gpus=0, time_budget_s=None)
    executor._fit(object, state, RunsInFlight(source=FixedRuns([])), slots, Mock(), Mock())
    assert not places[0].exists()
    assert other.exists()
