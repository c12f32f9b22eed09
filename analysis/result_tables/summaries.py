"""What a grid and a search came to, each a pure function from a frame of trials to one of cells."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.record.schema import finished
from analysis.result_tables.beside_paper import marks_note, mean_of, sentences
from analysis.result_tables.cells import Best, Cell, seeds_note, table
from analysis.stats.arms import (
    Key,
    Scores,
    frame_notes,
    refuse_twins_of,
    require,
    values_by_setting,
)
from analysis.stats.comparisons import MOST_SEEDS, POWER
from analysis.stats.datasets import dataset_name
from analysis.stats.intervals import student_t
from analysis.stats.ranking import Ranking, rank, rankable
from analysis.stats.rounding import count, describe_percent, fixed, format_value
from analysis.stats.selection import choose

WEIGHTS = {"val/miou": "raw weights", "swa/miou": "averaged weights"}
SHOWN_OF_SEARCH = 5  # settings of a search that none has confirmed yet
TO_BEST = "to the best [points]"
FRESH = "on fresh seeds [%]"
SEEN = "in the search, optimistic [%]"
SEEDS_NEEDED = "seeds needed"


def grid_summary(
    trials: pd.DataFrame, axes: Sequence[str], *, metric: str = "swa/miou"
) -> pd.DataFrame:
    """Return a grid's settings by their mean mIoU, each with its difference to the best.

    Args:
        trials: A frame as `load_trials` returns it.
        axes: Fields that tell the settings apart.
        metric: What they are sorted and compared by, `swa/miou` or `val/miou`.

    Returns:
        Columns: the axes, `seeds` (finished, of those asked for where some are not), mIoU of raw
        and averaged weights, the difference to the best, and how many seeds would show one that
        these do not show.

    Raises:
        RecordError: A column is missing, or two trials share setting and seed.
    """
    require(trials, (*axes, "seed", "status", *WEIGHTS))
    ended = finished(trials)
    refuse_twins_of(ended, axes, "the grid")
    asked = values_by_setting(trials, axes, metric)
    scores = {name: values_by_setting(ended, axes, name) for name in WEIGHTS}
    ranking = rank(scores[metric])
    finding = _finding(scores[metric], ranking, axes)
    rows = []
    for key in dict.fromkeys([*_order(ranking), *asked]):
        done, wanted = len(scores[metric].get(key, {})), len(asked[key])
        rows.append(
            dict(zip(axes, key, strict=True))
            | {"seeds": done if done == wanted else f"{done} of {wanted}"}
            | {f"{w} [%]": mean_of(scores[name].get(key, {})) for name, w in WEIGHTS.items()}
            | _to_best(key, ranking)
        )
    return table(
        rows,
        title=f"Settings of {trials.attrs.get('sweep', 'the grid')}, {_dataset(trials)}",
        finding=finding,
        measured=[*(f"{words} [%]" for words in WEIGHTS.values()), TO_BEST],
        caption=sentences(
            [
                f"mIoU on the validation set of {_dataset(trials)}, by the mean of the "
                f"{WEIGHTS[metric]}",
                *frame_notes(trials),
                *seeds_note(cell for row in rows for cell in row.values()),
                *_family_notes(ranking, axes),
                finding,
            ]
        ),
        best=Best.of_setting(rows, TO_BEST, f"{WEIGHTS[metric]} [%]"),
        best_first=True,
    )


def search_summary(
    trials: pd.DataFrame, axes: Sequence[str], *, metric: str = "swa/miou"
) -> pd.DataFrame:
    """Return the settings that a search confirmed on fresh seeds, beside its own numbers for them.

    Args:
        trials: A frame as `load_trials` returns it, with `phase` (`search` or `confirm`) and, for
            pruned and failed suggestions, `search_state`.
        axes: Fields that the search varied.
        metric: What it maximised.

    Returns:
        Columns: the axes, `fresh seeds`, mIoU on them, the difference to the best, seeds needed,
        and the mIoU that the search itself saw, named optimistic. Without confirmed settings, the
        best of the search, with dashes for what no fresh seed has shown.

    Raises:
        RecordError: A column is missing, or two confirming trials share setting and seed.
    """
    require(trials, (*axes, "phase", "seed", "status", metric))
    ended = finished(trials)
    fresh_rows = ended[ended["phase"] == "confirm"]
    refuse_twins_of(fresh_rows, axes, "the confirmed settings")
    fresh = values_by_setting(fresh_rows, axes, metric)
    seen = values_by_setting(ended[ended["phase"] == "search"], axes, metric)
    ranking = rank(fresh)
    listed = _order(ranking) or _order(rank(seen))[:SHOWN_OF_SEARCH]
    finding = "No setting has been confirmed on fresh seeds"
    if ranking is not None:
        finding = f"On fresh seeds {_finding(fresh, ranking, axes)}"
    rows: list[dict[str, Cell]] = [
        dict[str, Cell](zip(axes, key, strict=True))
        | {"fresh seeds": len(fresh.get(key, {})), FRESH: mean_of(fresh.get(key, {}))}
        | _to_best(key, ranking)
        | {SEEN: mean_of(seen.get(key, {}))}
        for key in listed
    ]
    return table(
        rows,
        title=f"Best settings of {trials.attrs.get('sweep', 'the search')}, {_dataset(trials)}",
        finding=finding,
        measured=[FRESH, TO_BEST, SEEN],
        caption=sentences(
            [
                f"mIoU of the {WEIGHTS[metric]} on the validation set of {_dataset(trials)}",
                *frame_notes(trials),
                _search_note(trials, seen),
                *seeds_note(row[FRESH] for row in rows),
                *_family_notes(ranking, axes),
                finding,
                *_optimism_notes(fresh, seen),
            ]
        ),
        best=Best.of_setting(rows, TO_BEST, FRESH),
        best_first=True,
    )


def _order(ranking: Ranking[Key] | None) -> Sequence[Key]:
    return [] if ranking is None else ranking.order


def _to_best(key: Key, ranking: Ranking[Key] | None) -> dict[str, Cell]:
    if ranking is None or key not in ranking.gains:
        is_best = ranking is not None and key == ranking.best
        return {TO_BEST: "best" if is_best else None, SEEDS_NEEDED: None}
    gain = ranking.gains[key]
    needed: Cell = None
    if gain.n > 1 and not gain.distinguishable:
        needed = gain.seeds_needed or f"> {MOST_SEEDS:,}"
    return {TO_BEST: gain, SEEDS_NEEDED: needed}


def _family_notes(ranking: Ranking[Key] | None, axes: Sequence[str]) -> list[str]:
    tested = [gain for gain in ranking.gains.values() if gain.n > 1] if ranking else []
    if ranking is None or not tested:
        return []
    pairs = count(tested[0].family, "pair")
    second = next(key for key in ranking.order if key in ranking.gains)
    best = f"the best ({_name(ranking.best, axes)})"
    return [
        f"Differences to the best are corrected after Holm over the {pairs} of settings, since the "
        "same seeds have picked the best",
        *marks_note(tested, "pairs"),
        f"Seeds needed: of each setting, to show a difference as seen with a power of {POWER:g}",
        ranking.gains[second].describe(_name(second, axes), best),
    ]


def _finding(scores: Scores, ranking: Ranking[Key] | None, axes: Sequence[str]) -> str:
    """Say which setting came out best, what that is worth, and how many others may be as good."""
    if ranking is None:
        return "No trial has finished with a finite mIoU"
    name = _name(ranking.best, axes)
    words = [
        f"{name} has the highest mean of {len(scores):,} with "
        f"{describe_percent(ranking.best_interval)}, which cannot be corrected: the settings have "
        "no seed in common"
    ]
    if rankable(scores):
        found = choose(scores)
        words = [found.describe(name)]
        if found.left_out:
            words.append(f"{count(found.left_out, 'setting')} not finished at every seed left out")
    if ranking.gains:
        same = ranking.not_distinguishable
        words.append(
            f"{same:,} of {len(ranking.gains):,} other settings {'is' if same == 1 else 'are'} not "
            "distinguishable from the best at these seeds"
        )
    return "; ".join(words)


def _search_note(trials: pd.DataFrame, seen: Scores) -> str:
    asked = trials[trials["phase"] == "search"]
    states = asked["search_state"] if "search_state" in asked else pd.Series(dtype=object)
    pruned, failed = (int((states == state).sum()) for state in ("PRUNED", "FAIL"))
    return (
        f"The search tried {count(len(asked), 'trial')} ({pruned} pruned, {failed} failed); its "
        f"own best of {len(seen)} is picked by the seed it is measured on, so it is biased upward"
    )


def _optimism_notes(fresh: Scores, seen: Scores) -> list[str]:
    """Say by how much the confirmed settings fell short of what the search saw."""
    falls = [
        student_t(seen[key].values()).mean - student_t(fresh[key].values()).mean
        for key in fresh
        if key in seen
    ]
    falls = [fall for fall in falls if math.isfinite(fall)]
    if not falls:
        return []
    mean = 100 * float(np.mean(falls))
    return [
        f"On fresh seeds the confirmed settings lie {fixed(abs(mean), 1)} points "
        f"{'below' if mean > 0 else 'above'} what the search saw, on average over {len(falls)}"
    ]


def _name(key: Key, axes: Sequence[str]) -> str:
    return ", ".join(f"{axis}={format_value(part)}" for axis, part in zip(axes, key, strict=True))


def _dataset(trials: pd.DataFrame) -> str:
    return dataset_name(str(trials.attrs["dataset"]))
