"""The best setting of a sweep as a card: its values, its mean, who it beats, how to train it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.record.schema import OBJECTIVE, RecordError, finished, objectives_of, race_of
from analysis.stats.arms import confirmed_or_all, refuse_twins_of, require, values_by_setting
from analysis.stats.datasets import GENERATED
from analysis.stats.ranking import rank
from analysis.stats.rounding import count, describe_percent, format_value

MIOU = "mIoU, averaged weights"
OPTIMISTIC = ", optimistic, since the same seeds have picked it"


@dataclass(frozen=True, kw_only=True)
class BestCard:
    """The best setting of a sweep as the page shows it.

    Attributes:
        setting: The values on the sweep's axes, by name.
        measured: What settings are ranked by.
        score: Its mean of that, with interval and seeds.
        standing: How many other settings it stands out from.
        commands: What writes its config and trains it again.
    """

    setting: Sequence[tuple[str, str]]
    measured: str
    score: str
    standing: str
    commands: Sequence[str]


def best_card(trials: pd.DataFrame, axes: Sequence[str]) -> BestCard | None:
    """Return the card of the setting that the tables name the best, None where none can be.

    Args:
        trials: A frame as `load_trials` returns it. Where a search has confirmed settings on fresh
            seeds, those seeds alone count.
        axes: Fields that tell the settings apart.
    """
    rows = confirmed_or_all(finished(trials))
    try:
        objective = objectives_of(trials)[0]
        require(rows, (*axes, "seed", objective))
        refuse_twins_of(rows, axes, "the sweep")
        ranking = rank(values_by_setting(rows, axes, objective), race=race_of(trials))
    except RecordError:  # a table that is left out says why
        return None
    if ranking is None:
        return None
    words = [ranking.against_best(setting) for setting in ranking.gains]
    return BestCard(
        setting=[
            (axis, "—" if part is None else format_value(part))
            for axis, part in zip(axes, ranking.best, strict=True)
        ],
        measured=MIOU if objective == OBJECTIVE else objective,
        score=describe_percent(ranking.best_interval) + (OPTIMISTIC if words else ""),
        standing=_standing(words),
        commands=_commands(trials),
    )


def _standing(words: Sequence[str]) -> str:
    """Return how many settings are lower than the best, given how each other stands to it."""
    if not words:
        return "no other setting has numbers"
    lower, others = words.count("lower"), count(len(words), "other setting")
    if not lower:
        return f"stands out from none of {others} at these seeds"
    rest = len(words) - lower
    same = f"; {rest:,} may be as good" if rest else ""
    return f"stands out from {lower:,} of {others} at these seeds{same}"


def _commands(trials: pd.DataFrame) -> list[str]:
    key, dataset = shlex.quote(trials.attrs["sweep_key"]), trials.attrs["dataset"]
    data = "" if dataset in GENERATED else " --data-root DIR"
    return [
        f"python -m sweeps.best {key} --out best.yaml",
        f"python -m trainable.train --config best.yaml{data}",
    ]
