"""Make the pictures of MLflow's pages in docs/mlflow.md anew, of a sweep over the embedded data.

python docs/make_screenshots.py [FOLDER]

It trains nine runs (a minute or two on two cores) in FOLDER, where they are kept for the next time,
or in a temporary folder, and opens MLflow's pages of them in Debian's Chromium by playwright, which
`pip install -e '.[test]'` brings.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from sweeps.benchmarking.chromium import blank_page, check_chromium, chromium
from sweeps.benchmarking.mlflow_pages import cells, compare, open_page, open_view, place_of
from sweeps.benchmarking.mlflow_server import MlflowServer
from sweeps.mlflow_ui.links import Place, run_page
from trainable.cli.options import OK, command

DOCS = Path(__file__).parent
SWEEP = DOCS.parent / "sweeps" / "lambda_grid.py"
ASKED = ("--lambdas", "0", "0.05", "1", "--seeds", "3")
WIDTH = 1280  # pixels
COLORS = 128  # of a palette, which pages of few colours look the same in
STILL_MS = 2000.0  # until what a page moves has come to rest


@command
def main() -> int:
    """Write the pictures, and return the exit code."""
    check_chromium()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(sys.argv[1] if len(sys.argv) > 1 else made).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, str(SWEEP), *ASKED], cwd=folder, check=True)
        uri = f"sqlite:///{folder}/mlflow.db"
        with MlflowServer(uri, folder) as server, chromium() as browser:
            page = blank_page(browser, WIDTH, 720)
            take_all(page, server.uri, place_of(uri, SWEEP.stem))
    return OK


def take_all(page: Page, server: str, place: Place) -> None:
    """Take each picture."""
    open_view(page, server, place)
    take(page, "view", 740)
    trials = cells(page, "attributes.`Run Name`").count()
    compare(page, range(0, trials, 2))
    take(page, "compare", 620)
    open_view(page, server, place, charts=True)
    take(page, "charts", 1150)
    open_page(page, f"{server}/{run_page(place.experiment_id, place.parent_id)}")
    page.get_by_text("Show more").click()
    take(page, "parent", 1000)


def take(page: Page, name: str, height: int) -> None:
    """Write a picture of the page as it is, so many pixels high."""
    page.set_viewport_size({"width": WIDTH, "height": height})
    page.wait_for_timeout(STILL_MS)
    path = DOCS / f"mlflow-{name}.png"
    page.screenshot(path=path)
    with Image.open(path) as image:
        image.convert("RGB").quantize(COLORS).save(path, optimize=True)
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    sys.exit(main())
