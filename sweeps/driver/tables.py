"""The settings of a sweep as a person reads them, and as a program does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from sweeps.planning.ranking import Setting, best_by_axis, lower_than_best

SHOWN = 5


def best_table(settings: Sequence[Setting], axes: Sequence[str]) -> Table:
    """Return the best settings, one a row, the best first.

    Args:
        settings: As `settings_of` returns them.
        axes: Of the sweep.
    """
    count = f"{min(SHOWN, len(settings))} of {len(settings)}"
    table = Table(box=None, title=f"best settings ({count})", title_justify="left")
    for name in (*axes, "swa/miou", "95 % interval", "val/miou", "seeds", "against the best"):
        table.add_column(name, no_wrap=True)
    for setting, words in list(zip(settings, against_best(settings), strict=True))[:SHOWN]:
        values = [in_short(value) for value in setting.point(axes).values()]
        table.add_row(*values, *_numbers(setting), words)
    return table


def axis_table(settings: Sequence[Setting], axes: Sequence[str]) -> Table | None:
    """Return the best setting with each value of each axis; None where one axis varies alone."""
    tables = best_by_axis(settings, axes)
    if len(tables) < 2:
        return None
    table = Table(box=None, title="the best with each value", title_justify="left")
    for name in ("axis", "value", "swa/miou", "95 % interval", "val/miou", "seeds", "with"):
        table.add_column(name, no_wrap=True)
    for axis, best in tables.items():
        for place, setting in enumerate(best):
            others = setting.point(name for name in tables if name != axis)
            words = ", ".join(f"{name}={in_short(value)}" for name, value in others.items())
            value = in_short(getattr(setting.config, axis))
            table.add_row("" if place else axis, value, *_numbers(setting), words)
    return table


def rows(settings: Sequence[Setting], axes: Sequence[str]) -> list[dict[str, Any]]:
    """Return every setting with its numbers as primitives, the best first."""
    return [
        _row(setting, axes) | {"against_best": words}
        for setting, words in zip(settings, against_best(settings), strict=True)
    ]


def rows_by_axis(settings: Sequence[Setting], axes: Sequence[str]) -> dict[str, Any]:
    """Return the best setting with each value of each axis that varies, as primitives."""
    return {
        axis: [_row(setting, axes) for setting in best]
        for axis, best in best_by_axis(settings, axes).items()
    }


def against_best(settings: Sequence[Setting]) -> list[str]:
    """Return in words how each setting stands to the best, which is the first."""
    if not settings:
        return []
    words = ["lower" if lower else "not distinguishable" for lower in lower_than_best(settings)]
    return ["best", *words[1:]]


def in_short(value: Any) -> str:
    """Return a value without needless digits."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def _numbers(setting: Setting) -> list[str]:
    interval = setting.interval()
    ends = "none from one seed" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"
    mean, raw = f"{setting.mean():.4f}", f"{setting.mean('val/miou'):.4f}"
    return [mean, ends, raw, str(len(setting.metrics))]


def _row(setting: Setting, axes: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"point": setting.point(axes), "seeds": len(setting.metrics)}
    for name in ("swa/miou", "val/miou"):
        low, high = setting.interval(name) or (None, None)
        row |= {f"mean/{name}": setting.mean(name), f"ci_low/{name}": low, f"ci_high/{name}": high}
    return row
