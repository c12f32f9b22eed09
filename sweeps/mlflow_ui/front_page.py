"""What an experiment shows when it is opened: its note, and the views of its sweeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.record.choice import began
from analysis.record.schema import SWEEPS, RecordError, Sweep
from sweeps.mlflow_ui.links import Place
from sweeps.mlflow_ui.notes import ListedSweep, experiment_note
from sweeps.mlflow_ui.own_text import is_changed_view, note_tags
from sweeps.mlflow_ui.saved_views import SavedView, overview, trials_view
from sweeps.record.mlflow_store import search

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def write_front_page(client: MlflowClient, experiment_id: str, parent_id: str) -> Place:
    """Write what an experiment lacks of its note and of the views of its sweeps.

    Args:
        client: The client of the store.
        experiment_id: MLflow's id of the experiment.
        parent_id: MLflow's id of the parent run of the sweep to write a view of.

    Returns:
        Where the sweep stands.

    Raises:
        StoreError: The store fails.
        RecordError: No driver of ours wrote the parent run.
    """
    found = search(client, experiment_id, SWEEPS)
    sweeps = [one for one in map(_sweep, reversed(found)) if one is not None]
    parent = Sweep.of_run(
        next((run for run in found if run.info.run_id == parent_id), None)
        or client.get_run(parent_id)
    )
    tags = dict(client.get_experiment(experiment_id).tags)
    changed = _view_tags(overview(), tags) | _view_tags(_view_of(parent), tags)
    changed |= note_tags(experiment_note(experiment_id, [*map(_listed, sweeps)]), tags)
    for name, text in changed.items():
        client.set_experiment_tag(experiment_id, name, text)
    return Place(experiment_id=experiment_id, parent_id=parent_id, view=parent.parent_run_id)


def _sweep(run: Run) -> Sweep | None:
    try:
        return Sweep.of_run(run)
    except RecordError:  # another's, or a later version's: it is not ours to describe
        return None


def _view_of(sweep: Sweep) -> SavedView:
    by = f", {sweep.owner}" if sweep.owner else ""
    return trials_view(
        parent_id=sweep.parent_run_id,
        title=f"{sweep.sweep} on {sweep.dataset}, {began(sweep)}{by}",
        created=round(sweep.start_time_s * 1000),
        axes=sweep.axes,
        objectives=sweep.objectives,
    )


def _view_tags(view: SavedView, tags: dict[str, str]) -> dict[str, str]:
    name, text = view.tag
    found = tags.get(name, "")
    return {} if found == text or is_changed_view(found) else {name: text}


def _listed(sweep: Sweep) -> ListedSweep:
    return ListedSweep(
        name=sweep.sweep,
        dataset=sweep.dataset,
        began=began(sweep),
        parent_id=sweep.parent_run_id,
        view=sweep.parent_run_id,
        owner=sweep.owner,
    )
