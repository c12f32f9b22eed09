"""What figures, tables and the report are made of, and what is handed on to the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis._details import load_curves, load_details, load_environment, load_masks


@dataclass(frozen=True, kw_only=True, eq=False)
class Material:
    """One sweep; what lies in artifacts is fetched when it is first asked for.

    Attributes:
        trials: A frame as `load_trials` returns it.
        paper: The paper's printed numbers.
        others: The newest sweep of each other name, and those of this name on other data sets,
            by a title such as "ablation on segtrackv2".
    """

    trials: pd.DataFrame
    paper: Mapping[str, Any]
    others: Mapping[str, Material] = field(default_factory=dict)

    @cached_property
    def details(self) -> dict[str, dict[str, Any]]:
        """By run id: `result.json`, as `load_details` returns it."""
        return load_details(self.trials)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row per trial, metric and iteration, as `load_curves` returns it."""
        return load_curves(self.trials, self.details)

    @cached_property
    def masks(self) -> dict[str, dict[str, NDArray[np.uint8]]]:
        """By run id: the images and masks that `load_masks` returns."""
        return load_masks(self.trials)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Hardware, versions and command of the sweep; empty where not recorded."""
        return load_environment(self.trials)

    def narrow(self, trials: pd.DataFrame) -> Material:
        """Return the same with these trials alone: only their artifacts are fetched."""
        return dataclasses.replace(self, trials=trials)


@dataclass(frozen=True, kw_only=True, eq=False)
class Drawn:
    """A figure or a table, as the report shows it.

    Attributes:
        name: Stem of its files, such as "fig4".
        title: Its heading.
        sentence: What came out, in one sentence.
        figure_png: The figure as PNG; absent where it is a table alone.
        figure_svg: The figure as SVG, where asked for.
        table: The numbers behind the figure, or the table itself.
        caption: Seeds, method of the interval, what is left out or mixed.
        trials: The trials it was drawn from.
    """

    name: str
    title: str
    sentence: str
    figure_png: bytes | None
    figure_svg: bytes | None
    table: pd.DataFrame | None
    caption: str
    trials: pd.DataFrame
