"""The cost of the SWA grid beside one run per trial, by the program that measures both."""

from __future__ import annotations

import argparse

import pytest
from small import SMALL

from sweeps.benchmarking import swa_cost
from trainable.cli.parsed_options import read_options


@pytest.mark.slow
def test_the_program_measures_both_sides_and_finds_the_same_bits() -> None:
    parser = argparse.ArgumentParser()
    swa_cost.add_swa(parser.add_subparsers(dest="benchmark"))
    sets = [part for setting in SMALL for part in ("--set", setting)]
    parsed = parser.parse_args(["swa", "--seeds", "2", *sets])
    found = swa_cost.swa_cost(read_options(swa_cost.SwaCostOptions, parsed))
    assert (found["trials"], found["training_runs"]) == (120, 2)  # n has 5 values in 12 iterations
    assert (found["sample"], found["sample_with_the_same_bits"]) == (3, 3)
    assert found["naive_s"] == found["naive_run_s"] * 120
    assert found["ratio"] == found["naive_s"] / found["grid_s"]
