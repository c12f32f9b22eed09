"""What figures, tables and the report are made of, and what is handed on to the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from analysis.record.artifacts import load_curves, load_details, load_environment, load_masks
from analysis.stats.importance import importance_table
from analysis.stats.swa import swa_table

PAPER = Path(__file__).parents[1] / "paper.yaml"


def load_paper() -> dict[str, Any]:
    """Return the numbers that the paper printed, by figure or table, as `paper.yaml` holds them."""
    numbers: dict[str, Any] = yaml.safe_load(PAPER.read_text(encoding="utf-8"))
    return numbers


@dataclass(frozen=True, kw_only=True, eq=False)
class SweepData:
    """One sweep; what lies in artifacts is fetched when it is first asked for.

    Attributes:
        trials: A frame as `load_trials` returns it.
        paper: The paper's printed numbers.
        others: By data set, the newest sweep of the same name on each other data set.
    """

    trials: pd.DataFrame
    paper: Mapping[str, Any]
    others: Mapping[str, SweepData] = field(default_factory=dict)

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
    def swa(self) -> pd.DataFrame:
        """What `swa_table` returns: several figures show it."""
        return swa_table(self.trials)

    @cached_property
    def importance(self) -> pd.DataFrame:
        """What `importance_table` returns: it takes seconds, for the figure and its numbers."""
        return importance_table(self.trials)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Hardware, versions and command of the sweep; empty where not recorded."""
        return load_environment(self.trials)

    def narrow(self, trials: pd.DataFrame) -> SweepData:
        """Return the same with these trials alone: only their artifacts are fetched."""
        return dataclasses.replace(self, trials=trials)


@dataclass(frozen=True, kw_only=True, eq=False)
class RenderedItem:
    """A figure or a table, as the report shows it.

    Attributes:
        name: Stem of its files, such as "fig4".
        title: Its heading.
        sentence: What came out, in one sentence.
        caption: Seeds, method of the interval, what is left out or mixed.
        table: The numbers behind the figure, or the table itself.
        files: By name, the content of its files; a figure has a PNG among them.
        trials: The trials it was drawn from.
    """

    name: str
    title: str
    sentence: str
    caption: str
    table: pd.DataFrame | None
    files: Mapping[str, bytes]
    trials: pd.DataFrame
