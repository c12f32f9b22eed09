"""An object store as storage: what is sent when, and that no number depends on where runs lie."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from record_helpers import finish, grid, sweep_state
from small import small_config, spec_of
from training_helpers import numbers, run_to_end, train, tune_config
from whole_sweeps import DEADLINE_S, LONG, command, finished_trials, results, sweep

from sweeps.execution.cluster import _try_out
from sweeps.planning.plan import PlannedRun
from sweeps.search.source import FixedRuns, MirroredSource
from sweeps.storage.mirror import INDEX, Mirror, open_storage
from trainable.config.schema import ConfigError
from trainable.ray_trainable import SegmentationTrainable
from trainable.runs.folder import CRASH_LOG, RunFolder
from trainable.runs.keys import RunSpec
from trainable.runs.remote_folder import RemoteFolder
from trainable.storage.object_store import ObjectStore
from trainable.storage.remote import Stamp, local_folder
from trainable.storage.tensors import load_tensors

pytestmark = pytest.mark.trains


class Watched:
    """A store that notes what is asked of it, and fails where a name ends so."""

    def __init__(self, store: ObjectStore, fails: str = "none") -> None:
        self.store = store
        self.fails = fails
        self.asked: list[str] = []

    def list(self, folder: str = "") -> dict[str, Stamp]:
        return self.store.list(folder)

    def get(self, name: str, path: Path) -> None:
        self._note("get", name)
        self.store.get(name, path)

    def put(self, path: Path, name: str) -> None:
        self._note("put", name)
        self.store.put(path, name)

    def drop(self, name: str) -> None:
        self._note("drop", name)
        self.store.drop(name)

    def _note(self, what: str, name: str) -> None:
        if name.endswith(self.fails):
            raise OSError("the store is away")
        self.asked.append(f"{what} {name.partition('/')[2]}")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder that is this test's, as each machine has one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(params=["file", "mock"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    """A folder as a store, and pyarrow's own store in memory."""
    return ObjectStore(f"file://{tmp_path}/store/runs" if request.param == "file" else "mock:///b")


def uri_of(folder: Path) -> str:
    return f"file://{folder}"


def actor_of(spec: RunSpec, uri: str) -> SegmentationTrainable:
    return SegmentationTrainable(tune_config(spec, Path()) | {"storage": uri})


# A folder of a store


def test_a_file_that_was_put_is_listed_and_got_until_it_is_dropped(
    store: ObjectStore, tmp_path: Path
) -> None:
    (tmp_path / "one").write_bytes(b"first")
    store.put(tmp_path / "one", "a/one.json")
    (tmp_path / "one").write_bytes(b"second time")
    store.put(tmp_path / "one", "a/one.json")
    assert {name: size for name, (size, _) in store.list().items()} == {"a/one.json": 11}
    assert store.list("a") == store.list()
    assert store.list("b") == {}
    store.get("a/one.json", tmp_path / "new" / "two")
    assert (tmp_path / "new" / "two").read_bytes() == b"second time"
    assert len(list((tmp_path / "new").iterdir())) == 1
    store.drop("a/one.json")
    store.drop("a/one.json")
    assert store.list() == {}


