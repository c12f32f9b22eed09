"""A race's looks: when they are, what each may err, and what all of them do."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.benchmarking.race import EQUAL, RACE, run_race, simulate
from analysis.inference.sequential import MOST_LOOKS, alpha_of, looks_of
from analysis.record.schema import Race
from analysis.stats.families import against
from analysis.stats.ranking import rank


def test_a_race_looks_after_every_seed_up_to_its_limit() -> None:
    assert looks_of(Race(first=3, limit=6)) == (3, 4, 5, 6)
    assert looks_of(Race(first=4, limit=4)) == (4,)


def test_a_long_race_gives_several_seeds_between_two_looks() -> None:
    looks = looks_of(Race(first=2, limit=1000))
    assert len(looks) <= MOST_LOOKS
    assert (looks[0], looks[-1]) == (2, 1000)
    assert {*np.diff(looks)[:-1].tolist()} == {26}


@pytest.mark.parametrize("size", [2, 7, 500])
def test_a_single_look_has_the_whole_level(size: int) -> None:
    assert alpha_of(None, size, 5) == pytest.approx(0.05)
    assert alpha_of(Race(first=5, limit=5), size, 5) == pytest.approx(0.05, rel=0.01)


def test_levels_rise_with_the_square_of_the_seeds_and_use_what_looks_have_in_common() -> None:
    levels = [alpha_of(RACE, 7, seeds) for seeds in looks_of(RACE)]
    assert levels[0] / levels[-1] == pytest.approx(0.09)
    assert max(levels) < 0.05 < sum(levels)  # Bonferroni's sum would be 0.05
    assert alpha_of(RACE, 7, 99) == levels[-1]


def test_more_looks_leave_less_to_each() -> None:
    last = [alpha_of(Race(first=3, limit=limit), 7, limit) for limit in (3, 4, 6, 10, 20)]
    assert last == sorted(last, reverse=True)


def test_a_verdict_of_a_race_is_its_p_value_and_its_interval() -> None:
    """The same numbers are told apart by one look, and not by one of several."""
    settings = {0.0: (0.5, 0.62, 0.55), 0.1: (0.55, 0.682, 0.59), 0.2: (0.54, 0.67, 0.61)}
    by_seed = {key: dict(enumerate(values)) for key, values in settings.items()}
    once, raced = rank(by_seed), rank(by_seed, race=RACE)
    assert once is not None
    assert raced is not None
    assert (once.against_best(0.0), raced.against_best(0.0)) == ("lower", "not distinguishable")
    for gain in (*once.gains.values(), *raced.gains.values()):
        assert gain.distinguishable == (gain.p_corrected < 0.05)
    assert raced.gains[0.0].p_corrected > once.gains[0.0].p_corrected
    assert raced.smallest_found > once.smallest_found
    half = against(0.1, by_seed)[0.0].half
    assert against(0.1, by_seed, race=RACE)[0.0].half > half


def test_a_race_of_equal_settings_errs_at_most_as_often_as_a_single_look_may() -> None:
    """Of 200 races; `python -m analysis.benchmark race` takes 2,000, of noisy settings, too."""
    sweeps = simulate(EQUAL, RACE.limit, 200)
    races = [run_race(values, sweeps.truth, RACE) for values in sweeps.values]
    assert np.mean([race.erred for race in races]) <= 0.05
    naive = [run_race(values, sweeps.truth, RACE, corrected=False) for values in sweeps.values]
    assert np.mean([race.erred for race in naive]) > 0.07
