"""Chromium without a window, by playwright, which only those need who test or measure pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from trainable.cli.parser import refuse

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = "/usr/bin/chromium"  # Debian's
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PATIENCE_MS = 180_000.0  # that a page may take on a busy machine
# MLflow 3.17 opens a panel over a quarter of the first page that a browser sees of it.
WITHOUT_ASSISTANT = "localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true')"


def check_chromium() -> None:
    """End in one line, with exit code 2, where what a page is opened with is missing."""
    try:
        import playwright.sync_api  # noqa: F401  # whether it is there
    except ImportError:
        refuse("opening pages needs playwright: install it with `pip install -e '.[test]'`")
    if not Path(CHROMIUM).exists():
        refuse(f"opening pages needs {CHROMIUM}: install Debian's package chromium")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield a browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


def blank_page(browser: Browser, width: int, height: int) -> Page:
    """Return an empty page of so many pixels, which waits as long as a busy machine needs."""
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(PATIENCE_MS)
    page.add_init_script(WITHOUT_ASSISTANT)
    return page