def test_a_get_that_fails_leaves_nothing(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        store.get("missing", tmp_path / "new" / "file")
    assert list((tmp_path / "new").iterdir()) == []


def test_trying_a_store_out_leaves_nothing(store: ObjectStore) -> None:
    store.try_out()
    assert store.list() == {}


# A run folder in a store


@pytest.fixture
def remote(store: ObjectStore, tmp_path: Path) -> RemoteFolder:
    remote = RemoteFolder(Watched(store), tmp_path / "scratch", "key")
    remote.fetch()
    return remote


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text(f"{name} of {os.urandom(4).hex()}")


def asked_of(remote: RemoteFolder) -> list[str]:
    """What was asked of the store since the last look."""
    assert isinstance(remote.store, Watched)
    asked, remote.store.asked = remote.store.asked, []
    return asked


# A kill between any two of these leaves what a kill leaves in a local run folder.
def test_a_checksum_goes_before_its_file_and_a_result_after_all_else(remote: RemoteFolder) -> None:
    write(remote.path, "config.json", "checkpoint-1.pt", "checkpoint-1.sha256", "metrics.json")
    write(remote.path, ".metrics.json.7.tmp", "checkpoint-0.bad")
    remote.push()
    first = ["checkpoint-1.sha256", "checkpoint-1.pt", "config.json", "metrics.json"]
    assert asked_of(remote) == [f"put {name}" for name in first]
    write(remote.path, "result.json", "model.sha256", "model.pt", "samples.npz", "metrics.json")
    for path in remote.path.glob("checkpoint-1.*"):
        path.unlink()
    remote.push()
    last = ["model.sha256", "model.pt", "metrics.json", "samples.npz", "result.json"]
    assert asked_of(remote) == [
        *(f"put {name}" for name in last),
        "drop checkpoint-1.pt",
        "drop checkpoint-1.sha256",
    ]
    remote.push()
    assert asked_of(remote) == []


def test_another_node_gets_what_was_sent_but_no_model_and_sends_none_of_it_again(
    remote: RemoteFolder, tmp_path: Path
) -> None:
    write(remote.path, "config.json", "result.json", "model.pt", "model.sha256")
    remote.push()
    other = RemoteFolder(remote.store, tmp_path / "other", "key")
    asked_of(remote)
    other.fetch()
    assert sorted(path.name for path in other.path.iterdir()) == [
        "config.json", "lock", "result.json",
    ]  # fmt: skip
    asked_of(remote)
    other.push()
    assert asked_of(remote) == []
    assert "key/model.pt" in other.store.list("key")


def test_what_a_killed_worker_left_on_a_node_does_not_count(remote: RemoteFolder) -> None:
    write(remote.path, "checkpoint-9.pt", "checkpoint-9.sha256")
    again = RemoteFolder(remote.store, remote.path.parent, "key")
    again.fetch()
    assert [path.name for path in again.path.iterdir()] == ["lock"]


# Workers


def test_a_run_that_lost_its_node_goes_on_from_the_store_to_the_same_bits(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainable.ray_trainable.REPORT_S", 0.0)
    spec, uri = spec_of(small_config()), uri_of(tmp_path / "store")
    straight = train(spec, tmp_path / "straight")
    lost = actor_of(spec, uri)
    while lost.step()["run_iteration"] < 6:
        pass
    assert lost._run is not None
    lost._run.close()
    shutil.rmtree(cache / "pixelwise-adversarial-stores")
    there = {name.partition("/")[2] for name in ObjectStore(uri).list()}
    assert {"checkpoint-0000004.pt", "checkpoint-0000004.sha256", "metrics.json"} < there
    actor = actor_of(spec, uri)
    assert actor.step()["run_iteration"] > 4
    run_to_end(actor)
    assert numbers(spec, tmp_path / "store") == straight
    folder = tmp_path / "store" / spec.training_key
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "metrics.json", "model.pt", "model.sha256", "result.json", "samples.npz",
    }  # fmt: skip
    load_tensors(folder / "model.pt")
    scratch = local_folder(uri, "scratch") / spec.training_key
    assert [path.name for path in scratch.iterdir()] == ["lock"]


def test_a_damaged_checkpoint_of_the_store_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainable.ray_trainable.REPORT_S", 0.0)
    spec, uri = spec_of(small_config()), uri_of(tmp_path / "store")
    straight = train(spec, tmp_path / "straight")
    stopped = actor_of(spec, uri)
    while stopped.step()["run_iteration"] < 9:
        pass
    stopped.cleanup()
    folder = RunFolder(tmp_path / "store", spec.training_key)
    folder.checkpoints()[-1].write_bytes(b"torn")
    run_to_end(actor_of(spec, uri))
    assert numbers(spec, tmp_path / "store") == straight


def test_a_stopped_run_is_saved_in_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainable.ray_trainable.REPORT_S", 0.0)
    spec = spec_of(small_config(checkpoint_every=1000))
    actor = actor_of(spec, uri_of(tmp_path / "store"))
    actor.step()
    actor.cleanup()
    state = RunFolder(tmp_path / "store", spec.training_key).load_checkpoint()
    assert state is not None
    assert state["iteration"] == 3


def test_a_fault_leaves_its_traceback_in_the_store(tmp_path: Path) -> None:
    values = spec_of(small_config()).to_primitives() | {"data_fingerprint": "0" * 16}
    spec = RunSpec.from_primitives(values)
    with pytest.raises(ValueError, match="must have fingerprint"):
        actor_of(spec, uri_of(tmp_path / "store")).step()
    log = tmp_path / "store" / spec.training_key / CRASH_LOG
    assert "must have fingerprint" in log.read_text()


# The driver's mirror


def mirror_of(store: Any, folder: Path, *, with_samples: bool = False) -> Mirror:
    mirror = Mirror("file:///anywhere", store, folder, with_samples=with_samples)
    mirror.update()
    return mirror


def send(store: ObjectStore, tmp_path: Path, *names: str) -> None:
    (tmp_path / "sent").write_text(os.urandom(4).hex())
    for name in names:
        store.put(tmp_path / "sent", name)


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.glob("*/*")}


