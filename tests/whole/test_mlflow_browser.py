"""The record in MLflow's own pages, in a browser: on SQLite, moved, and on PostgreSQL.

Table, charts, comparison, the parent's note and artifacts, and a trial while it is trained.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from paths import ROOT
from playwright.sync_api import Page
from record_helpers import BASE, finish, grid, history_of, sweep_state
from servers import POSTGRES, Postgres
from store_helpers import children_of, wait_until

from analysis.make_figures import main as make_figures
from sweeps.benchmarking.chromium import blank_page, chromium
from sweeps.benchmarking.mlflow_pages import cells, compare, open_page, open_view
from sweeps.benchmarking.mlflow_server import MlflowServer
from sweeps.driver.presentation import Presentation, drawn_by
from sweeps.driver.summary import SweepSummary
from sweeps.execution.progress import ExecutionStats
from sweeps.mlflow_ui.links import Place, run_page
from sweeps.planning import live_trials
from sweeps.record.moved_artifacts import bring_home
from sweeps.record.publisher import Publisher

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]

LAMBDAS = (0.0, 0.01, 0.2)
# What a chart of Plotly has drawn: the largest step of any curve.
LAST_STEP = """Math.max(0, ...[...document.querySelectorAll('.js-plotly-plot')]
    .flatMap((plot) => plot.data).flatMap((curve) => [...(curve.x || [])]).map(Number))"""
FIGURE = """[...document.querySelectorAll('img')].find((one) => one.src.includes('get-artifact')
    && one.complete && one.naturalWidth > 0)"""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A sweep in a store, and the server whose pages show it."""

    uri: str
    server: str
    place: Place
    folder: Path


def record_in(folder: Path, uri: str) -> Place:
    """A sweep of nine trials with its figures, as a driver leaves it."""
    state = sweep_state(folder / "runs", grid(LAMBDAS, range(3)), question="Which <lambda>?")
    presentation = Presentation(uri, print)
    with Publisher(
        state, uri, pytest.fail, with_model=False, opened=presentation.open
    ) as publisher:
        for run in state.runs:
            finish(state, run)
            publisher.publish(run)
    figures = folder / "figures"
    assert make_figures(["--tracking-uri", uri, "--out", str(figures)]) == 0
    drawn = drawn_by(str(figures / "fig4.png"), state.plan.sweep_key)
    assert drawn is not None
    presentation.conclude(SweepSummary.of(state, ExecutionStats()), drawn)
    assert presentation.place is not None
    return presentation.place


@pytest.fixture(scope="module")
def of_sqlite(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Place]:
    folder = tmp_path_factory.mktemp("record")
    return folder, record_in(folder, f"sqlite:///{folder}/mlflow.db")


