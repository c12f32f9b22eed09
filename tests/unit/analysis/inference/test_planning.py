"""Which difference seeds would show, and how many would show one."""

from __future__ import annotations

import math

import pytest

from analysis.benchmarking.race import planned_power
from analysis.inference.planning import seeds_for, smallest_found


def test_the_difference_that_is_stated_is_found_as_often_as_is_stated() -> None:
    assert [row["power (0.8)"] for row in planned_power(250)] == pytest.approx([0.8] * 3, abs=0.06)


def test_more_seeds_and_less_noise_show_less() -> None:
    found = [smallest_found(7, seeds, 0.7) for seeds in (2, 3, 5, 10)]
    assert found == sorted(found, reverse=True)
    assert smallest_found(7, 3, 1.4) == pytest.approx(2 * found[1])


@pytest.mark.parametrize(("settings", "seeds"), [(1, 5), (7, 1)])
def test_nothing_is_shown_without_a_second_setting_and_seed(settings: int, seeds: int) -> None:
    assert math.isnan(smallest_found(settings, seeds, 0.7))


def test_two_settings_need_students_paired_test() -> None:
    """At 10 seeds: t(0.975; 9) = 2.262 and t(0.8; 9) = 0.883, times sqrt(2 / 10)."""
    wanted = (2.2622 + 0.8834) * math.sqrt(2 / 10)
    assert seeds_for(wanted * 1.001, 2, 1.0, contenders=2) == 10
    assert seeds_for(wanted * 0.999, 2, 1.0, contenders=2) == 11


def test_no_number_of_seeds_shows_nearly_nothing() -> None:
    assert seeds_for(1e-9, 7, 1.0, contenders=7) is None
