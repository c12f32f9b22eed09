"""One sweep as its figures, tables and report take it: trials, artifacts, the paper's numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd
import yaml

from analysis.record.artifacts import (
    Detail,
    Masks,
    load_curves,
    load_details,
    load_environment,
    load_masks,
)
from analysis.record.schema import RecordError
from trainable.storage.json_files import JsonObject

PAPER = Path(__file__).parents[1] / "paper.yaml"
Paper = JsonObject  # the printed numbers by figure or table, as `paper.yaml` holds them
Table = Callable[[pd.DataFrame], pd.DataFrame]


def load_paper() -> Paper:
    """Return the numbers that the paper printed, by figure or table."""
    numbers: Paper = yaml.safe_load(PAPER.read_text(encoding="utf-8"))
    return numbers


@dataclass(frozen=True, kw_only=True, eq=False)
class SweepData:
    """One sweep; what lies in artifacts is fetched when it is first asked for.

    Attributes:
        trials: A frame as `load_trials` returns it.
        paper: The paper's printed numbers.
        others: The newest sweep of the same name on each other data set, by data set.
    """

    trials: pd.DataFrame
    paper: Paper
    others: Mapping[str, SweepData] = field(default_factory=dict)
    _computed: dict[Table, pd.DataFrame] = field(default_factory=dict, init=False, repr=False)

    def computed(self, table: Table) -> pd.DataFrame:
        """Return a table over all trials, computed once however many figures show it.

        Args:
            table: A function from the trials to the table, such as `swa_table`.

        Raises:
            RecordError: As the function.
        """
        if table not in self._computed:
            self._computed[table] = table(self.trials)
        return self._computed[table]

    @cached_property
    def details(self) -> dict[str, Detail]:
        """The `result.json` of each trial by its run id, as `load_details` returns it."""
        return load_details(self.trials)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row per trial, metric and iteration, as `load_curves` returns it."""
        return load_curves(self.trials, self.details)

    @cached_property
    def masks(self) -> dict[str, Masks]:
        """The images and masks of each trial by its run id, as `load_masks` returns them."""
        return load_masks(self.trials)

    @property
    def classes(self) -> Sequence[str]:
        """The name of each label.

        Raises:
            RecordError: No trial has recorded them.
        """
        for detail in self.details.values():
            return list(detail["classes"])
        raise RecordError("no trial has the names of its classes")

    @cached_property
    def environment(self) -> JsonObject:
        """Hardware, versions and command of the sweep; empty where not recorded."""
        return load_environment(self.trials)

    def narrow(self, trials: pd.DataFrame) -> SweepData:
        """Return the same sweep with these trials alone: only their artifacts are fetched."""
        return dataclasses.replace(self, trials=trials)
