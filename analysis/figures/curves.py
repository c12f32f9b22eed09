"""Curves over the iterations: Fig. 6's mIoU, and the health of the adversary."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from analysis.figures.axes import draw_means, handle
from analysis.figures.colors import ARM_STYLES, LINE_STYLES, LineStyle, muted
from analysis.figures.style import (
    DOUBLE_IN,
    MIOU,
    add_caption,
    add_legend,
    caption_missing,
    caption_mixed,
    caption_seeds,
    drawing,
    on_data,
)
from analysis.record.schema import RecordError, finished
from analysis.record.sweep_data import SweepData
from analysis.stats.aggregation import one_per_seed, over_seeds
from analysis.stats.arms import (
    ARMS,
    BASELINE_LOSS,
    PROPOSED_LOSS,
    need_arms,
    of_one_generator,
    with_arm,
)

# Source: issue 39 of the base code, AdvSemiSeg, whose loss is half of Eq. 5's sum.
HEALTHY_LOSS, BASE_WEIGHT = (0.2, 0.5), 0.5
HEALTHY_COLOR = "#228833"
TITLE_PT = 14  # height of the title of a column
MOST_RUNS = 60  # whose curves are drawn one by one; more cost time and cannot be told apart
LOSS, REAL, FAKE = "train/loss_disc", "train/d_real", "train/d_fake"
# Where the averaged weights are drawn, in shares of training.
END_PLACES = {BASELINE_LOSS: 1.03, PROPOSED_LOSS: 1.055}

OPEN = {"markerfacecolor": "white", "linestyle": "none"}


def fig6_table(
    trials: pd.DataFrame, *, curves: pd.DataFrame, generator: str | None = None
) -> pd.DataFrame:
    """Return the raw weights' mIoU, as a fraction, over the seeds of each arm and iteration.

    Args:
        trials: A frame of an ablation, with its `attrs`.
        curves: One row per `run_id`, `iteration` and `metric`, with its `value`.
        generator: The generator; None takes the one with most trials.

    Returns:
        Columns `arm`, `iteration`, `n_seeds`, `mean`, `ci_low`, `ci_high`, sorted by the first two.

    Raises:
        RecordError: Baseline or proposed method has no finished trial or no validation.
    """
    kept, _ = _two_arms(trials, generator)
    along = _join(kept, curves, ["val/miou"])
    need_arms(along, [BASELINE_LOSS, PROPOSED_LOSS], "Fig. 6")
    table = over_seeds(along, ["arm", "iteration"], {"raw": "value"})
    missing = table.attrs["n_missing"]
    table = table.drop(columns="weights")
    table.attrs["n_missing"] = missing
    return table


def fig6(trials: pd.DataFrame, *, curves: pd.DataFrame, generator: str | None = None) -> Figure:
    """Draw mIoU over the iterations for baseline and proposed method, with a band over seeds.

    The averaged weights are validated at the end alone, as no record has them along the training:
    a point right of the curves.

    Args:
        trials: A frame of an ablation, with its `attrs`.
        curves: One row per `run_id`, `iteration` and `metric`, with its `value`.
        generator: The generator; None takes the one with most trials.

    Raises:
        RecordError: Baseline or proposed method has no finished trial or no validation.

    Source: Fig. 6.
    """
    table = fig6_table(trials, curves=curves, generator=generator)
    kept, network = _two_arms(trials, generator)
    averaged = over_seeds(kept, ["arm"], {"swa": "swa/miou"})
    end = table["iteration"].max()
    title = f"Fig. 6 on {on_data(trials.attrs['dataset'], ['segtrackv2'])}"
    with drawing(trials, title) as figure:
        axes = figure.subplots()
        handles = []
        for arm, label in ((BASELINE_LOSS, "baseline"), (PROPOSED_LOSS, "proposed")):
            style = ARM_STYLES[arm]
            _draw_band(axes, table[table["arm"] == arm], style)
            row = averaged[averaged["arm"] == arm]
            draw_means(axes, [END_PLACES[arm] * end], row, style, **OPEN)
            handles.append(handle(style, label))
        grey = LineStyle(color="0.3", marker="o", linestyle="none")
        handles.append(handle(grey, "averaged weights, at the end", **OPEN))
        axes.set(xlabel="iteration", ylabel=MIOU)
        _tick_iterations(axes, end)
        add_legend(axes, handles)
        weights = f"generator {network}; lines: raw weights"
        missing = caption_missing(table.attrs["n_missing"])
        seeds = caption_seeds(table["n_seeds"], "bands and bars")
        add_caption(figure, [seeds, weights, missing, caption_mixed(kept)])
        last = table[table["iteration"] == end].set_index("arm")["mean"]
        after = averaged.set_index("arm")["mean"]
        figure.shows = "mIoU at the last iteration: " + "; ".join(
            f"{ARMS[arm]} {_percent(last.get(arm, math.nan))}, averaged weights "
            f"{_percent(after.get(arm, math.nan))}"
            for arm in (BASELINE_LOSS, PROPOSED_LOSS)
        )
        figure.shows += "."
    return figure


def health(trials: pd.DataFrame, *, curves: pd.DataFrame) -> Figure:
    """Draw the discriminator's loss and its mean outputs over the iterations, a line per run.

    Each adversarial loss has a column of its own; the losses share one scale, the outputs another.

    Args:
        trials: A frame with trials that have an adversary, with its `attrs`.
        curves: One row per `run_id`, `iteration` and `metric`, with its `value`.

    Raises:
        RecordError: No finished trial has an adversary, or its curves were not recorded.

    Source: issue 39 of the base code, AdvSemiSeg.
    """
    kept = with_arm(trials).drop_duplicates("training_key")
    kept = kept[kept["arm"] != BASELINE_LOSS]
    along = _join(kept, curves, [LOSS, REAL, FAKE])
    shown = [arm for arm in ARMS if (along["arm"] == arm).any()]
    healthy = _healthy(kept)
    title = f"Health of the adversary on {on_data(trials.attrs['dataset'])}"
    with drawing(trials, title, size=(DOUBLE_IN, 5.0)) as figure:
        panels = figure.subplots(2, len(shown), sharex=True, sharey="row", squeeze=False)
        outputs = {REAL: (LINE_STYLES[0], "D(real)"), FAKE: (LINE_STYLES[1], "D(fake)")}
        for arm, (above, below) in zip(shown, panels.T, strict=True):
            own = along[along["arm"] == arm]
            _draw_runs(above, own[own["metric"] == LOSS], ARM_STYLES[arm])
            if healthy:
                above.axhspan(*healthy, color=HEALTHY_COLOR, alpha=0.15, lw=0)
            for metric, (style, _) in outputs.items():
                _draw_runs(below, own[own["metric"] == metric], style)
            above.set_title(ARMS[arm], fontsize="medium")
            below.set_xlabel("iteration")
            _tick_iterations(below, along["iteration"].max())
        panels[0, 0].set_ylim(bottom=0)
        panels[0, 0].set_ylabel("loss of D")
        panels[1, 0].set(ylim=(-0.02, 1.02), ylabel="mean output of D")
        if healthy:
            label = f"healthy, {healthy[0]:g} to {healthy[1]:g}"
            band = Patch(color=HEALTHY_COLOR, alpha=0.15, lw=0, label=label)
            add_legend(panels[0, 0], [band], gap_pt=TITLE_PT)
        lines_of_d = [handle(style, label, marker="") for style, label in outputs.values()]
        add_legend(panels[1, 0], lines_of_d)
        runs = along["run_id"].nunique()
        lines = f"thin: {runs} training run{'s' * (runs != 1)}; bold: their mean"
        base = "a rule of thumb of the base code, at the weight of our loss" if healthy else ""
        missing = caption_missing(int((~along["value"].map(math.isfinite)).sum()))
        add_caption(figure, [lines, f"band: {base}" * bool(base), missing, caption_mixed(kept)])
        figure.shows = _describe_health(along, shown)
    return figure


def _healthy(kept: pd.DataFrame) -> tuple[float, float] | None:
    """Return between which values the loss is healthy as it is recorded, where all are alike.

    The loss in the record is Eq. 5's sum times `loss_disc_weight`, which is a half in the base
    code.
    """
    weights = set(kept.get("loss_disc_weight", pd.Series(dtype=float)))
    if len(weights) != 1:
        return None
    scale = weights.pop() / BASE_WEIGHT
    low, high = (scale * end for end in HEALTHY_LOSS)
    return low, high


def _describe_health(along: pd.DataFrame, shown: Sequence[str]) -> str:
    """Return the mean loss and outputs of the discriminator at its last recorded iteration."""
    end = along[along["iteration"] == along["iteration"].max()]
    means = end.groupby(["arm", "metric"])["value"].mean()
    parts = [
        f"{ARMS[arm]}: loss of D {means.get((arm, LOSS), math.nan):.2f}, "
        f"D(real) {means.get((arm, REAL), math.nan):.2f}, "
        f"D(fake) {means.get((arm, FAKE), math.nan):.2f}"
        for arm in shown
    ]
    return f"Means over runs at the last iteration: {'; '.join(parts)}.".replace("nan", "unknown")


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if math.isfinite(share) else "unknown"


def _tick_iterations(axes: Axes, end: float) -> None:
    """Put ticks at whole iterations, none of them after the last."""
    across = axes.get_subplotspec()
    columns = across.get_gridspec().ncols if across else 1
    found = MaxNLocator(6 // columns, integer=True).tick_values(0, end)
    axes.set_xticks([tick for tick in found if 0 <= tick <= end])


def draw_health(data: SweepData) -> Figure:
    """Draw the `health` of a sweep's training runs, of at most `MOST_RUNS` evenly chosen ones.

    Args:
        data: The sweep; the curves of the chosen runs alone are fetched.

    Raises:
        RecordError: As `health`.
    """
    ended = finished(data.trials)
    if "adversarial" not in ended:
        raise RecordError("every trial must have the param adversarial")
    runs = ended[ended["adversarial"] != "none"].drop_duplicates("training_key")
    if len(runs) > MOST_RUNS:
        runs = runs.iloc[np.linspace(0, len(runs) - 1, MOST_RUNS).astype(int)]
    # The trials without an adversary and those beside another of their run are not missing.
    left_out = len(ended) - len(runs)
    runs.attrs |= {"trials_total": data.trials.attrs["trials_total"] - left_out}
    return health(runs, curves=data.narrow(runs).curves)


def _two_arms(trials: pd.DataFrame, generator: str | None) -> tuple[pd.DataFrame, str]:
    kept, network = of_one_generator(trials, generator)
    need_arms(kept, [BASELINE_LOSS, PROPOSED_LOSS], "Fig. 6")
    kept = kept[kept["arm"].isin([BASELINE_LOSS, PROPOSED_LOSS])]
    return one_per_seed(kept, ["arm"], "Fig. 6"), network


def _join(kept: pd.DataFrame, curves: pd.DataFrame, metrics: Sequence[str]) -> pd.DataFrame:
    """Return the curves of these trials, each row with its trial's arm and seed."""
    wanted = curves.loc[curves["metric"].isin(metrics), ["run_id", "iteration", "metric", "value"]]
    found = wanted.merge(kept[["run_id", "arm", "seed"]], on="run_id")
    if found.empty:
        raise RecordError(f"no finished trial has a curve of {' or '.join(metrics)} in the record")
    return found.sort_values(["run_id", "metric", "iteration"])


def _draw_band(axes: Axes, rows: pd.DataFrame, style: LineStyle) -> None:
    xs, mean = rows["iteration"], 100 * rows["mean"]
    low, high = (100 * rows[name] for name in ("ci_low", "ci_high"))
    every = max(1, len(rows) // 12)
    axes.plot(
        xs, mean, color=style.color, linestyle=style.linestyle, marker=style.marker, markevery=every
    )
    axes.fill_between(xs, low, high, color=style.color, alpha=0.18, lw=0)


def _draw_runs(axes: Axes, rows: pd.DataFrame, style: LineStyle) -> None:
    lines = [run[["iteration", "value"]].to_numpy(float) for _, run in rows.groupby("run_id")]
    axes.add_collection(LineCollection(lines, colors=muted(style.color), linewidths=0.6))
    mean = rows.groupby("iteration")["value"].mean()
    axes.plot(mean.index, mean, color=style.color, linestyle=style.linestyle, linewidth=1.8)
