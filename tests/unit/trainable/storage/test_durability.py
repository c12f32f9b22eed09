"""What is on the disk at each moment at which a kill or a power cut may come."""

from __future__ import annotations

import dataclasses
import errno
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from record_helpers import finish, grid, history_of, sweep_state
from search_helpers import begin, history, leave, miou, search_of
from small import small_config, spec_of
from store_helpers import children_of, runs_of, wait_until

from sweeps.record import publisher as publisher_module
from sweeps.record.mlflow_store import create_database
from sweeps.record.publisher import Publisher
from sweeps.search.event_log import EventLog
from sweeps.storage.driver_lock import FOLDER, only_driver
from trainable.runs.folder import RunFolder
from trainable.runs.training_run import TrainingRun
from trainable.storage.files import write_atomically
from trainable.storage.tensors import load_tensors, save_tensors


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What was synced and renamed, in order: the operation and the name, a folder's with a /."""
    done: list[tuple[str, str]] = []
    sync, rename = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        done.append(("sync", f"{path.name}/" if path.is_dir() else path.name))
        sync(descriptor)

    def replace(source: Any, target: Any) -> None:
        rename(source, target)
        done.append(("name", Path(target).name))

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    return done


def test_content_is_on_the_disk_before_its_name_and_that_before_anything_else(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    write_atomically(tmp_path / "result.json", b"{}")
    temporary = f".result.json.{os.getpid()}.tmp"
    folder = f"{tmp_path.name}/"
    assert calls == [("sync", temporary), ("name", "result.json"), ("sync", folder)]


def test_tensors_never_lie_there_without_their_checksum(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    path = tmp_path / "model.pt"
    save_tensors(path, {"weight": torch.ones(3)})
    named = [name for operation, name in calls if operation == "name"]
    assert named == ["model.sha256", "model.pt"]
    assert calls.index(("sync", f".model.pt.{os.getpid()}.tmp")) < calls.index(("name", "model.pt"))
    assert calls[-1] == ("sync", f"{tmp_path.name}/")
    assert torch.equal(load_tensors(path)["weight"], torch.ones(3))


def killed_while_writing(path: Path) -> Path:
    """Leave what a process leaves that is killed before it names a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.12345.tmp")
    temporary.write_bytes(bytes(1000))
    return temporary


def test_the_next_writer_of_a_run_folder_clears_what_a_kill_left(tmp_path: Path) -> None:
    left = [
        killed_while_writing(tmp_path / "key" / name)
        for name in ("checkpoint-0000010.pt", "checkpoint-0000010.sha256", "result.json")
    ]
    (tmp_path / "key" / "checkpoint-0000010.sha256").write_text("of a file that never came")
    other = killed_while_writing(tmp_path / "other" / "result.json")
    with RunFolder(tmp_path, "key") as folder:
        assert not [path for path in left if path.exists()]
        folder.drop_checkpoints()
    assert [path.name for path in (tmp_path / "key").iterdir()] == ["lock"]
    assert other.exists()  # whose lock was not held


def test_the_next_driver_of_a_sweep_clears_what_a_kill_left_of_its_manifest(tmp_path: Path) -> None:
    left = killed_while_writing(tmp_path / FOLDER / "a1b2.json")
    other = killed_while_writing(tmp_path / FOLDER / "c3d4.json")
    with only_driver(tmp_path, "grid", "a1b2"):
        assert not left.exists()
    assert other.exists()


def test_an_event_is_on_the_disk_before_it_takes_effect(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    log = EventLog(tmp_path / "search.jsonl")
    log.open()
    assert calls == [("sync", f"{tmp_path.name}/")]  # its name, too
    log.append({"event": "ask"})
    log.close()
    assert calls[1:] == [("sync", "search.jsonl")]


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
def test_a_store_is_made_where_a_kill_left_another_half_made(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    ours = tmp_path / f".mlflow.db.{os.getpid()}.tmp"  # in a container numbers come again
    dead, alive = tmp_path / ".mlflow.db.4194305.tmp", tmp_path / f".mlflow.db.{os.getppid()}.tmp"
    for left in (ours, ours.with_name(f"{ours.name}-journal"), dead, alive):
        left.write_bytes(b"half a database")
    create_database(path)
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([path.name, alive.name])


def test_a_search_takes_an_end_in_when_its_log_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = begin(tmp_path, search_of())
    run = source.suggest()
    assert run is not None
    finish(source.state, run, miou, history=history(run.spec.config))

    append = EventLog.append

    def full(log: EventLog, event: Mapping[str, Any]) -> None:
        if event["event"] == "tell":
            raise OSError(errno.ENOSPC, "No space left on device")
        append(log, event)

    with monkeypatch.context() as patch:
        patch.setattr(EventLog, "append", full)
        with pytest.raises(OSError, match="No space"):
            source.on_complete(run, None)
    assert (source.asks[0].state, source.asks[0].scores) == (None, None)
    leave(source)
    assert begin(tmp_path, search_of()).asks[0].state == "COMPLETE"


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
def test_a_trial_that_a_slow_store_made_after_all_is_not_made_again(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    create = MlflowClient.create_run
    given_up: list[Any] = []

    def slow(client: MlflowClient, *args: Any, **kwargs: Any) -> Any:
        made = create(client, *args, **kwargs)
        if kwargs["tags"]["kind"] == "trial" and not given_up:
            given_up.append(made)
            raise TimeoutError("no answer within 5 s")
        return made

    monkeypatch.setattr(MlflowClient, "create_run", slow)
    monkeypatch.setattr(publisher_module, "PAUSE_S", 0.1)
    monkeypatch.setattr(publisher_module, "POLL_S", 0.05)
    state = sweep_state(tmp_path / "runs", grid([0.01], seeds=(0,)))
    with Publisher(state, uri, lambda _: None, with_model=False) as publisher:
        finish(state, state.runs[0])
        publisher.publish(state.runs[0])
        wait_until(lambda: [one for one in children_of(uri) if one.info.status == "FINISHED"])
    assert given_up
    assert len(children_of(uri)) == 1


@pytest.mark.trains
def test_a_checkpoint_of_another_attempt_is_not_continued(tmp_path: Path) -> None:
    spec = spec_of(small_config())
    before = TrainingRun(spec, tmp_path)
    before.advance()
    before.save()
    assert before.trainer.iteration > 0
    before.close()
    same = TrainingRun(spec, tmp_path)
    assert same.trainer.iteration == before.trainer.iteration
    same.close()
    anew = TrainingRun(dataclasses.replace(spec, attempt="again"), tmp_path)
    assert anew.trainer.iteration == 0
    anew.close()


# A clock that is set back


@pytest.mark.trains
def test_no_history_goes_back_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = spec_of(small_config())
    run = TrainingRun(spec, tmp_path)
    now = time.time()
    run.advance()
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    run.save()
    run.close()
    again = TrainingRun(spec, tmp_path)
    while not again.complete:
        again.advance()
    times = [row["time"] for row in again.history]
    again.close()
    assert len(times) > 2
    assert times == sorted(times)
    assert times[0] >= now


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
def test_no_record_ends_before_it_began(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = sweep_state(tmp_path / "runs", grid([0.01], seeds=(0, 1)))
    done, broken = state.runs
    rows = [row | {"time": 1.7e9 - row["iteration"]} for row in history_of(done.spec.config)]
    finish(state, done, history=rows)  # by a version that let its clock be set back
    with Publisher(state, uri, pytest.fail, with_model=False) as publisher:
        publisher.publish(done)
        wait_until(lambda: children_of(uri))
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now - 3600)
        publisher.publish(broken, "its worker died")
    assert len(children_of(uri)) == 2
    for run in runs_of(uri):
        assert run.info.start_time <= run.info.end_time
