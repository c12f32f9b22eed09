"""Whole sweeps, as a person runs them: Ray, run folders, MLflow, figure; every way to stop."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from faults.sweep import descendants, title
from small import SMALL
from trees import write_voc_tree
from whole_sweeps import (
    DEADLINE_S,
    LONG,
    command,
    finished_trials,
    results,
    state_of,
    sweep,
)

from sweeps.execution.lifeline import RESTARTS
from sweeps.storage.driver_lock import FOLDER

pytestmark = pytest.mark.slow


def changed_at(folder: Path) -> dict[Path, int]:
    """Return when each file of each run folder was written; the manifest of a sweep is none."""
    files = (path for path in folder.glob("runs/*/*") if path.parent.name != FOLDER)
    return {path: path.stat().st_mtime_ns for path in files}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    done = sweep(folder, with_model=True)
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)
    return folder


def test_one_command_ends_with_the_path_of_its_figure(uninterrupted: Path) -> None:
    lines = (uninterrupted / "stdout").read_text().splitlines()
    assert lines[-1] == "figures/fig4.png"
    assert {path.name for path in (uninterrupted / "figures").iterdir()} >= {
        "fig4.pdf", "fig4.png", "fig4.csv", "lambda_grid_trials.csv", "lambda_grid_trials.parquet",
        "report.html", "manifest.json",
    }  # fmt: skip
    assert len(results(uninterrupted)) == len(finished_trials(uninterrupted)) == 4


def test_a_sweep_is_quiet(uninterrupted: Path) -> None:
    # What it does, a line per run, what it cost, the table of two settings, what its seeds could
    # have shown, the best point, the record, what is drawn: and nothing of Ray's.
    lines = (uninterrupted / "stdout").read_text().splitlines()
    record = (
        "record: mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1, then "
        "http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey="
    )
    assert lines[-5].startswith(record)
    # It was said before, as soon as there was one: in the midst of the others.
    others = [line for line in lines if not line.startswith(record)]
    assert len(others) == len(lines) - 2
    expected = [
        "lambda_grid with preset demo: loading PyTorch",
        "checking data, run folders and record",
        "lambda_grid on shapes: 4 trials from 4 training runs, 0 done, 4 to train",
        "starting Ray",
        *(f"[{n}/4] lambda_adv=" for n in range(1, 5)),
        "completing the record",
        "logging the model of the best trial",
        "trained 4 runs in ",
        "best settings (2 of 2)",
        " lambda_adv ",
        *(" 0", " 0"),
        "the smallest difference to the best that these seeds could have shown ",
        "best point: lambda_adv=",
        "drawing 2 figures of 1 sweep",
        "writing the report",
        "figures/report.html",
        "figures/fig4.png",
    ]
    assert len(others) == len(expected)
    assert all(line.startswith(start) for line, start in zip(others, expected, strict=True))
    assert (uninterrupted / "stderr").read_text() == ""


def test_the_same_command_again_trains_nothing_and_more_seeds_only_the_new(
    uninterrupted: Path,
) -> None:
    before = changed_at(uninterrupted)
    record = finished_trials(uninterrupted)
    again = sweep(uninterrupted)
    assert again.returncode == 0
    assert "4 done, nothing to train" in again.stdout
    assert changed_at(uninterrupted) == before
    assert finished_trials(uninterrupted) == record

    more = sweep(uninterrupted, "--seeds", "3")
    assert more.returncode == 0, more.stderr
    assert "4 done, 2 to train" in more.stdout
    assert changed_at(uninterrupted).items() > before.items()
    assert len(finished_trials(uninterrupted)) == 6


def start_and_wait_for_a_checkpoint(folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "stdout").open("w") as stdout, (folder / "stderr").open("w") as stderr:
        driver = subprocess.Popen(
            command("--no-figures", settings=LONG),
            cwd=folder,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
    deadline = time.monotonic() + DEADLINE_S
    while not list(folder.glob("runs/*/checkpoint-*.pt")):
        assert time.monotonic() < deadline
        assert driver.poll() is None
        time.sleep(0.05)
    return driver


def test_of_two_drivers_of_a_sweep_the_second_is_refused_by_the_first_ones_pid(
    tmp_path: Path, long_uninterrupted: Path
) -> None:
    driver = start_and_wait_for_a_checkpoint(tmp_path)
    driver.send_signal(signal.SIGSTOP)  # so that it is there however long the second takes
    try:
        second = sweep(tmp_path, "--no-figures", settings=LONG)
    finally:
        driver.send_signal(signal.SIGCONT)
    assert driver.poll() is None
    assert second.returncode == 2
    assert f"must have one driver, but another process (PID {driver.pid} on" in second.stderr
    assert second.stderr.count("\n") == 1
    assert driver.wait(DEADLINE_S) == 0, (tmp_path / "stderr").read_text()
    assert results(tmp_path) == results(long_uninterrupted)
    assert finished_trials(tmp_path).keys() == finished_trials(long_uninterrupted).keys()


def test_an_interrupt_exits_with_130_and_the_command_that_goes_on(tmp_path: Path) -> None:
    driver = start_and_wait_for_a_checkpoint(tmp_path)
    os.killpg(driver.pid, signal.SIGINT)  # as a terminal does
    assert driver.wait(DEADLINE_S) == 130
    assert "resume with: python" in (tmp_path / "stdout").read_text().splitlines()[-1]
    assert (tmp_path / "stderr").read_text() == ""
    assert state_of(tmp_path) == ("partial", "interrupted")


def test_a_dead_raylet_is_started_anew_twice_and_the_third_time_the_command_goes_on(
    tmp_path: Path, long_uninterrupted: Path
) -> None:
    driver = start_and_wait_for_a_checkpoint(tmp_path)
    killed: set[int] = set()
    for _ in range(1 + RESTARTS):
        titles: dict[int, str] = {}
        while not any("Trainable" in one for one in titles.values()):
            time.sleep(0.2)
            assert driver.poll() is None, (tmp_path / "stderr").read_text()
            titles = {pid: title(pid) for pid in descendants(driver.pid) if pid not in killed}
            raylets = [pid for pid, one in titles.items() if "raylet/raylet" in one]
        os.kill(raylets[0], signal.SIGKILL)
        killed |= set(titles)
    assert driver.wait(DEADLINE_S) == 1
    said = (tmp_path / "stdout").read_text().splitlines()
    anew = "Ray's local node died (its raylet is gone); starting it anew, {} of 2"
    assert [line for line in said if "anew" in line] == [anew.format(1), anew.format(2)]
    assert not any("(raylet)" in line for line in said)
    errors = [
        line for line in (tmp_path / "stderr").read_text().splitlines() if line.startswith("error")
    ]
    assert len(errors) == 1
    assert "started anew 2 times; what was trained is kept; resume with: python" in errors[0]
    assert state_of(tmp_path) == ("partial", "Ray died")
    again = sweep(tmp_path, "--no-figures", settings=LONG)
    assert again.returncode == 0, again.stderr
    assert results(tmp_path) == results(long_uninterrupted)
    assert finished_trials(tmp_path).keys() == finished_trials(long_uninterrupted).keys()


def test_where_ray_has_no_room_of_its_own_a_lost_terminal_and_a_kill_lose_and_leave_nothing(
    tmp_path: Path, long_uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TMPDIR is too long for sockets, and HOME cannot be written, as in containers."""
    folder, long = tmp_path / "sweep", tmp_path / ("x" * 100)
    folder.mkdir()
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setenv("HOME", "/nonexistent")
    driver = start_and_wait_for_a_checkpoint(folder)
    driver.send_signal(signal.SIGHUP)
    assert driver.wait(DEADLINE_S) == 130
    assert "resume with: python" in (folder / "stdout").read_text().splitlines()[-1]
    assert (folder / "stderr").read_text() == ""
    assert state_of(folder) == ("partial", "interrupted")
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        monkeypatch.setenv("RAY_TMPDIR", place)
        driver = start_and_wait_for_a_checkpoint(folder)
        while not list(Path(place).glob("*/session_*/sockets/raylet")):
            time.sleep(0.05)
        driver.kill()
        driver.wait()
        (left,) = Path(place).iterdir()
        again = sweep(folder, "--no-figures", settings=LONG)
        assert again.returncode == 0, again.stderr
        assert results(folder) == results(long_uninterrupted)
        assert not left.exists()
        assert list(Path(place).iterdir()) == []


