"""The settings of a sweep as a person reads them, and as a program does."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from analysis.inference.planning import POWER
from analysis.record.schema import is_cost
from analysis.stats.intervals import Interval
from analysis.stats.ranking import Ranking
from analysis.stats.rounding import count, fixed, format_value
from sweeps.planning.plan import format_setting
from sweeps.planning.ranking import (
    BestPoint,
    Setting,
    best_by_axis,
    interval_numbers,
    pareto_front,
    reported,
)

SHOWN = 5
UNLIMITED = 10_000  # columns
AGAINST = "against the best"

Row = dict[str, object]


@dataclass(frozen=True)
class Fitting:
    """The widest of some renderables that fits where it is shown; the last where none does.

    Attributes:
        choices: The renderables, the widest first.
    """

    choices: Sequence[RenderableType]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the one that fits."""
        unlimited = options.update(max_width=UNLIMITED)
        yield next(
            (
                one
                for one in self.choices
                if Measurement.get(console, unlimited, one).maximum <= options.max_width
            ),
            self.choices[-1],
        )


def best_table(ranking: Ranking[Setting], axes: Sequence[str]) -> Fitting:
    """Return the best settings, one a row, the best first.

    Where the axes do not fit beside the numbers, they stand below, by the number of the row.

    Args:
        ranking: The ranking of the sweep's settings.
        axes: The config fields that the sweep varies.
    """
    best = ranking.order[:SHOWN]
    title = f"best settings ({len(best)} of {len(ranking.order)})"
    points = [_values(one, axes) for one in best]
    numbers = [[*_numbers(one), ranking.against_best(one)] for one in best]
    names = (*_number_names(ranking.best), AGAINST)
    wide = _table(title, (*axes, *names), [p + n for p, n in zip(points, numbers, strict=True)])
    narrow = _table(title, ("", *names), [[str(k), *row] for k, row in enumerate(numbers, 1)])
    below = [
        Text(f"{k}: {format_setting(one.config, axes)}", overflow="fold")
        for k, one in enumerate(best, 1)
    ]
    return Fitting([wide, Group(narrow, *below)])


def best_head(ranking: Ranking[Setting], axes: Sequence[str]) -> list[str]:
    """Return the names of the columns of `best_cells`."""
    return [*axes, *_number_names(ranking.best), AGAINST]


def best_cells(ranking: Ranking[Setting], axes: Sequence[str]) -> list[list[str]]:
    """Return the best settings as a person reads them, one a row, the best first."""
    return [
        [*_values(one, axes), *_numbers(one), ranking.against_best(one)]
        for one in ranking.order[:SHOWN]
    ]


def _values(setting: Setting, axes: Sequence[str]) -> list[str]:
    return [format_value(value) for value in setting.point(axes).values()]


def axis_table(ranking: Ranking[Setting], axes: Sequence[str]) -> Fitting | None:
    """Return the best setting with each value of each axis; None where one axis varies alone.

    Its values on the other axes are left out where they do not fit.
    """
    tables = best_by_axis(ranking, axes)
    if len(tables) < 2:
        return None
    found = []
    for axis, best in tables.items():
        for place, setting in enumerate(best):
            others = setting.point(name for name in tables if name != axis)
            words = ", ".join(f"{name}={format_value(value)}" for name, value in others.items())
            value = format_value(getattr(setting.config, axis))
            found.append(["" if place else axis, value, *_numbers(setting), words])
    title = "the best with each value"
    names = ("axis", "value", *_number_names(ranking.best))
    narrow = _table(title, names, [row[:-1] for row in found])
    return Fitting([_table(title, (*names, "with"), found), narrow])


def _table(title: str, names: Sequence[str], cells: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, title=title, title_justify="left")
    for name in names:
        table.add_column(name, no_wrap=True)
    for row in cells:
        table.add_row(*row)
    return table


def front_table(ranking: Ranking[Setting], axes: Sequence[str]) -> Table | None:
    """Return the Pareto front, the best in the first objective first; None of one objective."""
    title = format_front(ranking)
    return _table(title, front_head(ranking, axes), front_cells(ranking, axes)) if title else None


