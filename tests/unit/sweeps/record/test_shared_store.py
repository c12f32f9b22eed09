"""Several people, and several experiments, in one MLflow store."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from record_helpers import finish, grid, sweep_state
from store_helpers import children_of, parent_of, runs_of

from analysis.record.origin import USER
from analysis.record.schema import EXPERIMENT, RecordError
from analysis.record.trials import list_sweeps, load_trials
from sweeps.planning.state import SweepState
from sweeps.record import environment, manifest
from sweeps.record.store_check import check_usable
from sweeps.record.writer import MlflowWriter
from trainable.config.schema import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

LEFT = "its driver ended"
Open = Callable[..., MlflowWriter]


@pytest.fixture
def opened(tmp_path: Path, uri: str) -> Open:
    """Opens the record of a person's sweep of two settings, of which so many runs have ended."""

    def begin(who: str, *, ended: int = 2, experiment: str = EXPERIMENT) -> MlflowWriter:
        state = swept(tmp_path / who / "runs", ended)
        found = manifest.begin(state, uri, experiment) | {"owner": who}
        return published(MlflowWriter(state, uri, found))

    return begin


def swept(storage: Path, ended: int = 2) -> SweepState:
    state = sweep_state(storage, grid())
    for run in state.runs[:ended]:
        finish(state, run)
    return state


def published(record: MlflowWriter) -> MlflowWriter:
    for run in record.state.runs:
        record.publish(run)
    record.summarise(None, None)
    return record


def place_of(record: MlflowWriter, experiment: str) -> str:
    found = record.client.get_experiment_by_name(experiment)
    assert found is not None
    return str(found.artifact_location)


def of(uri: str, who: str, kind: str) -> list[Any]:
    runs = [run for run in runs_of(uri) if run.data.tags.get(USER) == who]
    return [run for run in runs if run.data.tags["kind"] == kind]


def test_two_peoples_sweeps_of_one_key_stand_side_by_side(uri: str, opened: Open) -> None:
    records = [opened("anna@one"), opened("bob@two"), opened("anna@one")]
    keys = {record.state.plan.sweep_key for record in records}
    for who in ("anna@one", "bob@two"):
        (parent,) = of(uri, who, "sweep")
        children = of(uri, who, "trial")
        assert len(children) == 2
        under = {run.data.tags["mlflow.parentRunId"] for run in children}
        assert under == {parent.info.run_id}
        assert {run.info.lifecycle_stage for run in (parent, *children)} == {"active"}
        frame = load_trials(uri, parent.info.run_id)
        assert set(frame["run_id"]) == {run.info.run_id for run in children}
        assert frame.attrs["owner"] == who
    assert len(keys) == 1
    assert sorted(list_sweeps(uri)["owner"]) == ["anna@one", "bob@two"]


def test_nobody_ends_anothers_trials(uri: str, opened: Open) -> None:
    anna = opened("anna@one")
    child = next(iter(anna.children.values()))
    anna.client.update_run(child.run_id, "RUNNING")
    opened("bob@two").trials.end_left_off(LEFT)
    assert anna.client.get_run(child.run_id).info.status == "RUNNING"
    opened("anna@one", ended=0).trials.end_left_off(LEFT)
    assert anna.client.get_run(child.run_id).info.status == "KILLED"


def test_a_record_that_says_of_no_run_whose_it_is_is_taken_over(uri: str, opened: Open) -> None:
    record = opened("anna@one")
    before = {run.info.run_id for run in runs_of(uri)}
    for run_id in before:
        record.client.delete_tag(run_id, USER)
    opened("bob@two")
    assert {run.info.run_id for run in runs_of(uri) if run.data.tags[USER] == "bob@two"} == before


def test_runs_of_no_one_stay_where_the_owner_has_one(uri: str, opened: Open) -> None:
    opened("anna@one")
    bobs = opened("bob@two")
    bobs.client.delete_tag(bobs.parent.run_id, USER)
    opened("anna@one")
    assert bobs.client.get_run(bobs.parent.run_id).info.lifecycle_stage == "active"


