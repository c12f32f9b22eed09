"""What the machine refuses ends in one line, loses nothing, and the same command resumes."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from driver_helpers import options, question
from record_helpers import finish, grid, sweep_state
from rich.console import Console
from small import SMALL, small_config, spec_of
from training_helpers import numbers, run_to_end, train, tune_config

from sweeps.driver import session
from sweeps.driver.sweep import answer
from sweeps.execution.display import LiveDisplay
from sweeps.execution.in_flight import RunsInFlight
from sweeps.execution.progress import ExecutionStats
from sweeps.execution.tune_hooks import FAULT, TuneCallback
from sweeps.planning.state import SweepState
from sweeps.record import manifest
from sweeps.record.publisher import Publisher
from sweeps.search.source import FixedRuns
from sweeps.storage.threads import ThreadEndedError, Threads, wait
from trainable import predict
from trainable.cli.options import command
from trainable.config.schema import ConfigError
from trainable.ray_trainable import SegmentationTrainable
from trainable.runs.folder import RunFolder
from trainable.storage import tensors
from trainable.storage.faults import machine_fault, naming
from trainable.storage.files import write_atomically
from trainable.storage.tensors import save_tensors

SETS = [part for setting in SMALL for part in ("--set", setting)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own; `room` changes its size."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=100m", "none", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, check=False).returncode:
        pytest.skip("only root mounts")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def room(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


@contextmanager
def files_of_at_most(count: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# What is told apart


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, r"has no room: the disk of /tmp is full or nearly so, with"),
        (errno.EDQUOT, "has no room: the quota of this user is used up"),
        (errno.EFBIG, "has no room: a file may have .* bytes; raise `ulimit -f`"),
        (errno.EROFS, "is on a file system that is read-only"),
        (errno.EACCES, "may not be used by this user"),
        (errno.EMFILE, r"cannot be opened: \d+ open files are allowed; raise `ulimit -n`"),
        (errno.EIO, "is on a disk that fails"),
    ],
)
def test_what_the_machine_refuses_is_said_with_the_file_and_the_reason(
    number: int, words: str
) -> None:
    error = OSError(number, os.strerror(number), "/tmp/file")
    assert re.match(f"/tmp/file {words}", str(machine_fault(error)))
    passed_on = RuntimeError("unexpected pos 64 vs 0")  # as torch does
    passed_on.__context__ = error
    assert machine_fault(passed_on) == machine_fault(error)


@pytest.mark.parametrize(
    "text",
    [
        "(sqlite3.OperationalError) database or disk is full",
        "(sqlite3.OperationalError) attempt to write a readonly database",
        "(sqlite3.OperationalError) unable to open database file",
    ],
)
def test_sqlites_words_are_known(text: str) -> None:
    assert str(machine_fault(RuntimeError(text))).startswith("the SQLite file ")


def test_other_errors_are_not_the_machines(tmp_path: Path) -> None:
    missing = FileNotFoundError(errno.ENOENT, "No such file", str(tmp_path / "file"))
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "refused")
    hidden = KeyError("x")
    hidden.__context__, hidden.__suppress_context__ = OSError(errno.ENOSPC, "full"), True
    for error in (missing, refused, hidden, OSError("no number"), ValueError("full")):
        assert machine_fault(error) is None
    gone = FileNotFoundError(errno.ENOENT, "No such file", str(tmp_path / "gone" / "file"))
    assert str(machine_fault(gone)).endswith("its folder is gone")


def test_an_error_of_a_write_names_its_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="full") as raised, naming(tmp_path / "file"):
        raise OSError(errno.ENOSPC, "full")
    assert raised.value.filename == str(tmp_path / "file")


# Files


def test_a_write_without_room_leaves_what_was_there_and_nothing_else(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.json", b"old")
    save_tensors(tmp_path / "a.pt", {"x": torch.zeros(1)})
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with files_of_at_most(10_000):
        with pytest.raises(OSError, match="too large") as of_bytes:
            write_atomically(tmp_path / "a.json", b"x" * 20_000)
        with pytest.raises((OSError, RuntimeError)) as of_tensors:
            save_tensors(tmp_path / "a.pt", {"x": torch.zeros(9999)})
    for name, error in (("a.json", of_bytes.value), ("a.pt", of_tensors.value)):
        fault = str(machine_fault(error))
        assert fault.startswith(f"{tmp_path / name} has no room: a file may have")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_checkpoint_that_cannot_be_opened_now_is_not_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    with RunFolder(tmp_path, "key") as folder:
        folder.save_checkpoint({"iteration": 1})
        with monkeypatch.context() as patched:
            patched.setattr(tensors, "read_tensors", refuse)
            with pytest.raises(OSError, match="Too many"):
                folder.load_checkpoint()
        assert folder.load_checkpoint() == {"iteration": 1}


# Commands


def test_a_command_ends_in_one_line_with_exit_code_1_and_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @command
    def main() -> int:
        raise OSError(errno.EDQUOT, "quota", "/a/file")

    monkeypatch.setattr("sys.argv", ["tool.py", "--password=x", "a b"])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    assert main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: /a/file has no room: the quota of this user is used up; mend")
    assert line.endswith("tool.py '--password=***' 'a b' (with the secret for ***)")

    @command
    def wrong() -> int:
        raise KeyError("ours")

    with pytest.raises(KeyError):
        wrong()


@pytest.mark.trains
def test_training_on_a_full_disk_goes_on_to_the_same_numbers_when_there_is_room(
    small_disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from trainable import train as training

    monkeypatch.chdir(tmp_path)

    def run(storage: Path) -> tuple[int, list[str]]:
        monkeypatch.setattr("sys.argv", ["train.py", *SETS, "--storage", str(storage)])
        return training.main(), capsys.readouterr().err.splitlines()

    room(small_disk, "300k")
    code, said = run(small_disk / "runs")
    assert code == 1
    assert said[-1].startswith(f"error: {small_disk / 'runs'}/")
    assert "has no room: the disk of" in said[-1]
    assert "resume from the last checkpoint with: python" in said[-1]
    assert not list(small_disk.rglob("*.tmp"))
    room(small_disk, "100m")
    assert run(small_disk / "runs")[0] == 0
    assert run(tmp_path / "elsewhere")[0] == 0
    (mine,), (other,) = (list(d.glob("*/model.pt")) for d in (small_disk / "runs",
                                                               tmp_path / "elsewhere"))  # fmt: skip
    assert mine.read_bytes() == other.read_bytes()


@pytest.mark.trains
def test_a_mask_is_written_whole_or_not_at_all_and_the_first_refusal_ends_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    spec = spec_of(small_config(iterations=1))
    train(spec, tmp_path / "runs")
    for number in range(3):
        Image.effect_noise((64, 64), 90).convert("RGB").save(tmp_path / f"{number}.png")
    out = tmp_path / "out"
    argv = ["predict", "--run-folder", str(tmp_path / "runs" / spec.training_key), "--out"]
    images = [str(tmp_path / f"{number}.png") for number in range(3)]
    monkeypatch.setattr("sys.argv", [*argv, str(out), *images])
    with files_of_at_most(1000):
        assert predict.main() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {out}/0")
    for path in out.iterdir():  # what is there can be read
        Image.open(path).load()
    assert predict.main() == 0
    assert len(list(out.iterdir())) == 6


# A worker


@pytest.mark.trains
def test_a_worker_without_room_is_not_tried_again_and_goes_on_when_there_is(
    small_disk: Path, tmp_path: Path
) -> None:
    spec = spec_of(small_config())
    room(small_disk, "300k")
    actor = SegmentationTrainable(tune_config(spec, small_disk))
    report = run_to_end(actor)
    assert report["fault"].startswith(f"{small_disk / spec.training_key}/")
    assert "has no room: the disk of" in report["fault"]
    assert not (small_disk / spec.training_key / "error.txt").exists()
    room(small_disk, "100m")
    actor.reset_config(tune_config(spec, small_disk))
    assert "fault" not in run_to_end(actor)
    assert numbers(spec, small_disk) == train(spec, tmp_path / "elsewhere")


@pytest.mark.trains
def test_a_worker_whose_folder_vanished_says_so(tmp_path: Path) -> None:
    spec = spec_of(small_config())
    actor = SegmentationTrainable(tune_config(spec, tmp_path / "runs"))
    actor._opened()
    shutil.rmtree(tmp_path / "runs")
    assert "its folder is gone" in run_to_end(actor)["fault"]


class EndedRun:
    """A Tune trial that ended."""

    def __init__(self, state: SweepState, result: dict[str, Any]) -> None:
        self.key, self.last_result = state.runs[0].spec.training_key, result

    def __str__(self) -> str:
        return self.key


def callback_of(
    state: SweepState, execution: ExecutionStats, ends: list[Any]
) -> tuple[TuneCallback, RunsInFlight]:
    in_flight = RunsInFlight(source=FixedRuns(state.runs))
    screen = LiveDisplay(console=Console(quiet=True), title="", total=1, done=0)
    callback = TuneCallback(
        state, in_flight, screen, execution, lambda run, cause: ends.append((run, cause)),
        gpus=0, hang_timeout_s=60,
    )  # fmt: skip
    return callback, in_flight


def test_a_workers_fault_ends_the_sweep_and_its_run_stays_to_be_trained(tmp_path: Path) -> None:
    state, execution, ends = sweep_state(tmp_path, grid([0.01])), ExecutionStats(), list[Any]()
    callback, in_flight = callback_of(state, execution, ends)
    in_flight.suggest()
    trial: Any = EndedRun(state, {"fault": "the disk is full (host)"})
    callback.on_trial_start(0, [], trial)
    callback.on_trial_complete(0, [], trial)
    assert (state.fault, execution.spent) == ("the disk is full (host)", FAULT)
    assert ends == [(state.runs[0], None)]
    assert state.pending() == list(state.runs)
    assert execution.causes == {}


# The driver's threads


def test_what_ends_a_thread_is_seen_at_once_and_raised_where_it_is_waited_for() -> None:
    def work() -> None:
        raise ValueError("odd")

    threads = Threads()
    done = threads.start("odd", work)
    with pytest.raises(ThreadEndedError, match=r"odd thread ended of ValueError: odd \(test_fau"):
        wait("odd", done)
    assert isinstance(threads.error, ValueError)

    def bad_input() -> None:
        raise ConfigError("bad")

    with pytest.raises(ConfigError):
        wait("odd", threads.start("odd", bad_input))


def test_the_end_of_a_thread_ends_the_execution(tmp_path: Path) -> None:
    state, execution = sweep_state(tmp_path, grid([0.01])), ExecutionStats()
    callback, _ = callback_of(state, execution, [])
    callback.on_step_end(0, [])
    assert execution.spent is None
    state.threads.error = OSError("full")
    callback.on_step_end(0, [])
    assert execution.spent == FAULT


def full(*_: object, **__: object) -> Any:
    raise OSError(errno.EDQUOT, "quota", "/runs/sweeps/key.json")


def test_a_manifest_that_cannot_be_written_ends_the_driver_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def execute(state: SweepState, *_: object, **__: object) -> ExecutionStats:
        deadline = time.monotonic() + 120
        while state.threads.error is None:  # as TuneCallback does
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return ExecutionStats()

    from contextlib import nullcontext

    from sweeps.execution.resources import Slots

    slots = Slots(count=1, cpus=1.0, gpus=0.0, time_budget_s=None)
    monkeypatch.setattr(session, "ray_slots", lambda *_: nullcontext(slots))
    monkeypatch.setattr(session, "execute", execute)
    monkeypatch.setattr(manifest, "begin", full)
    monkeypatch.setattr("sys.argv", ["mine.py", "--seeds", "2"])
    assert answer(question([{}]), *options(tmp_path)) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: /runs/sweeps/key.json has no room: the quota of this user")
    assert re.search(r"resume with: python\S* mine.py --seeds 2$", line)


def test_a_record_without_room_ends_with_exit_code_1_and_a_server_that_is_away_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = sweep_state(tmp_path / "runs", grid([0.01]))
    finish(state, state.runs[0])
    said: list[str] = []
    with Publisher(state, "http://127.0.0.1:1", said.append, with_model=False):
        pass
    assert "lags behind" in said[-1]
    assert state.fault == ""
    monkeypatch.setattr("sweeps.record.publisher.MlflowWriter", full)
    with Publisher(state, f"sqlite:///{tmp_path}/m.db", said.append, with_model=False):
        pass
    assert state.fault.startswith("/runs/sweeps/key.json has no room")


@pytest.mark.slow
def test_a_sweep_on_a_full_disk_ends_in_one_line_and_goes_on_to_the_same_numbers(
    small_disk: Path, tmp_path: Path
) -> None:
    from whole_sweeps import results, sweep

    room(small_disk, "450k")
    done = sweep(tmp_path, "--no-figures", "--storage", str(small_disk / "runs"))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "has no room: the disk of" in line
    assert "resume with: python" in line
    room(small_disk, "100m")
    again = sweep(tmp_path, "--no-figures", "--storage", str(small_disk / "runs"))
    assert again.returncode == 0, again.stderr
    assert sweep(tmp_path, "--no-figures", "--tracking-uri", "sqlite:///o.db").returncode == 0
    assert results(small_disk) == results(tmp_path)
