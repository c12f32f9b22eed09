"""The paper's claims: records for which each is true, false or open, and which record tries it."""

import csv
import dataclasses
import io
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from figure_data import frame

from analysis import load_paper
from analysis.record.sweep_data import SweepData
from analysis.result_tables.claim_contrasts import CONTRASTS, Evidence, at_place
from analysis.result_tables.claims import OURS, VERDICT, claims, is_tried, verdict
from analysis.result_tables.render import to_csv
from analysis.stats.comparisons import Comparison, no_comparison

PAPER = load_paper()
SEEDS = 4
NOISE = 0.002
LAMBDAS = (0.0, 0.002, 0.01, 0.05, 1.0)
NS, THRESHOLDS = (1, 2, 10), (0.0, 0.3, 0.6)
REPEATS = 100


def sweep(name: str, rows: Sequence[Mapping[str, Any]], dataset: str = "shapes") -> SweepData:
    trials = frame(rows, dataset=dataset)
    trials.attrs["sweep"] = name
    return SweepData(trials=trials, paper=PAPER)


def lambda_grid(
    levels: Mapping[float, float], *, seeds: int = SEEDS, draw: int = 0, dataset: str = "shapes"
) -> SweepData:
    """A grid with this mIoU at each lambda, of both weights."""
    random = np.random.default_rng(draw)
    rows = [
        {"lambda_adv": value, "seed": seed, "val/miou": miou, "swa/miou": miou}
        for seed in range(seeds)
        for value, level in levels.items()
        for miou in [level + 0.02 * seed + NOISE * random.normal()]
    ]
    return sweep("lambda_grid", rows, dataset)


def swa_grid(
    gain: Mapping[str, float],
    *,
    per_threshold: float = -0.05,
    per_n: float = 0.0,
    noise: float = 0.0003,
    draw: int = 0,
) -> SweepData:
    """A study whose averaging gains this by rule at threshold 0 and n = 1, and loses with more."""
    random = np.random.default_rng(draw)
    raws = 0.6 + 0.02 * random.normal(size=SEEDS)
    rows = [
        {
            "swa_rule": rule,
            "swa_n": n,
            "swa_threshold": threshold,
            "seed": seed,
            "training_key": f"training{seed}",
            "adversarial": "none",
            "lambda_adv": 0.0,
            "val/miou": raws[seed],
            "swa/miou": raws[seed]
            + by_rule
            + per_threshold * threshold
            + per_n * (n == max(NS))
            + noise * random.normal(),
        }
        for rule, by_rule in gain.items()
        for n in NS
        for threshold in THRESHOLDS
        for seed in range(SEEDS)
    ]
    return sweep("swa_grid", rows)


def ablation(
    levels: Mapping[str, tuple[float, float]],
    *,
    dataset: str = "shapes",
    generators: Mapping[str, float] | None = None,
    losing: int = 0,
) -> SweepData:
    """Raw and averaged mIoU by loss; what the loss adds more per generator; classes that lose."""
    random = np.random.default_rng(11)
    rows = [
        {
            "generator": generator,
            "adversarial": loss,
            "lambda_adv": 0.0 if loss == "none" else 0.01,
            "seed": seed,
            "val/miou": raw + more * (loss != "none") + noise,
            "swa/miou": averaged + more * (loss != "none") + noise + 0.0003 * random.normal(),
        }
        for generator, more in (generators or {"deeplab_small": 0.0}).items()
        for loss, (raw, averaged) in levels.items()
        for seed in range(SEEDS)
        for noise in [0.02 * seed + NOISE * random.normal()]
    ]
    data = sweep("ablation", rows, dataset)
    lost = np.where(np.arange(21) < losing, -0.2, 0.0)
    vars(data)["details"] = {
        row["run_id"]: {"classes": [f"class{i}" for i in range(21)]}
        | {
            f"{w}/iou": [*(row[f"{w}/miou"] + lost * (w == "swa") + NOISE * random.normal(size=21))]
            for w in ("val", "swa")
        }
        for row in data.trials.to_dict("records")
    }
    return data


