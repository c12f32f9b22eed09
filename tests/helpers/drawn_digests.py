"""Digests of figures of each kind; as a program it prints them, drawn under hostile settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

import figure_data
import matplotlib
from matplotlib import style
from matplotlib.figure import Figure

from analysis import figures, load_paper
from analysis.report.files import render


def _draw() -> Iterator[Figure]:
    trials = figure_data.ablation()
    yield figures.fig4(figure_data.lambda_grid(), load_paper())
    yield figures.swa_heatmap(figure_data.swa_grid(ns=(5, 10), thresholds=(0.0, 0.5)), "eq7")
    yield figures.health(trials, curves=figure_data.curves_of(trials))
    yield figures.search_slices(figure_data.joint_search())
    with figures.styled(figures.paper_style()):
        yield figures.fig8(trials)


def digests() -> list[str]:
    """Return the SHA-256 of each figure in each format."""
    return [
        hashlib.sha256(render(figure, kind)).hexdigest()
        for figure in _draw()
        for kind in ("pdf", "png", "svg")
    ]


def main() -> None:
    """Print the digests; the settings of a matplotlibrc must be in force, and stay so."""
    style.use("dark_background")
    before = dict(matplotlib.rcParams)
    if not before["text.usetex"] or before["axes.facecolor"] != "black":
        raise SystemExit("the hostile settings are not in force")
    print(json.dumps(digests()))
    if dict(matplotlib.rcParams) != before:
        raise SystemExit("drawing changed the settings")


if __name__ == "__main__":
    main()
