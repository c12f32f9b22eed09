"""Ray's files and its start: a place that fits, nothing left behind, one line where it fails."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeps.execution import executor
from sweeps.execution import ray_folder as ray_folder_module
from sweeps.execution.executor import STARTS, start_ray
from sweeps.execution.ray_folder import MOST_BYTES, RayFolderError, ray_folder
from sweeps.execution.resources import ExecutorError, Resources


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a path short enough, the only place that is looked at."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    monkeypatch.setattr(ray_folder_module, "PLACES", ("TMPDIR", str(folder)))
    monkeypatch.delenv("TMPDIR", raising=False)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("home", ["", "/nonexistent"])
def test_the_folder_is_short_and_private_holds_the_token_and_goes(
    place: Path, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", home)
    monkeypatch.setenv("RAY_TMPDIR", "before")
    with ray_folder() as folder:
        assert folder.parent == place
        assert len(str(folder)) <= MOST_BYTES
        assert folder.stat().st_mode & 0o777 == 0o700
        token = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
        assert token.parent == folder
        assert token.stat().st_mode & 0o777 == 0o600
        assert len(token.read_text()) == 64
        assert os.environ["RAY_TMPDIR"] == str(folder)
    assert list(place.iterdir()) == []
    assert os.environ["RAY_TMPDIR"] == "before"
    assert "RAY_AUTH_TOKEN_PATH" not in os.environ


@pytest.mark.parametrize("name", ["x" * 100, "a b", "é", "nowhere"])
def test_a_place_that_ray_cannot_use_is_passed_over(
    place: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = Path(tempfile.mkdtemp(dir="/tmp"))
    if name != "nowhere":
        (parent / name).mkdir()
    monkeypatch.setenv("TMPDIR", str(parent / name))
    with ray_folder() as folder:
        assert folder.parent == place
    shutil.rmtree(parent)


def refusal() -> str:
    with pytest.raises(RayFolderError) as refused, ray_folder():
        pass
    return str(refused.value)


def test_where_no_place_will_do_one_line_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_folder_module, "PLACES", (f"/{'x' * 60}", "/nowhere", "/proc/version"))
    assert "/xxx" in refusal()
    assert "has 61 characters; /nowhere says: No such file" in refusal()
    assert "\n" not in refusal()
    monkeypatch.setattr(ray_folder_module, "LEAST_FREE_BYTES", 1e18)
    monkeypatch.setattr(ray_folder_module, "PLACES", ("/tmp",))
    assert re.search(r"/tmp has \d+ MB; name one with RAY_TMPDIR", refusal())


def test_what_a_killed_driver_left_is_ended_and_cleared_and_nothing_else(place: Path) -> None:
    names = ("left", "held", "locked")
    left, held, locked = (place / f"pwa-{os.getuid()}-{name:x<8}" for name in names)
    strange = place / "pwa-99999-xxxxxxxx"
    for folder in (left, held, locked, strange):
        (folder / "session").mkdir(parents=True)
        (folder / "lock").touch()
    with (held / "session" / "raylet.out").open("w") as out:
        raylet = subprocess.Popen(["sleep", "600"], stdout=out)
    its_driver = ray_folder_module._lock(locked)
    assert its_driver is not None
    with ray_folder() as folder:
        assert raylet.wait(10) == -signal.SIGKILL
        assert set(place.iterdir()) == {folder, locked, strange}
    assert set(place.iterdir()) == {locked, strange}
    os.close(its_driver)


@pytest.mark.parametrize("there", [True, False])
def test_a_driver_that_clears_a_folder_leaves_those_alive_that_look_at_its_lock(
    place: Path, there: bool
) -> None:
    left = place / f"pwa-{os.getuid()}-xxxxxxxx"
    left.mkdir()
    with (left / "lock").open("w") as lock:  # as another that starts, or the one that ends it
        driver = subprocess.Popen(["sleep", "600"], stdin=lock)
    if not there:  # rmtree has come as far as this
        (left / "lock").unlink()
    with ray_folder() as folder:
        assert set(place.iterdir()) == {folder}
    assert driver.poll() is None
    driver.kill()
    driver.wait()


# The start


def failing(monkeypatch: pytest.MonkeyPatch, *faults: BaseException) -> None:
    import ray

    coming = iter(faults)

    def init(**_: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as Ray sets its own
        raise next(coming)

    monkeypatch.setattr(ray, "init", init)


def test_a_start_that_takes_too_long_is_tried_anew_and_then_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = "The current node timed out during startup. This could\nhappen because"
    failing(monkeypatch, *[Exception(slow) for _ in range(STARTS)])
    said: list[str] = []
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ExecutorError, match=r"^Ray does not start on this machine: The current"):
        start_ray(tmp_path, said.append)
    assert len(said) == STARTS - 1
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_time_does_not_mend_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, OSError(98, "Address already in use"))
    with pytest.raises(ExecutorError, match="Address already in use"):
        start_ray(tmp_path, pytest.fail)


def test_sigterm_while_ray_starts_is_an_interrupt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, SystemExit(1))
    with pytest.raises(KeyboardInterrupt):
        start_ray(tmp_path, pytest.fail)


def test_it_starts_in_a_thread_beside_the_main_one_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr(ray, "init", lambda **_: None)
    faults: list[Exception] = []

    def start() -> None:
        try:
            start_ray(tmp_path, pytest.fail)
        except ValueError as error:  # of a signal
            faults.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert faults == []


@pytest.mark.parametrize("address", [None, "head:6379"])
def test_a_ray_that_the_process_is_connected_to_is_refused_and_left_alone(
    address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray, "shutdown", lambda: pytest.fail("it is another's"))
    resources = Resources(
        address=address, cpus_per_trial=1, gpus_per_trial=0, max_concurrent=1, time_budget_s=None
    )
    with (
        pytest.raises(ExecutorError, match=r"call `ray.shutdown\(\)` first"),
        executor.ray_slots(resources, 1),
    ):
        pass


@pytest.mark.parametrize("python", ["/usr/bin/python3", "/a stranger's/venv/bin/python"])
def test_workers_start_where_pythons_path_is_no_single_word_for_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: str
) -> None:
    import ray

    given: dict[str, Any] = {}
    monkeypatch.setattr(ray, "init", lambda **options: given.update(options))
    monkeypatch.setattr(sys, "executable", python)
    start_ray(tmp_path, pytest.fail)
    # As Ray's RuntimeEnvContext does: joined by spaces and given to a shell.
    word = (given["runtime_env"] or {}).get("py_executable", python)
    assert shlex.split(word) == [python]


def test_refusals_of_the_folder_are_refusals_of_the_executor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray_folder_module, "PLACES", ("/nowhere",))
    resources = Resources(
        address=None, cpus_per_trial=1, gpus_per_trial=0, max_concurrent=1, time_budget_s=None
    )
    with (
        pytest.raises(ExecutorError, match="Ray's files need a folder"),
        executor.ray_slots(resources, 1),
    ):
        pass


LISTENING = """
from sweeps.execution.executor import Resources, ray_slots

resources = Resources(
    address=None, cpus_per_trial=1, gpus_per_trial=0, max_concurrent=1, time_budget_s=None
)
with ray_slots(resources, 1):
    import ray
    import psutil  # of Ray

    ray.get(ray.remote(lambda: None).remote())
    own = psutil.Process()
    for process in [own, *own.children(recursive=True)]:
        for one in process.net_connections():
            if one.status == "LISTEN":
                print(process.name(), one.laddr.ip)
"""


@pytest.mark.slow
def test_a_ray_of_this_machine_listens_on_loopback_alone(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", LISTENING], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    listening = [line.rsplit(" ", 1) for line in ran.stdout.splitlines()]
    names = " ".join(name for name, _ in listening)
    assert all(part in names for part in ("python", "gcs_server", "raylet", "ray::")), ran.stdout
    assert {ip for _, ip in listening} <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
