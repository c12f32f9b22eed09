"""A sweep in MLflow's pages: its link from the first on, its answer at the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from record_helpers import finish, grid, sweep_state
from store_helpers import children_of, parent_of

from sweeps.driver import presentation as presentation_module
from sweeps.driver.presentation import Presentation
from sweeps.driver.summary import SweepSummary
from sweeps.execution.progress import ExecutionStats
from sweeps.mlflow_ui.markdown import GAP
from sweeps.mlflow_ui.own_text import NOTE
from sweeps.mlflow_ui.saved_views import PREFIX
from sweeps.planning.state import SweepState
from sweeps.record.publisher import Publisher


def swept(folder: Path, uri: str, *, ended: int = 6) -> tuple[SweepState, Presentation, list[str]]:
    """A sweep of which some runs have ended, published, and what was said of its pages."""
    state = sweep_state(folder / "runs", grid((0.0, 0.1), range(3)), question="Which lambda?")
    said: list[str] = []
    presentation = Presentation(uri, said.append)
    with Publisher(state, uri, pytest.fail, opened=presentation.open) as publisher:
        for run in state.runs[:ended]:
            finish(state, run)
            publisher.publish(run)
    presentation.conclude(SweepSummary.of(state, ExecutionStats()), None)
    return state, presentation, said


def test_the_link_is_said_once_and_leads_to_the_sweeps_view(tmp_path: Path, uri: str) -> None:
    _, presentation, said = swept(tmp_path, uri)
    assert presentation.place is not None
    assert presentation.place.parent_id == parent_of(uri).info.run_id
    (line,) = said
    assert line.startswith("record: mlflow ui --backend-store-uri sqlite:///")
    assert f"viewStateShareKey={presentation.place.parent_id}" in line


def test_the_parent_says_question_answer_and_settings_and_holds_the_best_config(
    tmp_path: Path, uri: str
) -> None:
    swept(tmp_path, uri)
    parent = parent_of(uri)
    note = parent.data.tags[NOTE]
    # By hand: lambda / 4 adds 0.025 to swa/miou, so that 0.1 is the best.
    mean = parent.data.metrics["mean/swa/miou"]
    assert "**Question.** Which lambda?" in note
    assert f"**Answer.** best point: lambda_adv=0.1 with swa/miou {mean:.4f} (95 % inter" in note
    assert f"\n| 0.1{GAP} | {mean:.4f}{GAP} |" in note
    assert note.index(f"| 0.1{GAP}") < note.index(f"| 0{GAP}")
    assert "Not complete" not in note
    from mlflow import MlflowClient

    path = MlflowClient(uri).download_artifacts(parent.info.run_id, "best.yaml", str(tmp_path))
    assert "\nlambda_adv: 0.1\n" in Path(path).read_text()


def test_a_sweep_that_is_not_complete_says_so(tmp_path: Path, uri: str) -> None:
    swept(tmp_path, uri, ended=4)
    assert "**Not complete**: 2 training runs are left." in parent_of(uri).data.tags[NOTE]


def test_a_sweep_without_numbers_has_its_question_alone(tmp_path: Path, uri: str) -> None:
    _, _, said = swept(tmp_path, uri, ended=0)
    note = parent_of(uri).data.tags[NOTE]
    assert "\n\n**Question.** Which lambda?\n**Not complete**" in note
    assert "Answer" not in note
    assert len(said) == 1


def test_a_store_that_takes_no_view_keeps_the_record_and_is_warned_of_once(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError("no such tag")

    monkeypatch.setattr(presentation_module, "write_front_page", refuse)
    _, presentation, said = swept(tmp_path, uri)
    assert presentation.place is None
    assert len(children_of(uri)) == 6
    (line,) = said
    assert "not up to date (no such tag)" in line
    assert PREFIX not in line


def test_a_store_that_is_gone_at_the_end_is_warned_of_once(tmp_path: Path, uri: str) -> None:
    state, presentation, said = swept(tmp_path, uri)
    (tmp_path / "mlflow.db").unlink()
    for _ in range(2):
        presentation.conclude(SweepSummary.of(state, ExecutionStats()), None)
    assert len(said) == 2
    assert said[1].startswith("warning: the sweep's page in MLflow is not up to date")