def front_head(ranking: Ranking[Setting], axes: Sequence[str]) -> list[str]:
    """Return the names of the columns of `front_cells`."""
    objectives = ranking.best.objectives
    return [*axes, *(part for name in objectives for part in (name, "95 % interval")), "seeds"]


def front_cells(ranking: Ranking[Setting], axes: Sequence[str]) -> list[list[str]]:
    """Return the settings of the Pareto front as a person reads them, one a row."""
    return [
        [*_values(one, axes), *_with_intervals(one, one.objectives), str(len(one.metrics))]
        for one in pareto_front(ranking)
    ]


def format_front(ranking: Ranking[Setting]) -> str:
    """Return in a line how many settings the Pareto front has; empty of one objective."""
    objectives = ranking.best.objectives
    if len(objectives) == 1:
        return ""
    return (
        f"Pareto front: {len(pareto_front(ranking))} of {count(len(ranking.order), 'setting')}; by "
        f"the means, no other setting is as good in {' and '.join(objectives)} at once"
    )


def _with_intervals(setting: Setting, names: Sequence[str]) -> list[str]:
    found = [(name, setting.interval(name)) for name in names]
    return [part for name, one in found for part in (_shown(name, one.mean), _ends(name, one))]


def rows(ranking: Ranking[Setting] | None, axes: Sequence[str]) -> list[Row]:
    """Return every setting with its numbers as primitives, the best first."""
    if ranking is None:
        return []
    return [
        _row(setting, axes) | {"against_best": ranking.against_best(setting)}
        for setting in ranking.order
    ]


def front_rows(ranking: Ranking[Setting] | None, axes: Sequence[str]) -> list[Row]:
    """Return the Pareto front as primitives; of one objective it is the best setting."""
    return [] if ranking is None else [_row(setting, axes) for setting in pareto_front(ranking)]


def rows_by_axis(ranking: Ranking[Setting] | None, axes: Sequence[str]) -> dict[str, list[Row]]:
    """Return the best setting with each value of each axis that varies, as primitives."""
    if ranking is None:
        return {}
    return {
        axis: [_row(setting, axes) for setting in best]
        for axis, best in best_by_axis(ranking, axes).items()
    }


def format_best(best: BestPoint) -> str:
    """Return in a line which setting is the best, by what, and what it stands apart from."""
    point = ", ".join(f"{axis}={value}" for axis, value in best.point.items())
    name, found = best.objective, best.metrics[best.objective]
    interval = f"95 % interval {_ends(name, found)}" if found.n > 1 else "no interval from one seed"
    line = (
        f"best point: {point} with {name} {_shown(name, found.mean)} ({interval}, {best.seeds} "
        "seeds)"
    )
    if best.others:
        line += (
            f"; {best.not_distinguishable} of {best.others} other settings are not "
            "distinguishable from it"
        )
    return line


def format_smallest_found(best: BestPoint) -> str:
    """Return in a line which difference the seeds could have shown; empty where they show none."""
    if not math.isfinite(best.smallest_found):
        return ""
    return (
        "the smallest difference to the best that these seeds could have shown with a power of "
        f"{POWER:g}: {fixed(100 * best.smallest_found, 1)} points (median over the settings)"
    )


def _number_names(setting: Setting) -> list[str]:
    """Return the names of the columns of `_numbers`."""
    first, *others = reported(setting.objectives)
    return [first, "95 % interval", *others, "seeds"]


def _numbers(setting: Setting) -> list[str]:
    first, *others = reported(setting.objectives)
    means = [_shown(name, setting.interval(name).mean) for name in others]
    return [*_with_intervals(setting, [first]), *means, str(len(setting.metrics))]


def _shown(name: str, value: float) -> str:
    return f"{value:.1f}" if is_cost(name) else f"{value:.4f}"


def _ends(name: str, found: Interval) -> str:
    if found.n < 2:
        return "none from one seed"
    return f"{_shown(name, found.low)} to {_shown(name, found.high)}"


def _row(setting: Setting, axes: Sequence[str]) -> Row:
    row: Row = {"point": setting.point(axes), "seeds": len(setting.metrics)}
    for name in reported(setting.objectives):
        row |= interval_numbers(name, setting.interval(name))
    return row
