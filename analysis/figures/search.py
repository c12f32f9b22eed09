"""Figures of a search: its history, importances of settings, slices and a contour."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from analysis.figures.axes import draw_means, handle, number_label, whole
from analysis.figures.colors import LINE_STYLES, LineStyle
from analysis.figures.style import (
    DOUBLE_IN,
    add_caption,
    add_legend,
    caption_mixed,
    caption_seeds,
    drawing,
    objective_label,
    on_data,
    short_label,
)
from analysis.record.schema import RecordError
from analysis.stats.aggregation import is_logarithmic
from analysis.stats.importance import (
    ABOVE,
    CHANCE,
    NEIGHBOURS,
    PERMUTATIONS,
    describe_importance,
    importance_table,
)
from analysis.stats.intervals import Interval
from analysis.stats.rounding import count, describe_percent, p_value
from analysis.stats.search import (
    completed,
    confirmed,
    fit_surface,
    of_readout,
    parameters,
    search_table,
    unit_scaled,
)

BIASED = "the best of many on one seed is biased upward"
STOPPED = {
    "PRUNED": LineStyle(color="0.45", marker="|", linestyle="none"),
    "FAIL": LineStyle(color=LINE_STYLES[1].color, marker="x", linestyle="none"),
}
STOPPED_WORDS = {"PRUNED": "pruned", "FAIL": "failed"}
DOT: dict[str, Any] = {"linestyle": "none", "markersize": 4}
BARS: dict[str, dict[str, Any]] = {
    ABOVE: {"facecolor": LINE_STYLES[0].color, "edgecolor": LINE_STYLES[0].color},
    CHANCE: {"facecolor": "white", "edgecolor": "0.45", "hatch": "////"},
}
LIMIT: dict[str, Any] = {
    "color": "black",
    "linestyle": (0, (3, 1.5)),
    "path_effects": [withStroke(linewidth=3.5, foreground="white")],  # upon a dark bar, too
}
FEW = 8  # values that each have a tick of their own
MOST_PARTED = 2  # decades that have ticks at 2 and 5, too
SLICE_COLUMNS = 3
LEAST_FOR_CONTOUR = 12  # training runs
LEVELS = 9
MOST_NAMED = 5  # settings in a sentence
GRID = 60  # places of the surface along each axis
UNSURE = 0.25  # of what a surface rises by: a larger standard error is hatched
MOST_VECTORS = 1000  # dots of a panel; more are drawn as pixels, or the file would have megabytes


def search_history(trials: pd.DataFrame) -> Figure:
    """Draw the value of each suggestion, the best so far, and what fresh seeds then gave.

    Args:
        trials: A frame of a search, with its `attrs`.

    Raises:
        RecordError: As `search_table`.
    """
    table, again = search_table(trials), confirmed(trials)
    with drawing(trials, title_on("Search history", trials)) as figure:
        axes = figure.subplots()
        style, best = LineStyle(color="0.5", marker="o", linestyle="none"), LINE_STYLES[0]
        axes.plot(table["ask"], 100 * table["value"], color=style.color, marker="o", **DOT)
        axes.plot(table["ask"], 100 * table["best"], color=best.color, drawstyle="steps-post")
        handles = [handle(style, "suggestion", **DOT), handle(best, "best so far", marker="")]
        for state, stopped in STOPPED.items():
            asks = table.loc[table["state"] == state, "ask"]
            if len(asks):
                _mark_bottom(axes, asks, stopped)
                handles.append(handle(stopped, f"{len(asks)} {STOPPED_WORDS[state]}"))
        confirmed_text = ""
        if len(again):
            places = [table["ask"].max() * (1.04 + 0.03 * i) + 1 for i in range(len(again))]
            fresh = LineStyle(color=LINE_STYLES[2].color, marker="D", linestyle="none")
            draw_means(axes, places, again, fresh)
            handles.append(handle(fresh, "fresh seeds"))
            several = f"{len(again)} setting{'s' * (len(again) != 1)}"
            seeds = caption_seeds(again["n_seeds"])
            confirmed_text = f"right: {several} trained again with fresh seeds, {seeds}"
        axes.set(xlabel="suggestion", ylabel=objective_label(trials))
        add_legend(axes, handles)
        add_search_caption(
            figure, trials, [f"each suggestion at its best readout; {BIASED}", confirmed_text]
        )
        figure.shows = _describe_history(table, again)
    return figure


def search_importance(trials: pd.DataFrame, table: pd.DataFrame | None = None) -> Figure:
    """Draw how much each setting mattered, and how much chance alone would have given it.

    Args:
        trials: A frame of a search, with its `attrs`.
        table: What `importance_table` returned for them, where it is at hand.

    Raises:
        RecordError: As `importance_table`.
    """
    table = importance_table(trials) if table is None else table
    kinds = list(dict.fromkeys(table["kind"]))
    counts = [int((table["kind"] == kind).sum()) for kind in kinds]
    size = (DOUBLE_IN, 1.5 + 0.36 * sum(counts) + 0.5 * len(kinds))
    with drawing(trials, title_on("Importance of settings", trials), size=size) as figure:
        found = figure.subplots(len(kinds), squeeze=False, height_ratios=counts, sharex=True)
        for axes, kind in zip(found[:, 0], kinds, strict=True):
            rows = table[table["kind"] == kind].iloc[::-1]
            places = np.arange(len(rows))
            looks = [BARS[verdict] for verdict in rows["verdict"]]
            for place, share, look in zip(places, rows["share"], looks, strict=True):
                axes.barh(place, share, 0.6, **look)
            axes.axvline(rows["chance"].iloc[0], **LIMIT)
            axes.set_yticks(places, [short_label(name) for name in rows["parameter"]])
            beside = axes.get_yaxis_transform()
            for place, p in zip(places, rows["p"], strict=True):
                axes.text(1.02, place, p_value(p), transform=beside, va="center")
            axes.grid(axis="x")
            axes.grid(visible=False, axis="y")
            axes.set_ylabel(kind)
            axes.set_xlim(0, 1)
        found[-1, 0].set_xlabel("share of the differences that a setting alone follows")
        figure.align_ylabels(found[:, 0])
        words = {ABOVE: ABOVE, CHANCE: "not distinguishable"}
        legend = [Patch(label=words[verdict], **BARS[verdict]) for verdict in words]
        limit = Line2D([], [], label="95 % of chance", **LIMIT)
        add_legend(found[0, 0], [*legend, limit])
        parts = [
            "share: R² of the values on a parabola in the setting alone",
            f"chance: the largest share in 95 % of {PERMUTATIONS} searches with values permuted "
            f"among about {NEIGHBOURS} neighbouring suggestions",
            "p corrected over all settings",
            *(_caption_compared(kind, table[table["kind"] == kind].iloc[0]) for kind in kinds),
        ]
        add_search_caption(figure, trials, parts)
        figure.shows = describe_importance(table)
    return figure


def search_slices(trials: pd.DataFrame) -> Figure:
    """Draw the value against each setting alone; the later a suggestion, the lighter.

    Args:
        trials: A frame of a search, with its `attrs`.

    Raises:
        RecordError: As `search_table`; or no setting was varied.
    """
    names = varied(parameters(trials))
    columns = min(SLICE_COLUMNS, len(names))
    rows = -(-len(names) // columns)
    size = (DOUBLE_IN, 1.3 + 1.9 * rows)
    with drawing(trials, title_on("Slices of the search", trials), size=size) as figure:
        found = figure.subplots(rows, columns, squeeze=False, sharey="row").ravel()
        for axes, name in zip(found, names, strict=False):
            points = completed(trials, name)
            dots = axes.scatter(
                points[name],
                100 * points["value"],
                c=points["ask"],
                rasterized=len(points) > MOST_VECTORS,
                **_dots(cmap="cividis"),
            )
            _scale(axes, "x", name, points[name])
            axes.set_xlabel(short_label(name))
        for axes in found[len(names) :]:
            axes.set_axis_off()
        ticks = MaxNLocator(integer=True)
        figure.colorbar(dots, ax=figure.axes, label="suggestion", aspect=30, ticks=ticks)
        figure.supylabel(objective_label(trials), fontsize=9)
        add_search_caption(figure, trials, [_caption_readouts(trials)])
        runs = completed(trials)
        best = runs.loc[runs["value"].idxmax()]
        figure.shows = (
            f"{count(len(runs), 'training run')} as dots against each setting, without a trend; "
            f"the best, {100 * best['value']:.1f} %, has {at_words(best, names)}"
        )
    return figure


def search_contour(trials: pd.DataFrame, x: str = "", y: str = "") -> Figure:
    """Draw the value over two settings: the suggestions, and a surface where there is one to see.

    The surface is that of `fit_surface`, hatched where its standard error is more than a quarter of
    what it rises by. There is none where neither setting is above chance: it would show noise.

    Args:
        trials: A frame of a search, with its `attrs`.
        x: Setting of the horizontal axis; empty is lambda where it was varied, else the first
            number that a suggestion has one of.
        y: Setting of the vertical axis; empty is the generator's rate or the next such number.

    Raises:
        RecordError: As `search_table`; one of the settings was not varied, or fewer than two
            numbers were.
    """
    x, y = (x, y) if x and y else _two_of(trials, x or y)
    for name in (x, y):
        if name not in parameters(trials):
            raise RecordError(f"the search did not vary {name}; it varied: {_listed(trials)}")
    points = completed(trials).sort_values("value").drop_duplicates([x, y], keep="last")
    values = 100 * points["value"]
    without = _why_no_surface(trials, points, x, y)
    with drawing(trials, title_on("Contour of the search", trials), size=(4.8, 4.2)) as figure:
        axes = figure.subplots()
        axes.grid(visible=False)
        _scale(axes, "x", x, points[x])
        _scale(axes, "y", y, points[y])
        parts = [f"points: {len(points)} training runs"]
        if without:
            norm = Normalize(values.min(), values.max())
            figure.shows = (
                f"The best of {len(points)} training runs, {values.iloc[-1]:.1f} %, stands at "
                f"{at_words(points.iloc[-1], [x, y])}; no surface is drawn: {without}"
            )
            parts.append(f"no surface: {without}")
        else:
            norm, figure.shows = _draw_surface(axes, points, x, y)
            parts += [
                "surface: a Gaussian process over these two settings alone",
                "hatched: its standard error is more than a quarter of what it rises by",
            ]
        dots = axes.scatter(
            points[x], points[y], c=values, norm=norm, **_dots(cmap="cividis", zorder=3)
        )
        axes.use_sticky_edges = False
        axes.margins(0.05)
        axes.set(xlabel=short_label(x), ylabel=short_label(y))
        figure.colorbar(dots, ax=axes, label=objective_label(trials))
        add_search_caption(figure, trials, parts)
    return figure


def _two_of(trials: pd.DataFrame, given: str) -> tuple[str, str]:
    """Return two settings of the training to draw over, with the one that is given first."""
    runs = completed(trials)
    kept = [name for name in parameters(trials) if name not in of_readout(trials)]
    numbers = [name for name in kept if pd.api.types.is_numeric_dtype(runs[name])]
    wanted = [name for name in ("lambda_adv", "lr_generator") if name in numbers]
    found = list(dict.fromkeys([*([given] if given else []), *wanted, *numbers]))
    if len(found) < 2:
        raise RecordError(f"a contour needs two numbers that were varied: {_listed(trials)}")
    return found[0], found[1]


def _why_no_surface(trials: pd.DataFrame, points: pd.DataFrame, x: str, y: str) -> str:
    """Return why no surface can be shown over two settings, empty where one can."""
    if len(points) < LEAST_FOR_CONTOUR:
        return f"it takes {LEAST_FOR_CONTOUR} training runs"
    if not all(pd.api.types.is_numeric_dtype(points[name]) for name in (x, y)):
        return "not both settings are numbers"
    try:
        table = importance_table(trials)
    except RecordError as error:
        return str(error)
    above = set(table.loc[table["verdict"] == ABOVE, "parameter"])
    return "" if above & {x, y} else "neither setting is above chance"


def _draw_surface(axes: Axes, points: pd.DataFrame, x: str, y: str) -> tuple[Normalize, str]:
    """Draw the surface and return the range of its colours, and where it is highest."""
    ordered = points.sort_values("ask", kind="stable")
    side = np.linspace(0, 1, GRID)
    found = fit_surface(
        np.column_stack([unit_scaled(name, ordered[name]) for name in (x, y)]),
        100 * ordered["value"].to_numpy(float),
        np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2),
    )
    xs, ys = (_on_axis(name, points[name], side) for name in (x, y))
    height, doubt = (each.reshape(GRID, GRID) for each in (found.height, found.error))
    seen = np.concatenate([100 * points["value"].to_numpy(float), found.height])
    norm = Normalize(seen.min(), seen.max())
    levels = np.linspace(seen.min(), seen.max(), LEVELS)
    axes.contourf(xs, ys, height, levels=levels, norm=norm, cmap="cividis")
    unsure = doubt > UNSURE * np.ptp(height)
    if unsure.any():
        hatched = axes.contourf(
            xs, ys, unsure.astype(float), levels=[0.5, 1.5], colors="none", hatches=["xxx"]
        )
        hatched.set_edgecolor("white")
        hatched.set_linewidth(0)
    top = int(found.height.argmax())
    place = {x: xs[top % GRID], y: ys[top // GRID]}
    return norm, (
        f"The surface is highest near {at_words(place, [x, y])}, at {found.height[top]:.1f} % "
        f"(standard error {found.error[top]:.1f} points); {100 * unsure.mean():.0f} % of its area "
        "is too uncertain and hatched"
    )


def _on_axis(name: str, values: pd.Series, unit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where shares of an axis between its smallest and largest value lie upon it."""
    low, high = float(values.min()), float(values.max())
    if is_logarithmic(name, values):
        return np.asarray(low * (high / low) ** unit)
    return np.asarray(low + (high - low) * unit)


