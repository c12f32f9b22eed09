"""The differences of two sweeps: each verdict is that of its interval, and all hold at once."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.result_tables.two_sweeps import sweep_difference, verdict
from analysis.stats.arms import Scores
from analysis.stats.families import compare

SETTINGS, SEEDS, REPEATS = 7, 3, 600


def of_seeds(random: np.random.Generator) -> dict[int, float]:
    """What each seed gives to all settings of any sweep."""
    return {seed: random.normal(0, 0.02) for seed in (*range(SEEDS), *range(10, 10 + SEEDS))}


def sweep(
    random: np.random.Generator,
    of_seed: dict[int, float] | None = None,
    *,
    first_seed: int = 0,
    lift: float = 0.0,
) -> Scores:
    """Settings of equal means, but for a lift of the last."""
    common = of_seed or of_seeds(np.random.default_rng(0))
    return {
        (setting,): {
            seed: 0.6 + common[seed] + random.normal(0, 0.01) + lift * (setting == SETTINGS - 1)
            for seed in range(first_seed, first_seed + SEEDS)
        }
        for setting in range(SETTINGS)
    }


@pytest.mark.parametrize("first_seed", [0, 10])
def test_sweeps_that_do_not_differ_seldom_seem_to(first_seed: int) -> None:
    random = np.random.default_rng(0)
    wrong = 0
    for _ in range(REPEATS):
        of_seed = of_seeds(random)
        other = sweep(random, of_seed, first_seed=first_seed)
        found = sweep_difference(sweep(random, of_seed), other)
        wrong += any(one.distinguishable for one in found.each.values())
    assert wrong / REPEATS < 0.08  # 0.05, and one and a half standard errors of the count


def test_a_difference_is_found_by_pairs_and_its_interval_says_so() -> None:
    random = np.random.default_rng(1)
    found = sweep_difference(sweep(random), sweep(random, lift=0.08))
    words = [verdict(one) for one in found.each.values()]
    assert words == ["not distinguishable"] * (SETTINGS - 1) + ["higher"]
    for one in found.each.values():
        assert one.paired
        assert (verdict(one) == "higher") == (one.low > 0)
        assert one.low <= one.difference <= one.high
    back = sweep_difference(sweep(random, lift=0.08), sweep(random))
    assert verdict(back.each[(SETTINGS - 1,)]) == "lower"


def test_without_shared_seeds_the_intervals_hold_for_all_settings_at_once() -> None:
    random = np.random.default_rng(2)
    first, second = sweep(random), sweep(random, first_seed=10)
    for key, one in sweep_difference(first, second).each.items():
        alone = compare(second[key], first[key])
        assert not one.paired
        assert one.difference == alone.difference
        assert one.high - one.low > 1.2 * (alone.high - alone.low)
        assert one.p_corrected >= alone.p_corrected


def test_sweeps_with_the_same_digits_are_said_to_be_the_same() -> None:
    first = sweep(np.random.default_rng(3))
    fewer = {key: {seed: values[seed] for seed in (0, 1)} for key, values in first.items()}
    found = sweep_difference(first, fewer)
    assert (found.is_same, found.shared_trials) == (True, 2 * SETTINGS)
    assert not any(one.distinguishable for one in found.each.values())
    assert not sweep_difference(first, sweep(np.random.default_rng(4))).is_same
