"""mIoU against any one setting: means and seeds above, differences from a reference below."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.axes import (
    NameAxis,
    SomeAxis,
    axis_over,
    bars_of,
    draw_means,
    handle,
    in_sight,
    number_label,
    tick_few,
)
from analysis.figures.colors import LineStyle, muted
from analysis.figures.style import (
    DOUBLE_IN,
    MIOU,
    SERIES,
    Series,
    add_caption,
    add_legend,
    axis_label,
    caption_missing,
    caption_mixed,
    caption_seeds,
    drawing,
    format_value,
    on_data,
    short_label,
)
from analysis.inference.collapse import collapsed
from analysis.record.schema import Race, RecordError, race_of
from analysis.stats.aggregation import one_per_seed, over_seeds, require_finished, varying
from analysis.stats.arms import by_seed
from analysis.stats.comparisons import Comparison
from analysis.stats.families import against
from analysis.stats.ranking import Ranking, rank
from analysis.stats.rounding import count
from analysis.stats.selection import best_over

Settings: TypeAlias = Mapping[Any, Mapping[int, float]]  # mIoU by value of the axis and by seed
PANELS = {"height_ratios": (3, 2)}
SIZE = (DOUBLE_IN, 5.8)
PEAK = LineStyle(color=SERIES["swa"].color, marker="^", linestyle="none")
PEAK_LABEL = "may be best"
MOST_LETTERS = 18  # of the reference's name beside an axis
MOST_SEEDS = 12  # whose lines can be told from each other
STAR: dict[str, Any] = {
    "marker": "*",
    "markersize": 13,
    "markerfacecolor": "none",
    "markeredgewidth": 1.1,
    "linestyle": "none",
    "zorder": 4,
}


def axis_table(trials: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Return mIoU, as a fraction, over the seeds of each value of a setting.

    Other settings that the sweep varied are held where the averaged weights' mean over the whole
    axis is the highest.

    Args:
        trials: A frame as `load_trials` returns it; only its finished trials count.
        axis: The setting.

    Returns:
        Columns `axis`'s name, `weights` (`raw` or `swa`), `n_seeds`, `mean`, `ci_low`, `ci_high`.
        `attrs["held"]` has the other settings' values, `attrs["n_missing"]` the count of values
        that were not finite.

    Raises:
        RecordError: No trial has the setting, two of one value share a seed, or none has an mIoU.
    """
    kept, held = _kept(trials, axis)
    table = means_over(kept, axis)
    table.attrs["held"] = held
    return table


def metric_vs_axis(trials: pd.DataFrame, axis: str) -> Figure:
    """Draw mIoU against one setting, with and without SWA, and its differences from a reference.

    Args:
        trials: A frame as `load_trials` returns it, with its `attrs`.
        axis: The setting, of numbers or of names.

    Raises:
        RecordError: As `axis_table`.
    """
    kept, held = _kept(trials, axis)
    at = ", ".join(f"{short_label(n)} = {format_value(v)}" for n, v in held.items())
    return draw_over(
        trials,
        kept,
        axis,
        axis_of=functools.partial(axis_over, axis),
        title=f"mIoU against {axis} on {on_data(trials.attrs['dataset'])}",
        notes=[f"at {at}, where the mean over the axis is the highest" if at else ""],
    )


def _kept(trials: pd.DataFrame, axis: str) -> tuple[pd.DataFrame, dict[str, object]]:
    """Return one trial per value and seed, and at which values the other settings are held."""
    kept = require_finished(trials)
    if axis not in kept:
        raise RecordError(f"no trial has the setting {axis}; varied: {', '.join(varying(trials))}")
    others = [name for name in varying(trials) if name != axis]
    held: dict[str, object] = {}
    if others:
        best = best_over(kept, others, [n for n in (axis, "seed") if n in kept], "swa/miou")
        held = dict(zip(others, best, strict=True))
        kept = kept[(kept[others] == pd.Series(held)).all(axis=1)]
    return one_per_seed(kept, [axis], "a figure over one setting"), held


def means_over(kept: pd.DataFrame, axis: str) -> pd.DataFrame:
    """Return mIoU over the seeds of each value of a setting, raw and averaged."""
    return over_seeds(kept, [axis], {weights: one.metric for weights, one in SERIES.items()})


