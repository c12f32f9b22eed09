"""What holds for every figure: whole, named, honest about its data, the same at every call."""

import dataclasses
import functools
import inspect
import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import figure_data
import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from analysis import figures, load_paper
from analysis.figures.appearance import DescribedFigure
from analysis.figures.colors import LEAST_CONTRAST, LINE_STYLES, contrast, muted
from analysis.record.schema import RecordError
from analysis.report.files import render

PAPER = load_paper()
LONG = ("deeplabv2_resnet101", "deeplabv3_resnet18", "deeplabv3_resnet34", "deeplabv3_resnet50")


@dataclasses.dataclass(frozen=True)
class Case:
    """A figure and the trials it is made for."""

    draw: Callable[[pd.DataFrame], Figure]
    trials: Callable[..., pd.DataFrame]


def _masks(name: str) -> Callable[[pd.DataFrame], Figure]:
    def draw(trials: pd.DataFrame) -> Figure:
        # The last one is wider than high, as photographs are.
        masks = figure_data.masks_of(trials, classes=21, sides=((48, 48), (60, 40), (40, 72)))
        figure: Figure = getattr(figures, name)(
            trials, masks=masks, classes=figure_data.VOC_CLASSES
        )
        return figure

    return draw


ablation = functools.partial(figure_data.ablation, generators=LONG)
CASES = {
    "fig4": Case(lambda t: figures.fig4(t, PAPER), figure_data.lambda_grid),
    "fig5": Case(_masks("fig5"), figure_data.ablation),
    "fig6": Case(lambda t: figures.fig6(t, curves=figure_data.curves_of(t)), figure_data.ablation),
    "fig7": Case(_masks("fig7"), figure_data.ablation),
    "fig8": Case(figures.fig8, ablation),
    "health": Case(
        lambda t: figures.health(t, curves=figure_data.curves_of(t)), figure_data.ablation
    ),
    "swa_threshold": Case(lambda t: figures.swa_threshold(t, PAPER), figure_data.swa_grid),
    "swa_n": Case(lambda t: figures.swa_n(t, PAPER), figure_data.swa_grid),
    "swa_heatmap": Case(lambda t: figures.swa_heatmap(t, "eq7"), figure_data.swa_grid),
    "search_history": Case(figures.search_history, figure_data.joint_search),
    "search_importance": Case(figures.search_importance, figure_data.joint_search),
    "search_slices": Case(figures.search_slices, figure_data.joint_search),
    "search_contour": Case(figures.search_contour, figure_data.joint_search),
    "search_parallel": Case(figures.search_parallel, figure_data.joint_search),
    "metric_vs_axis": Case(
        lambda t: figures.metric_vs_axis(t, "lambda_adv"), figure_data.lambda_grid
    ),
}
# Not of every figure, but of one whose setting has names.
NAMED = Case(
    lambda t: figures.metric_vs_axis(t[t["adversarial"] == "none"].copy(), "generator"), ablation
)
OF_SEEDS = ["fig4", "fig6", "fig8", "swa_threshold", "swa_n", "metric_vs_axis"]
PARTIAL = {"dataset": "segtrackv2", "asked": 9_999, "mixed": True}


STYLES = {
    "screen": figures.screen_style(),
    "serif": figures.paper_style(),
    "sans": figures.paper_style(font="sans"),
}
MANY = (0.0, *np.geomspace(0.001, 1, 24).tolist())
EVEN = tuple(range(1, 26))
SHARES = tuple(i / 25 for i in range(25))
# What is hard to fit, by the figure.
HARD: list[tuple[str, dict[str, Any]]] = [
    *((name, {"lambdas": MANY}) for name in ("fig4", "metric_vs_axis")),
    *((name, {"lambdas": (0.0, 0.01)}) for name in ("fig4", "metric_vs_axis")),
    *((name, {"lambdas": (0.01,)}) for name in ("fig4", "metric_vs_axis")),
    ("metric_vs_axis", {"lambdas": SHARES}),
    ("swa_n", {"ns": EVEN, "thresholds": (0.0, 0.5)}),
    ("swa_threshold", {"ns": (5,), "thresholds": SHARES, "rules": ("eq7", "uniform", "ema")}),
    *(("swa_heatmap", {"ns": ns, "thresholds": SHARES[: len(ns)]}) for ns in (EVEN, (5,))),
    ("named", {}),
    ("named", {"generators": tuple(f"net{i}" for i in range(13))}),
    ("fig8", {"generators": tuple(f"a_generator_of_a_long_name_{i}" for i in range(12))}),
]