def at_words(place: Mapping[Any, Any] | pd.Series, names: Sequence[str]) -> str:
    """Return the values of some settings in words, those of the first few where there are many."""
    found = [f"{name}={format_short(place[name])}" for name in names[:MOST_NAMED]]
    return ", ".join(found) + (", ..." if len(names) > MOST_NAMED else "")


def format_short(value: object) -> str:
    """Return a setting's value with two digits, for a sentence."""
    return f"{value:.2g}" if isinstance(value, float) else str(value)


def _describe_history(table: pd.DataFrame, again: pd.DataFrame) -> str:
    done = int(table["value"].notna().sum())
    first = f"The best of {done} training runs reached {100 * table['value'].max():.1f} %"
    if again.empty:
        return f"{first}, which is biased upward; no setting was trained again with fresh seeds"
    row = again.iloc[0]
    found = Interval(
        n=int(row["n_seeds"]), missing=0, mean=row["mean"], low=row["ci_low"], high=row["ci_high"]
    )
    several = "its setting" if len(again) == 1 else f"the best of {len(again)} confirmed settings"
    return f"{first}, biased upward; on fresh seeds {several} reached {describe_percent(found)}"


def title_on(what: str, trials: pd.DataFrame) -> str:
    """Return a figure's title with the data set it is about."""
    return f"{what} on {on_data(trials.attrs['dataset'])}"


