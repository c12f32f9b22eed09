"""Figs. 5 and 7: masks at stages of training, and those of baseline and proposed method."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from analysis.figures.appearance import current_style
from analysis.figures.colors import VOID, voc_colours
from analysis.figures.style import (
    DOUBLE_IN,
    add_caption,
    caption_mixed,
    drawing,
    on_data,
)
from analysis.record.schema import RecordError
from analysis.stats.arms import BASELINE_LOSS, PROPOSED_LOSS, need_arms, of_one_generator
from analysis.stats.rounding import count

Pixels = NDArray[np.uint8]
Samples = Mapping[str, Pixels]
CELL_IN = 0.6  # of a picture, at least
MOST_STAGES = 4
MOST_IMAGES = 4
LEGEND_COLUMN_IN = 0.9
LEGEND_ROW_IN = 0.2
GAP_IN = 0.06
TITLE_LINE_IN, HEADING_IN, CAPTION_LINE_IN = 0.2, 0.42, 0.14


def fig5(
    trials: pd.DataFrame,
    *,
    masks: Mapping[str, Samples],
    classes: Sequence[str],
    generator: str | None = None,
) -> Figure:
    """Draw predicted masks at several stages of the proposed method's training.

    Args:
        trials: A frame of an ablation, with its `attrs`.
        masks: Samples by run id: `image-<k>` [H, W, 3], `truth-<k>`, `raw-<iteration>-<k>` and
            `swa-<k>`, each uint8 [H, W].
        classes: Name of each label.
        generator: The generator; None takes the one with most trials.

    Raises:
        RecordError: No finished trial of the proposed method has masks.

    Source: Fig. 5.
    """
    kept, network = of_one_generator(trials, generator)
    need_arms(kept, [PROPOSED_LOSS], "Fig. 5")
    run = _first(kept, masks, PROPOSED_LOSS)
    samples = masks[run["run_id"]]
    room = int((current_style().width_in or DOUBLE_IN) / CELL_IN)
    # Beside them stand image, truth and average.
    stages = _spread(_stages(samples), min(MOST_STAGES, room - 3))
    columns = {"image": "image", "truth": "truth"}
    columns |= {f"raw-{stage}": f"iteration\n{stage}" for stage in stages} | {"swa": "averaged"}
    rows = [{name: _pixels(samples, name, k) for name in columns} for k in _images(samples)]
    caption = [
        f"generator {network} with the pixel-wise loss, $\\lambda$ = {run['lambda_adv']:g}, "
        f"seed {run['seed']:g}; raw weights at each iteration, averaged ones at the end"
    ]
    title = f"Fig. 5 on {on_data(trials.attrs['dataset'], ['voc2012'])}"
    return _draw(trials, title, list(columns.values()), rows, classes, caption)


def fig7(
    trials: pd.DataFrame,
    *,
    masks: Mapping[str, Samples],
    classes: Sequence[str],
    generator: str | None = None,
) -> Figure:
    """Draw image, truth and the masks of the baseline and of the proposed method.

    The baseline shows its raw weights, the proposed method its averaged ones, as in the paper.

    Args:
        trials: A frame of an ablation, with its `attrs`.
        masks: Samples by run id, as for `fig5`.
        classes: Name of each label.
        generator: The generator; None takes the one with most trials.

    Raises:
        RecordError: Baseline and proposed method have no masks of one seed.

    Source: Fig. 7.
    """
    kept, network = of_one_generator(trials, generator)
    need_arms(kept, [BASELINE_LOSS, PROPOSED_LOSS], "Fig. 7")
    shared = set.intersection(
        *(
            set(kept.loc[(kept["arm"] == arm) & kept["run_id"].isin(list(masks)), "seed"])
            for arm in (BASELINE_LOSS, PROPOSED_LOSS)
        )
    )
    if not shared:
        raise RecordError("Fig. 7 needs masks of baseline and proposed method of the same seed")
    paired = kept[kept["seed"] == min(shared)]
    plain, ours = (_first(paired, masks, arm) for arm in (BASELINE_LOSS, PROPOSED_LOSS))
    before, after = masks[plain["run_id"]], masks[ours["run_id"]]
    last = f"raw-{_stages(before)[-1]}"
    rows = [
        {
            "image": _pixels(after, "image", k),
            "truth": _pixels(after, "truth", k),
            "baseline": _pixels(before, last, k),
            "proposed": _pixels(after, "swa", k),
        }
        for k in _images(after)
    ]
    caption = [
        f"generator {network}, seed {plain['seed']:g}",
        "baseline: raw weights without an adversary",
        f"proposed: averaged weights with the pixel-wise loss, $\\lambda$ = {ours['lambda_adv']:g}",
    ]
    title = f"Fig. 7 on {on_data(trials.attrs['dataset'], ['voc2012', 'segtrackv2'])}"
    return _draw(trials, title, list(rows[0]), rows, classes, caption)


def _first(kept: pd.DataFrame, masks: Mapping[str, Samples], arm: str) -> pd.Series:
    """Return the trial of the lowest seed that has masks."""
    having = kept[(kept["arm"] == arm) & kept["run_id"].isin(list(masks))]
    if having.empty:
        raise RecordError("no finished trial of the proposed method has masks in the record")
    return having.sort_values(["seed", "trial_key"]).iloc[0]


def _stages(samples: Samples) -> list[int]:
    found = (re.fullmatch(r"raw-(\d+)-\d+", name) for name in samples)
    stages = sorted({int(match[1]) for match in found if match})
    if not stages:
        raise RecordError("the masks in the record name no stage of training, raw-<iteration>-<k>")
    return stages


def _spread(stages: Sequence[int], most: int) -> list[int]:
    """Return at most so many stages, spread evenly and with the first and the last."""
    at = np.linspace(0, len(stages) - 1, min(most, len(stages))).round().astype(int)
    return [stages[i] for i in dict.fromkeys(at.tolist())]


def _images(samples: Samples) -> range:
    return range(min(MOST_IMAGES, sum(name.startswith("image-") for name in samples)))


def _pixels(samples: Samples, name: str, image: int) -> Pixels:
    if f"{name}-{image}" not in samples:
        raise RecordError(f"the masks in the record lack {name}-{image}; train the run again")
    return samples[f"{name}-{image}"]


def _draw(
    trials: pd.DataFrame,
    title: str,
    headings: Sequence[str],
    rows: Sequence[Mapping[str, Pixels]],
    classes: Sequence[str],
    caption: Sequence[str],
) -> Figure:
    """Draw rows of pictures; everything has a known size, which needs no layout engine."""
    labels = _occurring(rows)
    with drawing(trials, title) as figure:
        figure.set_layout_engine("none")
        add_caption(figure, [*caption, caption_mixed(trials)])
        wide = figure.get_figwidth()
        cell = (wide - GAP_IN * (len(headings) + 1)) / len(headings)
        tall = [cell * max(p.shape[0] / p.shape[1] for p in row.values()) for row in rows]
        across = int(wide / LEGEND_COLUMN_IN)
        legend = LEGEND_ROW_IN * -(-len(labels) // across)
        # Title and caption keep a distance to the edge that is a share of the height.
        head = TITLE_LINE_IN * _lines(figure.get_suptitle()) + HEADING_IN
        foot = CAPTION_LINE_IN * _lines(figure.get_supxlabel()) + GAP_IN
        height = (head + sum(tall) + GAP_IN * len(rows) + legend + foot) / 0.97
        figure.set_size_inches(wide, height)

        def place(left: float, bottom: float, width: float, high: float) -> Axes:
            bounds = left / wide, bottom / height, width / wide, high / height
            return figure.add_axes(bounds)

        bottom = 0.98 * height - head
        for i, row in enumerate(rows):
            bottom -= tall[i]
            for j, (heading, pixels) in enumerate(zip(headings, row.values(), strict=True)):
                axes = place(GAP_IN + j * (cell + GAP_IN), bottom, cell, tall[i])
                _show(axes, pixels)
                if i == 0:
                    axes.set_title(heading, fontsize=figure.style.small_pt, pad=3)
            bottom -= GAP_IN
        box = place(GAP_IN, bottom - legend, wide - 2 * GAP_IN, legend)
        _add_classes(box, labels, classes, across)
        figure.shows = _describe(rows)
    return figure


def _describe(rows: Sequence[Mapping[str, Pixels]]) -> str:
    """Return how many of the pixels of all masks have the label of the truth, but for void ones."""
    right: dict[str, list[NDArray[np.bool_]]] = {}
    for row in rows:
        known = row["truth"] != VOID
        for name, pixels in row.items():
            if name not in ("image", "truth"):
                right.setdefault(name, []).append((pixels == row["truth"])[known])
    shares = {name: 100 * float(np.concatenate(hits).mean()) for name, hits in right.items()}
    said = ", ".join(
        f"{name.replace('raw-', 'iteration ').replace('swa', 'averaged')} {share:.1f} %"
        for name, share in shares.items()
    )
    return f"Pixels of {count(len(rows), 'image')} with the true label: {said}."


def _lines(text: str) -> int:
    return text.count("\n") + 1 if text else 0


def _show(axes: Axes, pixels: Pixels) -> None:
    coloured = pixels if pixels.ndim == 3 else voc_colours()[pixels]
    axes.imshow(coloured, interpolation="nearest")
    axes.set_axis_off()


def _occurring(rows: Sequence[Mapping[str, Pixels]]) -> list[int]:
    """Return the labels in any of the masks."""
    found = [np.unique(pixels) for row in rows for pixels in row.values() if pixels.ndim == 2]
    return [int(label) for label in np.unique(np.concatenate(found))]


def _add_classes(axes: Axes, labels: Sequence[int], classes: Sequence[str], across: int) -> None:
    """Name the colours of the masks, in an axes of its own."""
    axes.set_axis_off()
    names = {**dict(enumerate(classes)), VOID: "void"}
    patches = [
        Patch(facecolor=voc_colours()[i] / 255, edgecolor="0.4", lw=0.5, label=names.get(i, str(i)))
        for i in labels
    ]
    axes.legend(
        handles=patches,
        ncols=min(across, len(patches)),
        loc="center left",
        fontsize=current_style().small_pt,
        borderaxespad=0,
        handlelength=1.2,
        columnspacing=1.2,
    )
