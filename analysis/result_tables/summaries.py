"""What a grid and a search came to, each a pure function from a frame of trials to one of cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.inference.blocks import finite
from analysis.inference.collapse import collapsed
from analysis.inference.planning import POWER
from analysis.record.schema import (
    OBJECTIVE,
    Race,
    finished,
    is_cost,
    objectives_of,
    race_of,
)
from analysis.result_tables.beside_paper import MIOU_OF, marks_note, mean_of, sentences
from analysis.result_tables.cells import Best, Cell, seeds_note, table
from analysis.stats.arms import (
    Key,
    Scores,
    frame_notes,
    refuse_twins_of,
    require,
    values_by_setting,
)
from analysis.stats.datasets import dataset_name
from analysis.stats.intervals import Interval, mean_of_metric, student_t
from analysis.stats.ranking import Ranking, not_dominated, rank
from analysis.stats.rounding import (
    count,
    decimals,
    describe_percent,
    fixed,
    format_value,
    percent,
)
from analysis.stats.selection import choose

SHOWN_OF_SEARCH = 5  # settings of a search that none has confirmed yet
TO_BEST = "to the best [points]"
FRESH = "on fresh seeds [%]"
SEEN = "in the search, optimistic [%]"
MEDIAN = "median [%]"
FRONT = "Pareto front"
COLLAPSED_NAMED = 6


def grid_summary(
    trials: pd.DataFrame, axes: Sequence[str], *, metric: str | None = None
) -> pd.DataFrame:
    """Return a grid's settings by their mean mIoU, each with its difference to the best.

    Args:
        trials: A frame as `load_trials` returns it.
        axes: Fields that tell the settings apart.
        metric: What they are sorted and compared by; None is the sweep's objective.

    Returns:
        Columns: the axes, `seeds` (finished, of those asked for where some are not), mIoU of raw
        and averaged weights, where a run collapsed the median over seeds, the difference to the
        best with its simultaneous interval, and with several objectives the others and which
        settings make the Pareto front.

    Raises:
        RecordError: A column is missing, or two trials share setting and seed.
    """
    objectives = objectives_of(trials)
    metric = metric or objectives[0]
    words_of = _words_of(metric)
    require(trials, (*axes, "seed", "status", *words_of))
    ended = finished(trials)
    refuse_twins_of(ended, axes, "the grid")
    asked = values_by_setting(trials, axes, metric)
    scores = {name: values_by_setting(ended, axes, name) for name in words_of}
    traded = _traded(ended, axes, objectives)
    ranking = rank(scores[metric], race=race_of(trials))
    finding = _finding(ranking, axes, metric)
    fallen = {key: found for key, v in scores[metric].items() if (found := collapsed(v))}
    rows = []
    for key in dict.fromkeys([*_order(ranking), *asked]):
        done, wanted = len(scores[metric].get(key, {})), len(asked[key])
        rows.append(
            dict(zip(axes, key, strict=True))
            | {"seeds": done if done == wanted else f"{done} of {wanted}"}
            | {f"{w} [%]": mean_of(scores[name].get(key, {})) for name, w in words_of.items()}
            | (_median(scores[metric].get(key, {})) if fallen else {})
            | _to_best(key, ranking)
            | traded.get(key, {})
        )
    return table(
        rows,
        title=f"Settings of {trials.attrs.get('sweep', 'the grid')}, {_dataset(trials)}",
        finding=finding,
        measured=[*(f"{words} [%]" for words in words_of.values()), TO_BEST],
        caption=sentences(
            [
                f"{_measured_on(metric, trials)}, by the mean of {_named(metric)}",
                *frame_notes(trials),
                *seeds_note(cell for row in rows for cell in row.values()),
                *_collapse_note(fallen, scores[metric], axes),
                *_family_notes(ranking, race_of(trials)),
                *_optimism_note(scores[metric], ranking),
                *_front_note(objectives),
                finding,
            ]
        ),
        best=Best.of_setting(rows, TO_BEST, f"{words_of[metric]} [%]"),
        best_first=True,
    )


def search_summary(
    trials: pd.DataFrame, axes: Sequence[str], *, metric: str | None = None
) -> pd.DataFrame:
    """Return the settings that a search confirmed on fresh seeds, beside its own numbers for them.

    Args:
        trials: A frame as `load_trials` returns it, with `phase` (`search` or `confirm`) and, for
            pruned and failed suggestions, `search_state`.
        axes: Fields that the search varied.
        metric: What it maximised; None is the sweep's objective.

    Returns:
        Columns: the axes, `fresh seeds`, mIoU on them, the difference to the best, and
        the mIoU that the search itself saw, named optimistic. Without confirmed settings, the
        best of the search, with dashes for what no fresh seed has shown.

    Raises:
        RecordError: A column is missing, or two confirming trials share setting and seed.
    """
    objectives = objectives_of(trials)
    metric = metric or objectives[0]
    require(trials, (*axes, "phase", "seed", "status", metric))
    ended = finished(trials)
    fresh_rows = ended[ended["phase"] == "confirm"]
    refuse_twins_of(fresh_rows, axes, "the confirmed settings")
    fresh = values_by_setting(fresh_rows, axes, metric)
    shown = fresh_rows if len(fresh_rows) else ended[ended["phase"] == "search"]
    traded = _traded(shown, axes, objectives)
    seen = values_by_setting(ended[ended["phase"] == "search"], axes, metric)
    ranking = rank(fresh)
    listed = _order(ranking) or _order(rank(seen))[:SHOWN_OF_SEARCH]
    finding = "No setting has been confirmed on fresh seeds"
    if ranking is not None:
        finding = f"On fresh seeds {_finding(ranking, axes, metric)}"
    rows: list[dict[str, Cell]] = [
        dict[str, Cell](zip(axes, key, strict=True))
        | {"fresh seeds": len(fresh.get(key, {})), FRESH: mean_of(fresh.get(key, {}))}
        | _to_best(key, ranking)
        | {SEEN: mean_of(seen.get(key, {}))}
        | traded.get(key, {})
        for key in listed
    ]
    return table(
        rows,
        title=f"Best settings of {trials.attrs.get('sweep', 'the search')}, {_dataset(trials)}",
        finding=finding,
        measured=[FRESH, TO_BEST, SEEN],
        caption=sentences(
            [
                f"{_measured_on(metric, trials)}, of {_named(metric)}",
                *frame_notes(trials),
                _search_note(trials, seen),
                *seeds_note(row[FRESH] for row in rows),
                *_family_notes(ranking),
                finding,
                *_optimism_notes(fresh, seen),
                *_front_note(objectives),
            ]
        ),
        best=Best.of_setting(rows, TO_BEST, FRESH),
        best_first=True,
    )


def _words_of(metric: str) -> dict[str, str]:
    """Return the metrics of a summary, and how a reader knows them."""
    return {**MIOU_OF, **({} if metric in MIOU_OF else {metric: metric})}


def _named(metric: str) -> str:
    return f"the {MIOU_OF[metric]}" if metric in MIOU_OF else metric


def _measured_on(metric: str, trials: pd.DataFrame) -> str:
    what = "mIoU" if metric in MIOU_OF else "Metrics"
    return f"{what} on the validation set of {_dataset(trials)}"


def _traded(
    ended: pd.DataFrame, axes: Sequence[str], objectives: Sequence[str]
) -> dict[Key, dict[str, Cell]]:
    """Return of each setting its means of all objectives but the first, and whether it is in front.

    Of one objective there is nothing to trade.
    """
    if len(objectives) == 1:
        return {}
    scores = {name: values_by_setting(ended, axes, name) for name in objectives}
    found = {
        key: {name: mean_of_metric(name, scores[name][key].values()) for name in objectives}
        for key in scores[objectives[0]]
    }
    means = {key: [one.mean for one in of_key.values()] for key, of_key in found.items()}
    front = not_dominated(means, [is_cost(name) for name in objectives])
    return {
        key: dict[str, Cell](
            (f"{name} [{'s' if is_cost(name) else '%'}]", _shown(name, of_key[name]))
            for name in objectives[1:]
        )
        | {FRONT: "yes" if key in front else "no"}
        for key, of_key in found.items()
    }


def _shown(name: str, found: Interval) -> str:
    if not is_cost(name):
        return percent(found)
    places = decimals(found.high - found.mean)
    low, mean, high = (fixed(value, places) for value in (found.low, found.mean, found.high))
    return f"{mean} ({low} to {high})" if found.n > 1 else f"{mean} ({count(found.n, 'seed')})"


def _front_note(objectives: Sequence[str]) -> list[str]:
    if len(objectives) == 1:
        return []
    return [
        f"{FRONT}: by the means, no other setting is as good in {' and '.join(objectives)} at once"
    ]


def _order(ranking: Ranking[Key] | None) -> Sequence[Key]:
    return [] if ranking is None else ranking.order


def _to_best(key: Key, ranking: Ranking[Key] | None) -> dict[str, Cell]:
    if ranking is not None and key in ranking.gains:
        return {TO_BEST: ranking.gains[key]}
    return {TO_BEST: "best" if ranking is not None and key == ranking.best else None}


def _median(by_seed: Mapping[int, float]) -> dict[str, Cell]:
    known = [*finite(by_seed).values()]
    return {MEDIAN: 100 * float(np.median(known)) if known else None}


def _family_notes(ranking: Ranking[Key] | None, race: Race | None = None) -> list[str]:
    """Say how the differences were judged, and what they could have shown."""
    tested = [gain for gain in ranking.gains.values() if gain.n > 1] if ranking else []
    if ranking is None or not tested:
        return []
    raced = ""
    if race is not None:
        raced = (
            f", and at each of the looks of a race to {race.limit} seeds, so wherever it stopped"
        )
    smallest = fixed(100 * ranking.smallest_found, 1)
    return [
        "Differences to the best are within seeds where these are shared; their 95 % intervals "
        f"hold for all {count(len(tested), 'comparison')} at once, since the same seeds have "
        f"picked the best{raced}",
        *marks_note(tested, "comparisons"),
        f"These seeds would show a difference of {smallest} points with a power of {POWER:g} "
        "(median)",
    ]


def _collapse_note(
    fallen: Mapping[Key, Sequence[int]], scores: Scores, axes: Sequence[str]
) -> list[str]:
    """Name the runs that collapsed."""
    if not fallen:
        return []
    named = [
        f"{_name(key, axes)} seed {seed} ({fixed(100 * scores[key][seed], 1)} %)"
        for key, seeds in fallen.items()
        for seed in seeds
    ]
    rest = f" and {len(named) - COLLAPSED_NAMED} more" if len(named) > COLLAPSED_NAMED else ""
    return [
        f"{count(len(named), 'run')} collapsed, below half of the setting's best seed, and "
        f"{'counts' if len(named) == 1 else 'count'} in the means: "
        f"{', '.join(named[:COLLAPSED_NAMED])}{rest}"
    ]


def _finding(ranking: Ranking[Key] | None, axes: Sequence[str], metric: str) -> str:
    """Say which setting came out best and how many others may be as good."""
    if ranking is None:
        return f"No trial has finished with a finite {'mIoU' if metric in MIOU_OF else metric}"
    name, many = _name(ranking.best, axes), len(ranking.order)
    by = "" if metric == OBJECTIVE else f" by {_named(metric)}"
    told = describe_percent(ranking.best_interval)
    if many < 2:
        return f"{name} is the only setting{by}: {told}"
    same = ranking.not_distinguishable
    return (
        f"{name} is the best of {many:,}{by}: {told}; {same:,} of {count(many - 1, 'other')} "
        f"{'is' if same == 1 else 'are'} not distinguishable"
    )


def _optimism_note(scores: Scores, ranking: Ranking[Key] | None) -> list[str]:
    """Say what the best setting's mean owes to having been picked by it."""
    return [choose(scores).describe()] if ranking is not None and len(ranking.order) > 1 else []


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
