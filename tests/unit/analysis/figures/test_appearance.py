"""The look of figures: that of the style asked for, whatever the user's own settings are."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import drawn_digests
import figure_data
import pytest
from matplotlib import font_manager
from matplotlib.text import Text
from paths import ROOT

from analysis import figures, load_paper
from analysis.figures.appearance import COLUMN_IN, FONTS, DescribedFigure, Font
from analysis.report.files import render, render_float

HOSTILE = """
text.usetex: True
font.size: 30
font.family: monospace
mathtext.fontset: cm
axes.prop_cycle: cycler("color", ["ff0000"])
axes.facecolor: black
axes.spines.top: True
lines.linewidth: 9
lines.markersize: 20
xtick.direction: in
ytick.minor.visible: True
legend.frameon: True
legend.fontsize: 30
image.cmap: gray
savefig.bbox: tight
savefig.facecolor: yellow
savefig.transparent: True
savefig.dpi: 20
figure.dpi: 300
figure.autolayout: True
pdf.fonttype: 3
svg.fonttype: none
path.simplify: False
errorbar.capsize: 20
"""


def test_neither_a_matplotlibrc_nor_a_notebooks_style_changes_a_byte(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text(HOSTILE)
    changed = {"MATPLOTLIBRC": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, drawn_digests.__file__],
        env=os.environ | changed,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == drawn_digests.digests()


@pytest.fixture(params=["serif", "sans"])
def font(request: pytest.FixtureRequest) -> Iterator[Font]:
    """Each font, in whose style figures are drawn."""
    with figures.styled(figures.paper_style(font=request.param)):
        yield request.param


def test_a_figure_for_a_paper_fits_its_column_and_leaves_the_words_to_it(font: Font) -> None:
    figure = figures.fig4(figure_data.lambda_grid(), load_paper())
    assert isinstance(figure, DescribedFigure)
    assert figure.get_figwidth() == COLUMN_IN == 3.3
    assert (figure.get_suptitle(), figure.get_supxlabel()) == ("", "")
    assert figure.title.startswith("Fig. 4 on shapes")
    assert figure.caption.startswith("Mean over 3 seeds")
    words = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
    assert {text.get_fontsize() for text in words} <= {8.0, 9.0}
    family = FONTS[font]["font.family"][0]
    assert {font_manager.get_font(_path(text)).family_name for text in words} == {family}
    content = render(figure, "pdf")
    assert b"/Type0" in content  # of type 42 all letters are kept in the file, as fonts
    assert b"/Type3" not in content


def _path(text: Text) -> str:
    found: str = font_manager.findfont(text.get_fontproperties())
    return found


def test_the_words_of_a_figure_for_a_paper_are_latex() -> None:
    lines = render_float("fig4", r"Over $\lambda$ & 95 %").decode().splitlines()
    assert r"  \includegraphics{fig4.pdf}" in lines
    assert r"  \caption{Over $\lambda$ \& 95~\%}" in lines
    assert r"  \label{fig:fig4}" in lines
