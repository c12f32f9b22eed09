"""Fig. 8: the adversary with several generators."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.axes import draw_means, handle, label_names
from analysis.figures.colors import ARM_STYLES
from analysis.figures.style import (
    MIOU,
    SERIES,
    add_caption,
    add_legend,
    caption_missing,
    caption_mixed,
    caption_seeds,
    drawing,
    on_data,
)
from analysis.stats.aggregation import one_per_seed, over_seeds
from analysis.stats.arms import ARMS, BASELINE_LOSS, PROPOSED_LOSS, with_arm
from analysis.stats.rounding import count, fixed

SPREAD = 0.13  # between two points of one generator, whose own distance is 1


def fig8_table(trials: pd.DataFrame) -> pd.DataFrame:
    """Return mIoU, as a fraction, over the seeds of each generator and arm.

    Args:
        trials: A frame of an ablation; only its finished trials count.

    Returns:
        Columns `generator`, `arm`, `weights` (`raw` or `swa`), `n_seeds`, `mean`, `ci_low` and
        `ci_high`. `attrs["n_missing"]` counts the values that were not finite.

    Raises:
        RecordError: A trial does not name its point or seed, two share both, or none has an mIoU.
    """
    kept = one_per_seed(with_arm(trials), ["generator", "arm"], "Fig. 8")
    metrics = {weights: series.metric for weights, series in SERIES.items()}
    return over_seeds(kept, ["generator", "arm"], metrics)


def fig8(trials: pd.DataFrame) -> Figure:
    """Draw the mIoU of each generator without and with an adversary, with and without SWA.

    Args:
        trials: A frame of an ablation, with its `attrs`.

    Raises:
        RecordError: As `fig8_table`.

    Source: Fig. 8 and section 5.2.
    """
    table = fig8_table(trials)
    generators = sorted(table["generator"].unique())
    arms = [arm for arm in ARMS if (table["arm"] == arm).any()]
    with drawing(trials, f"Fig. 8 on {on_data(trials.attrs['dataset'])}") as figure:
        axes = figure.subplots()
        drawn = [(arm, weights) for arm in arms for weights in SERIES]
        for i, (arm, weights) in enumerate(drawn):
            rows = table[(table["arm"] == arm) & (table["weights"] == weights)]
            aside = SPREAD * (i - (len(drawn) - 1) / 2)
            places = [generators.index(name) + aside for name in rows["generator"]]
            face = {} if weights == "swa" else {"markerfacecolor": "white"}
            draw_means(axes, places, rows, ARM_STYLES[arm], linestyle="none", **face)
        label_names(axes, generators)
        axes.set(xlabel="generator", ylabel=MIOU)
        solid = {"linestyle": "none"}
        add_legend(axes, [handle(ARM_STYLES[arm], ARMS[arm], **solid) for arm in arms])
        markers = "open markers: raw weights; filled ones: averaged weights"
        missing = caption_missing(table.attrs["n_missing"])
        add_caption(
            figure,
            [caption_seeds(table["n_seeds"]), markers, missing, caption_mixed(with_arm(trials))],
        )
        figure.shows = _describe(table)
    return figure


def _describe(table: pd.DataFrame) -> str:
    """Return on how many generators the pixel-wise loss lies above the baseline, both averaged."""
    means = table[table["weights"] == "swa"].pivot_table("mean", "generator", "arm")
    if not {BASELINE_LOSS, PROPOSED_LOSS} <= set(means):
        best = table.dropna(subset="mean").sort_values("mean").iloc[-1]
        return f"Mean mIoU is highest on {best['generator']}: {100 * best['mean']:.1f} %."
    gains = 100 * (means[PROPOSED_LOSS] - means[BASELINE_LOSS]).dropna()
    above = int((gains > 0).sum())
    low, high = (fixed(end, 1, signed=True) for end in (gains.min(), gains.max()))
    return (
        f"With averaged weights the pixel-wise loss lies above the baseline on {above} of "
        f"{count(len(gains), 'generator')}; differences of means: {low} to {high} points."
    )
