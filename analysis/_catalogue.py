"""Which figures and tables are drawn of which sweep; the first of each is its main one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure

from analysis._figures import fig4, fig4_table
from analysis._material import Material
from analysis._record import RecordError


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A figure, with the numbers behind it, or a table."""

    name: str  # stem of its files
    figure: Callable[[Material], Figure] | None = None
    numbers: Callable[[Material], pd.DataFrame] | None = None


CATALOGUE: dict[str, Sequence[Entry]] = {
    "lambda_grid": [
        Entry(
            name="fig4",
            figure=lambda m: fig4(m.trials, m.paper),
            numbers=lambda m: fig4_table(m.trials),
        ),
    ],
}


def entries_of(trials: pd.DataFrame) -> Sequence[Entry]:
    """Return what is drawn of this sweep.

    Raises:
        RecordError: There is nothing for a sweep of this name.
    """
    name = trials.attrs["sweep"]
    if name not in CATALOGUE:
        raise RecordError(
            f"sweep {name!r} has no figure of its own; there is one for: {', '.join(CATALOGUE)}"
        )
    return CATALOGUE[name]
