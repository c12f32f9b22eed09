"""The notes of an experiment and of a sweep's parent run."""

from __future__ import annotations

from sweeps.mlflow_ui.links import Place
from sweeps.mlflow_ui.markdown import table
from sweeps.mlflow_ui.notes import (
    MOST_OF_EXPERIMENT,
    MOST_OF_RUN,
    Answer,
    Attached,
    ListedSweep,
    experiment_note,
    parent_note,
)
from sweeps.mlflow_ui.own_text import NOTE, WRITTEN, hash_of, note_tags

ML = "workflowType=machine_learning"
PLACE = Place(experiment_id="1", parent_id="abc", view="0123")
FOUND = Answer(
    question="Which lambda is best?",
    sentences=["best point: lambda_adv=0.2 with swa/miou 0.61", "no other is higher"],
    head=["lambda_adv", "swa/miou"],
    rows=[["0.2", "0.6100"], ["0", "0.6000"]],
)
ALL = Attached(
    figure="report/fig4.png",
    report="report/report.html",
    folder="report",
    best="best.yaml",
    command="python -m trainable.train --config best.yaml",
)


def listed(number: int) -> ListedSweep:
    return ListedSweep(
        name=f"sweep_{number}",
        dataset="shapes",
        began="2026-11-30 08:00 UTC",
        parent_id=f"{number:032d}",
        view=f"{number:016d}",
    )


def test_the_parents_note_has_question_answer_table_figure_and_links() -> None:
    note = parent_note(PLACE, FOUND, ALL)
    assert "\n\n**Question.** Which lambda is best?\n**Answer.** best point:" in note
    assert table(FOUND.head, FOUND.rows) in note
    assert "(get-artifact?path=report%2Ffig4.png&run_uuid=abc)" in note
    assert f"[report](#/experiments/1/runs/abc/artifacts/report/report.html?{ML})" in note
    assert f"(#/experiments/1/runs/abc/artifacts/best.yaml?{ML})" in note
    assert "`python -m trainable.train --config best.yaml`" in note


def test_links_answer_and_figure_come_first_since_the_page_folds_the_rest() -> None:
    note = parent_note(PLACE, FOUND, ALL)
    parts = ("[Trials,", "**Question.**", "**Answer.**", "![", "no other is higher", "| 0.2", "`")
    places = [note.index(part) for part in parts]
    assert places == sorted(places)
    assert places[0] == 0
    assert note[: places[3]].count("\n\n") == 2


def test_a_note_without_figure_or_numbers_says_what_there_is() -> None:
    answer = Answer(question="Which?", why_partial="interrupted")
    note = parent_note(PLACE, answer, Attached())
    assert "![" not in note
    assert "Answer" not in note
    assert "artifacts" not in note
    assert "**Not complete**: interrupted." in note
    assert "viewStateShareKey=0123" in note


def test_no_text_of_a_sweep_is_markup_in_its_note() -> None:
    bad = "<script>|**x**"
    note = parent_note(
        PLACE, Answer(question=bad, sentences=[bad], head=[bad], rows=[[bad]]), Attached()
    )
    assert "<script>" not in note
    assert "**x**" not in note
    assert len([line for line in note.splitlines() if line.startswith("| ")]) == 3


def test_a_note_of_many_settings_fits_into_its_tag() -> None:
    rows = [[f"value {number} " * 5, "0.6100"] for number in range(500)]
    answer = Answer(question="Which?", sentences=["x"], head=["a", "b"], rows=rows)
    note = parent_note(PLACE, answer, ALL)
    assert len(note) <= MOST_OF_RUN
    assert "value 50 " in note
    assert "fig4.png" in note


def test_the_experiments_note_lists_its_sweeps_with_their_pages() -> None:
    note = experiment_note("1", [listed(2), listed(1)])
    assert note.index("sweep_2") < note.index("sweep_1")
    assert f"viewStateShareKey={2:016d}" in note
    assert f"(#/experiments/1/runs/{1:032d}?{ML})" in note
    assert "older" not in note


def test_an_experiments_note_of_many_sweeps_fits_and_counts_the_rest() -> None:
    note = experiment_note("1", [listed(number) for number in range(100)])
    assert len(note) <= MOST_OF_EXPERIMENT
    shown = note.count("| sweep_")
    assert shown > 5
    assert f"{100 - shown} older ones" in note


def test_a_note_is_written_once_and_again_where_it_changes() -> None:
    first = note_tags("one", {})
    assert [*first] == [WRITTEN, NOTE]
    assert note_tags("one", first) == {}
    assert note_tags("two", first)[NOTE] == "two"


def test_a_note_that_a_person_wrote_or_changed_stays() -> None:
    assert note_tags("one", {NOTE: "by hand"}) == {}
    assert note_tags("two", {NOTE: "by hand", WRITTEN: hash_of("one")}) == {}
    assert note_tags("two", {NOTE: "", WRITTEN: hash_of("one")})[NOTE] == "two"
