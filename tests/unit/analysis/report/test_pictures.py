"""Pictures of the report: the drawing without its words, and another one for a phone."""

from __future__ import annotations

import io
import re

import figure_data
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from analysis.figures import FigureSpec, fig4
from analysis.figures.appearance import DescribedFigure, paper_style, phone_style, styled
from analysis.record.sweep_data import SweepData
from analysis.report import draw as draw_module
from analysis.report import pictures
from analysis.report.catalogue import specs_of
from analysis.report.draw import FOR_PHONES, RenderedItem
from analysis.report.files import render
from analysis.report.pictures import Picture, picture_of

PAPER = {"fig4": {"dataset": "voc2012", "points": []}}
WINDOW = re.compile(
    rb'width="([\d.]+)pt" height="([\d.]+)pt" viewBox="0 ([\d.]+) ([\d.]+) ([\d.]+)"'
)


@pytest.fixture(scope="module")
def drawn() -> DescribedFigure:
    figure = fig4(figure_data.lambda_grid(lambdas=(0.0, 0.01)), PAPER)
    assert isinstance(figure, DescribedFigure)
    return figure


def test_the_picture_begins_below_the_title_and_ends_above_the_caption(
    drawn: DescribedFigure,
) -> None:
    bottom, top = drawn.body
    assert drawn.words_above is not None
    assert drawn.words_below is not None
    words = [drawn.words_below.get_window_extent().y1, drawn.words_above.get_window_extent().y0]
    assert [bottom, top] == [each / drawn.bbox.height for each in words]
    for axes in drawn.axes:  # with its labels and its legend
        box = axes.get_tightbbox()
        assert box is not None
        assert words[0] <= box.y0 < box.y1 <= words[1]


def test_an_svg_is_the_same_drawing_in_a_smaller_window(drawn: DescribedFigure) -> None:
    whole, shown = render(drawn, "svg"), picture_of(drawn)
    found = WINDOW.search(shown.content)
    assert found is not None
    width, height, above, wide, high = map(float, found.groups())
    bottom, top = drawn.body
    points = 72 * drawn.get_figheight()
    assert (wide, high) == (width, height) == (shown.width_pt, shown.height_pt)
    assert above == pytest.approx(points * (1 - top), abs=0.01)
    assert height == pytest.approx(points * (top - bottom), abs=0.01)
    assert WINDOW.sub(b"", shown.content) == WINDOW.sub(b"", whole)
    assert picture_of(drawn, svg=whole) == shown


def test_pixels_are_cut_where_an_svg_would_be_too_large(
    drawn: DescribedFigure, monkeypatch: pytest.MonkeyPatch
) -> None:
    vector = picture_of(drawn)
    monkeypatch.setattr(pictures, "MOST_SVG_BYTES", 10)
    shown = picture_of(drawn)
    assert shown.kind == "png"
    assert shown.width_pt == pytest.approx(vector.width_pt, abs=0.4)
    assert shown.height_pt == pytest.approx(vector.height_pt, abs=0.8)
    with Image.open(io.BytesIO(shown.content)) as image:
        edges = np.asarray(image.convert("L"))[[0, -1]]
    assert edges.min() == 255  # no letter is cut through


def test_a_figure_of_ones_own_is_shown_whole() -> None:
    figure = Figure(figsize=(4, 3))
    figure.suptitle("title")
    assert (picture_of(figure).width_pt, picture_of(figure).height_pt) == (288, 216)


def sizes(shown: list[Picture | None]) -> list[float | None]:
    return [None if each is None else each.width_pt for each in shown]


def first_drawn(count: int, data: SweepData, monkeypatch: pytest.MonkeyPatch) -> list[RenderedItem]:
    """Draw a sweep as if the catalogue named so many of its figures alone."""
    named = [one for one in specs_of(data.trials).items() if isinstance(one[1], FigureSpec)]
    monkeypatch.setattr(draw_module, "specs_of", lambda *_: dict(named[:count]))
    return list(draw_module.draw(data).items)


def test_a_sweeps_first_figures_are_drawn_for_a_phone_too(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = figure_data.swa_grid(ns=(1, 5), thresholds=(0.0, 0.5))
    trials.attrs |= {"sweep": "swa_grid", "axes": ("swa_n", "swa_threshold", "swa_rule")}
    data = SweepData(trials=trials, paper=PAPER)
    with styled(phone_style()):
        (narrow,) = first_drawn(1, data, monkeypatch)
    assert FOR_PHONES == 2
    items = first_drawn(3, data, monkeypatch)
    column = pytest.approx(3.3 * 72)
    assert sizes([item.narrow for item in items]) == [column, column, None]
    assert items[0].narrow == narrow.picture  # the same picture, asked for by its style
    with styled(paper_style()):
        assert sizes([item.narrow for item in first_drawn(1, data, monkeypatch)]) == [None]
