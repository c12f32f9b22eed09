"""What a sweep script says of its question."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeps.driver.options import SweepOptions
from trainable.config.schema import TrialConfig

if TYPE_CHECKING:
    from sweeps.planning.state import SweepState
    from sweeps.search.source import RunSource

Trials = Callable[[TrialConfig, Iterable[int], argparse.Namespace], list[TrialConfig]]
Sources = Callable[["SweepState", SweepOptions, argparse.Namespace], "RunSource"]


@dataclass(frozen=True, kw_only=True)
class SweepScript:
    """The sweep that a script runs.

    Attributes:
        name: The name of the sweep, also in the record.
        axes: The config fields that the sweep varies, besides the seed.
        trials: A function that returns the trials, given the base config, the seeds and the
            script's own options.
        source: A function that returns the source of the training runs where they are not known
            beforehand, given the state of the sweep, the options that every sweep has and the
            script's own. It is called for `--plan`, too. A source that is a context manager writes
            nothing before it is entered, which happens when Ray runs and the storage exists.
        question: The question that the sweep answers, in one sentence.
        settings: Texts `key=value` that the sweep changes in a preset; `--set` overrides them.
        with_samples: Whether the record takes the predicted masks, too.
    """

    name: str
    axes: tuple[str, ...]
    trials: Trials
    source: Sources | None = None
    question: str = ""
    settings: tuple[str, ...] = ()
    with_samples: bool = False
