"""Which of several sweeps of one name stands for it, and which others the record holds.

A sweep that was ended early, or that asks for fewer settings or seeds, does not take the place of a
larger one by being newer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime

from analysis.record.schema import RecordError, Sweep
from analysis.record.version_mix import HASH_DIGITS

RULE = (
    "the newest complete sweep of a name and data set, but for one with fewer trials than a "
    "complete one before it; where none is complete, the one with most trials"
)
REVISION = re.compile(r"(?P<name>.+)(?:~(?P<back>\d{1,4})|@(?P<day>[^@]*))", re.DOTALL)
NAMED = 3  # newer sweeps that are named one by one
REVISIONS = (
    "NAME~1 is the sweep before that one, NAME@2026-11-30 what NAME stood for at the end of that "
    "day (UTC)"
)
PARTIAL = "partial"  # state of a sweep that was ended early, or that is under way

Count = Callable[[Sweep], int]


def choose(sweeps: Sequence[Sweep], ended: Count) -> list[Sweep]:
    """Choose the sweep that stands for each name on each data set, by `RULE`.

    Args:
        sweeps: Those of a record, the newest first.
        ended: Returns how many trials of a sweep ended as they should; 0 where none has numbers.
            It is asked of few sweeps: reading their trials takes time.

    Returns:
        The chosen sweeps that have numbers, those of one name together: the complete ones first,
        and of those the newest. Names stand in the order of their newest sweep.
    """
    alike: dict[str, dict[str, list[Sweep]]] = {}
    for sweep in sweeps:
        alike.setdefault(sweep.sweep, {}).setdefault(sweep.dataset, []).append(sweep)
    chosen = []
    for by_dataset in alike.values():
        found = [best for group in by_dataset.values() if (best := _best(group, ended))]
        chosen += sorted(found, key=lambda best: not is_complete(best, ended(best)))
    return chosen


def is_complete(sweep: Sweep, ended: int) -> bool:
    """Return whether all trials asked for, of which so many have ended, have their outcome."""
    return sweep.state != PARTIAL and ended >= sweep.trials_total


def others(drawn: Sweep, sweeps: Iterable[Sweep], ended: Count) -> list[str]:
    """Return in sentences which sweeps like one that is drawn are not: a reader may look for them.

    Args:
        drawn: The sweep that is drawn.
        sweeps: Those of a record, the newest first.
        ended: As in `choose`.

    Returns:
        A sentence for each of the newer ones of its name and data set, and one for the newest older
        one of other code or data that was not ended early, without their full stops.
    """
    alike = [s for s in sweeps if (s.sweep, s.dataset) == (drawn.sweep, drawn.dataset)]
    place = [sweep.parent_run_id for sweep in alike].index(drawn.parent_run_id)
    newer = alike[:place]
    older = [s for s in alike[place + 1 :] if s.state != PARTIAL and _differing(s, drawn)]
    said = [
        f"Newer, and not drawn: {_described(sweep, drawn)}, trials: {ended(sweep):,} of "
        f"{sweep.trials_total:,}; `--sweep {_named(sweep, drawn)}` draws it"
        for sweep in newer[:NAMED]
    ]
    if len(newer) > NAMED:
        said.append(f"{len(newer) - NAMED:,} more are newer, and not drawn")
    said += [
        f"Older, and not drawn: {_described(sweep, drawn)}, trials: {sweep.trials_total:,}; "
        f"`--sweep {_named(sweep, drawn)}` draws it, and `python analysis/compare.py "
        f"{_named(sweep, drawn)} {drawn.sweep_key}` compares the two"
        for sweep in older[:1]
    ]
    return said


def find(wanted: str, sweeps_of: Callable[[str], list[Sweep]], ended: Count) -> Sweep:
    """Return the one sweep that a text names.

    Args:
        wanted: Name, `sweep_key` or run id. Of several sweeps of a name the first of `choose` is
            meant. `NAME~1` is the one with numbers that began before that one on the same data set,
            `NAME~2` the one before, and `NAME@2026-11-30` the one that `NAME` meant at the end of
            that day, in UTC.
        sweeps_of: Returns the sweeps of a name, `sweep_key` or run id, the newest first, at least
            one.
        ended: As in `choose`.

    Raises:
        RecordError: There is none, or what follows `@` is no day.
    """
    revision = REVISION.fullmatch(wanted)
    if revision is None:
        return _first(sweeps_of(wanted), ended)
    named = sweeps_of(revision["name"])
    if revision["day"] is None:
        return _before(_first(named, ended), int(revision["back"]), sweeps_of, ended)
    day = _day(revision["day"])
    begun = [sweep for sweep in named if _began_by(sweep, day)]
    if not begun:
        raise RecordError(
            f"no sweep {revision['name']!r} began by {day}; the first did {began(named[-1])}"
        )
    return _first(begun, ended)


def _first(sweeps: Sequence[Sweep], ended: Count) -> Sweep:
    """Return the sweep that stands for several of a name, the newest first; one for itself."""
    return sweeps[0] if len(sweeps) == 1 else (choose(sweeps, ended) or sweeps)[0]


def _before(
    sweep: Sweep, back: int, sweeps_of: Callable[[str], list[Sweep]], ended: Count
) -> Sweep:
    if not back:
        return sweep
    alike = [other for other in sweeps_of(sweep.sweep) if other.dataset == sweep.dataset]
    place = [other.parent_run_id for other in alike].index(sweep.parent_run_id)
    older = [other for other in alike[place + 1 :] if ended(other)]
    if len(older) < back:
        raise RecordError(
            f"before {sweep.sweep} of {began(sweep)} the record holds {len(older)} with numbers "
            f"on {sweep.dataset}, but got ~{back}"
        )
    return older[back - 1]


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RecordError(f"a day looks like 2026-11-30, but got {text!r}") from None


def _began_by(sweep: Sweep, day: date) -> bool:
    begun = sweep.start_time_s
    return math.isfinite(begun) and datetime.fromtimestamp(begun, UTC).date() <= day


def began(sweep: Sweep) -> str:
    """Return when a sweep began, in UTC to the minute."""
    if not math.isfinite(sweep.start_time_s):
        return "an unknown time"
    return f"{datetime.fromtimestamp(sweep.start_time_s, UTC):%Y-%m-%d %H:%M} UTC"


def _named(sweep: Sweep, drawn: Sweep) -> str:
    """Return what tells a sweep from another: two people may have asked for the same."""
    return sweep.parent_run_id if sweep.sweep_key == drawn.sweep_key else sweep.sweep_key


def _described(sweep: Sweep, drawn: Sweep) -> str:
    """Return name, owner and date of a sweep, and whether its code or data are not another's."""
    differing = _differing(sweep, drawn)
    by = f" by {sweep.owner}" if sweep.owner != drawn.owner else ""
    of = f", with {' and '.join(differing)}" if differing else ""
    return f"{sweep.sweep} of {began(sweep)}{by}{of}"


def _differing(sweep: Sweep, drawn: Sweep) -> list[str]:
    return [
        f"other {words} ({getattr(sweep, name)[:HASH_DIGITS]})"
        for name, words in (("code_version", "code"), ("data_fingerprint", "data"))
        if getattr(sweep, name) != getattr(drawn, name)
    ]


def _best(sweeps: Sequence[Sweep], ended: Count) -> Sweep | None:
    """Return the best of sweeps that are alike by `RULE`, the newest first; None without any."""

    def promise(sweep: Sweep) -> tuple[bool, int]:
        return sweep.state != PARTIAL, sweep.trials_total

    found: dict[str, tuple[bool, int]] = {}
    for sweep in sorted(sweeps, key=promise, reverse=True):
        if found and promise(sweep) < max(found.values()):
            break  # nor can those with fewer trials be better
        count = ended(sweep)
        found[sweep.parent_run_id] = is_complete(sweep, count), count
    best = max(found.values())
    if not best[1]:
        return None
    return next(sweep for sweep in sweeps if found.get(sweep.parent_run_id) == best)
