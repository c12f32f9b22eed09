"""The example notebooks are stored without outputs, and run: one on a record, one a sweep."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from paths import ROOT
from record_helpers import finish, grid, sweep_state

from sweeps.record.publisher import Publisher

PATH, SWEEP = (ROOT / "examples" / f"{name}.ipynb" for name in ("analysis", "sweep"))


def read(path: Path = PATH) -> Any:
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", [PATH, SWEEP], ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    cells = code_cells(read(path))
    assert cells
    assert [cell for cell in cells if cell.outputs or cell.execution_count] == []


@pytest.mark.slow
def test_the_notebook_draws_two_figures_of_a_small_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    state = sweep_state(tmp_path / "runs", grid(seeds=(0, 1)))
    monkeypatch.chdir(tmp_path)  # artifacts of a SQLite record lie beside the process
    with Publisher(state, uri, pytest.fail) as publisher:
        for run in state.runs:
            finish(state, run)
            publisher.publish(run)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("PYTHONPATH", str(PATH.parents[1]))
    notebook = read()
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [
        kind
        for cell in code_cells(notebook)
        for output in cell.outputs
        for kind in output.get("data", {})
    ]
    assert shown.count("image/png") == 2


@pytest.mark.slow
def test_a_sweep_runs_in_a_cell_beside_the_event_loop_of_its_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(SWEEP.parents[1]))
    notebook = read(SWEEP)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    ran, settings, trials = (cell.outputs for cell in code_cells(notebook))
    said = "".join(one.text for one in ran if one.output_type == "stream")
    assert "width on shapes: 8 trials from 8 training runs, 0 done, 8 to train" in said
    assert "trained 8 runs" in said
    assert "ipywidgets'" not in said  # which Ray asks for
    (shown,) = [one for one in ran if one.output_type == "display_data"]
    assert "8/8 training runs" in shown.data["text/plain"]  # as it was last changed
    assert "BestPoint(point=" in ran[-1].data["text/plain"]
    assert settings[0].data["text/html"].count("<tr") == 5
    assert "0.02" in trials[0].data["text/plain"]
