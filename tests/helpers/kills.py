"""A search that is killed at many places goes on as one that was never killed."""

from __future__ import annotations

from pathlib import Path

from search_helpers import KilledError, Killer, begin, drive, empty_sweep, leave, told

from sweeps.planning.state import SweepState
from sweeps.search.optuna_source import SearchSource
from sweeps.search.suggestions import Search


def searched(
    storage: Path, search: Search, *, slots: int = 2, objectives: tuple[str, ...] = ()
) -> SearchSource:
    """Return a search at its end."""
    source = begin(storage, search, state_of(storage, objectives))
    drive(source, slots=slots)
    leave(source)
    return source


def state_of(storage: Path, objectives: tuple[str, ...] = ()) -> SweepState:
    """Return an empty sweep, judged by these objectives, or else by the default."""
    return empty_sweep(storage, objectives=objectives) if objectives else empty_sweep(storage)


def killed_at(storage: Path, search: Search, at: int, objectives: tuple[str, ...] = ()) -> bool:
    """Search until the `at`-th place where a kill may come; return whether there was one."""
    killer = Killer(at)
    source = SearchSource(state_of(storage, objectives), search)
    killer.arm(source._log)
    try:
        source.__enter__()
        drive(source, tick=killer.tick)
    except KilledError:
        return True
    finally:
        source._log.close()
    return False


def goes_on_as_if_never_killed(
    folder: Path,
    search: Search,
    *,
    first: int,
    step: int,
    objectives: tuple[str, ...] = (),
    distinct: bool = True,
) -> int:
    """Compare searches killed at every `step`-th place with one that was not.

    Returns:
        The first place that no search comes to.
    """
    straight = told(searched(folder / "straight", search, objectives=objectives))
    if distinct:
        assert len({tuple(values.items()) for values, *_ in straight}) == search.asks
    at = first
    while killed_at(folder / f"killed-{at}", search, at, objectives):
        killed = searched(folder / f"killed-{at}", search, objectives=objectives)
        assert told(killed) == straight, f"killed at {at}"
        at += step
    return at
