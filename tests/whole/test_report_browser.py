"""The report in a browser: pictures, sizes, links, sorting, the dialog, paper."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from report_helpers import figure_item, page, picture, section, table_item, trials_of

pytestmark = pytest.mark.browser

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
PHONE, SMALL_PHONE, TABLET, DESKTOP = (360, 740), (320, 568), (800, 1000), (1400, 900)
FILES = ["fig4.pdf", "fig4.csv", "health.pdf", "health.csv", "table2.csv", "table1.csv"]
WIDE = pd.DataFrame({"class": ["a", "b"], **{f"column {n}": [n / 7, n / 3] for n in range(24)}})
LONG_WORD = "NonFiniteLossError:" + "x" * 200


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a PNG, an SVG, a small table, a very wide one and many trials, with its files."""
    folder = tmp_path_factory.mktemp("figures")
    trials = trials_of(["FINISHED"] * 30 + ["FAILED"] * 2)
    trials.loc[31, "cause"] = LONG_WORD
    one = section(
        {"trials_total": 40, "state": "partial", "why_partial": "time budget of 60 s"},
        figures=[
            figure_item(),
            figure_item("health", svg=picture(3.3, "svg").decode(), png=picture(3.3)),
        ],
        tables=[table_item(), table_item(WIDE, name="table1", files=["table1.csv"])],
        trials=trials,
    )
    for name in [*FILES, "trials.csv", "manifest.json"]:
        (folder / name).touch()
    path = folder / "report.html"
    path.write_text(page(one, section(title="Another")), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def opened(
    browser: Browser, report: Path, request: pytest.FixtureRequest
) -> Iterator[tuple[Page, list[str]]]:
    """The page at a size (default desktop), and all it asked for or complained of."""
    width, height = getattr(request, "param", DESKTOP)
    context = browser.new_context(viewport={"width": width, "height": height})
    shown, said = context.new_page(), list[str]()
    shown.on("console", lambda message: said.append(message.text))
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on("request", lambda asked: said.append(asked.url))
    shown.goto(report.as_uri())
    yield shown, [text for text in said if not text.startswith("data:")]
    assert [text for text in said if not text.startswith("data:")] == [report.as_uri()]
    context.close()


def first_cells(shown: Page, label: str) -> list[str]:
    """The first column of the table that is labelled so, as the page shows it now."""
    return shown.locator(f"table[aria-labelledby={label}] tbody th").all_inner_texts()


@pytest.mark.parametrize("opened", [SMALL_PHONE, PHONE, TABLET, DESKTOP], indirect=True)
def test_every_figure_is_drawn_and_nothing_is_wider_than_the_screen(
    opened: tuple[Page, list[str]],
) -> None:
    shown, _ = opened
    shown.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    images = shown.locator("figure img")
    assert images.count() == 3
    for image in images.all():
        assert image.evaluate("image => image.complete && image.naturalWidth") > 0
        box = image.bounding_box()
        assert box is not None
        assert box["width"] > 200
        assert box["x"] + box["width"] <= shown.evaluate("innerWidth")
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # Scrolling sideways would hide what is cut off at the left of a box, too.
    outside = """[...document.querySelectorAll('main *:not(.scroll *)')].filter((each) => {
        const box = each.getBoundingClientRect();
        return box.right > innerWidth + 0.5 || box.left < 0;
    }).map((each) => each.outerHTML.slice(0, 80))"""
    assert shown.evaluate(outside) == []


@pytest.mark.parametrize("opened", [PHONE], indirect=True)
def test_a_wide_table_scrolls_in_its_own_box(opened: tuple[Page, list[str]]) -> None:
    shown, _ = opened
    box = shown.locator("#s1-table1 .scroll")
    assert box.evaluate("box => box.scrollWidth > 2 * box.clientWidth")
    box.focus()
    shown.keyboard.press("ArrowRight")
    for _ in range(50):  # it glides
        if moved := box.evaluate("box => box.scrollLeft"):
            break
        shown.wait_for_timeout(20)
    assert moved > 0


def test_every_link_leads_to_a_file_or_a_part_or_mlflow(
    opened: tuple[Page, list[str]], report: Path
) -> None:
    shown, _ = opened
    links = shown.locator("a").evaluate_all("links => links.map(a => a.getAttribute('href'))")
    assert len(links) > 30
    for href in links:
        if href.startswith("#"):
            assert shown.locator(f"[id='{href[1:]}']").count() == 1, href
        elif urlsplit(href).scheme:
            assert href.startswith("http://127.0.0.1:5000/#/experiments/1/runs/")
        else:
            assert (report.parent / unquote(href)).is_file(), href


def test_a_click_on_a_head_sorts_by_number_and_again_the_other_way(
    opened: tuple[Page, list[str]],
) -> None:
    shown, _ = opened
    head = shown.locator("table[aria-labelledby=s1-table2-title] thead th").nth(1)
    assert head.get_attribute("aria-sort") is None
    head.locator("button").click()
    # As text "75.4" would stand first, or "9.5" before "9.12"; what is missing stays last.
    assert first_cells(shown, "s1-table2-title") == ["weak", "baseline", "pixelwise", "standard"]
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").click()
    assert first_cells(shown, "s1-table2-title") == ["pixelwise", "baseline", "weak", "standard"]
    assert head.get_attribute("aria-sort") == "descending"


def test_the_keyboard_sorts_and_one_column_at_a_time_says_so(
    opened: tuple[Page, list[str]],
) -> None:
    shown, _ = opened
    heads = shown.locator("table[aria-labelledby=s1-table2-title] thead th")
    heads.nth(0).locator("button").focus()
    shown.keyboard.press("Enter")
    shown.keyboard.press("Tab")
    shown.keyboard.press("Tab")
    shown.keyboard.press("Space")
    assert first_cells(shown, "s1-table2-title") == ["baseline", "standard", "weak", "pixelwise"]
    orders = [head.get_attribute("aria-sort") for head in heads.all()]
    assert orders == [None, None, "ascending"]


def test_trials_open_the_best_first_and_sort_by_seed(opened: tuple[Page, list[str]]) -> None:
    shown, _ = opened
    shown.locator("#s1-trials summary").click()
    label = "s1-trials-title"
    assert first_cells(shown, label)[0].startswith("00000029")
    shown.locator(f"table[aria-labelledby={label}] thead button", has_text="seed").click()
    assert first_cells(shown, label)[0].startswith("00000027")  # the best of seed 0


@pytest.mark.parametrize("opened", [PHONE, DESKTOP], indirect=True)
def test_a_figure_opens_large_and_escape_closes_it(opened: tuple[Page, list[str]]) -> None:
    shown, _ = opened
    small = shown.locator("#s1-fig4 img").bounding_box()
    button = shown.get_by_role("button", name="Enlarge: Figure fig4").first
    button.focus()
    shown.keyboard.press("Enter")
    dialog = shown.get_by_role("dialog", name="Figure fig4")
    large = dialog.locator("img").bounding_box()
    assert small is not None
    assert large is not None
    assert large["width"] > 1.2 * small["width"]
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shown.keyboard.press("Escape")
    assert not dialog.is_visible()
    assert button.evaluate("button => button === document.activeElement")


def test_the_dialog_closes_by_its_button_and_beside_it_but_not_on_the_figure(
    opened: tuple[Page, list[str]],
) -> None:
    shown, _ = opened
    dialog = shown.locator("dialog")
    shown.locator("#s1-health .enlarge").click()
    dialog.locator("img").click()
    assert dialog.is_visible()
    dialog.get_by_role("button", name="Close").click()
    assert not dialog.is_visible()
    shown.locator("#s1-fig4 .enlarge").click()
    shown.mouse.click(3, 3)
    assert not dialog.is_visible()


def test_paper_shows_all_trials_and_no_controls(opened: tuple[Page, list[str]]) -> None:
    shown, _ = opened
    shown.emulate_media(media="print")
    rows = shown.locator("#s1-trials tbody tr")
    assert rows.count() == 32
    # Without an event: the style sheet alone opens what is closed.
    height = "row => row.checkVisibility({contentVisibilityAuto: true}) && row.clientHeight"
    assert all(row.evaluate(height) > 5 for row in rows.all())
    assert shown.locator("figure").first.evaluate(
        "figure => getComputedStyle(figure).breakInside === 'avoid'"
    )
    for control in (".enlarge", "summary", ".skip"):
        assert not shown.locator(control).first.is_visible()
    shown.set_viewport_size({"width": 672, "height": 960})  # A4 less its margins
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
    link = "getComputedStyle(document.querySelector('dd a'), '::after').content"
    assert "/runs/" in shown.evaluate(link)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out_from_their_ground(opened: tuple[Page, list[str]], scheme: str) -> None:
    shown, _ = opened
    shown.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    for selector in ("body", ".caption", "main a", ".note strong", ".question", "dt"):
        # WCAG's ratio of relative luminances, 4.5 for text of this size.
        assert shown.locator(selector).first.evaluate(CONTRAST) >= 4.5, selector
    ground = "getComputedStyle(document.querySelector('.card')).backgroundColor"
    assert shown.evaluate(ground) == "rgb(255, 255, 255)"


CONTRAST = """(element) => {
    const light = (color) => {
        const [r, g, b] = color.match(/[0-9.]+/g).slice(0, 3).map((value) => {
            const part = value / 255;
            return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
        });
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ink = light(getComputedStyle(element).color);
    const ground = light(getComputedStyle(document.documentElement).backgroundColor);
    return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
}"""
