"""The card of the best setting: what the tables name, in words, with the commands that train it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import pytest
from report_helpers import page, section

from analysis.report.best_card import best_card

CLEAR = {0.0: (0.50, 0.51, 0.52), 0.01: (0.70, 0.71, 0.72), 0.1: (0.60, 0.61, 0.62)}


def frame_of(
    values: Mapping[float, Sequence[float]], *, dataset: str = "shapes", phase: str = ""
) -> pd.DataFrame:
    rows = [
        {"lambda_adv": value, "seed": seed, "swa/miou": miou}
        for value, mious in values.items()
        for seed, miou in enumerate(mious)
    ]
    frame = pd.DataFrame(rows).assign(status="FINISHED", phase=phase)
    frame.attrs = {"dataset": dataset, "sweep_key": "a" * 16}
    return frame


def test_the_card_says_setting_mean_standing_and_the_commands() -> None:
    card = best_card(frame_of(CLEAR), ["lambda_adv"])
    assert card is not None
    assert card.setting == [("lambda_adv", "0.01")]
    # Mean 0.71, standard deviation 0.01, t(2 degrees, 97.5 %) = 4.303.
    assert card.score == (
        "71.0 % (95 % 68.5 to 73.5, 3 seeds), optimistic, since the same seeds have picked it"
    )
    assert card.commands == [
        f"python -m sweeps.best {'a' * 16} --out best.yaml",
        "python -m trainable.train --config best.yaml",
    ]
    elsewhere = best_card(frame_of(CLEAR, dataset="voc2012"), ["lambda_adv"])
    assert elsewhere is not None
    assert elsewhere.commands[1].endswith("--config best.yaml --data-root DIR")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            CLEAR,
            "stands out from 2 of 2 other settings at these seeds",
        ),
        (
            {0.0: (0.10, 0.11, 0.12), 0.01: (0.90, 0.91, 0.92), 0.1: (0.85, 0.93, 0.90)},
            "stands out from 1 of 2 other settings at these seeds; 1 may be as good",
        ),
        ({0.0: (0.5,), 0.1: (0.7,)}, "stands out from none of 1 other setting at these seeds"),
        ({0.1: (0.7, 0.8)}, "no other setting has numbers"),
    ],
)
def test_the_card_counts_the_settings_that_are_lower(
    values: Mapping[float, Sequence[float]], said: str
) -> None:
    card = best_card(frame_of(values), ["lambda_adv"])
    assert card is not None
    assert card.standing == said


def test_what_a_search_confirmed_counts_alone() -> None:
    searched = frame_of({0.0: (0.99,), 0.1: (0.5,)}, phase="search")
    fresh = frame_of({0.0: (0.6, 0.61), 0.1: (0.7, 0.71)}, phase="confirm")
    both = pd.concat([searched, fresh], ignore_index=True)
    both.attrs = fresh.attrs
    card = best_card(both, ["lambda_adv"])
    assert card is not None
    assert card.setting == [("lambda_adv", "0.1")]


def test_no_card_where_no_setting_can_be_named() -> None:
    frame = frame_of(CLEAR)
    twice = pd.concat([frame, frame], ignore_index=True)
    twice.attrs = frame.attrs
    for trials in (twice, frame.assign(status="FAILED"), frame.drop(columns="lambda_adv")):
        assert best_card(trials, ["lambda_adv"]) is None
    assert 'class="best"' not in page(section())


def test_the_page_has_the_card_of_a_sweep_and_trusts_none_of_its_words() -> None:
    frame = frame_of(CLEAR)
    frame.attrs["sweep_key"] = "<b>; rm x"
    html = page(section(best=best_card(frame, ["lambda_adv"])))
    assert "<span>lambda_adv = <strong>0.01</strong></span>" in html
    assert "<code>python -m sweeps.best &#39;&lt;b&gt;; rm x&#39; --out best.yaml</code>" in html
