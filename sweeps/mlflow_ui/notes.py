"""What an experiment's and a sweep's note say, in MLflow's pages."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.mlflow_ui.links import (
    Place,
    artifact_file,
    artifact_page,
    run_page,
    view_page,
)
from sweeps.mlflow_ui.markdown import code, escape, image, link, table
from sweeps.mlflow_ui.saved_views import OVERVIEW

MOST_OF_EXPERIMENT = 5000  # characters of an experiment's tag, in MLflow's databases
MOST_OF_RUN = 8000  # and of a run's
WHAT_IT_IS = (
    "Sweeps over a segmentation network that is trained with a pixel-wise adversarial loss. A "
    "sweep is one parent run, which holds its answer, its figures and its report; its children "
    "are its trials, one a setting and seed. `val/miou` is of the raw weights, `swa/miou` of the "
    "averaged ones."
)


@dataclass(frozen=True, kw_only=True)
class ListedSweep:
    """A sweep as the experiment's note lists it.

    Attributes:
        name: Its name.
        dataset: The name of its data set.
        began: When it began, as a person reads it.
        parent_id: MLflow's id of its parent run.
        view: The id of its saved view.
        owner: Who began it, as `user@host`; empty where that is not known.
    """

    name: str
    dataset: str
    began: str
    parent_id: str
    view: str
    owner: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a sweep has found, in words of the driver.

    Attributes:
        question: What the sweep asks, in one sentence.
        sentences: What came out, the best setting first; empty where no trial has numbers.
        head: Names of the columns of the table of settings.
        rows: Its cells as a person reads them, the best setting first.
        why_partial: Why trials are missing, empty where none is.
    """

    question: str
    sentences: Sequence[str] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    why_partial: str = ""

    def with_table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Answer:
        """Return the answer with a table of settings."""
        return dataclasses.replace(self, head=head, rows=rows)


@dataclass(frozen=True, kw_only=True)
class Attached:
    """What the parent run of a sweep holds for a person to open.

    Attributes:
        figure: Artifact of the sweep's main figure, a PNG; empty without one.
        report: Artifact of the report; empty without one.
        folder: Artifact folder of figures and tables.
        best: Artifact of the config that trains the best setting again; empty without one.
        command: The command that trains the best setting again from it, empty without one.
    """

    figure: str = ""
    report: str = ""
    folder: str = ""
    best: str = ""
    command: str = ""


def experiment_note(experiment_id: str, sweeps: Sequence[ListedSweep]) -> str:
    """Return the note of the experiment: what it holds, and where each sweep is to be seen.

    Args:
        experiment_id: MLflow's id of the experiment.
        sweeps: Its sweeps, the newest first; as many are listed as the note can hold.
    """
    rows = [_listed(experiment_id, one) for one in sweeps]
    for shown in range(len(rows), -1, -1):
        note = _experiment_note(experiment_id, rows[:shown], len(rows) - shown)
        if len(note) <= MOST_OF_EXPERIMENT:
            break
    return note


def _experiment_note(experiment_id: str, rows: Sequence[Sequence[str]], older: int) -> str:
    all_sweeps = link("All sweeps in a table", view_page(experiment_id, OVERVIEW))
    parts = [WHAT_IT_IS, f"{all_sweeps}."]
    if rows:
        parts.append(table(("sweep", "data", "begun", "by", "trials", "summary"), rows))
    if older:
        parts.append(f"{older} older ones are in the table of all sweeps alone.")
    return "\n\n".join(parts)


def _listed(experiment_id: str, sweep: ListedSweep) -> list[str]:
    trials = link("table, the best first", view_page(experiment_id, sweep.view))
    charts = link("charts", view_page(experiment_id, sweep.view, charts=True))
    summary = link("answer and figures", run_page(experiment_id, sweep.parent_id))
    return [
        escape(sweep.name),
        escape(sweep.dataset),
        escape(sweep.began),
        escape(sweep.owner),
        f"{trials}; {charts}",
        summary,
    ]


def parent_note(place: Place, answer: Answer, attached: Attached) -> str:
    """Return the note of a sweep's parent run: where to go, question, answer, figure and table.

    Args:
        place: Where the sweep stands in the store.
        answer: What it has found; of its settings, as many are shown as the note can hold.
        attached: What the parent run holds.
    """
    for shown in range(len(answer.rows), -1, -1):
        note = "\n\n".join(_parts(place, answer, attached, shown))
        if len(note) <= MOST_OF_RUN:
            break
    return note


def _parts(place: Place, answer: Answer, attached: Attached, shown: int) -> list[str]:
    """Return the note's paragraphs.

    MLflow's page folds what is below 150 pixels, and of these the lower 90 lie under a veil through
    which nothing can be clicked: first the links, then the answer, then the figure.
    """
    sentences = [f"{escape(one.removesuffix('.'))}." for one in answer.sentences]
    parts = [" · ".join(_links(place, attached)), *_found(answer, sentences)]
    if attached.figure:
        parts.append(image("figure of the sweep", artifact_file(place.parent_id, attached.figure)))
    parts += sentences[1:]
    if shown:
        parts.append(table([*map(escape, answer.head)], _cells(answer.rows[:shown])))
    if attached.command:
        parts.append(f"Train the best setting again: {code(attached.command)}")
    return parts


def _found(answer: Answer, sentences: Sequence[str]) -> list[str]:
    """Return the paragraph of question and answer, a line each; none where there is neither."""
    lines = [f"**Question.** {escape(answer.question)}"] if answer.question else []
    if answer.why_partial:
        lines.append(f"**Not complete**: {escape(answer.why_partial)}.")
    if sentences:
        lines.append(f"**Answer.** {sentences[0]}")
    return ["\n".join(lines)] if lines else []


def _cells(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    return [[escape(cell) for cell in row] for row in rows]


def _links(place: Place, attached: Attached) -> list[str]:
    """Return links to the sweep's view, and to what is attached."""
    found = [
        link("Trials, the best first", view_page(place.experiment_id, place.view)),
        link("charts", view_page(place.experiment_id, place.view, charts=True)),
    ]
    for text, path in (
        ("report", attached.report),
        ("figures and tables", attached.folder),
        ("config of the best setting", attached.best),
    ):
        if path:
            found.append(link(text, artifact_page(place.experiment_id, place.parent_id, path)))
    return found
