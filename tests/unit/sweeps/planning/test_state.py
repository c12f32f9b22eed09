"""The state of a sweep: one thread changes it, by the methods that it has for that alone."""

from __future__ import annotations

import ast
import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from record_helpers import finish, grid, sweep_state

import sweeps
from analysis.record.schema import Race
from sweeps.planning.plan import EarlierRuns
from sweeps.planning.state import SweepState

SAFE = {"of", "outcome", "pending", "left", "left_of", "parts_of", "note", "machine_refused"}


def earlier_of(state: SweepState) -> EarlierRuns:
    """What a command with another lambda asked for."""
    other = sweep_state(state.plan.storage, grid([0.7]))
    return EarlierRuns.of(other.runs, stopped={}, tags={}, commands={})


OWNED: dict[str, Callable[[SweepState], Any]] = {
    "add_trials": lambda state: state.add_trials(grid([0.5])),
    "add_runs": lambda state: state.add_runs(state.runs),
    "add_earlier": lambda state: state.add_earlier(earlier_of(state)),
    "stop": lambda state: state.stop("key", "enough"),
    "tag": lambda state: state.tag("key", ask="0"),
    "retag": lambda state: state.retag("key", ask="0"),
    "hold_race": lambda state: state.hold_race(Race(first=3, limit=10)),
    "end_early": lambda state: state.end_early("time budget"),
    "withdraw_note": lambda state: state.withdraw_note("said"),
}


@pytest.fixture
def state(tmp_path: Path) -> SweepState:
    state = sweep_state(tmp_path, grid())
    state.note("said")
    return state


def elsewhere(work: Callable[[], Any]) -> Any:
    """Do a piece of work in another thread, and return what it returns or raise what it raises."""
    with ThreadPoolExecutor(1, thread_name_prefix="publisher") as other:
        return other.submit(work).result()


def seen(state: SweepState) -> tuple[Any, ...]:
    facts = (state.runs, state.earlier.runs, dict(state.stopped), dict(state.tags))
    return (*facts, state.notes, state.race, state.why_partial, state.fault)


def test_every_method_is_safe_or_the_owners() -> None:
    methods = {name for name, one in vars(SweepState).items() if callable(one)}
    methods |= {name for name, one in vars(SweepState).items() if isinstance(one, classmethod)}
    assert {name for name in methods if not name.startswith("_")} == SAFE | OWNED.keys()


@pytest.mark.parametrize("name", OWNED)
def test_only_the_thread_that_made_it_changes_it(name: str, state: SweepState) -> None:
    before = seen(state)
    with pytest.raises(RuntimeError, match=r"changed by MainThread, .* but publisher_0 changes it"):
        elsewhere(lambda: OWNED[name](state))
    assert seen(state) == before
    OWNED[name](state)
    assert seen(state) != before


def test_any_thread_reads_notes_and_says_what_the_machine_refused(state: SweepState) -> None:
    finish(state, state.runs[0])
    assert elsewhere(state.pending) == [state.runs[1]]
    assert elsewhere(lambda: state.outcome(state.runs[0])) is state.outcome(state.runs[0])
    for fault in ("the disk is full", "the network is gone"):
        elsewhere(partial(state.machine_refused, fault))
        elsewhere(partial(state.note, "behind"))
    assert (state.notes, state.fault) == (["said", "behind"], "the disk is full")


def test_what_threads_note_at_once_is_all_told(state: SweepState) -> None:
    together = threading.Barrier(8)

    def work(number: int) -> None:
        together.wait()
        for k in range(50):
            state.note(f"{number} {k}")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert len(state.notes) == 1 + 8 * 50


def test_a_tag_stays_until_a_trial_is_tagged_anew(state: SweepState) -> None:
    state.tag("key", phase="search", ask="0")
    state.tag("key", ask="1", search_state="COMPLETE")
    assert state.tags == {"key": {"phase": "search", "ask": "0", "search_state": "COMPLETE"}}
    state.retag("key", phase="confirm", ask="2")
    assert state.tags == {"key": {"phase": "confirm", "ask": "2"}}


def test_what_is_asked_and_what_is_read_cannot_be_changed(state: SweepState) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.plan.question = "another"  # type: ignore[misc]
    for name in ("runs", "trials", "stopped", "tags", "why_partial", "fault", "notes"):
        with pytest.raises(AttributeError, match="has no setter"):
            setattr(state, name, getattr(state, name))
    views: Any = state
    for view in (views.runs, views.stopped, views.tags):
        with pytest.raises(TypeError, match="does not support item assignment"):
            view[0] = "another"


def reaches_in(node: ast.AST, public: set[str], own: set[str]) -> bool:
    """Whether an expression stores an attribute of a state, or uses one that is its own."""
    if not isinstance(node, ast.Attribute):
        return False
    holder = node.value
    name = holder.attr if isinstance(holder, ast.Attribute) else getattr(holder, "id", "")
    if name not in ("state", "_state", "found"):
        return False
    return node.attr in own or (node.attr in public and not isinstance(node.ctx, ast.Load))


def test_nothing_else_reaches_into_a_state(state: SweepState) -> None:
    names = {*vars(state), *vars(SweepState)}
    own = {name for name in names if name.startswith("_") and not name.startswith("__")}
    assert {"_runs", "_tags", "_merge"} < own
    here = Path(str(sweeps.__file__)).parent
    files = set(here.rglob("*.py")) - {here / "planning" / "state.py"}
    assert len(files) > 40
    found = [
        f"{path.name}:{node.lineno}"
        for path in sorted(files)
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.Attribute) and reaches_in(node, names - own, own)
    ]
    assert found == []
