"""The example notebook: stored without outputs, it runs against a record and draws two figures."""

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from paths import ROOT
from record_helpers import finish, grid, sweep_state

from sweeps.record.publisher import Publisher

PATH = ROOT / "examples" / "analysis.ipynb"


def read() -> Any:
    return nbformat.read(PATH, as_version=4)  # type: ignore[no-untyped-call]


def code_cells(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_the_notebook_is_stored_without_outputs() -> None:
    cells = code_cells(read())
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
