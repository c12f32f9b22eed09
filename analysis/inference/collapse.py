"""Runs that collapsed: far below what the same setting reaches with another seed."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.inference.blocks import finite

SHARE = 0.5  # of the setting's best run, below which a run has collapsed,
LEAST_FALL = 0.10  # and lies by at least so much lower, as a fraction


def collapsed(by_seed: Mapping[int, float]) -> list[int]:
    """Return the seeds at which a setting's run collapsed, in their order.

    A run has collapsed if its mIoU is less than half of the setting's highest and at least 10
    points below it. It stays in the mean, whose interval it widens; tables name it and give the
    median beside.

    Args:
        by_seed: mIoU of each seed, as a fraction.
    """
    known = finite(by_seed)
    most = max(known.values(), default=0.0)
    return [
        seed
        for seed, value in sorted(known.items())
        if value < SHARE * most and value <= most - LEAST_FALL
    ]
