"""Times in words."""

import pytest

from trainable.cli.durations import format_roughly, format_seconds


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-3.0, "00:00:00"),
        (59.6, "00:01:00"),
        (3661.0, "01:01:01"),
        (86_399.4, "23:59:59"),
        (90_061.0, "1 d 01:01:01"),
    ],
)
def test_a_time_counts_from_seconds_to_days(seconds: float, words: str) -> None:
    assert format_seconds(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "1 second"),
        (1.2, "1 second"),
        (119.0, "119 seconds"),
        (150.0, "2 minutes"),
        (7_199.0, "120 minutes"),
        (7_200.0, "2 hours"),
        (180_000.0, "2 days"),
    ],
)
def test_an_estimate_has_one_unit(seconds: float, words: str) -> None:
    assert format_roughly(seconds) == words