def test_a_mirror_has_the_small_files_and_asks_for_each_once(
    store: ObjectStore, tmp_path: Path
) -> None:
    send(store, tmp_path, "k/config.json", "k/result.json", "k/model.pt", "k/samples.npz")
    send(store, tmp_path, "k/checkpoint-1.pt", "sweeps/s.json", "searches/s.jsonl")
    small = {"k/config.json", "k/result.json", "sweeps/s.json", "searches/s.jsonl"}
    mirror_of(store, tmp_path / "mirror")
    assert files_in(tmp_path / "mirror") == small
    watched = Watched(store)
    mirror_of(watched, tmp_path / "mirror")
    assert watched.asked == []
    mirror_of(store, tmp_path / "mirror", with_samples=True).fetch_model("k")
    assert files_in(tmp_path / "mirror") == small | {"k/samples.npz", "k/model.pt"}


def test_a_mirror_whose_index_was_changed_is_refused_by_its_name(
    store: ObjectStore, tmp_path: Path
) -> None:
    send(store, tmp_path, "k/config.json")
    mirror_of(store, tmp_path / "mirror")
    path = tmp_path / "mirror" / INDEX
    path.write_text(path.read_text().replace("[", "[1", 1))
    with pytest.raises(ConfigError, match=f"{path} must be what a sweep wrote, but it was changed"):
        mirror_of(store, tmp_path / "mirror")


# Who deletes a run from a bucket wants it trained again.
def test_what_the_store_no_longer_has_the_mirror_forgets(
    store: ObjectStore, tmp_path: Path
) -> None:
    send(store, tmp_path, "k/config.json", "k/result.json")
    mirror_of(store, tmp_path / "mirror")
    store.drop("k/result.json")
    mirror_of(store, tmp_path / "mirror")
    assert files_in(tmp_path / "mirror") == {"k/config.json"}


def test_what_a_driver_wrote_is_sent_once_at_the_end_or_by_the_next(
    store: ObjectStore, tmp_path: Path
) -> None:
    watched = Watched(store)
    mirror = mirror_of(watched, tmp_path / "mirror")
    (tmp_path / "mirror" / "sweeps").mkdir()
    with mirror.kept_in_step(pytest.fail):
        write(tmp_path / "mirror" / "sweeps", "s.json")
    mirror.push()
    assert watched.asked == ["put s.json"]
    write(tmp_path / "mirror" / "sweeps", "s.json", "s.diff")  # and then comes a kill
    killed = {path.name: path.read_text() for path in (tmp_path / "mirror/sweeps").iterdir()}
    mirror_of(watched, tmp_path / "mirror").push()
    other = tmp_path / "other machine"
    mirror_of(store, other)
    assert {path.name: path.read_text() for path in (other / "sweeps").iterdir()} == killed


