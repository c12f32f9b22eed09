"""Searches: what Optuna is asked and told, and that a kill at any moment changes none of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from search_helpers import (
    KilledError,
    Killer,
    begin,
    drive,
    empty_plan,
    search_of,
    told,
)

from sweeps import _projection, _samplers
from sweeps._optuna import SearchSource
from sweeps._samplers import SAMPLERS, SCHEDULERS
from sweeps._search import Search


@pytest.fixture
def _nothing_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the stored study out: SQLite takes most of the time, and nothing reads it back."""
    monkeypatch.setattr(_projection.Projection, "add", lambda self, asks: None)


@pytest.fixture
def _early_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let models, not chance, suggest from the fourth ask on."""
    monkeypatch.setattr(_samplers, "STARTUP", 3)


def searched(storage: Path, search: Search, *, slots: int = 2) -> SearchSource:
    source = begin(storage, search)
    drive(source, slots=slots)
    source.close()
    return source


# Interruptions

WAYS = [(sampler, "none", "exhaustive") for sampler in SAMPLERS]
WAYS += [("tpe", scheduler, "exhaustive") for scheduler in SCHEDULERS if scheduler != "none"]
WAYS += [("qmc", "hyperband", "sampled"), ("cmaes", "asha", "sampled"), ("tpe", "asha", "sampled")]


def killed_at(storage: Path, search: Search, at: int) -> bool:
    """Search until the `at`-th place where a kill may come; return whether there was one."""
    killer = Killer(at)
    source = SearchSource(empty_plan(storage), search)
    killer.arm(source._log)
    try:
        source.begin()
        drive(source, tick=killer.tick)
    except KilledError:
        return True
    finally:
        source._log.close()
    return False


@pytest.mark.usefixtures("_nothing_stored", "_early_model")
@pytest.mark.parametrize(("sampler", "scheduler", "readouts"), WAYS)
def test_a_search_killed_anywhere_goes_on_as_one_that_was_not(
    tmp_path: Path, sampler: str, scheduler: str, readouts: str
) -> None:
    search = search_of(sampler=sampler, scheduler=scheduler, readouts=readouts, asks=7)
    straight = told(searched(tmp_path / "straight", search))
    step = 9 if sampler == "gp" else 4  # a Gaussian process takes half a second per ask
    at = 1
    while killed_at(tmp_path / f"killed-{at}", search, at):
        again = searched(tmp_path / f"killed-{at}", search)
        assert told(again) == straight, f"killed at {at}"
        at += step
    assert at > 20
