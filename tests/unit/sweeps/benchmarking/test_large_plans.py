"""Large plans: the program that times them, and what keeps them fast."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from record_helpers import BASE, sweep_state
from torch import nn

from analysis.inference import planning as power
from sweeps.benchmarking import planning
from sweeps.benchmarking.planning import PlanningOptions
from sweeps.planning import cost
from trainable.config import schema
from trainable.config.schema import TrialConfig
from trainable.networks.build import build_generator


def test_the_program_plans_as_many_trials_as_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_commands", lambda seeds: {"seeds": seeds})
    asked = PlanningOptions(benchmark="planning", trials=73, runs=13)
    found = planning.planning(asked)
    assert (found["one_trial_a_run"]["runs"], found["72_trials_a_run"]["runs"]) == (73, 2)
    assert found["commands"] == {"seeds": 3}  # of six lambdas each


@pytest.mark.slow
def test_the_commands_find_the_played_runs_done() -> None:
    found = planning._commands(1)  # raises where `--plan` finds others
    assert found["runs"] == 6


def test_a_config_like_the_one_before_is_checked_in_what_differs_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at: list[str] = []

    def spy(name: str, kind: str, value: Any) -> Any:
        looked_at.append(name)
        return value

    dataclasses.replace(BASE, seed=6)
    monkeypatch.setattr(schema, "coerce", spy)
    dataclasses.replace(BASE, seed=7, swa_n=9)
    assert sorted(looked_at) == ["seed", "swa_n"]


@pytest.mark.parametrize("changes", [{"seed": -1}, {"batch_size": 1, "accumulate": 2}])
def test_what_was_refused_is_refused_again(changes: dict[str, Any]) -> None:
    for _ in range(2):
        with pytest.raises(schema.ConfigError):
            dataclasses.replace(BASE, **changes)


def test_networks_are_built_once_for_all_seeds_weights_and_rates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[float] = []

    def spy(config: TrialConfig, classes: int) -> nn.Module:
        built.append(config.lambda_adv)
        return build_generator(config, classes)

    monkeypatch.setattr(cost, "build_generator", spy)
    cost._weights.cache_clear()
    configs = [
        dataclasses.replace(BASE, seed=seed, lambda_adv=weight, lr_generator=rate)
        for seed in range(3)
        for weight in (0.0, 0.1, 0.2)
        for rate in (0.01, 0.02)
    ]
    cost.describe(sweep_state(tmp_path, configs))
    assert sorted(built) == [0.0, 1.0]  # without a discriminator, and with one


def test_of_more_seeds_than_are_drawn_a_difference_falls_with_their_root() -> None:
    drawn = power.MOST_DRAWN
    least = power.smallest_found(7, drawn, 1.0)
    assert power.smallest_found(7, 4 * drawn, 1.0) == pytest.approx(least / 2)
    assert power.smallest_found(7, drawn, 1.0) < power.smallest_found(7, drawn // 2, 1.0)
