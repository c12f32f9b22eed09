"""mIoU against any one setting, for a user's own grid."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.axes import LambdaAxis, SettingAxis, draw_means, handle, label_names
from analysis.figures.colors import LineStyle
from analysis.figures.style import (
    MIOU,
    SERIES,
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
from analysis.record.schema import RecordError
from analysis.stats.aggregation import (
    is_logarithmic,
    one_per_seed,
    over_seeds,
    require_finished,
    varying,
)
from analysis.stats.selection import best_over

NAME_ASIDE = 0.06  # between two points of one name, whose own distance is 1


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
    kept = require_finished(trials)
    if axis not in kept:
        raise RecordError(f"no trial has the setting {axis}; varied: {', '.join(varying(trials))}")
    others = [name for name in varying(trials) if name != axis]
    held: dict[str, object] = {}
    if others:
        best = best_over(kept, others, [n for n in (axis, "seed") if n in kept], "swa/miou")
        held = dict(zip(others, best, strict=True))
        kept = kept[(kept[others] == pd.Series(held)).all(axis=1)]
    kept = one_per_seed(kept, [axis], "a figure over one setting")
    metrics = {weights: series.metric for weights, series in SERIES.items()}
    table = over_seeds(kept, [axis], metrics)
    table.attrs["held"] = held
    return table


def metric_vs_axis(trials: pd.DataFrame, axis: str) -> Figure:
    """Draw mIoU against one setting, with and without SWA, with intervals over seeds.

    Args:
        trials: A frame as `load_trials` returns it, with its `attrs`.
        axis: The setting, of numbers or of names.

    Raises:
        RecordError: As `axis_table`.
    """
    table = axis_table(trials, axis)
    title = f"mIoU against {axis} on {on_data(trials.attrs['dataset'])}"
    with drawing(trials, title) as figure:
        axes = figure.subplots()
        of_numbers = pd.api.types.is_numeric_dtype(table[axis])
        (_draw_numbers if of_numbers else _draw_names)(axes, table, axis)
        axes.set(xlabel=axis_label(axis), ylabel=MIOU)
        add_legend(
            axes,
            [
                handle(_line_style(weights, joined=of_numbers), series.label)
                for weights, series in SERIES.items()
            ],
        )
        at = ", ".join(
            f"{short_label(n)} = {format_value(v)}" for n, v in table.attrs["held"].items()
        )
        held = f"at {at}, where the mean over the axis is the highest" if at else ""
        missing = caption_missing(table.attrs["n_missing"])
        add_caption(
            figure,
            [caption_seeds(table["n_seeds"]), held, missing, caption_mixed(trials)],
        )
    return figure


def _draw_numbers(axes: Axes, table: pd.DataFrame, name: str) -> None:
    values = table[name].tolist()
    positive = [value for value in values if value > 0]
    with_zero = min(values) == 0 and bool(positive) and is_logarithmic(name, positive)
    axis: LambdaAxis | SettingAxis
    axis = LambdaAxis.over(values) if with_zero else SettingAxis(name, values)
    for weights, series in SERIES.items():
        rows = table[table["weights"] == weights]
        style = _line_style(weights, joined=True)
        places = [axis.place(value, series.side) for value in rows[name]]
        draw_means(axes, places, rows, style, linestyle="none")
        # Between 0 and the smallest value of a logarithmic axis there is no scale.
        line = rows[(rows[name] > 0) | (not with_zero)]
        at = [axis.place(value, series.side) for value in line[name]]
        axes.plot(at, 100 * line["mean"], color=style.color, linestyle=style.linestyle)
    axis.apply(axes)


def _draw_names(axes: Axes, table: pd.DataFrame, name: str) -> None:
    known = sorted(table[name].unique())
    for weights, series in SERIES.items():
        rows = table[table["weights"] == weights]
        places = [known.index(value) + NAME_ASIDE * series.side for value in rows[name]]
        draw_means(axes, places, rows, _line_style(weights, joined=False))
    label_names(axes, [format_value(value) for value in known])


def _line_style(weights: str, *, joined: bool) -> LineStyle:
    series = SERIES[weights]
    linestyle = series.linestyle if joined else "none"
    return LineStyle(color=series.color, marker=series.marker, linestyle=linestyle)