@functools.cache
def drawn(name: str, style: str = "screen", **made: Any) -> Figure:
    """Return a figure that has been laid out; a warning of its layout or glyphs is an error."""
    case = CASES.get(name, NAMED)
    with figures.styled(STYLES[style]):
        figure = case.draw(case.trials(**made))
    figure.draw_without_rendering()
    return figure


def words(figure: Figure) -> str:
    """All words of a figure, its caption on one line."""
    found = [figure.get_suptitle(), figure.get_supxlabel(), *(t.get_text() for t in shown(figure))]
    return " | ".join(found).replace("\n", " ")


def shown(figure: Figure) -> list[Text]:
    """Every text that is to be seen."""
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    off = {axes for axes in figure.axes if not axes.axison}
    ticks = {
        label
        for axes in figure.axes
        for label in (*axes.get_xticklabels(), *axes.get_yticklabels())
        if axes in off or not inside(label, axes)
    }
    return [
        text for text in texts if text not in ticks and getattr(text, "axes", None) not in ticks
    ]


def inside(label: Text, axes: Any) -> bool:
    """Whether a tick stands within the limits; those without are not drawn."""
    x, y = label.get_unitless_position()
    low, high = sorted(axes.get_xlim() if label in axes.get_xticklabels() else axes.get_ylim())
    place = x if label in axes.get_xticklabels() else y
    return bool(low <= place <= high)


def test_every_figure_has_its_case() -> None:
    of_trials = {
        name
        for name, function in inspect.getmembers(figures, inspect.isfunction)
        if {"return": "Figure", "trials": "pd.DataFrame"}.items()
        <= inspect.get_annotations(function).items()
    }
    assert of_trials == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_figure_has_the_same_bytes_at_every_call(name: str) -> None:
    case = CASES[name]
    again = case.draw(case.trials())
    assert render(drawn(name), "svg") == render(again, "svg")


@pytest.mark.parametrize("file_format", ["pdf", "png", "svg"])
def test_every_format_repeats(file_format: str) -> None:
    content = render(drawn("search_history"), file_format)
    assert content == render(drawn("search_history"), file_format)
    assert b"2026" not in content[:2000]


@pytest.mark.parametrize("name", CASES)
def test_the_title_names_the_data_and_never_passes_generated_ones_for_the_papers(name: str) -> None:
    assert "shapes (generated, not the paper's data)" in words(drawn(name))
    elsewhere = words(drawn(name, **PARTIAL))
    assert "SegTrack-v2" in elsewhere
    own = name in ("fig4", "fig5", "swa_n", "swa_threshold")
    assert ("the paper's is on Pascal VOC 2012" in elsewhere) == own


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("fig5", "fig7")])
def test_axes_are_labelled(name: str) -> None:
    figure = drawn(name)
    assert any(axes.get_xlabel() for axes in figure.axes)
    assert figure.get_supylabel() or any(axes.get_ylabel() for axes in figure.axes)


@pytest.mark.parametrize(
    ("name", "made"),
    [
        *itertools.product(CASES, [{}, PARTIAL]),
        *((name, {"seeds": 1} | PARTIAL) for name in OF_SEEDS),
    ],
)
def test_nothing_is_cut_off_and_the_stamp_hides_nothing(name: str, made: dict[str, Any]) -> None:
    figure = drawn(name, **made)
    width, height = figure.get_size_inches() * figure.dpi
    page = Bbox.from_bounds(-1, -1, width + 2, height + 2)  # a pixel, which is a third of a point
    boxes = {text: text.get_window_extent() for text in shown(figure)}
    for text, box in boxes.items():
        whole = page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        assert whole, (text.get_text(), box)
    stamps = [text for text in boxes if "of 9999 trials" in text.get_text()]
    assert len(stamps) == ("asked" in made)
    for stamp, (text, box) in itertools.product(stamps, boxes.items()):
        frame = stamp.get_bbox_patch()
        assert frame is not None
        assert text is stamp or not box.overlaps(frame.get_window_extent()), text.get_text()


@pytest.mark.parametrize(
    ("name", "made", "style"),
    [(*case, style) for case in [*((n, {}) for n in CASES), *HARD] for style in STYLES],
)
def test_words_are_whole_and_apart_and_legends_off_the_data(
    name: str, made: dict[str, Any], style: str
) -> None:
    with matplotlib.rc_context(STYLES[style].rc):  # ticks are found anew
        _assert_words_are_whole_and_apart(name, drawn(name, style, **made))