def test_a_diverged_trial_is_named_with_cause_and_log_and_the_others_count(tmp_path: Path) -> None:
    settings = (*SMALL, "lr_discriminator=1e30")
    done = sweep(tmp_path, "--json", settings=settings)
    assert done.returncode == 1
    answer = json.loads(done.stdout)
    assert answer["training_runs_done"] == 4
    assert [one["run"] for one in answer["failed"]] == [
        "lambda_adv=0.01 seed=0",
        "lambda_adv=0.01 seed=1",
    ]
    assert "must stay finite" in answer["failed"][0]["cause"]
    assert "failed: lambda_adv=0.01 seed=0: train/loss_" in done.stderr
    assert answer["best"]["point"] == {"lambda_adv": 0.0}


def test_a_time_budget_ends_the_sweep_cleanly_and_the_same_command_goes_on(
    tmp_path: Path, long_uninterrupted: Path
) -> None:
    settings = (*LONG, "train_images=20")
    done = sweep(tmp_path, "--time-budget", "1", settings=settings)
    assert done.returncode == 0, done.stderr
    assert "training runs are left; the same command resumes the sweep" in done.stdout
    again = sweep(tmp_path, "--no-figures", settings=settings)
    assert again.returncode == 0, again.stderr
    assert results(tmp_path) == results(long_uninterrupted)


def test_no_reuse_trains_again_to_the_same_numbers(uninterrupted: Path) -> None:
    before = results(uninterrupted)
    again = sweep(uninterrupted, "--no-reuse", "--no-figures")
    assert again.returncode == 0, again.stderr
    assert "0 done, 4 to train" in again.stdout
    after = results(uninterrupted)
    assert {key: value | {"attempt": ""} for key, value in after.items()} == before
    assert len({value["attempt"] for value in after.values()} - {""}) == 1


def test_the_voc_preset_reads_a_tree_in_its_layout(tmp_path: Path) -> None:
    write_voc_tree(tmp_path / "data")
    settings = (
        "trunk_batch_norm=train",
        "generator=deeplab_small",
        "generator_width=4",
        "discriminator_width=4",
        "crop_px=64",
        "iterations=4",
        "batch_size=2",
        "swa_batch_norm_batches=2",
    )
    done = sweep(
        tmp_path, "--preset", "voc2012", "--data-root", "data", "--seeds", "1", settings=settings
    )
    assert done.returncode == 0, done.stderr
    trials = finished_trials(tmp_path)
    assert len(trials) == 2
    assert all(0 <= metrics["swa/miou"] <= 1 for metrics in trials.values())
