"""The experiment's page and the parent's: written once, and left where a person wrote."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from written_records import write_sweep

from sweeps.mlflow_ui.front_page import write_front_page
from sweeps.mlflow_ui.links import Place
from sweeps.mlflow_ui.notes import Answer
from sweeps.mlflow_ui.own_text import NOTE
from sweeps.mlflow_ui.parent_page import Drawn, ParentPage
from sweeps.mlflow_ui.saved_views import PREFIX

KEY = "0123456789abcdef"
FOUND = Answer(question="Which lambda?", sentences=["best point: lambda_adv=0.01"])


class Counting:
    """A client that notes which of its methods that write are called."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.written: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith(("set_", "log_")):
            self.written.append(name)
        return getattr(self.client, name)


@pytest.fixture
def client(uri: str) -> Any:
    from mlflow import MlflowClient

    write_sweep(uri, "lambda_grid", key=KEY, start=1_700_000_000_000, asked={"axes": "lambda_adv"})
    return Counting(MlflowClient(uri))


def parent_of(client: Any) -> Any:
    (experiment,) = client.search_experiments(filter_string="name = 'pixelwise-adversarial'")
    (parent,) = client.search_runs([experiment.experiment_id], "tags.kind = 'sweep'")
    return parent


@pytest.fixture
def place(client: Any) -> Place:
    info = parent_of(client).info
    return Place(experiment_id=info.experiment_id, parent_id=info.run_id, view=info.run_id)


def drawn_in(folder: Path, figure: bytes = b"png") -> Path:
    folder.mkdir(exist_ok=True)
    contents = {"fig4.png": figure, "report.html": b"html", "a.parquet": b"no"}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    manifest = {"sweeps": {KEY: {"run_ids": ["b", "a"]}}, "files": digests}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def artifacts(client: Any, place: Place) -> list[str]:
    found = client.list_artifacts(place.parent_id, "report") + client.list_artifacts(
        place.parent_id
    )
    return sorted(one.path for one in found if not one.is_dir)


def test_the_experiment_gets_its_views_and_its_note_once(client: Any, place: Place) -> None:
    assert write_front_page(client, place.experiment_id, place.parent_id) == place
    tags = client.get_experiment(place.experiment_id).tags
    assert {PREFIX + place.view, f"{PREFIX}sweeps", NOTE} <= tags.keys()
    assert (
        json.loads(tags[PREFIX + place.view])["name"]
        == "lambda_grid on shapes, 2023-11-14 22:13 UTC"
    )
    assert f"viewStateShareKey={place.view}" in tags[NOTE]
    client.written.clear()
    write_front_page(client, place.experiment_id, place.parent_id)
    assert client.written == []


@pytest.mark.parametrize("own", ["note", "view"])
def test_what_a_person_wrote_on_the_experiment_stays(client: Any, place: Place, own: str) -> None:
    name = NOTE if own == "note" else PREFIX + place.view
    by_hand = json.dumps({"name": "mine", "createdAt": 1, "updatedAt": 2, "state": "{}"})
    client.set_experiment_tag(place.experiment_id, name, by_hand)
    write_front_page(client, place.experiment_id, place.parent_id)
    assert client.get_experiment(place.experiment_id).tags[name] == by_hand


def test_the_parent_gets_figures_config_and_note_and_nothing_is_sent_twice(
    client: Any, place: Place, tmp_path: Path
) -> None:
    drawn = Drawn.read(drawn_in(tmp_path / "figures"), KEY)
    assert drawn is not None
    page = ParentPage(answer=FOUND, drawn=drawn, best=b"lambda_adv: 0.01", command="train it")
    assert page.write(client, place)
    kept = ["best.yaml", "report/fig4.png", "report/manifest.json", "report/report.html"]
    assert artifacts(client, place) == kept
    note = parent_of(client).data.tags[NOTE]
    assert f"(get-artifact?path=report%2Ffig4.png&run_uuid={place.parent_id})" in note
    client.written.clear()
    assert not page.write(client, place)
    assert client.written == []


def test_the_note_shows_a_figure_that_says_its_width_where_there_is_one(
    client: Any, place: Place, tmp_path: Path
) -> None:
    drawn = Drawn(
        folder=drawn_in(tmp_path / "figures"),
        files={"fig4.png": "", "report.html": ""},
        main="fig4.png",
        run_ids=frozenset(),
    )
    (drawn.folder / "fig4.svg").write_bytes(b"<svg/>")
    both = dataclasses.replace(drawn, files={**drawn.files, "fig4.svg": ""})
    for one, shown in ((drawn, "fig4.png"), (both, "fig4.svg")):
        ParentPage(answer=FOUND, drawn=one).write(client, place)
        assert f"path=report%2F{shown}&" in parent_of(client).data.tags[NOTE]


def test_a_figure_drawn_anew_is_sent_again(client: Any, place: Place, tmp_path: Path) -> None:
    for content in (b"png", b"another"):
        drawn = Drawn.read(drawn_in(tmp_path / "figures", content), KEY)
        assert ParentPage(answer=FOUND, drawn=drawn).write(client, place)
        path = client.download_artifacts(place.parent_id, "report/fig4.png", str(tmp_path))
        assert Path(path).read_bytes() == content


def test_a_note_of_a_person_stays_at_the_parent(client: Any, place: Place) -> None:
    client.set_tag(place.parent_id, NOTE, "by hand")
    ParentPage(answer=FOUND).write(client, place)
    assert parent_of(client).data.tags[NOTE] == "by hand"


def spoil_digest(folder: Path) -> None:
    (folder / "fig4.png").write_bytes(b"newer")


def spoil_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text("[1")


def remove_all(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def add_sweep(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sweeps"]["other"] = {"run_ids": []}
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("spoil", [spoil_digest, spoil_manifest, remove_all, add_sweep])
def test_figures_that_are_not_the_sweeps_alone_or_not_whole_are_not_attached(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    folder = drawn_in(tmp_path / "figures")
    assert Drawn.read(folder, KEY) is not None
    assert Drawn.read(folder, "another") is None
    spoil(folder)
    assert Drawn.read(folder, KEY) is None