def draw_over(
    trials: pd.DataFrame,
    kept: pd.DataFrame,
    name: str,
    *,
    axis_of: Callable[[Sequence[Any]], SomeAxis],
    title: str,
    notes: Sequence[str] = (),
    points: Sequence[tuple[float, str, float]] = (),
) -> Figure:
    """Draw mIoU over the values of a setting: means and seeds, and differences from a reference.

    The reference is 0 where that was tried, else the first value; with one value or one seed there
    are no differences to draw.

    Args:
        trials: The whole frame, for its `attrs`.
        kept: Its trials that are drawn, one per value and seed.
        name: The setting.
        axis_of: Returns the axis over all values that are drawn.
        title: That of the figure.
        notes: Sentences of the caption that stand after those on means and differences.
        points: Printed ones, as value, weights (a key of `SERIES`) and mIoU in percent.
    """
    table = means_over(kept, name)
    settings = {w: _by_setting(kept, name, one.metric) for w, one in SERIES.items()}
    values = sorted({*table[name]})
    reference = 0 if 0 in values else values[0]
    axis = axis_of([*values, *(point[0] for point in points)])
    has_differences = len(values) > 1 and table["n_seeds"].max() > 1
    with drawing(trials, title, size=SIZE if has_differences else (DOUBLE_IN, 4.2)) as figure:
        found = figure.subplots(2, sharex=True, gridspec_kw=PANELS) if has_differences else None
        upper = figure.subplots() if found is None else found[0]
        for weights, series in SERIES.items():
            rows = table[table["weights"] == weights]
            _draw_series(upper, axis, name, rows, settings[weights], series)
        low, high = _limits(table, name, settings, [point[2] / 100 for point in points])
        upper.set_ylim(100 * low, 100 * high)
        handles = [
            handle(_line_style(series, joined=not isinstance(axis, NameAxis)), series.label)
            for series in SERIES.values()
        ]
        for value, weights, miou in points:
            series = SERIES[weights]  # beside our own marker
            upper.plot([axis.place(value, 3 * series.side)], [miou], color=series.color, **STAR)
        if points:
            handles.append(Line2D([], [], color="0.2", label="paper", **STAR | {"markersize": 10}))
        parts = [caption_seeds(table["n_seeds"])]
        race = race_of(trials)
        ranking = rank(settings[_told(table)], race=race)
        if found is not None:
            lower = found[1]
            drawn = [
                found
                for weights, series in SERIES.items()
                for found in _draw_differences(
                    lower, axis, settings[weights], reference, series, race=race
                )
            ]
            lower.set_ylim(
                in_sight(
                    [0.0, *(100 * found.difference for found in drawn)],
                    [(100 * found.low, 100 * found.high) for found in drawn],
                )
            )
            at = f"{short_label(name)} = {format_value(reference)}"
            lower.set_ylabel(f"points from\n{at if len(at) <= MOST_LETTERS else 'reference'}")
            tick_few(lower)
            _mark_peak(upper, axis, ranking)
            handles.append(handle(PEAK, PEAK_LABEL))
            parts[0] += ", of each mean alone"
            parts.append(
                f"below: paired differences from {at}, whose 95 % intervals hold all together; "
                "filled: without 0"
            )
        axis.apply(figure.axes[-1])
        upper.set_ylabel(MIOU)
        figure.axes[-1].set_xlabel(axis_label(name))
        add_legend(upper, handles)
        off = sum(_mark_collapsed(upper, axis, settings[w], s, low) for w, s in SERIES.items())
        if off:
            parts.append(f"arrows: {count(off, 'run')} below the axis, part of the means")
        missing = caption_missing(table.attrs["n_missing"])
        add_caption(figure, [*parts, *notes, missing, caption_mixed(trials)])
        figure.shows = _shows(table, name, ranking)
    return figure


def _by_setting(kept: pd.DataFrame, name: str, metric: str) -> Settings:
    return {value: by_seed(rows, metric) for value, rows in kept.groupby(name)}


def _line_style(series: Series, *, joined: bool) -> LineStyle:
    linestyle = series.linestyle if joined else "none"
    return LineStyle(color=series.color, marker=series.marker, linestyle=linestyle)


def _draw_series(
    axes: Axes, axis: SomeAxis, name: str, rows: pd.DataFrame, settings: Settings, series: Series
) -> None:
    """Draw means with their bars and a line through them, and thin ones through each seed."""
    places = {value: axis.place(value, series.side) for value in rows[name]}
    joined = axis.joined([*places])
    dots = [(places[v], 100 * miou) for v, found in settings.items() for miou in found.values()]
    faint: dict[str, Any] = {"color": muted(series.color), "zorder": 1.5}
    xs, ys = zip(*dots, strict=True)
    axes.plot(xs, ys, marker=".", markersize=2.5, linestyle="none", **faint)
    seeds = sorted({seed for found in settings.values() for seed in found})
    if len(seeds) <= MOST_SEEDS:
        lines = [
            [(places[v], 100 * settings[v].get(seed, math.nan)) for v in joined] for seed in seeds
        ]
        axes.add_collection(LineCollection([line for line in lines if line], lw=0.5, **faint))
    draw_means(axes, [*places.values()], rows, _line_style(series, joined=False))
    means = 100 * rows.set_index(name)["mean"]
    through = [places[value] for value in joined], [means[value] for value in joined]
    axes.plot(*through, color=series.color, linestyle=series.linestyle)


