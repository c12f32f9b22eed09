"""The cache of frames: it is used while the record has not changed, and never after."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pandas as pd
import pytest
from written_records import POINTS, write_sweep

from analysis.record import trials
from analysis.record.cache import cache_folder, cached
from analysis.record.mlflow_store import Store
from analysis.record.tracking_uri import sqlite_file
from analysis.record.trials import list_sweeps, load_trials

CHANGED = "was changed after it was kept; the record is read anew"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    path = Path(shutil.copy(empty_store, tmp_path_factory.mktemp("written")))
    asked = {"axes": "lambda_adv,swa_n", "question": "How much?"}
    uri = f"sqlite:///{path}"
    write_sweep(uri, "lambda_grid", key="a" * 16, start=1, points=POINTS[:2], asked=asked)
    return path


@pytest.fixture
def uri(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A record of each test's own, with an empty cache; to migrate a new one takes seconds."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copy(written, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stores that were opened, one entry each."""
    opened: list[str] = []

    def store(uri: str, experiment: str) -> Store:
        opened.append(uri)
        return Store(uri, experiment)

    monkeypatch.setattr(trials, "Store", store)
    return opened


def test_a_kept_frame_equals_the_read_one_and_reads_nothing(uri: str, reads: list[str]) -> None:
    fresh = load_trials(uri, cache=False)
    first, second = load_trials(uri), load_trials(uri)
    assert len(reads) == 2
    for frame in (first, second):
        pd.testing.assert_frame_equal(frame, fresh)
        assert repr(frame.attrs) == repr(fresh.attrs)
    assert second.attrs["axes"] == ("lambda_adv", "swa_n")
    pd.testing.assert_frame_equal(list_sweeps(uri), list_sweeps(uri, cache=False))
    pd.testing.assert_frame_equal(list_sweeps(uri), list_sweeps(uri, cache=False))


def set_metric(run: str, uri: str) -> None:
    from mlflow.tracking import MlflowClient

    MlflowClient(uri).log_metric(run, "val/miou", 0.125, step=9)


def set_status(run: str, uri: str) -> None:
    from mlflow.tracking import MlflowClient

    MlflowClient(uri).set_terminated(run, "FAILED")


def set_tag(run: str, uri: str) -> None:
    from mlflow.tracking import MlflowClient

    MlflowClient(uri).set_tag(run, "cause", "a new one")


def delete(run: str, uri: str) -> None:
    from mlflow.tracking import MlflowClient

    MlflowClient(uri).delete_run(run)


@pytest.mark.parametrize("change", [set_metric, set_status, set_tag, delete])
def test_any_change_of_the_record_is_seen(change: Callable[[str, str], None], uri: str) -> None:
    before = load_trials(uri)
    change(before["run_id"][0], uri)
    after = load_trials(uri)
    assert not after.equals(before)
    pd.testing.assert_frame_equal(after, load_trials(uri, cache=False))


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_change_within_the_clocks_step_that_keeps_the_size_is_seen(mode: str, uri: str) -> None:
    path = sqlite_file(uri)
    assert path is not None
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA journal_mode={mode}")
        for value in (0.25, 0.5, 0.75):
            database.execute("UPDATE latest_metrics SET value = ?", (value,))
            database.commit()
            assert set(load_trials(uri)["val/miou"]) == {value}


def test_what_is_written_while_the_record_is_read_makes_the_kept_frame_stale(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = trials._tidy
    run = load_trials(uri, cache=False)["run_id"][0]

    def slow(rows: object) -> pd.DataFrame:
        frame = original(rows)  # type: ignore[arg-type]
        set_metric(run, uri)
        return frame

    monkeypatch.setattr(trials, "_tidy", slow)
    load_trials(uri)
    monkeypatch.setattr(trials, "_tidy", original)
    assert 0.125 in set(load_trials(uri)["val/miou"])


def test_a_cache_that_is_broken_or_cannot_be_written_is_no_cache(
    uri: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = load_trials(uri)
    sweeps, trials_of_one = kept = [*(cache_folder() / "frames").iterdir()]
    for frame in kept:
        frame.write_bytes(frame.read_bytes()[:-100])
    pd.testing.assert_frame_equal(load_trials(uri), whole)
    said = capsys.readouterr().err.splitlines()
    assert sorted(said) == sorted([f"{sweeps} {CHANGED}", f"{trials_of_one} {CHANGED}"])
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    pd.testing.assert_frame_equal(load_trials(uri), whole)


def test_a_kept_frame_of_which_any_byte_changed_is_not_used(
    uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = load_trials(uri)
    for kept in [*(cache_folder() / "frames").iterdir()]:
        content = kept.read_bytes()
        for place in (3, 64, len(content) // 3, len(content) // 2, len(content) - 1):
            kept.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
            pd.testing.assert_frame_equal(load_trials(uri), whole)
            assert capsys.readouterr().err == f"{kept} {CHANGED}\n"
            assert kept.read_bytes() == content


def test_without_a_cache_nothing_is_kept(uri: str) -> None:
    load_trials(uri, cache=False)
    assert not cache_folder().exists()


def test_two_records_of_one_name_in_two_folders_are_two(
    uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    frames = {name: pd.DataFrame({"name": [name]}) for name in ("one", "two")}
    os.rename(tmp_path / "mlflow.db", tmp_path / "x.db")
    for name in frames:
        (tmp_path / name).mkdir()
        os.link(tmp_path / "x.db", tmp_path / name / "x.db")  # so that all else is the same
    for name, frame in frames.items():
        monkeypatch.chdir(tmp_path / name)
        assert cached("sqlite:///x.db", "trials", frame.copy).equals(frame)