def test_a_store_that_is_away_at_the_end_is_told_of(store: ObjectStore, tmp_path: Path) -> None:
    mirror = mirror_of(Watched(store, fails="s.json"), tmp_path / "mirror")
    (tmp_path / "mirror" / "sweeps").mkdir()
    told: list[str] = []
    with mirror.kept_in_step(told.append):
        write(tmp_path / "mirror" / "sweeps", "s.json")
    assert len(told) == 1
    assert "the store is away" in told[0]


class Told(FixedRuns):
    """Notes what a plan knows of a run when its end is told."""

    def on_complete(self, run: PlannedRun, cause: str | None) -> None:
        self.cause, self.outcome = cause, plan_outcome(run)


def plan_outcome(run: PlannedRun) -> Any:
    mirror = local_folder("file:///anywhere", "mirror")
    return RunFolder(mirror, run.spec.training_key).read("result")


@pytest.mark.parametrize("fails", ["none", "result.json"])
def test_a_run_is_fetched_before_its_end_is_told(
    store: ObjectStore, tmp_path: Path, fails: str
) -> None:
    elsewhere = sweep_state(tmp_path / "elsewhere", grid())
    run = elsewhere.runs[0]
    mirror = mirror_of(Watched(store, fails), local_folder("file:///anywhere", "mirror"))
    finish(elsewhere, run)
    for path in (tmp_path / "elsewhere" / run.spec.training_key).glob("*.json"):
        store.put(path, f"{run.spec.training_key}/{path.name}")
    told = Told([run])
    MirroredSource(told, mirror).on_complete(run, None)
    if fails == "none":
        assert told.cause is None
        assert told.outcome == RunFolder(elsewhere.plan.storage, run.spec.training_key).read(
            "result"
        )
    else:
        assert told.cause is not None
        assert "the store is away" in told.cause
        assert told.outcome is None


# The option


def test_a_store_that_pyarrow_does_not_know_or_may_not_write_is_refused_in_one_line(
    tmp_path: Path, cache: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    for uri in ("nosuch://bucket/runs", "s3:///runs", f"file://{tmp_path}/file/below"):
        with pytest.raises(
            ConfigError, match=r"\(--storage\) must be a folder or an object"
        ) as said:
            open_storage(uri)
        assert uri in str(said.value)
        assert "\n" not in str(said.value)
    assert not cache.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_node_says_why_it_cannot_write_to_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    said = _try_out(uri_of(tmp_path / "file" / "below"))
    assert said is not None
    assert said.startswith("says: ")
    assert _try_out(uri_of(tmp_path / "store")) is None
    assert list((tmp_path / "store").iterdir()) == []


def test_a_password_in_a_uri_is_not_told() -> None:
    with pytest.raises(ConfigError) as said:
        open_storage("nosuch://me:secret@bucket/runs")
    assert "secret" not in str(said.value)


# Whole sweeps


@pytest.mark.slow
def test_a_sweep_on_a_store_killed_and_moved_to_another_machine_has_the_numbers_of_a_local_one(
    tmp_path: Path, long_uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (tmp_path / name for name in ("first", "second"))
    for folder in (first, second):
        folder.mkdir()
    uri = uri_of(first / "runs")
    begun = command("--no-figures", "--storage", uri, settings=LONG)
    with (tmp_path / "said").open("w") as said:
        driver = subprocess.Popen(begun, cwd=first, stdout=said, stderr=said)
    deadline = time.monotonic() + DEADLINE_S
    while not list(first.glob("runs/*/checkpoint-*.pt")):
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    assert len(results(first)) < 4
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    again = sweep(second, "--storage", uri, "--no-figures", "--json", settings=LONG)
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["training_runs_done"] == 4
    assert results(first) == results(long_uninterrupted)
    assert finished_trials(second).keys() == finished_trials(long_uninterrupted).keys()
    assert not list(second.glob("runs/*"))
    assert len(list(first.glob("runs/sweeps/*.json"))) == 1
