"""Measure how long MLflow's page takes to show the view of a sweep of many trials."""

from __future__ import annotations

import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from analysis.benchmarking.synthetic_record import SHARES, make_record
from sweeps.benchmarking.chromium import blank_page, check_chromium, chromium
from sweeps.benchmarking.mlflow_pages import open_view, place_of
from sweeps.benchmarking.mlflow_server import MlflowServer
from sweeps.mlflow_ui.links import Place
from trainable.cli.options import whole

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request

LARGEST = "swa_grid"  # of the made record's sweeps
REPEATS = 5
SEARCH = "/runs/search"  # end of the address that the page asks for rows


@dataclass(frozen=True, kw_only=True)
class TableTimeOptions:
    """The options of `mlflow-table`.

    Attributes:
        benchmark: The name of the benchmark.
        trials: How many trials the sweep has.
    """

    benchmark: str
    trials: int


def add_table_time(subparsers: Any) -> None:
    """Add the subcommand to those of `sweeps.benchmark`."""
    parser = subparsers.add_parser("mlflow-table", help="seconds until MLflow shows many trials")
    parser.add_argument("--trials", type=whole(), default=1000, metavar="N", help="default: 1000")


def table_time(options: TableTimeOptions) -> dict[str, Any]:
    """Return seconds until the view's first row is there, and of the search that brings it."""
    check_chromium()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        uri = make_record(folder, round(options.trials / SHARES[LARGEST]))
        place = place_of(uri, LARGEST)
        with MlflowServer(uri, folder) as server, chromium() as browser:
            page = blank_page(browser, 1280, 900)
            asked: list[str] = []
            page.on("request", lambda one: _note(asked, one))
            first_s = _seconds_to_open(page, server.uri, place)
            rows_asked = asked[0]
            again_s = [_seconds_to_open(page, server.uri, place) for _ in range(REPEATS)]
            search_s = [_seconds_to_search(server.uri, rows_asked) for _ in range(REPEATS)]
    return {
        "trials": options.trials,
        "search_s": median(search_s),
        "table_s": {"first_visit": first_s, "later_visits": median(again_s)},
    }


def _note(asked: list[str], request: Request) -> None:
    if request.url.endswith(SEARCH):
        asked.append(request.post_data or "")


def _seconds_to_open(page: Page, server: str, place: Place) -> float:
    begun = time.perf_counter()
    open_view(page, server, place)
    return time.perf_counter() - begun


def _seconds_to_search(server: str, asked: str) -> float:
    """Return how long the server takes to answer what the page asks."""
    request = urllib.request.Request(
        f"{server}/ajax-api/2.0/mlflow{SEARCH}",
        data=asked.encode(),
        headers={"Content-Type": "application/json"},
    )
    begun = time.perf_counter()
    with urllib.request.urlopen(request) as answer:  # nosec B310  # the server of our own
        answer.read()
    return time.perf_counter() - begun