AS_IN_THE_PAPER = {"none": (0.6, 0.61), "standard": (0.6, 0.62), "pixelwise": (0.62, 0.64)}


def verdicts(*sweeps: SweepData) -> dict[str, set[str]]:
    """The verdicts by claim, in the words of `paper.yaml`'s keys."""
    table = claims(sweeps, PAPER)
    keys = {claim["says"]: key for key, claim in PAPER["claims"].items()}
    found: dict[str, set[str]] = {}
    for says, said in zip(table["claim"], table[VERDICT], strict=True):
        found.setdefault(keys[says.partition(" (")[0]], set()).add(said)
    return found


def test_every_claim_has_a_contrast_and_every_contrast_a_claim() -> None:
    assert {contrast.claim for contrast in CONTRASTS} == PAPER["claims"].keys()
    for claim in PAPER["claims"].values():
        assert claim["dataset"] in ("voc2012", "segtrackv2")


@pytest.mark.parametrize(
    ("peak", "said"),
    [(0.01, "supported"), (0.05, "contradicted"), (None, "not distinguishable")],
)
def test_the_peak_over_lambda(peak: float | None, said: str) -> None:
    found = verdicts(lambda_grid({value: 0.6 + 0.03 * (value == peak) for value in LAMBDAS}))
    assert found["lambda_averaged"] == found["lambda_raw"] == {said}


def test_a_peak_beside_two_lambdas_alike_is_open() -> None:
    levels = {value: 0.6 + 0.03 * (value in (0.01, 0.05)) for value in LAMBDAS}
    assert verdicts(lambda_grid(levels))["lambda_averaged"] == {"not distinguishable"}


def test_a_grid_without_the_papers_lambda_does_not_try_it() -> None:
    table = claims([lambda_grid({0.0: 0.6, 0.02: 0.7})], PAPER)
    assert set(table[VERDICT]) == {"not tried"}
    assert not is_tried(table)
    assert not is_tried(claims([], PAPER))
    assert table.attrs["title"] == "The paper's claims, tried on no data yet"


def test_averaging_is_tried_with_either_rule() -> None:
    table = claims([swa_grid({"eq7": -0.05, "uniform": 0.02})], PAPER)
    rows = table[table["claim"].str.startswith("averaging alone gains")]
    assert [*rows["claim"]] == ["averaging alone gains (Eq. 7)", "averaging alone gains (uniform)"]
    assert [*rows[VERDICT]] == ["contradicted", "supported"]
    means = [cell.found.difference for cell in rows[OURS]]
    assert means == pytest.approx([-0.05, 0.02], abs=0.0005)
    # Of two rules one may be missing, and only what is tried is listed.
    table = claims([swa_grid({"uniform": 0.02})], PAPER)
    (said,) = table.loc[table["claim"].str.startswith("averaging alone gains"), VERDICT]
    assert said == "supported"


def test_averaging_is_tried_with_the_papers_share_of_the_training() -> None:
    # Of 240 iterations n = 1 is nearest to 100 of 20,000; the largest n would lose.
    data = swa_grid({"uniform": 0.02}, per_n=-0.2)
    assert verdicts(data)["swa_gain"] == {"supported"}
    data.trials["iterations"] = 2000
    assert verdicts(data)["swa_gain"] == {"contradicted"}


def test_a_study_with_the_discriminator_tries_nothing() -> None:
    data = swa_grid({"uniform": 0.02})
    data.trials[["adversarial", "lambda_adv"]] = "pixelwise", 0.01
    assert not is_tried(claims([data], PAPER))


@pytest.mark.parametrize(
    ("per_threshold", "said"),
    [(-0.05, "supported"), (0.05, "contradicted"), (0.0, "not distinguishable")],
)
def test_the_best_threshold(per_threshold: float, said: str) -> None:
    data = swa_grid({"uniform": 0.0}, per_threshold=per_threshold)
    assert verdicts(data)["swa_threshold"] == {said}