def add_search_caption(figure: Figure, trials: pd.DataFrame, parts: list[str]) -> None:
    """Add a caption of these parts and, where the trials mix versions, of those."""
    add_caption(figure, [*parts, caption_mixed(trials)])


def _caption_readouts(trials: pd.DataFrame) -> str:
    names = [short_label(name) for name in of_readout(trials)]
    if not names:
        return "a point per suggestion"
    return (
        f"a point per training run, at its best readout; against {' and '.join(names)}: "
        "a point per readout"
    )


def _caption_compared(kind: str, row: pd.Series) -> str:
    """Say how many values of a kind were compared."""
    suggestions = count(int(row["n_suggestions"]), "suggestion")
    if row["n_values"] == row["n_suggestions"]:
        return f"{kind}: {suggestions}"
    return (
        f"{kind}: {row['n_values']:,} readouts of {suggestions}, each less its run's mean, and for "
        "chance with the signs of whole runs flipped"
    )


def varied(names: list[str]) -> list[str]:
    """Return the settings that a search varied.

    Raises:
        RecordError: There is none.
    """
    if not names:
        raise RecordError("the search varied no setting; there is nothing to draw it against")
    return names


def _listed(trials: pd.DataFrame) -> str:
    return ", ".join(parameters(trials)) or "nothing"


