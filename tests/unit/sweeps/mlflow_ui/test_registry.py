"""The best trial's model as a version of a registered model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
from record_helpers import BASE, DATA, finish, grid, sweep_state

from analysis.record.mlflow_calls import open_client
from sweeps import publish
from sweeps.mlflow_ui.registry import ALIAS, register, registered_name
from sweeps.planning.plan import make_plan
from sweeps.planning.state import SweepState
from sweeps.record import manifest

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

NAME = "road masks"


@pytest.fixture
def client(uri: str) -> Any:
    return open_client(uri)


def sweep(client: Any, model: str) -> str:
    """A parent run whose best trial has a logged model."""
    best = client.create_run("0").info.run_id
    tags = {"best_model": model, "best_run": best} if model else {}
    return str(client.create_run("0", tags=tags).info.run_id)


def test_a_model_becomes_one_version_however_often_it_is_registered(client: Any) -> None:
    parent = sweep(client, "/models/one")
    first, again = (
        register(client, NAME, parent, ["best point: x=1.", "On shapes."]) for _ in "ab"
    )
    assert first is not None
    assert again is not None
    assert (first.version, first.is_new, again.version, again.is_new) == ("1", True, "1", False)
    (version,) = client.search_model_versions(f"name='{NAME}'")
    assert version.description == "best point: x=1.\n\nOn shapes."
    assert version.source == "/models/one"
    assert "RGB images" in client.get_registered_model(NAME).description


def test_another_sweeps_model_is_the_next_version_and_the_alias_goes_to_it(client: Any) -> None:
    for model in ("/models/one", "/models/two"):
        register(client, NAME, sweep(client, model), ())
    assert str(client.get_model_version_by_alias(NAME, ALIAS).version) == "2"
    assert len(client.search_model_versions(f"name='{NAME}'")) == 2


def test_a_sweep_without_a_logged_model_registers_nothing(client: Any) -> None:
    assert register(client, NAME, sweep(client, ""), ()) is None
    assert client.search_registered_models() == []


@pytest.mark.parametrize("text", ["", "a/b", "a:b", "it's", " a", "a" * 201])
def test_a_name_that_mlflow_or_its_filters_do_not_take_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be 1 to 200 letters"):
        registered_name(text)


def test_a_plain_name_is_taken() -> None:
    assert registered_name("road masks-2.1_b") == "road masks-2.1_b"


def published(state: SweepState, uri: str) -> None:
    for run in state.runs:
        finish(state, run)
    manifest.begin(state, uri)


def test_of_several_sweeps_of_one_name_the_model_of_the_last_is_registered(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    storage = tmp_path / "runs"
    for width in (8, 16):
        configs = grid(generator_width=width)
        published(sweep_state(storage, configs, base=configs[0]), uri)
    options = ("--storage", str(storage), "--register", "roads")
    monkeypatch.setattr("sys.argv", ["publish", *options])
    assert publish.main() == 0
    # No run folder holds a model, which is told of once, and the sweeps are published.
    assert capsys.readouterr().err.count("no version of roads is registered") == 1
    plan = make_plan("swa_grid", base=BASE, axes=("swa_n",), data=DATA, storage=storage)
    published(SweepState.of(plan, grid()), uri)
    with pytest.raises(SystemExit) as ended:
        publish.main()
    assert ended.value.code == 2
    assert "--register is of one sweep, but got lambda_grid, swa_grid" in capsys.readouterr().err
