"""Intervals, comparisons and selection: closed forms, and simulations whose answer is known."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from analysis.stats.comparisons import Comparison, compare
from analysis.stats.intervals import student_t
from analysis.stats.multiple_comparisons import against, corrected, holm
from analysis.stats.ranking import Ranking, best_of, in_order, rank
from analysis.stats.rounding import decimals, describe_percent, fixed, p_value, percent
from analysis.stats.selection import choose

SWEEPS = 4000
PAIR = ({0: 0.64, 1: 0.65, 2: 0.66}, {0: 0.60, 1: 0.62, 2: 0.61})


def by_seed(values: Sequence[float] | NDArray[np.float64]) -> dict[int, float]:
    return {seed: float(value) for seed, value in enumerate(values)}


def within_sampling(hits: int, rate: float, trials: int = SWEEPS) -> bool:
    """Whether so many hits lie in the 99.9 % interval that binomial sampling gives."""
    low, high = stats.binom.interval(0.999, trials, rate)
    return bool(low <= hits <= high)


def at_most(hits: int, rate: float, trials: int = SWEEPS) -> bool:
    """Whether a rate of at most `rate` explains so many hits, in all but 1 of 1,000 cases."""
    return bool(hits <= stats.binom.ppf(0.999, trials, rate))


def paired_sweeps(
    rng: np.random.Generator, means: Sequence[float], seeds: int, sweeps: int = SWEEPS
) -> NDArray[np.float64]:
    """Simulate [sweeps, settings, seeds]: a seed moves all its settings alike, and noise each."""
    shared = rng.normal(0, 0.02, (sweeps, 1, seeds))
    noise = rng.normal(0, 0.01, (sweeps, len(means), seeds))
    return np.asarray(means)[None, :, None] + shared + noise


# Intervals


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_the_interval_covers_the_true_mean_as_often_as_it_says(seeds: int) -> None:
    values = np.random.default_rng(seeds).normal(0.7, 0.02, (SWEEPS, seeds))
    found = [student_t(row) for row in values]
    assert within_sampling(sum(one.low <= 0.7 <= one.high for one in found), 0.95)


# Comparisons


def test_a_paired_comparison_equals_the_paired_t_test() -> None:
    found = compare(*PAIR)
    # Differences 4, 3, 5 points: mean 4, deviation 1, t(2 degrees, 97.5 %) = 4.302653.
    assert (found.paired, found.n, found.missing) == (True, 3, 0)
    assert found.difference == pytest.approx(0.04)
    assert found.scatter == pytest.approx(0.01)
    assert found.high - 0.04 == pytest.approx(4.302653 * 0.01 / math.sqrt(3), rel=1e-6)
    expected = stats.ttest_rel([*PAIR[0].values()], [*PAIR[1].values()])
    assert found.p == found.p_corrected == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))


def test_without_shared_seeds_a_comparison_equals_welchs_test_and_says_so() -> None:
    one, other = {0: 0.60, 1: 0.62, 2: 0.67}, {5: 0.61, 6: 0.55, 7: 0.50, 8: 0.58}
    found = compare(one, other)
    expected = stats.ttest_ind([*one.values()], [*other.values()], equal_var=False)
    assert (found.paired, found.n) == (False, 3)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert "Welch's t-test" in found.describe("this", "that")


def test_a_seed_that_only_one_setting_has_is_left_out_and_counted() -> None:
    one, other = PAIR
    found = compare({**one, 3: 0.1, 4: math.nan}, {**other, 4: 0.9, 9: math.inf})
    assert found == dataclasses.replace(compare(*PAIR), missing=4)
    assert "3 seeds (4 values left out)" in found.describe("this", "that")


def test_one_seed_gives_a_difference_and_nothing_else() -> None:
    for found in (compare({0: 0.5}, {0: 0.4}), compare({0: 0.5}, {1: 0.3, 2: 0.5})):
        assert found.n == 1
        assert found.difference == pytest.approx(0.1)
        assert all(math.isnan(x) for x in (found.low, found.high, found.p, found.p_corrected))
        assert not found.distinguishable
        assert found.seeds_needed is None
        assert found.describe("this", "that") == (
            "this and that cannot be told apart by one seed (difference +10.0 points, no interval)"
        )


def test_without_any_trial_there_is_no_difference() -> None:
    found = compare({}, {0: 0.4, 1: 0.5})
    assert found.n == 0
    assert math.isnan(found.difference)
    assert "one of them has no finished trial" in found.describe("this", "that")


def test_values_without_scatter_are_equal_or_differ() -> None:
    same = compare(PAIR[0], PAIR[0])
    assert (same.p, same.distinguishable, same.seeds_needed) == (1, False, None)
    assert same.describe("this", "that") == "this and that are equal at each of the 3 seeds"
    # Quarters, whose difference has no rounding.
    other = compare({0: 0.75, 1: 0.5}, {0: 0.5, 1: 0.25})
    assert (other.p, other.distinguishable, other.seeds_needed) == (0, True, 2)


def test_the_words_say_a_difference_with_its_evidence_or_that_there_is_none() -> None:
    assert compare(*PAIR).describe("pixel-wise", "the baseline") == (
        "pixel-wise is 4.0 points above the baseline (95 % 1.5 to 6.5, 3 seeds, p = 0.02)"
    )
    assert "is 4.0 points below" in compare(*PAIR[::-1]).describe("this", "that")
    # Differences 4, -1 and 3 points: t = 2 / (2.6458 / sqrt 3) = 1.309.
    found = compare({0: 0.64, 1: 0.61, 2: 0.64}, PAIR[1])
    assert found.describe("pixel-wise", "the baseline") == (
        "pixel-wise and the baseline are not distinguishable at these seeds (difference +2.0 "
        "points, 95 % -4.6 to 8.6, 3 seeds, p = 0.32); about 16 seeds would be needed for a "
        "difference as seen"
    )
    family = corrected({"a": found, "b": compare(*PAIR)})
    assert "p = 0.04 after Holm over 2 comparisons" in family["b"].describe("this", "that")


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_equal_settings_are_told_apart_at_the_nominal_rate(seeds: int) -> None:
    sweeps = paired_sweeps(np.random.default_rng(seeds), [0.7, 0.7], seeds)
    found = [compare(by_seed(one), by_seed(other)) for one, other in sweeps]
    assert within_sampling(sum(one.distinguishable for one in found), 0.05)
    assert within_sampling(sum(one.low <= 0 <= one.high for one in found), 0.95)


def test_welchs_test_holds_its_rate_where_the_scatters_differ() -> None:
    rng = np.random.default_rng(1)
    ones, others = rng.normal(0.7, 0.01, (SWEEPS, 5)), rng.normal(0.7, 0.03, (SWEEPS, 8))
    alarms = 0
    for one, other in zip(ones, others, strict=True):
        second = {seed + 5: float(value) for seed, value in enumerate(other)}
        alarms += compare(by_seed(one), second).distinguishable
    assert within_sampling(alarms, 0.05)


def test_pairing_finds_what_the_scatter_of_the_seeds_hides() -> None:
    sweeps = paired_sweeps(np.random.default_rng(2), [0.72, 0.70], 5, sweeps=500)
    paired = sum(compare(by_seed(a), by_seed(b)).distinguishable for a, b in sweeps)
    apart = [compare(by_seed(a), {s + 9: v for s, v in by_seed(b).items()}) for a, b in sweeps]
    assert paired > 1.5 * sum(one.distinguishable for one in apart)


# Seeds needed


def with_difference(mean: float, deviation: float, *, family: int = 1) -> Comparison:
    """A comparison of three seeds with exactly this mean and deviation of the differences."""
    other = {0: 0.5, 1: 0.55, 2: 0.52}
    steps = (-deviation, 0.0, deviation)
    one = {seed: other[seed] + mean + step for seed, step in enumerate(steps)}
    return dataclasses.replace(compare(one, other), family=family)


@pytest.mark.parametrize("family", [1, 6])
def test_the_seeds_needed_give_the_power_named_and_one_less_does_not(family: int) -> None:
    found = with_difference(0.01, 0.012, family=family)
    needed = found.seeds_needed
    assert needed is not None
    assert found.power(needed) >= 0.8 > found.power(needed - 1)
    differences = np.random.default_rng(family).normal(0.01, 0.012, (SWEEPS, needed))
    hits = int((stats.ttest_1samp(differences, 0, axis=1).pvalue < 0.05 / family).sum())
    assert within_sampling(hits, found.power(needed))


def test_the_seeds_needed_of_unpaired_settings_give_the_power_named() -> None:
    one, other = {0: 0.71, 1: 0.72, 2: 0.73}, {5: 0.68, 6: 0.70, 7: 0.72}
    found = compare(one, other)
    needed = found.seeds_needed
    assert needed is not None
    rng = np.random.default_rng(3)
    ones, others = (rng.normal(m, s, (SWEEPS, needed)) for m, s in ((0.72, 0.01), (0.70, 0.02)))
    hits = int((stats.ttest_ind(ones, others, axis=1, equal_var=False).pvalue < 0.05).sum())
    assert within_sampling(hits, found.power(needed))


def test_more_seeds_than_anyone_has_are_not_counted() -> None:
    found = with_difference(0.0001, 0.01)
    assert found.seeds_needed is None
    assert "more than 1,000 seeds would be needed" in found.describe("this", "that")


# Families


def test_holm_multiplies_by_rank_and_never_decreases() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]
    assert holm([]) == []


def test_holm_counts_only_the_comparisons_that_could_be_tested() -> None:
    one, nothing, other = holm([0.01, math.nan, 0.04])
    assert [one, other] == pytest.approx([0.02, 0.04])
    assert math.isnan(nothing)


def test_holm_takes_a_family_of_which_not_all_is_at_hand() -> None:
    assert holm([0.01, 0.002], family=6) == pytest.approx([0.05, 0.012])


def test_a_family_raises_false_alarms_no_more_often_than_one_comparison() -> None:
    sweeps = paired_sweeps(np.random.default_rng(4), [0.7] * 4, 5, sweeps=2000)
    families = [against(0, dict(enumerate(map(by_seed, rows)))).values() for rows in sweeps]
    alarms = sum(any(one.distinguishable for one in family) for family in families)
    assert at_most(alarms, 0.05, 2000)
    alone = sum(any(one.p < 0.05 for one in family) for family in families)
    assert not at_most(alone, 0.05, 2000)
    assert {one.family for family in families for one in family} == {3}


def test_a_true_difference_beside_it_leaves_the_rate_of_false_alarms() -> None:
    sweeps = paired_sweeps(np.random.default_rng(5), [0.7, 0.7, 0.7, 0.8], 5, sweeps=2000)
    families = [against(0, dict(enumerate(map(by_seed, rows)))) for rows in sweeps]
    alarms = sum(f[1].distinguishable or f[2].distinguishable for f in families)
    assert at_most(alarms, 0.05, 2000)
    assert sum(f[3].distinguishable for f in families) > 1900


def ranked(settings: Mapping[Any, Mapping[int, float]]) -> Ranking[Any]:
    found = rank(settings)
    assert found is not None
    return found


def test_the_best_picked_by_the_same_seeds_raises_no_more_false_alarms() -> None:
    sweeps = paired_sweeps(np.random.default_rng(6), [0.7] * 5, 5, sweeps=2000)
    families = [ranked(dict(enumerate(map(by_seed, rows)))).gains for rows in sweeps]
    alarms = sum(any(one.distinguishable for one in family.values()) for family in families)
    assert at_most(alarms, 0.05, 2000)
    assert {one.family for family in families for one in family.values()} == {10}
    # A family of the four differences to the best, as if it had been named beforehand, is too few.
    naive = sum(min(holm([one.p for one in family.values()])) < 0.05 for family in families)
    assert not at_most(naive, 0.05, 2000)


def test_the_best_is_not_a_setting_that_failed_at_other_seeds() -> None:
    scores = {
        "full": by_seed([0.6, 0.7]),
        "lucky": {0: 0.9, 1: math.nan},
        "low": by_seed([0.5] * 2),
    }
    found = ranked(scores)
    assert found.best == best_of(scores) == "full"
    assert found.gains["lucky"].n == 1
    assert found.gains["low"].family == 1


# Rankings


def test_lower_holds_among_all_pairs_that_could_have_been_compared() -> None:
    """Differences of 0.1, 0.1 and 0.13: t = 11 with 2 degrees of freedom, p = 0.0082 alone."""
    scores = {"best": by_seed([0.7, 0.71, 0.75]), "close": by_seed([0.6, 0.61, 0.62])}
    assert ranked(scores).against_best("close") == "lower"
    noisy = {f"noisy {k}": by_seed([0.5 + k / 100, 0.69, 0.5]) for k in range(3)}
    few = ranked(scores | dict([*noisy.items()][:2]))  # 0.0082 x 6
    assert (few.best, few.against_best("close"), few.not_distinguishable) == ("best", "lower", 2)
    many = ranked(scores | noisy)  # 0.0082 x 10
    assert (many.against_best("close"), many.not_distinguishable) == ("not distinguishable", 4)


def test_of_seeds_that_two_settings_share_the_lower_mean_is_not_called_lower() -> None:
    """A race gives the best other seeds than the rest: its mean owes itself to those."""
    best = by_seed([0.5, 0.5001, 0.5, 0.9])
    found = ranked({"best": best, "even": by_seed([0.55, 0.55, 0.55])})
    assert (found.best, found.against_best("even")) == ("best", "higher")
    found = ranked({"best": best, "one": by_seed([0.4])})  # one seed tells nothing apart
    assert (found.best, found.against_best("one")) == ("best", "not distinguishable")


def test_a_ranking_has_the_best_first_with_the_values_that_it_was_ranked_by() -> None:
    scores = {
        "nothing": {0: math.nan},
        "low": by_seed([0.1, 0.2]),
        "best": by_seed([0.5, 0.6]),
        "lucky": {1: 0.9},
    }
    found = ranked(scores)
    assert found.order == ["best", "lucky", "low", "nothing"]
    assert (found.against_best("best"), found.best_values) == ("best", {0: 0.5, 1: 0.6})
    assert found.best_interval == student_t([0.5, 0.6])
    # Most lack a seed: ranked at the one that all share, where "low" is not the worst.
    found = ranked({"a": {0: 0.1, 1: 0.9}, "b": {0: 0.3, 2: 0.1}, "c": {0: 0.2, 3: 0.9}})
    assert (found.order, found.best_values) == (["b", "c", "a"], {0: 0.3})


def test_settings_without_a_finite_value_are_not_ranked() -> None:
    assert rank({"a": {0: math.nan}, "b": {}}) is None
    assert rank({}) is None


def test_of_equal_settings_the_first_is_the_best_whatever_the_order_of_their_seeds() -> None:
    values = {0: 0.1, 1: 0.2, 2: 0.3}  # whose sum depends on the order
    backwards = dict(reversed(values.items()))
    for scores in ({"a": values, "b": backwards}, {"a": backwards, "b": values}):
        assert ranked(scores).order == ["a", "b"]
    assert student_t(values.values()) == student_t(backwards.values())
    assert ranked({"a": by_seed([-0.0, 0.0]), "b": by_seed([0.0, 0.0])}).best == "a"


def test_settings_are_sorted_by_numbers_and_then_by_texts() -> None:
    points = [("ema", 5), ("eq7", 10), ("eq7", 5), (None, 1), (2.5, 0), (-0.0, 1), (0, 0)]
    assert sorted(points, key=in_order) == [
        (0, 0), (-0.0, 1), (2.5, 0), (None, 1), ("ema", 5), ("eq7", 5), ("eq7", 10),
    ]  # fmt: skip


# Selection


def simulate_choices(seeds: int, spread: float) -> dict[str, NDArray[np.float64]]:
    """Choose among 20 settings of known means; return the errors of both means, and coverage.

    The naive mean claims to be that of the best setting, the corrected one to be that of what
    halves of the seeds choose.
    """
    rng = np.random.default_rng(seeds)
    naive, error, covered = [], [], []
    for _ in range(1000):
        means = rng.normal(0, spread, 20)
        values = means[:, None] + rng.normal(0, 1, (20, seeds)) + rng.normal(0, 1, seeds)
        found = choose(dict(enumerate(map(by_seed, values))))
        truth = expected_choice(values, means)
        naive.append(found.naive.mean - means[found.best])
        error.append(found.corrected.mean - truth)
        covered.append(found.corrected.low <= truth <= found.corrected.high)
    return {"naive": np.array(naive), "error": np.array(error), "missed": 1 - np.array(covered)}


def expected_choice(values: NDArray[np.float64], means: NDArray[np.float64]) -> float:
    """The true mean of what the halves of the seeds choose, by plain loops."""
    seeds = values.shape[1]
    truths = []
    for mask in range(2**seeds):
        half = [seed for seed in range(seeds) if mask >> seed & 1]
        if len(half) == seeds - seeds // 2:
            truths.append(means[values[:, half].mean(axis=1).argmax()])
    return float(np.mean(truths))


@pytest.mark.parametrize(("seeds", "spread"), [(4, 0.0), (4, 1.0), (5, 0.5)])
def test_choosing_on_one_half_of_the_seeds_is_unbiased_where_the_naive_mean_is_not(
    seeds: int, spread: float
) -> None:
    found = simulate_choices(seeds, spread)
    limit = stats.norm.ppf(0.9995)
    for name, biased in (("error", False), ("naive", True)):
        z = found[name].mean() / (found[name].std(ddof=1) / math.sqrt(len(found[name])))
        assert (z > limit) == biased, (name, z)
        assert z > -limit
    assert at_most(int(found["missed"].sum()), 0.05, len(found["missed"]))


def test_with_one_setting_the_correction_changes_nothing() -> None:
    values = by_seed([0.60, 0.62, 0.61, 0.66, 0.58])
    found = choose({"only": values})
    plain = student_t(values.values())
    assert dataclasses.astuple(found.corrected) == pytest.approx(dataclasses.astuple(plain))
    assert found.describe("it").startswith(
        "it is the only setting, with 61 % (95 % 58 to 65, 5 seeds)"
    )


def test_a_choice_among_few_equals_the_sum_by_hand() -> None:
    scores = {"a": by_seed([4, 3, 0, 0]), "b": by_seed([1, 1, 2, 2])}
    # Halves 01, 02, 03, 12, 13 choose a (3.5, 2, 2 and the ties 1.5); 23 chooses b.
    # Read on the other half: a 0, 1.5, 1.5, 2, 2; b 1.
    found = choose(scores)
    assert (found.best, found.naive.mean, found.splits) == ("a", 1.75, 6)
    assert found.corrected.mean == pytest.approx(8 / 6)


def test_fewer_than_four_seeds_cannot_be_corrected_and_the_number_is_named_optimistic() -> None:
    found = choose({"a": by_seed([0.5, 0.6, 0.7]), "b": by_seed([0.4, 0.6, 0.5])})
    assert (found.best, found.corrected.n, found.splits) == ("a", 0, 0)
    assert found.describe("a") == (
        "a is the best of 2 with 60 % (95 % 35 to 85, 3 seeds), which is optimistic: the same "
        "seeds have picked it, and with fewer than 4 seeds this cannot be corrected"
    )


def test_a_setting_that_lacks_a_seed_is_no_candidate() -> None:
    scores = {"a": by_seed([0.5] * 4), "b": by_seed([0.9] * 3), "c": {0: math.nan}}
    found = choose(scores)
    assert (found.best, found.candidates, found.left_out) == ("a", 1, 2)
    assert best_of(scores) == "a"


def test_where_most_settings_lack_a_seed_all_are_ranked_at_the_seeds_they_share() -> None:
    scores = {"a": by_seed([0.5, 0.6, 0.1]), "b": {0: 0.4, 1: 0.6, 3: 0.9}, "c": {0: 0.3, 1: 0.3}}
    found = choose(scores)
    assert (found.best, found.candidates, found.left_out, found.naive.n) == ("a", 3, 0, 2)
    assert best_of(scores) == "a"


def test_settings_without_a_seed_in_common_are_compared_but_not_corrected() -> None:
    scores = {"a": {0: 0.5, 1: 0.6}, "b": {2: 0.7, 3: 0.8}, "c": {4: math.nan}}
    assert best_of(scores) == "b"
    with pytest.raises(ValueError, match="the settings have no seed in common"):
        choose(scores)


def test_many_seeds_are_split_into_windows_that_read_each_seed_alike() -> None:
    rng = np.random.default_rng(0)
    found = choose({k: by_seed(rng.normal(0, 1, 21)) for k in range(3)})
    assert found.splits == 21
    shifted = choose({"only": by_seed(range(21))})
    assert shifted.corrected.mean == pytest.approx(10)


# Numbers


@pytest.mark.parametrize(
    ("half", "shown"),
    [
        (12.0, "71 ± 12"),
        (4.6, "71 ± 5"),
        (3.54, "71.4 ± 3.5"),
        (0.84, "71.4 ± 0.8"),
        (0.13, "71.43 ± 0.13"),
        (0.0002, "71.432 ± 0.000"),
        (0.0, "71.43 ± 0.00"),
    ],
)
def test_a_mean_has_the_digits_that_its_interval_allows(half: float, shown: str) -> None:
    found = dataclasses.replace(student_t([0.714321, 0.714321]), high=0.714321 + half / 100)
    assert percent(found) == shown


def test_a_mean_of_one_seed_has_no_plus_and_minus_and_none_has_a_dash() -> None:
    assert percent(student_t([0.7143])) == "71.4 (1 seed)"
    assert percent(student_t([])) == percent(student_t([math.nan])) == "—"
    assert describe_percent(student_t([0.7143])) == "71.4 % (1 seed, no interval)"
    assert describe_percent(student_t([])) == "no finished trial"
    assert decimals(math.nan) == 1


def test_numbers_have_no_sign_on_zero_and_small_p_values_a_bound() -> None:
    assert (fixed(-0.04, 1), fixed(0.04, 1, signed=True), fixed(0.5, 1, signed=True)) == (
        "0.0",
        "0.0",
        "+0.5",
    )
    assert (p_value(0.0321), p_value(0.0004)) == ("p = 0.032", "p < 0.001")
