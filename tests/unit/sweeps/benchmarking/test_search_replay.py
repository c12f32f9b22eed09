"""The replayed table: what is counted, and that free readouts save training runs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from pathlib import Path
from statistics import median

import pytest
from record_helpers import BASE, DATA, fail, finish
from search_helpers import miou

from sweeps.benchmarking import search_replay
from sweeps.benchmarking.search_replay import (
    Cell,
    Table,
    _in_numbers,
    plan_table,
    read_table,
    replay,
    table_space,
)
from sweeps.search.spaces.axes import Choice
from sweeps.search.spaces.space import READOUTS
from trainable.data import datasets

LAMBDAS, RATES = (0.001, 0.005, 0.02, 0.1, 0.5), (0.005, 0.01, 0.02, 0.04)
INTERVALS, THRESHOLDS = (1, 5, 20), (0.0, 0.25, 0.5)
AXES = {
    "lambda_adv": Choice(LAMBDAS),
    "lr_generator": Choice(RATES),
    "swa_n": Choice(INTERVALS),
    "swa_threshold": Choice(THRESHOLDS),
}


def table() -> Table:
    values: dict[Cell, dict[Cell, float]] = {}
    for cell in itertools.product(LAMBDAS, RATES):
        config = dataclasses.replace(BASE, lambda_adv=cell[0], lr_generator=cell[1])
        readouts = itertools.product(INTERVALS, THRESHOLDS)
        values[cell] = {
            (n, threshold): miou(
                config, dataclasses.replace(config.readout, swa_n=n, swa_threshold=threshold)
            )[1]
            for n, threshold in readouts
        }
    values[0.001, 0.005] = {}  # diverged
    return Table(axes=AXES, values=values)


def test_exhaustive_readouts_need_fewer_training_runs_than_sampled_ones() -> None:
    runs = {way: [replay(table(), way, seed, BASE) for seed in range(12)] for way in READOUTS}
    assert median(runs["exhaustive"]) < median(runs["sampled"])
    assert all(1 <= count <= 20 for way in READOUTS for count in runs[way])


def test_a_replay_follows_from_its_seed() -> None:
    first, again = ([replay(table(), "sampled", s, BASE) for s in range(6)] for _ in range(2))
    assert first == again
    assert len(set(first)) > 1


def test_a_search_that_does_not_get_there_counts_as_the_whole_table(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search_replay, "MAX_ASKS", 1)
    assert max(replay(table(), "sampled", seed, BASE) for seed in range(5)) == 20


def test_a_setting_that_is_suggested_again_costs_no_run() -> None:
    narrow: dict[Cell, dict[Cell, float]] = {
        (0.001, 0.005): {(1, 0.0): 0.1},
        (0.5, 0.005): {(1, 0.0): 0.5},
    }
    one = AXES | {
        "lambda_adv": Choice((0.001, 0.5)),
        "lr_generator": Choice((0.005,)),
        "swa_n": Choice((1,)),
        "swa_threshold": Choice((0.0,)),
    }
    counts = {replay(Table(axes=one, values=narrow), "exhaustive", s, BASE) for s in range(20)}
    assert counts == {1, 2}


def test_a_table_is_read_from_run_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "inspect", lambda base: DATA)
    state = plan_table(BASE, tmp_path)
    assert len(state.runs) == 36
    assert {len(run.trials) for run in state.runs} == {6 * 7}
    fail(state, state.runs[0], "loss_mce is nan")
    for run in state.runs[1:]:
        finish(state, run, miou)
    found = read_table(state)
    space = table_space(BASE)
    diverged = [cell for cell, values in found.values.items() if not values]
    assert diverged == [tuple(getattr(state.runs[0].spec.config, name) for name in space.training)]
    assert found.best == max(miou(t.config, t.config.readout)[1] for t in state.trials)


@pytest.mark.parametrize(("runs", "low", "high"), [(range(20), 5, 14), ([3], 3, 3), ([4, 9], 4, 9)])
def test_the_interval_of_the_median_is_that_of_order_statistics(
    runs: Iterable[int], low: int, high: int
) -> None:
    found = _in_numbers(list(runs))
    assert (found["ci_low"], found["ci_high"]) == (low, high)
