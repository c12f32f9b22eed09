"""Of several sweeps of one name, which one is drawn: a smaller one does not hide a larger one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from analysis.record.choice import choose, others
from analysis.record.schema import Sweep

WHOLE = 21  # trials


def sweep(number: int, **facts: Any) -> Sweep:
    """A complete sweep of its own minute, the later the larger its number."""
    given: dict[str, Any] = {
        "sweep": "lambda_grid",
        "sweep_key": f"{number:016x}",
        "dataset": "shapes",
        "trials_total": WHOLE,
        "parent_run_id": f"{number:032x}",
        "experiment_id": "1",
        "state": "complete",
        "code_version": "c1",
        "start_time_s": 60.0 * number,
    }
    return Sweep(**given | facts)


def ended(of: Sweep) -> int:
    """All trials of a complete sweep, a third of the others'."""
    return of.trials_total if of.state == "complete" else of.trials_total // 3


OLD, NEW = sweep(1), sweep(2)
KILLED: dict[str, Any] = {"state": "partial"}


def numbers(sweeps: Sequence[Sweep]) -> list[int]:
    return [int(found.sweep_key, 16) for found in choose(sweeps, ended)]


@pytest.mark.parametrize(
    ("newest_first", "chosen"),
    [
        ([NEW, OLD], [2]),
        ([sweep(2, **KILLED), OLD], [1]),  # killed, or under way
        ([sweep(2, trials_total=6), OLD], [1]),  # fewer settings, or fewer seeds
        ([sweep(2, trials_total=42), OLD], [2]),
        ([sweep(2, trials_total=42, **KILLED), OLD], [1]),
        ([sweep(3, trials_total=6), NEW, OLD], [2]),
        ([sweep(3, trials_total=6), sweep(2, trials_total=6)], [3]),
        ([sweep(2, **KILLED)], [2]),
        ([sweep(2, trials_total=6, **KILLED), sweep(1, **KILLED)], [1]),
        ([sweep(2, **KILLED), sweep(1, **KILLED)], [2]),
        ([sweep(2, trials_total=1, **KILLED)], []),  # none of its trials has ended
    ],
)
def test_the_newest_complete_sweep_is_chosen_unless_a_larger_one_came_before(
    newest_first: list[Sweep], chosen: list[int]
) -> None:
    assert numbers(newest_first) == chosen


def test_a_sweep_that_calls_itself_complete_and_lacks_trials_does_not_hide_a_whole_one() -> None:
    counts = {NEW.sweep_key: 20, OLD.sweep_key: 21}  # one trial has failed
    assert choose([NEW, OLD], lambda found: counts[found.sweep_key]) == [OLD]


def test_names_and_data_sets_stand_side_by_side_the_complete_ones_first() -> None:
    sweeps = [
        sweep(5, dataset="voc2012", **KILLED),
        sweep(4, sweep="swa_grid"),
        sweep(3, dataset="segtrackv2"),
        *(NEW, OLD),
    ]
    assert numbers(sweeps) == [3, 2, 5, 4]


def test_few_sweeps_are_asked_how_many_of_their_trials_ended() -> None:
    asked = []

    def count(found: Sweep) -> int:
        asked.append(found.sweep_key)
        return ended(found)

    choose([NEW, *(sweep(1, trials_total=k) for k in range(1, 20)), sweep(1, **KILLED)], count)
    assert set(asked) == {NEW.sweep_key}


def test_what_is_not_drawn_is_named_with_its_reason_and_the_option_that_draws_it() -> None:
    newer = sweep(3, code_version="c2" * 8, **KILLED)
    older = sweep(1, code_version="c0")
    sweeps = [newer, NEW, sweep(1, code_version="c0", **KILLED), OLD, older, sweep(0)]
    sweeps += [sweep(4, dataset="voc2012"), sweep(4, sweep="swa_grid")]
    assert others(NEW, sweeps, ended) == [
        "Newer, and not drawn: lambda_grid of 1970-01-01 00:03 UTC, with other code "
        "(c2c2c2c2c2c2), trials: 7 of 21; `--sweep 0000000000000003` draws it",
        "Older, and not drawn: lambda_grid of 1970-01-01 00:01 UTC, with other code (c0), "
        "trials: 21; `--sweep 0000000000000001` draws it, and `python analysis/compare.py "
        "0000000000000001 0000000000000002` compares the two",
    ]
    assert others(OLD, [OLD], ended) == []


def test_of_many_newer_sweeps_three_are_named() -> None:
    said = others(OLD, [*(sweep(k, **KILLED) for k in range(9, 1, -1)), OLD], ended)
    assert len(said) == 4
    assert said[-1] == "5 more are newer, and not drawn"


def test_a_data_set_whose_sweep_lacks_trials_stands_behind_a_whole_one() -> None:
    """As where its record was cut: the state says complete, but a trial has no outcome."""
    voc = sweep(3, dataset="voc2012")

    def counted(of: Sweep) -> int:
        return WHOLE - (of is voc)

    assert [found.dataset for found in choose([voc, OLD], counted)] == ["shapes", "voc2012"]
    assert [found.dataset for found in choose([voc, OLD], ended)] == ["voc2012", "shapes"]
