"""A project that is moved or copied takes its artifacts along, and leaves the old place be."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections import OrderedDict
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking._tracking_service import utils as tracking_utils
from record_helpers import finish, grid, sweep_state
from store_helpers import change, children_of, files_of, parent_of

from analysis.record.artifacts import load_environment, read_artifact
from analysis.record.tracking_uri import artifacts_folder
from analysis.record.trials import load_trials
from sweeps import publish as publish_command
from sweeps.planning.state import SweepState
from sweeps.record.publisher import Publisher

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

SEEDS = range(3)


@pytest.fixture
def old(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with a record of one trial."""
    folder = tmp_path / "old"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    monkeypatch.chdir(folder)
    assert publish(folder, 1) == []
    return folder


def uri_of(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


def plan_in(folder: Path, trials: int) -> SweepState:
    state = sweep_state(folder / "runs", grid([0.01], SEEDS))
    for run in state.pending()[: trials - (len(state.runs) - len(state.pending()))]:
        finish(state, run)
    return state


def publish(folder: Path, trials: int) -> list[str]:
    """Finish and publish so many trials in a folder, and return what was said."""
    said: list[str] = []
    state = plan_in(folder, trials)
    with Publisher(state, uri_of(folder), said.append) as publisher:
        for run in state.runs:
            publisher.publish(run)
    return said


def places_in(folder: Path) -> set[str]:
    """All places of artifacts in the database of a folder."""
    asked = (
        "SELECT artifact_uri FROM runs UNION SELECT artifact_location FROM experiments "
        "WHERE name = 'pixelwise-adversarial'"
    )
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        return {row[0] for row in database.execute(asked)}


def as_mlflow_made_it(folder: Path) -> None:
    """Without our tag, and with the artifacts where MLflow puts them."""
    (folder / "mlruns" / "pixelwise-adversarial").rename(folder / "mlruns" / "1")
    change(
        folder / "mlflow.db",
        "DELETE FROM experiment_tags",
        "UPDATE runs SET artifact_uri = replace(artifact_uri, '/pixelwise-adversarial/', '/1/')",
        "UPDATE experiments SET artifact_location = "
        "replace(artifact_location, '/pixelwise-adversarial', '/1')",
    )


def test_artifacts_lie_beside_the_database_wherever_the_sweep_is_started(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(empty_store, tmp_path / "data" / "mlflow.db")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert publish(tmp_path / "data", 1) == []
    assert len(list((tmp_path / "data" / "mlruns").rglob("result.json"))) == 1
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "mlflow's"])
@pytest.mark.parametrize("how", [shutil.move, shutil.copytree])
def test_new_artifacts_go_where_the_folder_is_and_old_ones_are_found_there(
    how: Any, ours: bool, old: Path, tmp_path: Path
) -> None:
    if not ours:
        as_mlflow_made_it(old)
    new = tmp_path / "new"
    how(old, new)
    before = files_of(old) if old.exists() else None
    (said,) = publish(new, 2)
    assert str(old) in said
    assert "\n" not in said
    assert all(place.startswith(f"{new}/mlruns/") for place in places_in(new))
    assert len(list((new / "mlruns").rglob("result.json"))) == 2
    assert (files_of(old) if old.exists() else None) == before
    assert publish(new, 3) == []
    assert len(children_of(uri_of(new))) == 3


def test_a_copy_of_a_copy_goes_on_by_itself(old: Path, tmp_path: Path) -> None:
    shutil.copytree(old, tmp_path / "new")
    publish(tmp_path / "new", 2)
    shutil.move(tmp_path / "new", old / "inner")
    before = {name: text for name, text in files_of(old).items() if "inner" not in name}
    assert len(publish(old / "inner", 3)) == 1
    assert all(place.startswith(f"{old}/inner/mlruns/") for place in places_in(old / "inner"))
    after = {name: text for name, text in files_of(old).items() if "inner" not in name}
    assert after == before


def test_a_database_that_is_copied_alone_writes_beside_itself(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "new"
    new.mkdir()
    shutil.copy(old / "mlflow.db", new)
    shutil.copytree(old / "runs", new / "runs")
    before = files_of(old)
    publish(new, 2)
    assert len(list((new / "mlruns").rglob("result.json"))) == 1
    assert files_of(old) == before


def test_artifacts_that_lie_elsewhere_by_intention_stay_there(old: Path, tmp_path: Path) -> None:
    big = tmp_path / "big"
    change(
        old / "mlflow.db",
        f"UPDATE experiments SET artifact_location = '{big}' WHERE name = 'pixelwise-adversarial'",
    )
    new = tmp_path / "new"
    shutil.move(old, new)
    publish(new, 2)
    assert len(list(big.rglob("result.json"))) == 1
    assert str(big) in places_in(new)


@pytest.mark.parametrize("how", [shutil.move, shutil.copytree])
def test_who_reads_finds_them_beside_the_database_and_writes_nothing(
    how: Any, old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    new = tmp_path / "new"
    how(old, new)
    for path in old.rglob("result.json"):
        path.write_text("{}")  # another project's by now
    before = files_of(new)
    trials = load_trials(uri_of(new))
    (row,) = trials.to_dict("records")
    place = artifacts_folder(uri_of(new), row["artifact_uri"])
    assert place is not None
    assert place.is_relative_to(new)
    content = read_artifact(uri_of(new), "result.json", row["artifact_uri"], row["run_id"], "")
    assert content is not None
    assert len(content) > 2
    assert load_environment(trials)["packages"]
    assert files_of(new) == before


def test_publishing_by_hand_in_a_copy_writes_to_the_copy(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new"
    shutil.copytree(old, new)
    plan_in(new, 3)
    before = files_of(old)
    monkeypatch.chdir(new)
    monkeypatch.setattr(sys, "argv", ["publish"])
    # A command is a process of its own: of where the runs' artifacts were MLflow knows nothing.
    monkeypatch.setattr(tracking_utils, "_artifact_repos_cache", OrderedDict())
    assert publish_command.main() == 0
    assert "3 of 3 trials in the record, 2 of them new" in capsys.readouterr().out
    assert files_of(old) == before
    assert parent_of(uri_of(new)).data.tags["state"] == "complete"
