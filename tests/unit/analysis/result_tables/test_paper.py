"""The paper's printed numbers: complete, in the digits printed, and at one with each other."""

from decimal import Decimal
from typing import Any

import pytest

from analysis import load_paper
from analysis.result_tables import claim_contrasts
from trainable.data.sources.voc import CLASSES

PAPER = load_paper()
SAID = {"table1", "table2_left", "table2_right", "table3", "table4", "swa"}


def numbers(block: Any) -> list[str]:
    """Every number that stands as text in the block."""
    if isinstance(block, dict):
        return [found for part in block.values() for found in numbers(part)]
    if isinstance(block, list):
        return [found for part in block for found in numbers(part)]
    return [block] if isinstance(block, str) and block.replace(".", "", 1).isdigit() else []


@pytest.mark.parametrize("name", sorted(SAID))
def test_every_table_says_where_it_is_printed_and_in_which_unit(name: str) -> None:
    block = PAPER[name]
    assert block["where"]
    assert block["unit"] in ("fraction", "percent")
    found = [Decimal(number) for number in numbers(block)]
    limit = 1 if block["unit"] == "fraction" else 100
    assert all(0 <= number <= limit for number in found)


def test_nothing_is_there_that_this_file_does_not_check() -> None:
    assert set(PAPER) == SAID | {"fig4", "claims"}
    counts = {name: len(numbers(PAPER[name])) for name in SAID}
    assert counts == {
        "table1": 44,
        "table2_left": 12,
        "table2_right": 8,
        "table3": 8,
        "table4": 6,
        "swa": 4,
    }


def test_numbers_have_the_digits_they_are_printed_with() -> None:
    places = {
        name: {len(number.partition(".")[2]) for number in numbers(PAPER[name])} for name in SAID
    }
    assert places == {
        "table1": {2, 3},
        "table2_left": {1},
        "table2_right": {3},
        "table3": {3},
        "table4": {3},
        "swa": {0, 1},
    }


def test_table_1_has_the_classes_of_the_data_set_in_its_order() -> None:
    table = PAPER["table1"]
    assert tuple(table["classes"]) == CLASSES
    for row in table["rows"].values():
        assert len(row["iou"]) == 21
        mean = sum(map(Decimal, row["iou"]), Decimal(0)) / 21
        # Each class is rounded to 0.01, the mean to 0.001.
        assert abs(mean - Decimal(row["miou"])) <= Decimal("0.0055")


def test_the_gains_of_table_2_are_its_differences() -> None:
    for row in PAPER["table2_left"]["rows"]:
        assert Decimal(row["gain"]) == Decimal(row["adversarial"]) - Decimal(row["baseline"])


def test_what_is_printed_twice_is_the_same() -> None:
    right, third, fourth = (PAPER[name]["rows"] for name in ("table2_right", "table3", "table4"))
    for row, loss in (("baseline", "baseline"), ("proposed", "pixelwise")):
        assert PAPER["table1"]["rows"][row]["miou"] == right[row]["miou"] == fourth[loss]["voc2012"]
        assert third[row]["miou"] == fourth[loss]["segtrackv2"]
    proposed = PAPER["table2_left"]["rows"][-1]
    assert Decimal(proposed["baseline"]) == 100 * Decimal(right["baseline"]["miou"])
    assert Decimal(proposed["adversarial"]) == 100 * Decimal(right["proposed"]["miou"])


def test_the_swa_statements_agree_with_the_tables_and_the_figure() -> None:
    swa = PAPER["swa"]
    baseline = Decimal(PAPER["table2_left"]["rows"][-1]["baseline"])
    assert Decimal(swa["best_miou"]["value"]) - baseline == Decimal(swa["gain"]["value"])
    points = {(p["lambda_adv"], p["weights"]): p["miou"] for p in PAPER["fig4"]["points"]}
    assert points == {
        (0.0, "raw"): float(baseline),
        (0.0, "swa"): float(swa["best_miou"]["value"]),
        (0.01, "swa"): float(PAPER["table2_left"]["rows"][-1]["adversarial"]),
    }


def test_the_claims_print_what_the_tables_and_the_text_do() -> None:
    claims = PAPER["claims"]
    fourth = {
        loss: {dataset: 100 * Decimal(number) for dataset, number in by_dataset.items()}
        for loss, by_dataset in PAPER["table4"]["rows"].items()
    }
    averaged = Decimal(PAPER["swa"]["best_miou"]["value"])
    printed = {
        "swa_gain": Decimal(PAPER["swa"]["gain"]["value"]),
        "swa_n": Decimal(PAPER["swa"]["variation_over_n"]["value"]),
        "together": Decimal(PAPER["table2_left"]["rows"][-1]["gain"]),
        "together_segtrack": fourth["pixelwise"]["segtrackv2"] - fourth["baseline"]["segtrackv2"],
        "loss_alone": fourth["pixelwise"]["voc2012"] - averaged,
        "pixelwise_standard": fourth["pixelwise"]["voc2012"] - fourth["standard"]["voc2012"],
        "standard_fails": fourth["standard"]["segtrackv2"] - fourth["baseline"]["segtrackv2"],
    }
    assert {
        k: Decimal(claim["points"]) for k, claim in claims.items() if claim["points"]
    } == printed
    assert claims["swa_n"]["below"] == PAPER["swa"]["variation_over_n"]["value"]
    first = PAPER["table1"]["rows"]
    gains = [
        Decimal(one) > Decimal(other)
        for one, other in zip(first["proposed"]["iou"], first["baseline"]["iou"], strict=True)
    ]
    assert f"{sum(gains)} of {len(gains)}" in claims["classes"]["where"]
    assert sum(gains) / len(gains) == claim_contrasts.CLASSES
    for claim in claims.values():
        assert claim["where"]
        assert ("above" in claim) != ("below" in claim)