@pytest.fixture(scope="module", params=["sqlite", "sqlite, moved", "postgresql"])
def shown(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("served")
    with ExitStack() as stack:
        if request.param == "postgresql":
            if not POSTGRES.is_dir():
                pytest.skip("needs Debian's postgresql-15")
            store = stack.enter_context(Postgres()).uri
            options = "--serve-artifacts", "--artifacts-destination", str(folder / "artifacts")
            server = stack.enter_context(MlflowServer(store, folder, *options))
            uri, place = server.uri, record_in(folder, server.uri)
        else:
            home, place = request.getfixturevalue("of_sqlite")
            if request.param == "sqlite, moved":
                home = Path(shutil.move(home, folder / "elsewhere"))
                bring_home(f"sqlite:///{home}/mlflow.db")  # as the next command does
            uri = f"sqlite:///{home}/mlflow.db"
            server = stack.enter_context(MlflowServer(uri, folder))
        yield Shown(uri=uri, server=server.uri, place=place, folder=folder)


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium() as browser:
        yield blank_page(browser, 1400, 1300)


def open_run(page: Page, shown: Shown, run_id: str) -> None:
    open_page(page, f"{shown.server}/{run_page(shown.place.experiment_id, run_id)}")


def texts(page: Page, column: str) -> list[str]:
    """What a column of the table of runs says, from above."""
    found = cells(page, column)
    found.first.wait_for()
    by_row = found.evaluate_all(
        "all => all.map(e => [Number(e.closest('[row-index]').getAttribute('row-index')), "
        "e.innerText]).sort((a, b) => a[0] - b[0]).map(([, text]) => text)"
    )
    return [str(text) for text in by_row]


def test_the_view_shows_axes_seed_miou_and_state_the_best_first(page: Page, shown: Shown) -> None:
    open_view(page, shown.server, shown.place)
    scores = [float(text) for text in texts(page, "metrics.`swa/miou`")]
    assert len(scores) == 9
    assert scores == sorted(scores, reverse=True)
    assert float(texts(page, "params.`lambda_adv`")[0]) == 0.2
    assert set(texts(page, "params.`seed`")) == {"0", "1", "2"}
    heads = page.locator("[role=columnheader]:is([col-id*='`'], [col-id^=run], [col-id=duration])")
    placed = heads.evaluate_all(
        "all => all.map(e => [e.getBoundingClientRect().left, e.innerText.trim()])"
    )
    names = [name for _, name in sorted(placed)]
    # MLflow keeps the name and the time, whose sign is the state, in sight at the left.
    order = ["lambda_adv", "seed", "swa/miou", "val/miou", "Duration"]
    assert names == ["Run Name", "Created", *order]
    assert cells(page, "runDateAndNestInfo").locator("svg").count() == 9


def test_the_charts_of_the_view_are_drawn(page: Page, shown: Shown) -> None:
    open_view(page, shown.server, shown.place, charts=True)
    for title in ("mIoU of the averaged weights by setting", "Curves over steps"):
        page.get_by_text(title).first.wait_for()
    for title in ("lambda_adv vs. swa/miou", "Parallel Coordinates", "val/miou", "train/loss_mce"):
        page.get_by_text(title, exact=True).first.wait_for()
    page.locator(".js-plotly-plot .scatterlayer").nth(2).wait_for()
    points = page.locator(".js-plotly-plot").first.evaluate("plot => plot.data[0].x.map(Number)")
    assert sorted(points) == [0.0] * 3 + [0.01] * 3 + [0.2] * 3
    page.wait_for_function(f"{LAST_STEP} == 240")


def test_selected_runs_are_compared_by_what_varies(page: Page, shown: Shown) -> None:
    open_view(page, shown.server, shown.place)
    compare(page, (0, 3, 8))
    plot = page.locator(".js-plotly-plot").first
    axes = plot.evaluate("plot => plot.data[0].dimensions.map(one => one.label)")
    assert axes[:-1] == ["lambda_adv", "seed"]
    if shown.uri.startswith("sqlite"):  # which gives metrics in the order in which they came
        assert axes[-1] == "swa/miou"


def test_the_folded_note_shows_links_answer_and_where_the_figure_begins(
    page: Page, shown: Shown
) -> None:
    open_run(page, shown, shown.place.parent_id)
    page.wait_for_function(f"({FIGURE})?.naturalWidth > 300")
    veil = page.get_by_test_id("truncation-gradient")
    top = veil.evaluate("one => one.parentElement.getBoundingClientRect().top")
    answer = page.get_by_text("Answer.", exact=True).evaluate("e => e.getBoundingClientRect()")
    figure = page.evaluate(f"({FIGURE}).getBoundingClientRect()")
    assert answer["bottom"] - top < 80
    assert figure["top"] - top < 130  # of the 150 that are not folded
    assert figure["right"] <= 1400
    page.get_by_text("Show more").click()
    assert page.get_by_text("Which <lambda>?").count() >= 1
    assert page.locator("table th", has_text="against the best").is_visible()


def test_the_links_of_the_note_lead_to_report_figures_and_best_config(
    page: Page, shown: Shown
) -> None:
    open_run(page, shown, shown.place.parent_id)
    with page.expect_popup() as opened:  # a click under the veil of the fold would not arrive
        page.get_by_role("link", name="report", exact=True).click()
    artifacts = opened.value
    for name in ("report.html", "best.yaml", "fig4.png", "fig4.pdf"):
        artifacts.get_by_text(name, exact=True).first.wait_for()
    report = artifacts.frame_locator("iframe")
    report.get_by_role("heading", name="lambda_grid on shapes").wait_for()
    artifacts.close()


def run_trained_to(uri: str, trial_key: str, iteration: int) -> str | None:
    """The run of a trial whose loss the store has up to an iteration."""
    for child in children_of(uri):
        is_it = child.data.tags["trial_key"] == trial_key
        if is_it and child.data.metrics.get("train/loss_mce") == 2.0 / iteration:
            return str(child.info.run_id)
    return None


def test_the_curve_of_a_trial_under_way_grows(
    page: Page, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_trials, "EVERY_S", 0.0)
    monkeypatch.setattr(live_trials, "REQUESTS_PER_S", 1000.0)
    # Of another sweep, and of another seed in each store: one of them was moved with its record.
    base = dataclasses.replace(BASE, iterations=480, seed=len(children_of(shown.uri)))
    state = sweep_state(shown.folder / "live", [base], base=base)
    (run,) = state.runs
    rows, trial_key = history_of(run.spec.config), state.trials[0].trial_key
    with Publisher(state, shown.uri, pytest.fail, with_model=False) as publisher:
        publisher.live.begin(run)
        for some in (rows[:3], rows[3:9]):
            publisher.live.tell(run.spec.training_key, some)
            last = int(some[-1]["iteration"])
            found = partial(run_trained_to, shown.uri, trial_key, last)
            wait_until(found)
            open_run(page, shown, str(found()))
            page.get_by_text("Running", exact=True).first.wait_for()
            page.get_by_role("tab", name="Model metrics").click()
            page.wait_for_function(f"{LAST_STEP} == {last}")


def test_the_benchmark_of_the_table_opens_the_view_of_its_largest_sweep() -> None:
    # In a process of its own: this one may have a browser open already.
    command = [sys.executable, "-m", "sweeps.benchmark", "mlflow-table", "--trials", "120"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["trials"] == 120
    assert 0 < found["search_s"] < found["table_s"]["later_visits"]
