"""The report in a browser: its answer, pictures, sizes, links, sorting, the dialog, paper."""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page
from report_helpers import CAPTION, figure_item, page, picture, section, table_item, trials_of

from analysis.report.best_card import BestCard
from sweeps.benchmarking.chromium import chromium

pytestmark = pytest.mark.browser

PHONE, SMALL_PHONE, TABLET = (360, 740), (320, 568), (800, 1000)
LAPTOP, DESKTOP = (1280, 800), (1400, 900)
SIZES = [SMALL_PHONE, PHONE, TABLET, LAPTOP, DESKTOP]
FILES = ["fig4.pdf", "fig4.csv", "health.pdf", "health.csv", "table2.csv", "table1.csv"]
WIDE = pd.DataFrame({"class": ["a", "b"], **{f"column {n}": [n / 7, n / 3] for n in range(24)}})
LONG_WORD = "NonFiniteLossError:" + "x" * 200
ANSWER = "lambda_adv=0.01 is the best of 3: 64.2 % (95 % 60 to 68, 3 seeds)."
BEST = BestCard(
    setting=[("lambda_adv", "0.01")],
    measured="mIoU, averaged weights",
    score="64.2 % (95 % 60 to 68, 3 seeds)",
    standing="stands out from none of 2 other settings at these seeds",
    commands=["python -m sweeps.best mine --out best.yaml"],
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a PNG, an SVG, a small table, a very wide one and many trials, with its files."""
    folder = tmp_path_factory.mktemp("figures")
    trials = trials_of(["FINISHED"] * 30 + ["FAILED"] * 2)
    trials.loc[31, "cause"] = LONG_WORD
    one = section(
        {"trials_total": 40, "state": "partial", "why_partial": "time budget of 60 s"},
        sentences=[ANSWER],
        best=BEST,
        figures=[
            figure_item(narrow=picture(3.3, "svg+xml"), shows="It rises and falls."),
            figure_item("health", picture=picture(kind="svg+xml")),
        ],
        tables=[table_item(), table_item(WIDE, name="table1", files=["table1.csv"])],
        trials=trials,
    )
    for name in [*FILES, "trials.csv", "manifest.json"]:
        (folder / name).touch()
    path = folder / "report.html"
    path.write_text(page(one, section(title="Another")), encoding="utf-8")
    (folder / "alone.html").write_text(page(one), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


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


@pytest.mark.parametrize("opened", SIZES, indirect=True)
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
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
    # Scrolling sideways would hide what is cut off at the left of a box, too.
    outside = """[...document.querySelectorAll(
        'main *:not(.scroll *, .roomy *), header *, footer *, nav'
    )].filter((each) => {
        const box = each.getBoundingClientRect();
        return box.right > innerWidth + 0.5 || box.left < 0;
    }).map((each) => each.outerHTML.slice(0, 80))"""
    assert shown.evaluate(outside) == []


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_first_view_holds_question_answer_and_best_setting(
    browser: Browser, report: Path, width: int, height: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": height})
    shown = context.new_page()
    shown.goto((report.parent / "alone.html").as_uri())
    for part in (".question", ".findings", ".best .values"):
        box = shown.locator(part).first.bounding_box()
        assert box is not None
        assert 0 <= box["y"] < box["y"] + box["height"] <= height, part
    figure = shown.locator("#s1-fig4 img").bounding_box()
    assert figure is not None
    if width >= LAPTOP[0]:
        assert figure["y"] + figure["height"] <= height
    # What it cost and what failed stand after it.
    after = shown.locator("#s1-trials").bounding_box()
    assert after is not None
    assert after["y"] > max(figure["y"], height)
    context.close()


def test_several_sweeps_answer_in_the_first_view(opened: tuple[Page, list[str]]) -> None:
    shown, _ = opened
    answers = shown.locator(".answers li")
    assert answers.count() == 2
    for answer in answers.all():
        box = answer.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < 300
    assert ANSWER in answers.first.inner_text()


@pytest.mark.parametrize("opened", [PHONE, SMALL_PHONE], indirect=True)
def test_letters_of_figures_are_large_enough_on_a_phone(opened: tuple[Page, list[str]]) -> None:
    shown, _ = opened
    # A figure of its own for it, 3.3 inches wide; a wide one scrolls, at no less than 3/4 of it.
    own, wide = (shown.locator(f"#s1-{name} img") for name in ("fig4", "health"))
    assert own.evaluate("image => image.currentSrc").startswith("data:image/svg")
    scale = own.bounding_box()["width"] / (3.3 * 96)  # type: ignore[index]
    assert 8 * scale * 96 / 72 >= 8.5  # CSS pixels of letters of 8 points
    scale = wide.bounding_box()["width"] / (6.4 * 96)  # type: ignore[index]
    assert 9 * scale * 96 / 72 >= 10
    assert shown.locator("#s1-health .card").evaluate("box => box.scrollWidth > box.clientWidth")


HINT = "box => getComputedStyle(box, '::before').display"


@pytest.mark.parametrize("opened", [PHONE, LAPTOP], indirect=True)
def test_a_box_says_that_it_scrolls_where_it_does(opened: tuple[Page, list[str]]) -> None:
    shown, _ = opened
    shown.locator("#s1-trials summary").click()
    told = []
    for box in shown.locator(".scroll, .roomy").all():
        box.scroll_into_view_if_needed()
        scrolls = box.evaluate("box => box.scrollWidth > box.clientWidth")
        assert box.evaluate(HINT) == ("block" if scrolls else "none")
        told.append(scrolls)
    assert {*told} == {True, False}


@pytest.mark.parametrize("opened", [PHONE], indirect=True)
def test_what_a_row_is_stays_in_sight(opened: tuple[Page, list[str]]) -> None:
    shown, _ = opened
    box = shown.locator("#s1-table1 .scroll")
    box.evaluate("box => box.scrollTo({left: 500, behavior: 'instant'})")
    outer, names = box.bounding_box(), box.locator("tbody th").first.bounding_box()
    assert outer is not None
    assert names is not None
    assert outer["x"] <= names["x"] < names["x"] + names["width"] < outer["x"] + outer["width"] / 2


def test_how_it_was_made_is_folded_and_stands_once(opened: tuple[Page, list[str]]) -> None:
    shown, _ = opened
    caption = shown.locator("#s1-fig4").get_by_text(CAPTION)
    assert caption.count() == 1
    assert not caption.is_visible()
    shown.locator("#s1-fig4 summary").click()
    assert caption.is_visible()
    assert shown.locator("#s1-fig4").get_by_text("It rises and falls.").count() == 1


def test_without_a_script_all_is_there_but_what_needs_one(browser: Browser, report: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    shown = context.new_page()
    shown.goto(report.as_uri())
    for part in (".question", ".findings", "#s1-fig4 img", "#s1-table2 table"):
        assert shown.locator(part).first.is_visible(), part
    for part in (".enlarge", ".hint"):
        assert not shown.locator(part).first.is_visible(), part
    shown.locator("#s1-trials summary").click()
    assert shown.locator("#s1-trials tbody tr").first.is_visible()
    context.close()


# As MLflow 3.17 shows an artifact.
VIEWER = """(html) => {
    const frame = document.createElement("iframe");
    frame.sandbox = "allow-scripts";
    frame.style = "width: 900px; height: 700px";
    frame.src = URL.createObjectURL(new Blob([html], { type: "text/html" }));
    document.body.replaceChildren(frame);
}"""


def test_in_a_viewer_of_artifacts_links_that_lead_nowhere_are_words(
    browser: Browser, report: Path
) -> None:
    context = browser.new_context()
    outer = context.new_page()
    outer.goto("about:blank")
    outer.evaluate(VIEWER, report.read_text(encoding="utf-8"))
    shown = outer.frame_locator("iframe")
    shown.locator(".elsewhere").wait_for()
    links = shown.locator("a[href]").evaluate_all("links => links.map(a => a.getAttribute('href'))")
    assert links
    assert all(link.startswith("#") for link in links)
    assert shown.get_by_text("table2.csv").count() == 2
    shown.locator(".answers a").nth(1).click()
    outer.wait_for_timeout(100)
    box = shown.locator("#s2").bounding_box()
    assert box is not None
    assert abs(box["y"]) < 60  # it has come to the top of the frame
    context.close()


LONG_NAME = "a_setting_with_a_name_that_nobody_would_type_" + "x" * 30


@pytest.fixture(scope="module")
def long_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a sweep whose setting, question, causes and notes cannot be broken into words."""
    trials = trials_of(["FINISHED"] * 30 + ["FAILED"] * 2).assign(
        **{LONG_NAME: "eq7", f"{LONG_NAME}_too": "ema"}
    )
    trials.loc[31, "cause"] = LONG_WORD
    one = section(
        {"question": LONG_NAME, "why_partial": LONG_WORD, "state": "partial"},
        title=LONG_NAME,
        sentences=[f"{LONG_NAME}=0.1 is the best of 3."],
        best=dataclasses.replace(BEST, setting=[(LONG_NAME, "0.00018306"), ("n", "5")]),
        tables=[table_item(pd.DataFrame({LONG_NAME: [1.5], "n": ["some words"]}))],
        trials=trials,
        notes=[LONG_WORD],
        left_out=[LONG_WORD],
    )
    path = tmp_path_factory.mktemp("long") / "report.html"
    path.write_text(page(one, one), encoding="utf-8")
    return path


@pytest.mark.parametrize(("width", "height"), [SMALL_PHONE, LAPTOP])
def test_long_names_stay_in_their_boxes(
    browser: Browser, long_names: Path, width: int, height: int
) -> None:
    context = browser.new_context(viewport={"width": width, "height": height})
    shown = context.new_page()
    shown.goto(long_names.as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
    wider = """[...document.querySelectorAll('.best, .note, .answer, h2, h3, li')].filter(
        (each) => each.scrollWidth > each.clientWidth + 1 && each.clientWidth
    ).map((each) => each.outerHTML.slice(0, 80))"""
    assert shown.evaluate(wider) == []
    context.close()


def printed(browser: Browser, path: Path) -> list[NDArray[np.uint8]]:
    """The pages that a page prints, as pictures in gray."""
    context = browser.new_context()
    shown = context.new_page()
    shown.goto(path.as_uri())
    shown.pdf(path=path.with_suffix(".pdf"), prefer_css_page_size=True)
    context.close()
    subprocess.run(
        ["pdftoppm", "-r", "30", "-gray", path.with_suffix(".pdf"), path.with_suffix("")],
        check=True,
    )
    return [np.asarray(Image.open(one)) for one in sorted(path.parent.glob("*.pgm"))]


def run_off(pages: Sequence[NDArray[np.uint8]]) -> list[int]:
    """The numbers of the pages with something in the outer half of their left or right margin."""
    margin = round(8 / 25.4 * 30)  # 8 of 16 mm
    return [
        number
        for number, each in enumerate(pages, start=1)
        if min(each[:, :margin].min(), each[:, -margin:].min()) < 200
    ]


def test_long_names_do_not_run_off_the_paper(browser: Browser, long_names: Path) -> None:
    context = browser.new_context(viewport={"width": 672, "height": 960})  # A4 less its margins
    shown = context.new_page()
    shown.goto(long_names.as_uri())
    shown.emulate_media(media="print")
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_printed_pages_are_full(browser: Browser, tmp_path: Path) -> None:
    figures = [figure_item(f"fig{n}", picture=picture(kind="svg+xml")) for n in range(5)]
    trials = trials_of(["FINISHED"] * 150)
    one = section(figures=figures, tables=[table_item()] * 1, trials=trials, sentences=[ANSWER])
    (tmp_path / "report.html").write_text(page(one, one), encoding="utf-8")
    pages = printed(browser, tmp_path / "report.html")
    assert len(pages) > 6
    filled = [np.flatnonzero((each < 200).any(axis=1)).max() / len(each) for each in pages[:-1]]
    assert min(filled) > 0.6
    assert run_off(pages) == []


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
    assert large["width"] > 1.2 * min(small["width"], shown.evaluate("innerWidth"))
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
    assert shown.get_by_text(CAPTION).first.is_visible()
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
