"""Two sweeps of one question side by side: shared settings, and all else that differs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.inference.blocks import finite
from analysis.inference.simultaneous import Kind
from analysis.record.choice import began
from analysis.record.schema import RecordError, Sweep, count_ended, finished
from analysis.record.sweep_data import SweepData
from analysis.record.version_mix import SHARED
from analysis.result_tables.beside_paper import MIOU_OF, mean_of, sentences
from analysis.result_tables.cells import Cell, table
from analysis.stats.aggregation import OWN
from analysis.stats.arms import (
    Key,
    Scores,
    confirmed_or_all,
    refuse_twins_of,
    require,
    values_by_setting,
)
from analysis.stats.comparisons import Comparison, at_once
from analysis.stats.datasets import dataset_name
from analysis.stats.families import compare, gains
from analysis.stats.intervals import student_t
from analysis.stats.rounding import DASH, count, format_value

DIFFERENCE = "B - A [points]"
METHOD = (
    "Intervals hold at once for all settings that share seeds, and for all others; a difference "
    "counts where its interval leaves out 0"
)
NAMED = 10  # values or settings that a line names
OF_MACHINE = ("python", "platform", "cpu", "cpus", "gpus")


@dataclass(frozen=True, kw_only=True)
class SweepDifference:
    """By how much the settings that two sweeps share differ between them.

    Attributes:
        each: By setting, the second sweep less the first, corrected over the settings.
        overall: The mean over the settings, by its seeds.
        shared_trials: Pairs of finite values of one setting and seed.
        is_same: Whether there are such pairs and the two values of each are equal.
    """

    each: Mapping[Key, Comparison]
    overall: Comparison
    shared_trials: int
    is_same: bool


def sweep_difference(first: Scores, second: Scores) -> SweepDifference:
    """Compare two sweeps setting by setting, paired where they share seeds.

    Args:
        first: Values by seed of each setting.
        second: The same settings in the other sweep.
    """
    pairs = [
        (first[key][seed], value)
        for key, values in second.items()
        for seed, value in finite(values).items()
        if math.isfinite(first[key].get(seed, math.nan))
    ]
    found = gains(second, {key: first[key] for key in second})
    paired = {key: gain for key, gain in found.each.items() if gain.n > 1}
    others = {key: compare(second[key], first[key]) for key in first if key not in paired}
    # What they have in common is not known, and counts as nothing, which makes them wider.
    each = paired | at_once(others, {Kind.SEPARATE: len(others)}, family=len(others))
    return SweepDifference(
        each={key: each[key] for key in first},
        overall=compare(_means(second), _means(first)) if others else found.overall,
        shared_trials=len(pairs),
        is_same=bool(pairs) and all(one == other for one, other in pairs),
    )


def _means(settings: Scores) -> dict[int, float]:
    """Return the mean over all settings by the seeds that all of them have."""
    kept = [finite(values) for values in settings.values()]
    shared = set.intersection(*(set(values) for values in kept))
    return {seed: student_t(values[seed] for values in kept).mean for seed in sorted(shared)}


@dataclass(frozen=True, kw_only=True, eq=False)
class TwoSweeps:
    """Two sweeps, A and B, compared.

    Attributes:
        axes: Fields that tell the settings apart.
        difference: B less A, over the settings that both have.
        table: A row per such setting, a frame of cells.
        only_a: The settings that A alone has values of.
        only_b: Those of B alone.
        differing: What else differs: its name, and what it is in A and in B.
    """

    axes: Sequence[str]
    difference: SweepDifference
    table: pd.DataFrame
    only_a: Sequence[Key]
    only_b: Sequence[Key]
    differing: Sequence[tuple[str, str, str]]


def compare_sweeps(a: SweepData, b: SweepData, *, metric: str) -> TwoSweeps:
    """Compare the settings that two sweeps of one question share.

    Args:
        a: The first sweep.
        b: The second one, whose numbers are told relative to the first.
        metric: `swa/miou` or `val/miou`.

    Raises:
        RecordError: They are one sweep, have other axes or another data set, share no setting, or
            two trials of one share setting and seed.
    """
    axes = _shared_axes(Sweep.of(a.trials), Sweep.of(b.trials))
    scores_a, scores_b = (_scores(data.trials, axes, metric) for data in (a, b))
    shared = [key for key in scores_a if key in scores_b]
    if not shared:
        raise RecordError(
            f"two sweeps must share a setting with numbers, but A has {_named(scores_a, axes)} "
            f"and B has {_named(scores_b, axes)}"
        )
    first, second = ({key: of[key] for key in shared} for of in (scores_a, scores_b))
    difference = sweep_difference(first, second)
    rows: list[dict[str, Cell]] = [
        dict[str, Cell](zip(axes, key, strict=True))
        | {"A [%]": mean_of(first[key]), "B [%]": mean_of(second[key])}
        | {DIFFERENCE: difference.each[key], "seeds": _seeds(first[key], second[key])}
        | {"B against A": verdict(difference.each[key])}
        for key in shared
    ]
    on = dataset_name(b.trials.attrs["dataset"])
    finding = _finding(difference)
    return TwoSweeps(
        axes=axes,
        difference=difference,
        table=table(
            rows,
            title=f"{b.trials.attrs['sweep']} on {on}: B against A",
            finding=finding,
            measured=["A [%]", "B [%]", DIFFERENCE],
            caption=sentences(
                [
                    f"mIoU of the {MIOU_OF[metric]} on the validation set of {on}",
                    f"A: {describe_sweep(a.trials)}",
                    f"B: {describe_sweep(b.trials)}",
                    METHOD,
                    finding,
                ]
            ),
        ),
        only_a=[key for key in scores_a if key not in scores_b],
        only_b=[key for key in scores_b if key not in scores_a],
        differing=list(_differing(a, b, axes)),
    )


def describe_sweep(trials: pd.DataFrame) -> str:
    """Return in a line which sweep the trials are of, and how many of them have ended."""
    sweep, ended = Sweep.of(trials), count_ended(trials["status"])
    return (
        f"{sweep.sweep} begun {began(sweep)}, sweep key {sweep.sweep_key}, trials: {ended:,} "
        f"of {sweep.trials_total:,}"
    )


def verdict(found: Comparison) -> str:
    """Return what may be said of a setting in B against A, in one or two words."""
    if found.distinguishable:
        return "higher" if found.difference > 0 else "lower"
    return "no interval" if math.isnan(found.low) else "not distinguishable"


def name_setting(key: Key, axes: Sequence[str]) -> str:
    """Return a setting as `field=value`, fields apart by commas."""
    return ", ".join(
        f"{axis}={DASH if part is None else format_value(part)}"
        for axis, part in zip(axes, key, strict=True)
    )


def name_settings(keys: Sequence[Key], axes: Sequence[str]) -> str:
    """Return the first of some settings by name, and how many more there are."""
    named = "; ".join(name_setting(key, axes) for key in keys[:NAMED])
    return named + (f"; and {len(keys) - NAMED:,} more" if len(keys) > NAMED else "")


def _shared_axes(a: Sweep, b: Sweep) -> Sequence[str]:
    if a.parent_run_id == b.parent_run_id:
        raise RecordError(f"two sweeps are compared, but A and B are both {a.sweep_key}")
    if a.dataset != b.dataset:
        raise RecordError(
            f"two sweeps are compared on one data set, but A is on {a.dataset} and B on {b.dataset}"
        )
    if set(a.axes) != set(b.axes) or not a.axes:
        varied = [", ".join(sweep.axes) or "nothing that is recorded" for sweep in (a, b)]
        raise RecordError(
            "two sweeps of one question vary the same fields, but "
            f"A varies {varied[0]} and B {varied[1]}"
        )
    return a.axes


def _scores(trials: pd.DataFrame, axes: Sequence[str], metric: str) -> Scores:
    """Return the finite values of a sweep by setting and seed."""
    require(trials, (*axes, "seed", "status", metric))
    rows = confirmed_or_all(finished(trials))
    refuse_twins_of(rows, axes, trials.attrs["sweep_key"])
    found = values_by_setting(rows[rows[metric].notna()], axes, metric)
    return {key: values for key, values in found.items() if values}


def _named(scores: Scores, axes: Sequence[str]) -> str:
    return name_settings([*scores], axes) or "none"


def _seeds(first: Mapping[int, float], second: Mapping[int, float]) -> str:
    """Return how many seeds the setting has in both sweeps, or in each where none is shared."""
    shared = len(first.keys() & second.keys())
    alone = len(first) + len(second) - 2 * shared
    if not shared:
        return f"{len(first)} and {len(second)}, none shared"
    return f"{shared} shared" + (f", {alone} not" if alone else "")


def _finding(difference: SweepDifference) -> str:
    """Say what came out: the mean difference, and how many settings differ."""
    each = [verdict(found) for found in difference.each.values()]
    if difference.is_same:
        return (
            f"All {count(difference.shared_trials, 'trial')} that A and B share have the same "
            "numbers"
        )
    shared = count(len(each), "shared setting")
    overall = f"On average over {shared}, {difference.overall.describe('B', 'A')}"
    if not difference.overall.n:
        overall = f"No seed has all of the {shared}, so that they have no mean difference"
    return (
        f"{overall}. Of the settings, {each.count('higher')} are higher in B and "
        f"{each.count('lower')} lower"
    )


def _differing(a: SweepData, b: SweepData, axes: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Yield what differs between the trials, the machines and the packages of two sweeps."""
    ours = [finished(data.trials) for data in (a, b)]
    fields = dict.fromkeys(name for rows in ours for name in rows if name not in OWN)
    names = [*SHARED, *(name for name in fields if name not in axes), "seed"]
    name_a, name_b = (str(data.trials.attrs["sweep"]) for data in (a, b))
    found = [("sweep", name_a, name_b)]
    for name in names:
        one, other = (_listed(_values(rows, name)) for rows in ours)
        found.append((name, one, other))
    for name, one, other in (*found, *_environments(a, b)):
        if one != other:
            yield name, one, other


def _values(rows: pd.DataFrame, name: str) -> set[object]:
    if name not in rows:
        return set()
    return {value for value in rows[name].dropna().unique() if value != ""}


def _listed(values: Iterable[object]) -> str:
    texts = sorted(format_value(value) for value in values)
    return ", ".join(texts[:NAMED]) + (" …" if len(texts) > NAMED else "") or DASH


def _environments(a: SweepData, b: SweepData) -> Iterator[tuple[str, str, str]]:
    """Yield each fact on machine and packages that both sweeps have recorded."""
    first, second = a.environment, b.environment
    if not first or not second:
        return
    packages = [of.get("packages") or {} for of in (first, second)]
    for name in OF_MACHINE:
        yield name, _told(first.get(name)), _told(second.get(name))
    for name in sorted({*packages[0], *packages[1]}):
        yield name, _told(packages[0].get(name)), _told(packages[1].get(name))


def _told(value: object) -> str:
    return DASH if value in (None, "", []) else str(value)
