"""Words at the ticks of an axis of names."""

from __future__ import annotations

import pytest

from analysis.figures.axes import spoken


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("encoder_decoder_skips", "encoder decoder skips"),
        ('{"depth": 3, "encoder_name": "resnet18"}', "depth=3, encoder_name=resnet18"),
        ("{odd", "{odd"),
    ],
)
def test_a_value_is_said_in_words(name: str, words: str) -> None:
    assert spoken(name) == words