def test_a_moved_storage_keeps_the_sweep_of_who_began_it(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for who in ("anna@one", "bob@two"):
        monkeypatch.setattr(manifest, "owner", lambda who=who: who)
        state = swept(tmp_path / "runs")
        published(MlflowWriter(state, uri, manifest.begin(state, uri)))
    assert parent_of(uri).data.tags[USER] == "anna@one"
    assert len(children_of(uri)) == 2


def test_a_user_without_a_name_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise OSError("no such user")

    monkeypatch.setattr("getpass.getuser", nobody)
    monkeypatch.setattr("platform.node", lambda: "pod-7")
    monkeypatch.setattr("os.getuid", lambda: 1234)
    assert environment.owner() == "uid1234@pod-7"


def test_each_run_names_its_data_set_once(uri: str, opened: Open) -> None:
    opened("anna@one")
    opened("anna@one")
    for run in runs_of(uri):
        (used,) = run.inputs.dataset_inputs
        assert (used.dataset.name, used.dataset.digest) == ("shapes", "0123456789abcdef")
        assert [tag.value for tag in used.tags] == ["training, validation"]


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python3.11 sweeps/lambda_grid.py --seeds 3", "sweeps/lambda_grid.py"),
        ("python3 -m sweeps.from_file my.yaml", "sweeps.from_file"),
        ("pwa lambda-grid --lambdas 0", "pwa lambda-grid"),
        ("python3 'a folder/swa_grid.py'", "a folder/swa_grid.py"),
    ],
)
def test_mlflow_shows_script_and_commit(command: str, name: str) -> None:
    tags = environment.source_tags({"command": command}, "0123abc-dirty")
    assert tags == {
        "mlflow.source.name": name,
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": "0123abc-dirty",
    }
    assert environment.source_tags({}, "unknown") == {}


def test_the_source_is_on_parent_and_children(
    uri: str, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["sweeps/lambda_grid.py", "--seeds", "3"])
    opened("anna@one")
    assert {run.data.tags["mlflow.source.name"] for run in runs_of(uri)} == {
        "sweeps/lambda_grid.py"
    }


@pytest.mark.parametrize("name", ["team", "a/b 'c\" ", ".", "ß" * 200])
def test_an_experiment_of_any_name_holds_its_own_sweeps(uri: str, opened: Open, name: str) -> None:
    opened("anna@one")
    record = opened("anna@one", experiment=name)
    frame = load_trials(uri, experiment=name, cache=False)
    assert set(frame["run_id"]) == {child.run_id for child in record.children.values()}
    assert len(load_trials(uri)) == 2
    folders = {Path(place_of(record, one)).parent for one in (name, EXPERIMENT)}
    assert len(folders) == 1
    check_usable(uri, name)


def test_all_experiments_of_a_database_that_was_moved_and_then_copied_are_brought_home(
    tmp_path: Path, uri: str, opened: Open
) -> None:
    for name in (EXPERIMENT, "team"):
        opened("anna@one", experiment=name)
    before, state = tmp_path, swept(tmp_path / "runs")
    for folder, name in (("moved", EXPERIMENT), ("copied", "team")):
        here = tmp_path / folder
        here.mkdir()
        shutil.copy(before / "mlflow.db", here)
        shutil.copytree(before / "mlruns", here / "mlruns")
        there = f"sqlite:///{here}/mlflow.db"
        found = manifest.begin(state, there, name) | {"owner": "anna@one"}
        record = MlflowWriter(state, there, found)
        assert record.moved_from == str(before)
        for one in (EXPERIMENT, "team"):
            assert Path(place_of(record, one)).is_relative_to(here)
        places = {Path(run.info.artifact_uri) for run in runs_of(there)}
        assert {place.is_relative_to(here) for place in places} == {True}
        before = here


def test_an_experiment_that_is_not_there_or_deleted_is_told_by_its_name(
    uri: str, opened: Open
) -> None:
    record = opened("anna@one", experiment="team's")
    with pytest.raises(RecordError, match=r"no experiment 'other' in .* --experiment"):
        load_trials(uri, experiment="other")
    record.client.delete_experiment(record.runs.experiment_id)
    with pytest.raises(ConfigError, match=r'"team.s" in .* is deleted; restore it with'):
        check_usable(uri, "team's")
    with pytest.raises(RecordError, match=r'"team.s" in .* is deleted'):
        load_trials(uri, experiment="team's", cache=False)
    check_usable(uri)
