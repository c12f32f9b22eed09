"""Loss and averaging apart: records whose effects are known, and what is said of them."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest
from figure_data import frame

from analysis import load_paper
from analysis.result_tables.cells import text
from analysis.result_tables.effects import AVERAGING, effects, effects_of, lambda_effects
from analysis.result_tables.paper import table1, table2_left, table4

PAPER = load_paper()
SEEDS = 4
LOSSES = ("none", "standard", "pixelwise")
NOISE = 0.004  # of a training run, which raw and averaged weights share
JITTER = 0.0002  # of a reading
MOST_WORDS = 30
Shifts = Mapping[str, tuple[float, float]]  # of raw and averaged weights, by loss


def record(shifts: Shifts, *, seeds: int = SEEDS, noise: float = NOISE) -> pd.DataFrame:
    """A finished ablation: a level per seed, noise per run, and these shifts."""
    random = np.random.default_rng(8)
    levels = 0.6 + 0.02 * random.normal(size=seeds)
    rows = []
    for loss, both in shifts.items():
        for seed in range(seeds):
            run = levels[seed] + noise * random.normal()
            raw, averaged = (run + shift + JITTER * random.normal() for shift in both)
            rows.append(
                {
                    "adversarial": loss,
                    "lambda_adv": 0.0 if loss == "none" else 0.01,
                    "seed": seed,
                    "val/miou": raw,
                    "swa/miou": averaged,
                }
            )
    return frame(rows)


AVERAGING_ALONE = dict.fromkeys(LOSSES, (0.0, 0.02))


def exact(raw: Sequence[float], averaged: Sequence[float], loss: str) -> list[dict[str, object]]:
    return [
        {
            "adversarial": loss,
            "lambda_adv": 0.0 if loss == "none" else 0.01,
            "seed": seed,
            "val/miou": one,
            "swa/miou": other,
        }
        for seed, (one, other) in enumerate(zip(raw, averaged, strict=True))
    ]


def shown(table: pd.DataFrame) -> list[tuple[str, ...]]:
    return [tuple(map(text, row)) for row in table.itertuples(index=False, name=None)]


def test_what_averaging_alone_does_is_not_said_of_the_loss() -> None:
    trials = record(AVERAGING_ALONE)
    apart = effects_of(trials)
    overall = apart.averaging.overall
    assert overall.low < 0.02 < overall.high
    assert overall.low > 0.019
    for by_pair in (apart.raw, apart.averaged, apart.mean, apart.interaction):
        assert not [pair for pair, found in by_pair.items() if found.distinguishable]
    told = effects(trials).attrs["finding"]
    assert told.startswith("Averaged mIoU is 2.0")
    assert "Pixel-wise loss and the baseline are not distinguishable (" in told
    # The rows of Table 4 differ by these two points all the same, and it does not say so.
    table = table4([trials], PAPER)
    means = [cell.mean for cell in table["shapes (generated) [%]"]]
    assert means[1] - means[0] > 0.01
    said = f"{table.attrs['finding']} {table.attrs['caption']}"
    assert "above" not in said
    assert "averaged standard and averaged baseline are not distinguishable (" in said


def test_table_4_tests_pixelwise_against_standard() -> None:
    shifts = {"none": (0.0, 0.0), "standard": (0.03, 0.03), "pixelwise": (0.06, 0.06)}
    finding = table4([record(shifts, noise=JITTER)], PAPER).attrs["finding"]
    assert finding.startswith("shapes (generated): averaged pixel-wise is 2.99 ")
    assert " points above averaged standard (" in finding


def test_tables_1_to_3_say_that_their_gain_is_of_both() -> None:
    table = table2_left(record(AVERAGING_ALONE), PAPER)
    assert " points above raw baseline (" in table.attrs["finding"]
    assert table.attrs["finding"].startswith("mIoU: averaged pixel-wise is ")
    assert "Gains are of loss and averaging together" in table.attrs["caption"]


def test_a_pure_interaction_is_found_as_one() -> None:
    trials = record({"none": (0.01, 0.0), "pixelwise": (0.0, 0.01)}, noise=JITTER)
    apart = effects_of(trials)
    pair = ("pixel-wise", "baseline")
    interaction = apart.interaction[pair]
    assert interaction.difference == pytest.approx(0.02, abs=5 * JITTER)
    assert interaction.distinguishable
    assert not apart.mean[pair].distinguishable
    assert not apart.averaging.overall.distinguishable
    assert apart.raw[pair].high < 0 < apart.averaged[pair].low
    assert (
        "Averaging's gain at pixel-wise is 1.978 points above that at baseline"
        in effects(trials).attrs["finding"]
    )


def test_equal_runs_have_no_effect() -> None:
    same = (0.6, 0.62, 0.61)
    trials = frame([row for loss in LOSSES for row in exact(same, same, loss)])
    table = effects(trials)
    # Means, then differences that are all 0: pure float noise is no effect.
    assert [row[1:] for row in shown(table)[3:]] == [
        ("—", "—", "—", "0.00 ± 0.00, n.d."),
        *[("0.00 ± 0.00, n.d.",) * 4] * 3,
    ]


def test_contrasts_of_two_losses_are_students() -> None:
    rows = exact((0.60, 0.62, 0.61), (0.61, 0.63, 0.62), "none")
    rows += exact((0.63, 0.64, 0.65), (0.66, 0.65, 0.68), "pixelwise")
    # Raw differences 3, 2, 4: mean 3, deviation 1, t(2, 97.5 %) / sqrt 3 = 2.48; averaged ones 5,
    # 2, 6: mean 4.33, deviation 2.08. Averaging gains 1, 1, 1 and 3, 1, 3: interaction 2, 0, 2.
    table = effects(frame(rows))
    assert next(iter(table)) == "loss"
    assert shown(table)[3] == (
        "pixel-wise less baseline, points",
        "+3.0 ± 2.5",
        "+4 ± 5, n.d.",
        "+4 ± 4, n.d.",
        "+1.3 ± 2.9, n.d.",
    )
    # Over both losses averaging gains 2, 1, 2: mean 5 / 3, deviation 0.577.
    assert shown(table)[2][-1] == "+1.7 ± 1.4"


def test_averaging_is_read_within_runs_whose_noise_it_does_not_share() -> None:
    quiet, loud = (effects_of(record(AVERAGING_ALONE, noise=noise)) for noise in (0.0, 0.05))
    assert loud.averaging.overall.half == pytest.approx(quiet.averaging.overall.half, rel=0.01)
    for pair, found in loud.interaction.items():
        assert found.half == pytest.approx(quiet.interaction[pair].half, rel=0.01)
        assert loud.raw[pair].half > 20 * found.half


def test_one_seed_gives_differences_and_no_verdict() -> None:
    table = effects(record(AVERAGING_ALONE, seeds=1))
    cells = [cell for row in shown(table) for cell in row[1:] if cell != "—"]
    assert all(cell.endswith("(1 seed)") for cell in cells)
    assert "cannot be told apart by one seed" in table.attrs["finding"]


def test_what_is_missing_is_a_dash_and_the_rest_is_compared() -> None:
    trials = record(AVERAGING_ALONE)
    without = trials[trials["adversarial"] != "standard"].copy()
    without.loc[(without["adversarial"] == "none") & (without["seed"] == 1), "val/miou"] = math.nan
    table = effects(without[~((without["adversarial"] == "pixelwise") & (without["seed"] == 2))])
    assert [row[0] for row in shown(table)] == [
        "baseline",
        "pixel-wise",
        "all losses",
        "pixel-wise less baseline, points",
    ]
    assert table.loc[0, AVERAGING].n == 3
    assert "value missing" in table.attrs["finding"]
    alone = effects(trials[trials["adversarial"] == "none"])
    assert [row[0] for row in shown(alone)] == ["baseline"]
    assert alone.attrs["finding"].startswith("Averaged mIoU is 2.0")
    empty = trials.assign(**{"val/miou": math.nan, "swa/miou": math.nan})
    assert {cell for row in shown(effects(empty)) for cell in row[1:]} == {"—"}


@pytest.mark.parametrize("seeds", [1, 2, SEEDS])
def test_findings_are_short(seeds: int) -> None:
    trials = record({"none": (0.0, 0.02), "standard": (0.0, 0.02), "pixelwise": (0.02, 0.05)})
    trials = trials[trials["seed"] < seeds]
    for table in (effects(trials), table4([trials], PAPER), table2_left(trials, PAPER)):
        for sentence in table.attrs["finding"].splitlines():
            assert len(sentence.split()) <= MOST_WORDS, sentence


def test_the_gains_of_classes_are_one_family_and_are_counted() -> None:
    trials = record({"none": (0.0, 0.0), "pixelwise": (0.02, 0.02)}, noise=0.001)
    random = np.random.default_rng(9)
    classes = [f"class{i}" for i in range(21)]
    lost = np.where(np.arange(21) < 2, -0.04, 0.0)  # of the first two
    details = {}
    for row in trials.to_dict("records"):
        shift = lost * (row["adversarial"] == "pixelwise") + 0.001 * random.normal(size=21)
        details[row["run_id"]] = {"classes": classes} | {
            f"{w}/iou": [*(row[f"{w}/miou"] + shift)] for w in ("val", "swa")
        }
    table = table1(trials, details, PAPER)
    gains = table["gain [points]"][:-1]
    assert {gain.family for gain in gains} == {21}
    assert [gain.high < 0 for gain in gains] == [True] * 2 + [False] * 19
    assert (
        "19 of the 21 classes with an interval are higher; with 95 % between 19 and 19 gain"
        in table.attrs["caption"]
    )


# By lambda


def lambdas(values: dict[float, tuple[list[float], list[float]]]) -> pd.DataFrame:
    """Trials of raw and averaged mIoU by lambda and seed."""
    rows = [
        {"lambda_adv": value, "seed": seed, "status": "FINISHED", "run_id": f"{value}-{seed}"}
        | {"val/miou": raw, "swa/miou": averaged}
        for value, (raws, averages) in values.items()
        for seed, (raw, averaged) in enumerate(zip(raws, averages, strict=True))
    ]
    frame = pd.DataFrame(rows)
    frame.attrs = {"dataset": "shapes", "sweep": "lambda_grid", "trials_total": len(rows)}
    return frame


RAWS = {0.0: [0.60, 0.62, 0.61], 0.1: [0.601, 0.619, 0.611], 1.0: [0.55, 0.571, 0.56]}


def test_each_lambda_is_compared_with_0_and_averaging_within_the_run_and_over_all() -> None:
    values = {
        k: (raw, [v + 0.02 + 0.0005 * i for i, v in enumerate(raw)]) for k, raw in RAWS.items()
    }
    table = lambda_effects(lambdas(values))
    assert [*table["lambda_adv"]] == [0.0, 0.1, 1.0, "all"]
    raw, averaged, averaging = (table[name] for name in table.columns[1:])
    assert raw[0] is None
    assert [raw[i].difference for i in (1, 2)] == pytest.approx([0.0003, -0.0497], abs=1e-4)
    assert [raw[i].distinguishable for i in (1, 2)] == [False, True]
    assert [averaged[i].distinguishable for i in (1, 2)] == [False, True]
    assert (raw[1].family, averaging[0].family, averaging[3].family) == (2, 3, 1)
    assert averaging[3].difference == pytest.approx(0.0205)
    first, second = table.attrs["finding"].split("\n")
    assert first.startswith("Averaged mIoU over all lambdas is 2.0")
    assert second.startswith("Averaged mIoU at lambda 1 is 4.97 points below that at lambda 0")
    assert second.endswith("1 of 2 differ from 0")
    assert max(len(line.split()) for line in (first, second)) <= 30


def test_without_lambda_0_or_a_second_seed_nothing_is_claimed_of_it() -> None:
    few = lambda_effects(lambdas({0.1: (RAWS[0.1], RAWS[0.1])}))
    assert few.attrs["finding"].startswith("Averaged mIoU over all lambdas and the raw one")
    assert "lambda 0" not in few.attrs["finding"]
    single = lambda_effects(lambdas({k: (raw[:1], raw[:1]) for k, raw in RAWS.items()}))
    assert "no interval" in single.attrs["finding"]
    assert "differ from" not in single.attrs["finding"]