@pytest.mark.parametrize(
    ("per_n", "said"),
    [
        (0.0, "supported"),
        (0.001, "supported"),
        (0.003, "not distinguishable"),
        (0.01, "contradicted"),
    ],
)
def test_a_claim_of_smallness_is_a_test_of_equivalence(per_n: float, said: str) -> None:
    assert verdicts(swa_grid({"uniform": 0.0}, per_n=per_n))["swa_n"] == {said}


def test_a_wide_interval_that_holds_0_contradicts_no_smallness() -> None:
    data = swa_grid({"uniform": 0.0}, noise=0.02)
    table = claims([data], PAPER).set_index("claim")
    found = table.loc["n changes the mIoU by 0.3 at most (uniform)", OURS].found
    assert found.low == 0
    assert found.high > 0.02
    assert verdicts(data)["swa_n"] == {"not distinguishable"}


def test_an_ablation_as_in_the_paper_supports_it() -> None:
    found = verdicts(ablation(AS_IN_THE_PAPER, generators={"deeplab_small": 0.0, "other": 0.01}))
    said = {key for key, verdict in found.items() if verdict == {"supported"}}
    assert said == {
        *("together", "loss_alone", "both_over_each", "pixelwise_standard"),
        *("classes", "generators"),
    }
    assert found["standard_fails"] == {"contradicted"}  # on its own data it is above
    assert found["together_segtrack"] == {"not tried"}


def test_what_averaging_alone_does_supports_no_claim_on_the_loss() -> None:
    levels = dict.fromkeys(AS_IN_THE_PAPER, (0.6, 0.62))
    found = verdicts(ablation(levels, generators={"deeplab_small": 0.0, "other": 0.0}))
    assert found["together"] == {"supported"}
    for key in ("loss_alone", "both_over_each", "pixelwise_standard", "generators"):
        assert found[key] == {"not distinguishable"}, key


def test_generators_are_compared_with_averaged_weights_of_both() -> None:
    levels = {"none": (0.63, 0.61), "pixelwise": (0.6, 0.64)}
    data = ablation(levels, generators={"deeplab_small": 0.0, "other": 0.01})
    assert verdicts(data)["generators"] == {"supported"}


def test_one_generator_that_loses_contradicts_the_claim_on_every_one() -> None:
    data = ablation(AS_IN_THE_PAPER, generators={"deeplab_small": 0.0, "other": -0.1})
    assert verdicts(data)["generators"] == {"contradicted"}
    assert verdicts(ablation(AS_IN_THE_PAPER))["generators"] == {"not tried"}


@pytest.mark.parametrize(
    ("losing", "said"), [(0, "supported"), (3, "supported"), (4, "contradicted")]
)
def test_almost_all_classes_are_as_many_as_in_the_paper(losing: int, said: str) -> None:
    levels = {"none": (0.6, 0.6), "pixelwise": (0.65, 0.65)}
    # Both arms lose alike with averaged weights, but the baseline is read from raw ones.
    assert verdicts(ablation(levels, losing=losing))["classes"] == {said}


def test_a_claim_is_tried_on_its_own_data_first() -> None:
    harm = AS_IN_THE_PAPER | {"standard": (0.3, 0.3)}
    voc = ablation(AS_IN_THE_PAPER, dataset="voc2012")
    segtrack = ablation(harm, dataset="segtrackv2")
    table = claims([ablation(harm), voc, segtrack], PAPER).set_index("claim")
    of_standard = table.loc["the standard loss does harm"]
    assert of_standard["compared"] == "averaged standard less averaged baseline, SegTrack-v2"
    assert of_standard[VERDICT] == "supported"
    assert table.loc["together they gain on SegTrack-v2", VERDICT] == "supported"
    of_losses = table.loc["pixel-wise loss beats the standard one", "compared"]
    assert of_losses == "averaged pixel-wise less averaged standard, Pascal VOC 2012"
    # What is claimed of one of the paper's data sets is not tried on the other.
    alone = claims([voc], PAPER).set_index("claim")
    assert alone.loc["the standard loss does harm", VERDICT] == "not tried"
    assert "does not compare" not in alone.attrs["caption"]