def _mark_bottom(axes: Axes, xs: pd.Series, style: LineStyle) -> None:
    axes.plot(
        xs,
        np.full(len(xs), 0.02),
        color=style.color,
        marker=style.marker,
        linestyle="none",
        transform=axes.get_xaxis_transform(),
    )


def _dots(**more: Any) -> dict[str, Any]:
    return {"s": 16, "edgecolors": "0.25", "linewidths": 0.4} | more


def _scale(axes: Axes, side: Literal["x", "y"], name: str, values: pd.Series) -> None:
    """Make an axis logarithmic where its setting is, with labels at round numbers or at few values.

    Labels that do not fit are dropped once the figure is laid out.
    """
    if not pd.api.types.is_numeric_dtype(values):
        return
    known, is_log = sorted(set(values.tolist())), is_logarithmic(name, values)
    axis = getattr(axes, f"{side}axis")
    if is_log:
        axes.set(**{f"{side}scale": "log"})
        axis.set_minor_formatter(NullFormatter())
    if len(known) <= FEW:
        ticks = whole(known, is_log=is_log)
    elif is_log:
        first, last = math.floor(math.log10(known[0])), math.ceil(math.log10(known[-1]))
        parts = (1,) if last - first > MOST_PARTED else (1, 2, 5)
        ticks = [part * 10.0**power for power in range(first, last + 1) for part in parts]
    else:
        axes.ticklabel_format(axis=side, style="sci", scilimits=(-2, 4))
        return
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_ticklabels([number_label(tick) for tick in ticks])
