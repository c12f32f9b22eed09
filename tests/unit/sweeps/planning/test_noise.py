"""What a plan says its seeds could show: by the noise of runs that are there, or by assumption."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from record_helpers import BASE, finish, grid, sweep_state

from sweeps.planning.cost import describe
from sweeps.planning.noise import ASSUMED, noise_of, results_in_storage_of
from sweeps.planning.state import SweepState
from trainable.config.schema import Readout, TrialConfig

DEVIATION = 0.02
LAMBDAS = (0.0, 0.01, 0.1)


def noisy(config: TrialConfig, readout: Readout) -> tuple[float, float]:
    """Setting + seed + noise of that deviation, and a seed's shift that is ten times as large."""
    of_run = np.random.default_rng([config.seed, round(1000 * config.lambda_adv)])
    shift = np.random.default_rng(config.seed).normal(0, 10 * DEVIATION)
    return 0.5, 0.5 + config.lambda_adv + shift + of_run.normal(0, DEVIATION)


def trained(
    storage: Path, seeds: int, *, lambdas: tuple[float, ...] = LAMBDAS, **changes: object
) -> SweepState:
    state = sweep_state(storage, grid(lambdas, range(seeds), **changes))
    for run in state.runs:
        finish(state, run, noisy)
    return state


def told(state: SweepState, head: str, *, searching: bool = False) -> str:
    lines = describe(state, searching=searching).splitlines()
    (found,) = [line.removeprefix(head).strip() for line in lines if line.startswith(head)]
    return found


def test_noise_is_what_setting_and_seed_leave(tmp_path: Path) -> None:
    state = trained(tmp_path, 30)
    found = noise_of(state.plan, results_in_storage_of(state))
    assert found.deviation == pytest.approx(DEVIATION, rel=0.2)
    assert found.runs == 90


def test_runs_of_other_settings_of_the_sweep_tell_its_noise(tmp_path: Path) -> None:
    trained(tmp_path, 10)
    state = sweep_state(tmp_path, grid([0.3, 0.5], range(100, 103)))
    assert told(state, "noise:").endswith(f"by 30 earlier runs in {tmp_path}")


@pytest.mark.parametrize(
    "earlier",
    [
        lambda storage: trained(storage, 10, crop_px=40),  # another training
        lambda storage: trained(storage, 10, swa_n=BASE.swa_n + 1),  # another readout
        lambda storage: trained(storage, 1),  # no seed is repeated
        lambda storage: trained(storage, 3, lambdas=(0.0, 0.01)),  # 2 degrees of freedom
    ],
)
def test_noise_is_assumed_and_said_to_be_where_too_few_runs_tell(
    earlier: Callable[[Path], SweepState], tmp_path: Path
) -> None:
    earlier(tmp_path)
    state = sweep_state(tmp_path, grid(LAMBDAS, range(100, 103)))
    assert noise_of(state.plan, results_in_storage_of(state)).deviation == ASSUMED
    assert told(state, "noise:").startswith("0.7 points between runs of a seed, assumed, ")


def test_a_plan_says_which_difference_its_seeds_would_show_and_more_seeds(tmp_path: Path) -> None:
    said = told(sweep_state(tmp_path, grid(LAMBDAS, range(3))), "power:")
    assert said.startswith("3 seeds per setting would show a difference to the best of about ")
    first, five, ten = (float(word.split()[-1]) for word in numbers(said))
    assert first > five > ten
    assert told(sweep_state(tmp_path, grid(LAMBDAS, range(5))), "power:").startswith(
        f"5 seeds per setting would show a difference to the best of about {five} points "
    )


def numbers(said: str) -> list[str]:
    first, *more = said.split("; ")
    return [first.partition(" points")[0], *more]


def test_of_a_search_the_seeds_that_confirm_it_count(tmp_path: Path) -> None:
    asks = grid([0.1, 0.2, 0.3, 0.4], [BASE.seed])
    fresh = grid([0.1, 0.2], range(BASE.seed + 1, BASE.seed + 4))
    alone = told(sweep_state(tmp_path, fresh), "power:")
    assert told(sweep_state(tmp_path, asks + fresh), "power:", searching=True) == alone
    assert alone.startswith("3 seeds per setting")


@pytest.mark.parametrize("trials", [grid(LAMBDAS), grid([0.1], range(3))])
def test_one_seed_or_one_setting_shows_no_difference(
    trials: list[TrialConfig], tmp_path: Path
) -> None:
    assert told(sweep_state(tmp_path, trials), "power:").startswith("none: ")


def test_a_damaged_run_of_before_says_nothing_and_stops_nothing(tmp_path: Path) -> None:
    state = trained(tmp_path, 5)
    (tmp_path / state.runs[0].spec.training_key / "result.json").write_text("{")
    other = sweep_state(tmp_path, [dataclasses.replace(one, seed=50) for one in grid(LAMBDAS)])
    assert noise_of(other.plan, results_in_storage_of(other)).runs == 14