def test_on_data_of_ones_own_the_title_says_which_and_the_caption_that_sizes_do_not_compare() -> (
    None
):
    table = claims([ablation(AS_IN_THE_PAPER, dataset="mine")], PAPER)
    assert table.attrs["title"] == "The paper's claims, tried on mine"
    assert "mine is not the paper's data: sizes do not compare." in table.attrs["caption"]
    assert table.attrs["finding"].startswith("Of 13 tests of the paper's claims: ")
    for sentence in table.attrs["caption"].split(". "):
        assert len(sentence.split()) <= 30, sentence


def test_one_seed_decides_nothing() -> None:
    found = verdicts(lambda_grid(dict.fromkeys(LAMBDAS, 0.6), seeds=1))
    assert found["lambda_averaged"] == {"not distinguishable"}


def test_missing_runs_are_left_out() -> None:
    data = lambda_grid({value: 0.6 + 0.03 * (value == 0.01) for value in LAMBDAS})
    trials = data.trials
    trials.loc[trials["lambda_adv"] == 1.0, "swa/miou"] = math.nan
    trials.loc[(trials["lambda_adv"] == 0.0) & (trials["seed"] == 2), "swa/miou"] = math.nan
    table = claims([data], PAPER)
    assert table.loc[0, VERDICT] == "supported"
    assert table.loc[0, OURS].found.n == SEEDS - 1


def comparison(difference: float, half: float) -> Comparison:
    return dataclasses.replace(
        no_comparison(0),
        difference=difference,
        low=difference - half,
        high=difference + half,
        n=3,
    )


def test_the_least_of_several_has_the_least_of_their_ends() -> None:
    several = [comparison(0.01, 0.02), comparison(0.02, 0.01), comparison(0.03, 0.05)]
    least, largest = at_place(several, 0), at_place(several, -1)
    assert least is not None
    assert largest is not None
    assert (least.difference, least.low, least.high) == pytest.approx((0.01, -0.02, 0.03))
    assert (largest.difference, largest.low, largest.high) == pytest.approx((0.03, 0.01, 0.08))
    assert at_place([no_comparison(1)], 0) is None


@pytest.mark.parametrize(
    ("low", "high", "above", "below"),
    [
        (0.001, 0.01, "supported", "contradicted"),
        (-0.01, 0.01, "not distinguishable", "not distinguishable"),
        (-0.01, -0.001, "contradicted", "supported"),
        (math.nan, math.nan, "not distinguishable", "not distinguishable"),
    ],
)
def test_a_verdict_follows_from_the_interval(
    low: float, high: float, above: str, below: str
) -> None:
    found = dataclasses.replace(comparison(0.0, 0.0), low=low, high=high)
    assert verdict(found, {"above": "0"}) == above
    assert verdict(found, {"below": "0"}) == below


def repeated(claim: str, make: Callable[[int], SweepData]) -> Counter[str]:
    """The verdicts on many records of one truth."""
    measure = next(one.measure for one in reversed(CONTRASTS) if one.claim == claim)
    found = [measure(Evidence(data=make(draw))) for draw in range(REPEATS)]
    return Counter(verdict(one, PAPER["claims"][claim]) for one in found if one is not None)


def test_a_claim_at_its_bound_is_rarely_decided() -> None:
    tied = dict.fromkeys(LAMBDAS, 0.6)
    peak = repeated("lambda_raw", lambda draw: lambda_grid(tied, draw=draw))
    small = repeated("swa_n", lambda draw: swa_grid({"uniform": 0.0}, per_n=0.003, draw=draw))
    for said in (peak, small):
        assert sum(said.values()) == REPEATS
        assert said["supported"] <= 0.05 * REPEATS
        assert said["contradicted"] <= 0.05 * REPEATS


def test_the_csv_has_both_ends() -> None:
    table = claims([lambda_grid({value: 0.6 + 0.03 * (value == 0.01) for value in LAMBDAS})], PAPER)
    row = next(csv.DictReader(io.StringIO(to_csv(table).decode())))
    low, value, high = (float(row[f"{OURS}{end}"]) for end in (" ci_low", "", " ci_high"))
    assert 0 < low < value < high
    assert row[f"{OURS} n_seeds"] == str(SEEDS)
    assert row[VERDICT] == "supported"
