"""Addresses of MLflow's pages, from one of its pages and from a terminal."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from analysis.record.tracking_uri import is_server, ui_command

LOCAL = "http://127.0.0.1:5000"  # where `mlflow ui` answers unless told otherwise
# Without it an experiment opens on an overview of prompts and traces, whatever its kind.
WORKFLOW = {"workflowType": "machine_learning"}
CHARTS = {"compareRunsMode": "CHART"}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a sweep stands in a store.

    Attributes:
        experiment_id: MLflow's id of the experiment.
        parent_id: MLflow's id of the sweep's parent run.
        view: The id of the sweep's saved view.
    """

    experiment_id: str
    parent_id: str
    view: str


def view_page(experiment_id: str, view: str, *, charts: bool = False) -> str:
    """Return the address of a saved view, relative to any page of the store."""
    asked = {"viewStateShareKey": view} | WORKFLOW | (CHARTS if charts else {})
    return f"#/experiments/{quote(experiment_id)}/runs?{urlencode(asked)}"


def run_page(experiment_id: str, run_id: str) -> str:
    """Return the address of a run, relative to any page of the store."""
    return f"{_run(experiment_id, run_id)}?{urlencode(WORKFLOW)}"


def artifact_page(experiment_id: str, run_id: str, path: str) -> str:
    """Return the address of a page that shows an artifact, relative to any page of the store."""
    return f"{_run(experiment_id, run_id)}/artifacts/{quote(path)}?{urlencode(WORKFLOW)}"


def _run(experiment_id: str, run_id: str) -> str:
    return f"#/experiments/{quote(experiment_id)}/runs/{quote(run_id)}"


def artifact_file(run_id: str, path: str) -> str:
    """Return the address of an artifact itself, as an image needs it, relative to any page."""
    return f"get-artifact?{urlencode({'path': path, 'run_uuid': run_id})}"


def server_page(tracking_uri: str, page: str) -> str:
    """Return the whole address of a page; user and password of a server stay out of it."""
    if not is_server(tracking_uri):
        return f"{LOCAL}/{page}"
    parts = urlsplit(tracking_uri)
    host = parts.netloc.rpartition("@")[2]
    return f"{urlunsplit((parts.scheme, host, parts.path.rstrip('/'), '', ''))}/{page}"


def describe_record(tracking_uri: str, place: Place | None) -> str:
    """Return how to look at a sweep's record: its server's page, or a command and a page.

    Args:
        tracking_uri: The store.
        place: Where the sweep stands in it; None where the store has not answered.
    """
    page = view_page(place.experiment_id, place.view) if place is not None else ""
    address = server_page(tracking_uri, page)
    if is_server(tracking_uri):
        return address if place is not None else address.removesuffix("/")
    command = ui_command(tracking_uri)
    return f"{command}, then {address}" if place is not None else command
