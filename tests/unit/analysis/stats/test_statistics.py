"""Intervals, comparisons and selection: closed forms, and simulations whose answer is known."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from analysis.inference.blocks import fit_blocks
from analysis.inference.collapse import collapsed
from analysis.inference.simultaneous import Kind, corrected_p, critical_value
from analysis.stats.families import against, compare, gains
from analysis.stats.intervals import mean_share, student_t
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
    assert found.high - 0.04 == pytest.approx(4.302653 * 0.01 / math.sqrt(3), rel=1e-6)
    expected = stats.ttest_rel([*PAIR[0].values()], [*PAIR[1].values()])
    assert found.p_corrected == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))


def test_without_shared_seeds_a_comparison_equals_welchs_test_and_says_so() -> None:
    one, other = {0: 0.60, 1: 0.62, 2: 0.67}, {5: 0.61, 6: 0.55, 7: 0.50, 8: 0.58}
    found = compare(one, other)
    expected = stats.ttest_ind([*one.values()], [*other.values()], equal_var=False)
    assert (found.paired, found.n) == (False, 3)
    assert found.p_corrected == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))
    assert "unpaired" in found.describe("this", "that")


def test_a_seed_that_only_one_setting_has_is_left_out_and_counted() -> None:
    one, other = PAIR
    found = compare({**one, 3: 0.1, 4: math.nan}, {**other, 4: 0.9, 9: math.inf})
    alone = dataclasses.asdict(compare(*PAIR)) | {"missing": 2, "n": 4}
    assert dataclasses.asdict(found) == pytest.approx(alone)
    assert "4 seeds, 2 values missing" in found.describe("this", "that")


def test_one_seed_gives_a_difference_and_nothing_else() -> None:
    for found in (compare({0: 0.5}, {0: 0.4}), compare({0: 0.5}, {1: 0.3, 2: 0.5})):
        assert found.n == 1
        assert found.difference == pytest.approx(0.1)
        assert all(math.isnan(x) for x in (found.low, found.high, found.p_corrected))
        assert not found.distinguishable
        assert found.describe("this", "that") == (
            "this and that cannot be told apart by one seed (+10.0 points, no interval)"
        )


def test_without_any_trial_there_is_no_difference() -> None:
    found = compare({}, {0: 0.4, 1: 0.5})
    assert found.n == 0
    assert math.isnan(found.difference)
    assert "one of them has no finished trial" in found.describe("this", "that")


def test_values_without_scatter_are_equal_or_differ_and_float_noise_is_no_effect() -> None:
    same = compare(PAIR[0], PAIR[0])
    assert (same.p_corrected, same.distinguishable) == (1, False)
    other = compare({0: 0.75, 1: 0.5}, {0: 0.5, 1: 0.25})  # quarters, without rounding
    assert (other.p_corrected < 0.001, other.distinguishable) == (True, True)
    sums = {0: 0.1 + 0.2, 1: 0.7 + 0.1, 2: 0.3}  # 0.30000000000000004, 0.7999999999999999
    noise = against("b", {"a": sums, "b": {0: 0.3, 1: 0.8, 2: 0.3}, "c": {0: 0.3, 1: 0.8, 2: 0.3}})
    assert not any(found.distinguishable for found in noise.values())


def test_the_words_say_a_difference_with_its_evidence_or_that_there_is_none() -> None:
    assert compare(*PAIR).describe("pixel-wise", "the baseline") == (
        "pixel-wise is 4.0 points above the baseline (95 % 1.5 to 6.5, 3 seeds, p = 0.02)"
    )
    assert "is 4.0 points below" in compare(*PAIR[::-1]).describe("this", "that")
    # Differences 4, -1 and 3 points: t = 2 / (2.6458 / sqrt 3) = 1.309.
    found = compare({0: 0.64, 1: 0.61, 2: 0.64}, PAIR[1])
    assert found.describe("pixel-wise", "the baseline") == (
        "pixel-wise and the baseline are not distinguishable (+2.0 points, 95 % -4.6 to 8.6, "
        "3 seeds, p = 0.32)"
    )


def test_an_end_near_0_has_the_digits_that_tell_its_side() -> None:
    found = dataclasses.replace(compare(*PAIR), difference=0.03, low=0.0003, high=0.0597)
    assert found.distinguishable
    assert found.describe("this", "that").startswith(
        "this is 3.00 points above that (95 % 0.03 to 5.97, "
    )


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


def test_the_smallest_difference_found_is_found_with_the_power_named() -> None:
    error = 0.01 * math.sqrt(2 / 5)
    truth = (stats.t.ppf(0.975, 4) + stats.t.ppf(0.8, 4)) * error  # by the true scatter
    sweeps = paired_sweeps(np.random.default_rng(3), [0.7 + truth, 0.7], 5)
    found = [compare(by_seed(one), by_seed(other)) for one, other in sweeps]
    assert 0.76 < sum(one.distinguishable for one in found) / SWEEPS < 0.84
    assert np.median([one.smallest_found for one in found]) == pytest.approx(truth, rel=0.12)


# Families


def test_critical_values_equal_the_known_distributions() -> None:
    """Tukey's range by scipy, Dunnett's by its integral, and independent tests by their product."""
    level = 0.95
    freedom = np.array([4.0, 12.0, 80.0])
    for size in (3, 7, 72):
        tukey = stats.studentized_range.ppf(level, size, freedom) / math.sqrt(2)
        assert critical_value(Kind.PAIRS, size, freedom) == pytest.approx(tukey, rel=0.01)
    assert critical_value(Kind.PAIRS, 2, freedom) == pytest.approx(stats.t.ppf(0.975, freedom))
    single = stats.norm.isf((1 - level ** (1 / 21)) / 2)
    found = critical_value(Kind.SEPARATE, 21, np.array([1000.0]))
    assert found == pytest.approx([single], rel=0.01)
    rng = np.random.default_rng(0)  # Dunnett's, drawn one by one
    normal = rng.standard_normal((40_000, 7))
    scale = np.sqrt(rng.chisquare(12, 40_000) / 12)
    largest = np.abs(normal[:, 1:] - normal[:, :1]).max(1) / math.sqrt(2) / scale
    found = critical_value(Kind.REFERENCE, 7, np.array([12.0]))
    assert found == pytest.approx([np.quantile(largest, level)], rel=0.015)


def test_a_p_value_is_below_the_level_just_where_the_critical_value_is_exceeded() -> None:
    freedom = np.array([2.0, 7.3, 12.0, 100.0])
    for kind in Kind:
        critical = critical_value(kind, 7, freedom)
        assert (corrected_p(kind, 7, critical * 1.01, freedom) < 0.05).all()
        assert (corrected_p(kind, 7, -critical * 0.99, freedom) > 0.05).all()


def test_a_family_raises_false_alarms_no_more_often_than_one_comparison() -> None:
    sweeps = paired_sweeps(np.random.default_rng(4), [0.7] * 4, 5, sweeps=2000)
    families = [against(0, dict(enumerate(map(by_seed, rows)))).values() for rows in sweeps]
    alarms = sum(any(one.distinguishable for one in family) for family in families)
    assert at_most(alarms, 0.05, 2000)
    pairs = [[compare(by_seed(rows[k]), by_seed(rows[0])) for k in (1, 2, 3)] for rows in sweeps]
    assert not at_most(sum(any(c.distinguishable for c in row) for row in pairs), 0.05, 2000)
    assert {one.family for family in families for one in family} == {3}


def test_a_true_difference_beside_it_leaves_the_rate_of_false_alarms() -> None:
    sweeps = paired_sweeps(np.random.default_rng(5), [0.7, 0.7, 0.7, 0.8], 5, sweeps=2000)
    families = [against(0, dict(enumerate(map(by_seed, rows)))) for rows in sweeps]
    alarms = sum(f[1].distinguishable or f[2].distinguishable for f in families)
    assert at_most(alarms, 0.05, 2000)
    assert sum(f[3].distinguishable for f in families) > 1900


def test_a_noisy_setting_neither_hides_nor_invents_an_effect() -> None:
    rng = np.random.default_rng(7)
    values = 0.7 + rng.normal(0, 0.02, (1000, 1, 5)) + rng.normal(0, 0.005, (1000, 7, 5))
    values[:, 6] += rng.normal(0, 0.03, (1000, 5))  # six times noisier
    values[:, 5] -= 0.03  # a true effect beside it
    families = [against(0, dict(enumerate(map(by_seed, rows)))) for rows in values]
    assert at_most(sum(f[6].distinguishable for f in families), 0.05, 1000)
    assert sum(f[5].distinguishable for f in families) > 950
    # A pooled error, which the noisy one enlarges, would find it less often and invent the other.
    shrunk = np.median([f[5].half for f in families])
    assert shrunk < 0.6 * np.median([f[6].half for f in families])


def test_gains_are_by_setting_and_over_all() -> None:
    rng = np.random.default_rng(8)
    raw = 0.6 + rng.normal(0, 0.03, (500, 4, 3))
    averaged = raw + 0.01 + rng.normal(0, 0.003, (500, 4, 3))
    averaged[:, 3] -= 0.01
    alarms = found = overall = 0
    for one, other in zip(averaged, raw, strict=True):
        told = gains(dict(enumerate(map(by_seed, one))), dict(enumerate(map(by_seed, other))))
        alarms += told.each[3].distinguishable
        found += told.each[0].distinguishable
        overall += told.overall.low <= 0.0075 <= told.overall.high
    assert at_most(alarms, 0.05, 500)
    assert found > 300
    assert within_sampling(overall, 0.95, 500)


def test_what_all_settings_gain_at_a_seed_alike_counts_once() -> None:
    """The mean over settings has the seeds as its replicates, however many settings there are."""
    rng = np.random.default_rng(9)
    change = rng.normal(0, 0.02, (1000, 1, 3)) + rng.normal(0, 0.002, (1000, 7, 3))
    nothing = {k: by_seed([0.5] * 3) for k in range(7)}
    found = [gains(dict(enumerate(map(by_seed, 0.5 + rows))), nothing) for rows in change]
    assert within_sampling(sum(one.overall.distinguishable for one in found), 0.05, 1000)
    alarms = sum(any(c.distinguishable for c in one.each.values()) for one in found)
    assert at_most(alarms, 0.05, 1000)


def test_gains_of_nothing_are_unknown() -> None:
    found = gains({"a": {0: math.nan}}, {"a": {0: 0.5}})
    assert (found.each["a"].n, found.overall.n, found.overall.missing) == (0, 0, 1)


def test_an_interval_of_a_share_ends_at_0_and_1() -> None:
    found = mean_share([0.02, 0.6, 0.61])
    assert (found.low, student_t([0.02, 0.6, 0.61]).low < 0) == (0.0, True)
    assert percent(found) == "41 (0 to 100)"
    assert math.isnan(mean_share([0.5]).low)


def test_a_collapsed_run_lies_far_below_its_settings_best() -> None:
    assert collapsed({2: 0.1, 0: 0.61, 1: 0.29, 3: math.nan}) == [1, 2]
    assert collapsed(by_seed([0.05, 0.06, 0.04])) == []  # low at every seed
    assert collapsed(by_seed([0.04, 0.09, 0.03])) == []  # less than ten points
    assert collapsed({}) == []


def ranked(settings: Mapping[Any, Mapping[int, float]]) -> Ranking[Any]:
    found = rank(settings)
    assert found is not None
    return found


def test_the_best_picked_by_the_same_seeds_raises_no_more_false_alarms() -> None:
    sweeps = paired_sweeps(np.random.default_rng(6), [0.7] * 5, 5, sweeps=2000)
    rankings = [ranked(dict(enumerate(map(by_seed, rows)))) for rows in sweeps]
    alarms = sum(found.not_distinguishable < 4 for found in rankings)
    assert at_most(alarms, 0.05, 2000)
    # Each alone with the best, as if that had been named beforehand, is told apart too often.
    alone = sum(
        any(compare(by_seed(row), found.best_values).distinguishable for row in rows)
        for found, rows in zip(rankings, sweeps, strict=True)
    )
    assert not at_most(alone, 0.05, 2000)


def test_most_settings_that_are_worse_are_found_with_three_seeds() -> None:
    truth = np.array([-2.3, -1.8, -1.0, 0, -1.0, -2.2, -3.3]) / 100
    rng = np.random.default_rng(10)
    found = 0.0
    for _ in range(300):
        values = 0.7 + truth[:, None] + rng.normal(0, 0.02, 3) + rng.normal(0, 0.005, (7, 3))
        told = ranked(dict(enumerate(map(by_seed, values))))
        found += sum(gain.high < 0 for gain in told.gains.values()) / 6 / 300
    assert found > 0.5  # all pairs corrected after Holm, each by its own three seeds: 0.07


def test_the_best_is_not_a_setting_that_failed_at_other_seeds() -> None:
    scores = {
        "full": by_seed([0.6, 0.7]),
        "lucky": {0: 0.9, 1: math.nan},
        "low": by_seed([0.5] * 2),
    }
    found = ranked(scores)
    assert found.best == best_of(scores) == "full"
    assert (found.gains["lucky"].n, found.gains["lucky"].missing) == (1, 1)


# Rankings


def test_a_setting_counts_with_all_its_seeds() -> None:
    """What a race leaves: a lead at the first seeds that the later ones take back."""
    rng = np.random.default_rng(11)
    seeds = rng.normal(0, 0.02, 10)
    raced = {k: by_seed(0.67 + seeds + rng.normal(0, 0.004, 10)) for k in ("a", "b")}
    lucky = {seed: value + 0.03 for seed, value in list(raced["a"].items())[:3]}
    lost = {seed: value - 0.05 for seed, value in list(raced["a"].items())[:3]}
    scores = raced | {"lost": lost} | {"a": raced["a"] | lucky}
    found = ranked(scores)
    assert len(found.best_values) == 10
    assert found.best_interval.mean == pytest.approx(np.mean([*scores[found.best].values()]))
    assert found.against_best("lost") == "lower"


def test_differences_are_within_seeds_where_settings_have_not_the_same() -> None:
    """The later seeds are better for all: means over own seeds would turn the order round."""
    shift = {0: 0.0, 1: 0.001, 2: 0.2, 3: 0.21}
    few = {seed: 0.5 + shift[seed] for seed in (0, 1)}
    many = {seed: 0.48 + shift[seed] + 0.0002 * seed for seed in shift}
    third = {seed: 0.47 + shift[seed] - 0.0003 * seed for seed in shift}
    found = ranked({"few": few, "many": many, "third": third})
    assert (found.best, found.order) == ("few", ["few", "many", "third"])
    assert found.gains["many"].difference == pytest.approx(-0.02, abs=0.001)
    assert found.gains["many"].paired


def test_least_squares_equals_the_normal_equations_solved_whole() -> None:
    rng = np.random.default_rng(12)
    values = rng.normal(0.6, 0.05, (5, 6))
    values[rng.random((5, 6)) < 0.3] = np.nan
    rows, columns = np.nonzero(np.isfinite(values))
    design = np.concatenate([np.eye(5)[rows], np.eye(6)[columns]], axis=1)
    solved, *_ = np.linalg.lstsq(design, values[rows, columns], rcond=None)
    left = values[rows, columns] - design @ solved
    freedom = len(rows) - 10
    scores = {k: {s: float(v) for s, v in enumerate(values[k])} for k in range(5)}
    fitted = fit_blocks(scores)
    assert fitted.effects - fitted.effects[0] == pytest.approx(solved[:5] - solved[0])
    assert fitted.variances is not None
    assert fitted.variances.common == pytest.approx(left @ left / freedom)
    assert fitted.variances.common_freedom == freedom
    # With one variance for all, the error of a difference is that of the textbook.
    equal = dataclasses.replace(
        fitted.variances, moderated=np.full(5, 4e-4), freedom=np.full(5, 9.0)
    )
    errors, _ = dataclasses.replace(fitted, variances=equal).errors(0)
    inverse = np.linalg.pinv(design.T @ design)
    contrast = np.eye(11)[3] - np.eye(11)[0]
    assert errors[3] == pytest.approx(0.02 * math.sqrt(contrast @ inverse @ contrast))


def test_a_lead_with_one_seed_is_not_crowned_but_told() -> None:
    found = ranked({"best": by_seed([0.5, 0.52, 0.51]), "one": by_seed([0.9])})
    assert (found.best, found.against_best("best")) == ("best", "best")
    assert found.gains["one"].difference == pytest.approx(0.4)


def test_a_ranking_has_the_best_first_with_the_values_of_all_its_seeds() -> None:
    scores = {
        "nothing": {0: math.nan},
        "low": by_seed([0.1, 0.2]),
        "best": by_seed([0.5, 0.6]),
        "lucky": {1: 0.9},
    }
    found = ranked(scores)
    assert found.order == ["best", "lucky", "low", "nothing"]
    assert (found.against_best("best"), found.best_values) == ("best", {0: 0.5, 1: 0.6})
    assert found.best_interval == mean_share([0.5, 0.6])
    assert found.contenders[0] == "best"


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
    """Choose among 20 settings of known means; return the errors of both means.

    The naive mean claims to be that of the best setting, the corrected one to be that of what
    halves of the seeds choose.
    """
    rng = np.random.default_rng(seeds)
    naive, error = [], []
    for _ in range(1000):
        means = rng.normal(0, spread, 20)
        values = means[:, None] + rng.normal(0, 1, (20, seeds)) + rng.normal(0, 1, seeds)
        found = choose(dict(enumerate(map(by_seed, values))))
        truth = expected_choice(values, means)
        naive.append(found.naive.mean - means[found.best])
        error.append(found.corrected - truth)
    return {"naive": np.array(naive), "error": np.array(error)}


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


def test_with_one_setting_the_correction_changes_nothing() -> None:
    found = choose({"only": by_seed([0.60, 0.62, 0.61, 0.66, 0.58])})
    assert found.corrected == pytest.approx(found.naive.mean)


def test_a_choice_among_few_equals_the_sum_by_hand() -> None:
    scores = {"a": by_seed([4, 3, 0, 0]), "b": by_seed([1, 1, 2, 2])}
    # Halves 01, 02, 03, 12, 13 choose a (3.5, 2, 2 and the ties 1.5); 23 chooses b.
    # Read on the other half: a 0, 1.5, 1.5, 2, 2; b 1.
    found = choose(scores)
    assert (found.best, found.naive.mean, found.splits) == ("a", 1.75, 6)
    assert found.corrected == pytest.approx(8 / 6)


def test_fewer_than_four_seeds_cannot_be_corrected_and_the_number_is_named_optimistic() -> None:
    found = choose({"a": by_seed([0.5, 0.6, 0.7]), "b": by_seed([0.4, 0.6, 0.5])})
    assert (found.best, math.isnan(found.corrected), found.splits) == ("a", True, 0)
    assert found.describe() == (
        "The best setting's mean is optimistic, since the same seeds have picked it; fewer than "
        "4 seeds cannot correct it"
    )


def test_candidates_are_the_settings_with_all_seeds_of_the_best() -> None:
    scores = {"a": by_seed([0.5] * 4), "b": by_seed([0.4] * 3), "c": {0: math.nan}}
    found = choose(scores)
    assert (found.best, found.candidates, found.left_out) == ("a", 1, 2)


def test_many_seeds_are_split_into_windows_that_read_each_seed_alike() -> None:
    rng = np.random.default_rng(0)
    found = choose({k: by_seed(rng.normal(0, 1, 21)) for k in range(3)})
    assert found.splits == 21
    shifted = choose({"only": by_seed(range(21))})
    assert shifted.corrected == pytest.approx(10)


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