def _assert_words_are_whole_and_apart(name: str, figure: Figure) -> None:
    page = figure.bbox.padded(1)  # a pixel
    boxes = {text: text.get_window_extent() for text in shown(figure)}
    for text, box in boxes.items():
        whole = page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
        assert whole, (text.get_text(), box)
    # On parallel axes the words stand on the lines.
    for (text, box), (other, beside) in itertools.combinations(boxes.items(), 2):
        apart = not box.padded(-0.5).overlaps(beside)
        assert apart or name == "search_parallel", (text.get_text(), other.get_text())
    for axes in figure.axes:
        legend = axes.get_legend()
        if legend is not None and axes.axison:
            assert not legend.get_window_extent().padded(-0.5).overlaps(axes.bbox)


@pytest.mark.parametrize("name", CASES)
def test_lines_and_markers_stand_out_from_the_background(name: str) -> None:
    figure = drawn(name)
    colours: list[Any] = [
        colour
        for axes in figure.axes
        for line in axes.lines
        for colour in (line.get_color(), line.get_markeredgecolor())
        if colour != "white" or line.get_clip_on()  # what cuts the axis at its break
    ]
    for axes in figure.axes:
        for found in axes.collections:
            if found.get_array() is None and not isinstance(found, PolyCollection):
                colours += list(found.get_edgecolor())
    for colour in colours:
        red, green, blue, alpha = to_rgba(colour)
        r, g, b = (1 - alpha * (1 - part) for part in (red, green, blue))
        assert contrast((r, g, b)) >= LEAST_CONTRAST, colour


@pytest.mark.parametrize(
    ("name", "made"),
    [
        *itertools.product([n for n in CASES if not n.startswith("search")], [{}, PARTIAL]),
        *((name, {"seeds": 1} | PARTIAL) for name in OF_SEEDS),
    ],
)
def test_a_figure_tells_what_it_shows_in_a_sentence(name: str, made: dict[str, Any]) -> None:
    figure = drawn(name, **made)
    assert isinstance(figure, DescribedFigure)
    assert figure.shows.endswith(".")
    assert re.search(r"\d", figure.shows)
    assert "nan" not in figure.shows
    assert len([word for word in figure.shows.split() if re.search(r"\w", word)]) <= 30


def test_contrast_is_that_of_wcag() -> None:
    assert (contrast("black"), contrast("white")) == (21, 1)
    assert contrast("#767676") == pytest.approx(4.54, abs=0.005)  # the lightest grey for small text
    for style in LINE_STYLES:
        assert contrast(style.color) > contrast(muted(style.color)) >= LEAST_CONTRAST


@pytest.mark.parametrize("name", CASES)
def test_code_versions_that_are_mixed_are_told(name: str) -> None:
    assert "2 code versions (c1, c2)" in words(drawn(name, **PARTIAL))
    assert "code version" not in words(drawn(name))


@pytest.mark.parametrize("name", OF_SEEDS)
def test_the_interval_is_named_and_absent_where_there_is_one_seed(name: str) -> None:
    assert "mean over 3 seeds" in words(drawn(name)).lower()
    assert "95 % Student-t interval over seeds" in words(drawn(name))
    alone = words(drawn(name, seeds=1, **PARTIAL))
    assert "One seed, which gives no interval" in alone
    assert "Student-t" not in alone
    assert "band is the raw" not in alone


@pytest.mark.parametrize("name", OF_SEEDS)
def test_a_missing_number_is_left_out_and_told(name: str) -> None:
    case = CASES[name]
    trials = case.trials()
    if name == "fig6":
        curves = figure_data.curves_of(trials)
        at = (curves["metric"] == "val/miou") & (curves["run_id"] == "run0")
        curves.loc[at & (curves["iteration"] == 120), "value"] = math.nan
        figure = figures.fig6(trials, curves=curves)
    else:
        trials.loc[0, "swa/miou"] = math.nan
        figure = case.draw(trials)
    assert "1 value not finite, left out" in words(figure)
    assert "2 to 3 seeds" in words(figure)


@pytest.mark.parametrize("name", CASES)
def test_nothing_to_draw_is_one_line(name: str) -> None:
    case = CASES[name]
    trials = case.trials().assign(status="FAILED", search_state="FAIL")
    with pytest.raises(RecordError) as raised:
        case.draw(trials)
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("none of the ")
