"""The settings of a sweep: their order, how they stand to the best, and the tables of them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from record_helpers import BASE, DATA, finish, grid, sweep_state
from rich.console import Console, RenderableType

from analysis.stats.ranking import Ranking
from sweeps.driver.tables import axis_table, best_table, rows, rows_by_axis
from sweeps.planning.ranking import (
    Setting,
    best_by_axis,
    best_point,
    describe_leader,
    rank_settings,
    settings_of,
)
from sweeps.planning.state import SweepState
from trainable.config.schema import Readout, TrialConfig

AXES = ("lambda_adv", "swa_n")
# By lambda, n and seed. Of lambda 1, n 5 is the best; n 10 is always 0.1 lower, lambda 0 by chance.
SWA = {
    **{(1.0, 5, 0): 0.60, (1.0, 5, 1): 0.70},
    **{(1.0, 10, 0): 0.50, (1.0, 10, 1): 0.60},
    **{(0.0, 5, 0): 0.64, (0.0, 5, 1): 0.60},
    **{(0.0, 10, 0): 0.40, (0.0, 10, 1): 0.20},
}


@pytest.fixture
def state(tmp_path: Path) -> SweepState:
    configs = [one for n in (5, 10) for one in grid([1.0, 0.0], (0, 1), swa_n=n)]
    state = sweep_state(tmp_path, configs, axes=AXES)

    def miou(config: TrialConfig, readout: Readout) -> tuple[float, float]:
        return 0.5, SWA[config.lambda_adv, readout.swa_n, config.seed]

    for run in state.runs:
        finish(state, run, miou)
    return state


def ranked(state: SweepState) -> Ranking[Setting]:
    ranking = rank_settings(state)
    assert ranking is not None
    return ranking


def text_of(table: RenderableType | None) -> list[list[str]]:
    assert table is not None
    console = Console(file=io.StringIO(), width=160)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return [line.split() for line in console.file.getvalue().splitlines()]


def test_settings_stand_in_the_order_of_their_means(state: SweepState) -> None:
    ranking = ranked(state)
    assert [tuple(one.point(AXES).values()) for one in ranking.order] == [
        (1.0, 5), (0.0, 5), (1.0, 10), (0.0, 10),
    ]  # fmt: skip
    assert [ranking.against_best(one) for one in ranking.order] == [
        "best", *["not distinguishable"] * 3,
    ]  # fmt: skip


def test_the_table_has_numbers_intervals_and_words(state: SweepState) -> None:
    title, head, *lines = text_of(best_table(ranked(state), AXES))
    assert " ".join(title) == "best settings (4 of 4)"
    assert " ".join(head) == (
        "lambda_adv swa_n swa/miou 95 % interval val/miou seeds against the best"
    )
    # Mean 0.65, standard error 0.05, t(1 degree, 97.5 %) = 12.7062.
    assert " ".join(lines[0]) == "1 5 0.6500 0.0147 to 1.0000 0.5000 2 best"
    assert " ".join(lines[2]) == "1 10 0.5500 0.0000 to 1.0000 0.5000 2 not distinguishable"


def test_the_table_has_at_most_five_rows_and_a_single_seed_no_interval(tmp_path: Path) -> None:
    state = sweep_state(tmp_path, grid([0.0, 0.1, 0.2, 0.3, 0.4, 0.5]))
    for run in state.runs:
        finish(state, run)
    title, _, *lines = text_of(best_table(ranked(state), ("lambda_adv",)))
    assert " ".join(title) == "best settings (5 of 6)"
    assert len(lines) == 5
    assert " ".join(lines[0]).startswith("0.5 0.6500 none from one seed")


def printed(table: RenderableType | None, width: int) -> list[str]:
    assert table is not None
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_where_the_axes_do_not_fit_beside_the_numbers_they_stand_below(tmp_path: Path) -> None:
    axes = ("lambda_adv", "lr_generator", "lr_discriminator", "swa_n", "swa_threshold")
    state = sweep_state(tmp_path, grid([0.0, 0.01], (0, 1)), axes=axes)
    for run in state.runs:
        finish(state, run)
    assert "lr_discriminator" in printed(best_table(ranked(state), axes), 160)[1]
    narrow = printed(best_table(ranked(state), axes), 80)
    assert max(map(len, narrow)) <= 80
    head, first, second = (" ".join(line.split()) for line in narrow[1:4])
    assert head == "swa/miou 95 % interval val/miou seeds against the best"
    assert (first[:4], first[-5:]) == ("1 0.", " best")
    assert second.startswith("2 0.")
    below = " ".join(line.strip() for line in narrow[4:])
    assert below.startswith("1: lambda_adv=0.01 lr_generator=")
    assert " 2: lambda_adv=0 lr_generator=" in below


@pytest.mark.parametrize("width", [70, 80])
def test_the_table_by_axis_leaves_out_the_other_axes_where_they_do_not_fit(
    width: int, state: SweepState
) -> None:
    lines = printed(axis_table(ranked(state), AXES), width)
    assert max(map(len, lines)) <= width
    assert ("with" in lines[1]) == (width == 80)
    assert "…" not in "".join(lines)


def test_the_leader_so_far_is_the_best_by_its_seeds_and_not_by_its_luckiest(
    tmp_path: Path,
) -> None:
    state = sweep_state(tmp_path, grid([0.0, 1.0], (0, 1)))
    assert describe_leader(state) == ""
    values = {(0.0, 0): 0.9, (0.0, 1): 0.1, (1.0, 0): 0.6, (1.0, 1): 0.62}

    def miou(config: TrialConfig, readout: Readout) -> tuple[float, float]:
        return 0.5, values[config.lambda_adv, config.seed]

    for run in state.runs:
        finish(state, run, miou)
    assert describe_leader(state) == "swa/miou 0.6100 over 2 seeds at lambda_adv=1"
    assert ranked(state).best.point(["lambda_adv"]) == {"lambda_adv": 1.0}


def test_each_value_of_an_axis_stands_with_its_best_setting(state: SweepState) -> None:
    ranking = ranked(state)
    found = {
        axis: [one.point(AXES) for one in best]
        for axis, best in best_by_axis(ranking, AXES).items()
    }
    assert found == {
        "lambda_adv": [{"lambda_adv": 0.0, "swa_n": 5}, {"lambda_adv": 1.0, "swa_n": 5}],
        "swa_n": [{"lambda_adv": 1.0, "swa_n": 5}, {"lambda_adv": 1.0, "swa_n": 10}],
    }
    lines = text_of(axis_table(ranking, AXES))[2:]
    assert [(line[0], line[-1]) for line in lines] == [
        ("lambda_adv", "swa_n=5"), ("1", "swa_n=5"),
        ("swa_n", "lambda_adv=1"), ("10", "lambda_adv=1"),
    ]  # fmt: skip
    assert axis_table(ranking, ("lambda_adv",)) is None  # would say the same again


def test_programs_get_every_setting(state: SweepState) -> None:
    found: list[dict[str, Any]] = rows(ranked(state), AXES)
    assert len(found) == 4
    assert found[0]["point"] == {"lambda_adv": 1.0, "swa_n": 5}
    assert found[0]["mean/swa/miou"] == pytest.approx(0.65)
    assert found[2]["against_best"] == "not distinguishable"
    assert rows_by_axis(ranked(state), AXES).keys() == set(AXES)


def test_of_a_search_only_the_seeds_that_confirm_are_reported(state: SweepState) -> None:
    def tag(phase_of: dict[int, str]) -> None:
        for trial in state.trials:
            state.retag(trial.trial_key, phase=phase_of[trial.config.seed])

    tag({0: "search", 1: "search"})
    assert len(ranked(state).best.metrics) == 2  # nothing is confirmed yet
    tag({0: "search", 1: "confirm"})
    best = best_point(state)
    assert best is not None
    assert (best.metrics["swa/miou"].mean, best.seeds) == (0.70, 1)


def test_a_plan_without_numbers_has_no_settings(tmp_path: Path) -> None:
    state = sweep_state(tmp_path, [BASE], data=DATA)
    assert settings_of(state) == []
    assert rank_settings(state) is None
    assert (rows(None, AXES), rows_by_axis(None, AXES)) == ([], {})
