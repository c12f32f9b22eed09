"""MLflow's pages as a person goes through them: a sweep's table and charts, and a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.record.schema import EXPERIMENT, SWEEPS
from sweeps.mlflow_ui.front_page import write_front_page
from sweeps.mlflow_ui.links import Place, view_page
from sweeps.record.mlflow_store import open_store, search

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

BLANK = "about:blank"  # between two pages of one address, which a browser would not load anew


def place_of(tracking_uri: str, sweep: str) -> Place:
    """Return where the one sweep of a name stands in a store; its view is written if it lacks."""
    client = open_store(tracking_uri, create=False)
    experiment = client.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        raise LookupError(f"{tracking_uri} holds no sweep")
    experiment_id = str(experiment.experiment_id)
    found = search(client, experiment_id, SWEEPS)
    (parent,) = [run for run in found if run.data.tags["sweep"] == sweep]
    return write_front_page(client, experiment_id, parent.info.run_id)


def open_page(page: Page, address: str) -> None:
    """Load a page from its server, whatever the browser shows."""
    page.goto(BLANK)
    page.goto(address)


def open_view(page: Page, server: str, place: Place, *, charts: bool = False) -> None:
    """Load a sweep's view, and wait until its rows or its first charts are drawn.

    Args:
        page: The browser's page.
        server: The address of the server.
        place: Where the sweep stands.
        charts: Whether to show its charts.
    """
    view = view_page(place.experiment_id, place.view, charts=charts)
    open_page(page, f"{server}/{view}")
    if charts:
        page.locator(".js-plotly-plot .scatterlayer").first.wait_for()
    else:
        cells(page, "attributes.`Run Name`").first.wait_for()


def cells(page: Page, column: str) -> Locator:
    """Return the cells of a column of the table of runs."""
    return page.locator(f"[role=row] [role=gridcell][col-id='{column}']")


def compare(page: Page, rows: Sequence[int]) -> None:
    """Select rows of the table, from 0 at its top, and compare them."""
    for row in rows:
        page.locator(f"[role=row][row-index='{row}'] .ag-selection-checkbox").first.click()
    page.get_by_role("button", name="Compare", exact=True).click()
    page.get_by_text(f"Comparing {len(rows)} Runs").wait_for()
    page.locator(".js-plotly-plot").first.wait_for()