def _draw_differences(
    axes: Axes,
    axis: SomeAxis,
    settings: Settings,
    reference: Any,
    series: Series,
    *,
    race: Race | None,
) -> list[Comparison]:
    """Draw how much each setting lies above the reference, with intervals that decide on it.

    Returns:
        The comparisons that no collapsed run has moved.
    """
    sound = []
    axes.axhline(0, color="0.35", linewidth=0.8, zorder=1.5)
    for value, found in against(reference, settings, race=race).items():
        axes.errorbar(
            [axis.place(value, series.side)],
            [100 * found.difference],
            yerr=[
                [100 * (found.difference - found.low)],
                [100 * (found.high - found.difference)],
            ],
            color=series.color,
            marker=series.marker,
            markerfacecolor=series.color if found.distinguishable else "white",
            linestyle="none",
            zorder=3,
            **bars_of(len(settings)),
        )
        moved = collapsed(settings[value]) or collapsed(settings[reference])
        if math.isfinite(found.difference) and not moved:
            sound.append(found)
    return sound


def _mark_peak(axes: Axes, axis: SomeAxis, ranking: Ranking[Any] | None) -> None:
    """Mark on the axis the values of which each may be the best: a 95 % confidence set."""
    if ranking is None:
        return
    may = [value for value in ranking.contenders if _is_known(ranking, value)]
    axes.plot(
        [axis.place(value) for value in may],
        [0.0] * len(may),
        color=PEAK.color,
        marker=PEAK.marker,
        markersize=4,
        linestyle="none",
        transform=axes.get_xaxis_transform(),
        clip_on=False,
        zorder=5,
    )


def _is_known(ranking: Ranking[Any], value: Any) -> bool:
    return value == ranking.best or math.isfinite(ranking.gains[value].difference)


def _limits(
    table: pd.DataFrame, name: str, settings: Mapping[str, Settings], points: Sequence[float]
) -> tuple[float, float]:
    """Return between which mIoU to draw: all runs that did not collapse, and bars in sight of them.

    A collapsed run and the bars that it widens would press all others into a line.
    """
    runs = [*points]
    bars: list[tuple[float, float]] = []
    for weights, of_weights in settings.items():
        rows = table[table["weights"] == weights].set_index(name)
        for value, found in of_weights.items():
            fallen = collapsed(found)
            runs += [miou for seed, miou in found.items() if seed not in fallen]
            if not fallen:
                bars.append((rows["ci_low"][value], rows["ci_high"][value]))
    return in_sight([miou for miou in runs if math.isfinite(miou)], bars)


def _mark_collapsed(
    axes: Axes, axis: SomeAxis, settings: Settings, series: Series, low: float
) -> int:
    """Draw an arrow where a run lies below the axes, and return how many runs do."""
    below = {value: sum(m < low for m in found.values()) for value, found in settings.items()}
    places = [axis.place(value, series.side) for value, runs in below.items() if runs]
    at: dict[str, Any] = {"transform": axes.get_xaxis_transform(), "linestyle": "none"}
    axes.plot(places, [0.08] * len(places), marker="v", color=series.color, markersize=5, **at)
    return int(sum(below.values()))


def _shows(table: pd.DataFrame, name: str, ranking: Ranking[Any] | None) -> str:
    """Return where mIoU is best and what it is at the ends, or of names at the worst."""
    weights = _told(table)
    means = table[table["weights"] == weights].set_index(name)["mean"].dropna()
    if ranking is None or means.empty:
        return ""
    best = ranking.best
    beside = [means.index[0], means.index[-1]]
    if isinstance(best, str):
        beside = [means.idxmin()]

    def told(value: Any) -> str:
        shown = value if isinstance(value, str) else number_label(value)
        size = f"{100 * means[value]:.1f} % at {short_label(name)} = {shown}"
        return f"best {size}" if value == best and len(means) > 1 else size

    parts = [told(value) for value in means.index if value == best or value in beside]
    alike = sum(value in ranking.contenders for value in means.index if value != best)
    tail = f"; {_describe_alike(alike, len(means) - 1)}" if len(means) > 1 else ""
    return f"Mean mIoU {SERIES[weights].label}: {', '.join(parts)}{tail}."


def _describe_alike(alike: int, others: int) -> str:
    """Return how many of the other settings are not distinguishable from the best."""
    if others == 1:
        return f"the other is {'not ' * alike}distinguishable from the best"
    if alike == others:
        return "no other is distinguishable from the best"
    if alike == 0:
        return "all others are distinguishable from the best"
    return f"{alike} of {others} others not distinguishable"


def _told(table: pd.DataFrame) -> str:
    """Return the weights of which a sentence tells: the averaged ones, where they have an mIoU."""
    averaged = table.loc[table["weights"] == "swa", "mean"]
    return "swa" if averaged.notna().any() else "raw"
