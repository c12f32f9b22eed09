"""Importance of settings: a share beside chance's, and no verdict where nothing is to find."""

from __future__ import annotations

import json

import figure_data
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from analysis import simulate_importance as simulation
from analysis.record.schema import RecordError
from analysis.stats.importance import ABOVE, CHANCE, describe_importance, importance_table

Numbers = NDArray[np.float64]


def search(settings: dict[str, Numbers], values: Numbers) -> pd.DataFrame:
    rows = [
        {name: of[ask] for name, of in settings.items()}
        | {"ask": float(ask), "swa/miou": values[ask], "val/miou": values[ask]}
        | {"phase": "search", "search_state": "COMPLETE"}
        for ask in range(len(values))
    ]
    trials = figure_data.frame(rows)
    trials.attrs["axes"] = tuple(settings)
    return trials


def uniform(seed: int, *names: str, n: int = 12) -> dict[str, Numbers]:
    random = np.random.default_rng(seed)
    return {name: random.random(n) for name in names}


def test_the_share_is_r_squared_on_a_parabola() -> None:
    settings = uniform(0, "momentum", "swa_decay", n=40)
    values = np.random.default_rng(1).random(40)
    table = importance_table(search(settings, values)).set_index("parameter")
    for name, at in settings.items():
        left = values - np.polyval(np.polyfit(at, values, 2), at)
        assert table["share"][name] == pytest.approx(1 - left.var() / values.var())
    assert table["chance"].nunique() == 1
    assert table["n_suggestions"].tolist() == [40, 40]


@pytest.mark.parametrize("asks", [12, 30])
def test_settings_without_effect_are_seldom_above_chance(asks: int) -> None:
    false = 0
    for seed in range(40):
        settings = uniform(seed, "momentum", "swa_decay", "poly_power", n=asks)
        table = importance_table(search(settings, np.random.default_rng(seed + 10**6).random(asks)))
        false += (table["verdict"] == ABOVE).any()
    assert false <= 6  # at 0.05, more has a probability of 0.003


def test_a_clear_effect_is_found_in_twelve_suggestions() -> None:
    found = 0
    for seed in range(40):
        settings = uniform(seed, "momentum", "swa_decay", "poly_power")
        noise = np.random.default_rng(seed + 10**6).normal(0, 0.05, 12)
        table = importance_table(search(settings, noise - (settings["momentum"] - 0.4) ** 2))
        above = table.loc[table["verdict"] == ABOVE, "parameter"].tolist()
        found += above == ["momentum"]
    assert found >= 32


def test_a_sampler_that_homes_in_makes_no_setting_important() -> None:
    # Both settings and the value drift over the search; within six suggestions little is related.
    random = np.random.default_rng(0)
    drift = np.linspace(0, 1, 100)
    settings = {name: drift + random.random(100) for name in ("momentum", "swa_decay")}
    table = importance_table(search(settings, drift + random.normal(0, 0.1, 100)))
    assert (table["share"] > 0.4).all()
    assert table["verdict"].tolist() == [CHANCE, CHANCE]


def test_readouts_of_a_run_count_as_one_where_they_are_alike() -> None:
    tables = [importance_table(simulation.readouts(12, seed)) for seed in range(40)]
    assert sum((table["verdict"] == ABOVE).any() for table in tables) <= 6
    assert {tuple(table["kind"]) for table in tables} == {("readout", "readout")}
    assert tables[0][["n_suggestions", "n_values"]].to_numpy().tolist() == 2 * [[12, 12 * 36]]


def test_both_kinds_share_the_error_and_words_are_compared_by_their_means() -> None:
    trials = figure_data.joint_search(asks=30, confirmed=0)
    trials.attrs["axes"] += ",swa_rule"
    trials["swa_rule"] = np.where(trials["ask"] % 2 == 0, "eq7", "ema")
    trials["swa/miou"] += 0.2 * (trials["swa_rule"] == "ema")
    table = importance_table(trials)
    assert table.groupby("kind")["chance"].nunique().tolist() == [1, 1]
    first = table.iloc[0]
    assert (first["parameter"], first["verdict"]) == ("swa_rule", ABOVE)
    assert first["p"] == pytest.approx(2 / 1000)  # the smallest: one in 1,000, over two kinds


def test_readouts_without_any_difference_leave_the_settings_of_the_training() -> None:
    trials = figure_data.joint_search(asks=30, confirmed=0)
    trials["swa/miou"] = trials["val/miou"]
    table = importance_table(trials).set_index("parameter")
    assert tuple(table.loc["swa_n", ["share", "p", "verdict"]]) == (0, 1, CHANCE)
    assert table["verdict"]["lr_generator"] == ABOVE


def test_the_sentence_names_what_is_above_chance_or_that_nothing_is() -> None:
    settings = uniform(3, "momentum", "swa_decay", "poly_power")
    nothing = describe_importance(importance_table(search(settings, uniform(4, "y")["y"])))
    assert nothing.startswith("None of 3 settings is distinguishable from chance in 12 suggestions")
    hill = np.asarray(-((settings["momentum"] - 0.4) ** 2), dtype=np.float64)
    something = describe_importance(importance_table(search(settings, hill)))
    assert something == (
        "Above chance in 12 suggestions, by R² alone: momentum 1.00 (corrected p at most 0.001); "
        "2 other settings not distinguishable from chance"
    )
    many = describe_importance(
        pd.DataFrame(
            {"parameter": [f"setting_{i}" for i in range(9)], "share": 0.4, "p": 0.01}
            | {"verdict": ABOVE, "n_suggestions": 100}
        )
    )
    assert "setting_2 0.40, 6 more" in many
    for sentence in (nothing, something, many):
        assert len(sentence.split()) <= 30


def test_what_has_no_importance_is_one_line() -> None:
    settings = uniform(0, "momentum")
    with pytest.raises(RecordError, match="needs 10 completed suggestions, but there are 9"):
        importance_table(search({"momentum": settings["momentum"][:9]}, np.arange(9.0)))
    # Float noise is no effect.
    same = np.full(12, 0.7)
    same[::2] += 1.2e-16  # the next number
    with pytest.raises(RecordError, match="equally good"):
        importance_table(search(settings, same))


def test_the_simulation_prints_its_rates(capsys: pytest.CaptureFixture[str]) -> None:
    assert simulation.main(["--repeats", "1"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {(row["search"], row["suggestions"]) for row in printed} >= {
        ("tpe, hill", 100),
        ("random, noise", 12),
        ("readouts, noise", 30),
    }
    assert all(0 <= row["false"] <= 1 for row in printed)
    assert all(("found" in row) == ("noise" not in row["search"]) for row in printed)
