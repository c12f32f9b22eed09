"""Races over seeds and limits of trials, as sources: what they give, and when they end."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from record_helpers import BASE, fail, finish, grid, sweep_state
from small import SMALL
from whole_sweeps import DEADLINE_S, state_of

from sweeps import lambda_grid
from sweeps.planning.plan import PlannedRun
from sweeps.planning.state import SweepState
from sweeps.search.adaptive_seeds import AdaptiveSeeds
from sweeps.search.source import FixedRuns, RunSource, TrialLimit
from trainable.config.schema import ConfigError, Readout, TrialConfig

# Apart by far more than the noise of a seed (lambda 0 and 0.01), or by less than it (1).
MEANS = {0.0: 0.3, 0.01: 0.6, 1.0: 0.599}
NOISE = (0.0, 0.01, -0.01, 0.005, -0.004, 0.002, 0.0, 0.003, -0.002, 0.001)


def miou(config: TrialConfig, readout: Readout) -> tuple[float, float]:
    # lambda 1 has the noise of the next seed: else the paired differences would have none.
    shift = 1 if config.lambda_adv == 1 else 0
    return 0.5, MEANS[config.lambda_adv] + NOISE[(config.seed + shift) % len(NOISE)]


def drive(
    state: SweepState, source: RunSource, end: Callable[..., None] = finish
) -> list[list[PlannedRun]]:
    """Take all that a source gives, ending runs when it waits; return the runs by round."""
    rounds: list[list[PlannedRun]] = []
    while not source.exhausted:
        rounds.append(list(iter(source.suggest, None)))
        assert rounds[-1], "neither a run nor the end"
        for run in rounds[-1]:
            end(state, run, miou)
            source.on_complete(run, None)
    return rounds


def points(runs: list[PlannedRun]) -> list[tuple[float, int]]:
    return sorted((run.spec.config.lambda_adv, run.spec.config.seed) for run in runs)


def race_of(storage: Path, lambdas: list[float], *, seeds: int = 2, limit: int = 5) -> SweepState:
    return sweep_state(storage, grid(lambdas, range(seeds)))


def test_only_settings_that_may_be_the_best_get_more_seeds(tmp_path: Path) -> None:
    state = race_of(tmp_path, [0.0, 0.01, 1.0], seeds=3)
    race = AdaptiveSeeds(state, 5)
    rounds = drive(state, race)
    assert points(rounds[0]) == [(v, s) for v in (0.0, 0.01, 1.0) for s in range(3)]
    assert [points(runs) for runs in rounds[1:]] == [[(0.01, s), (1.0, s)] for s in (3, 4)]
    assert race.describe() == (
        "race: 3 to 5 seeds a setting, 13 training runs: 2 fewer than with 5 seeds for every "
        "setting, which would show as small a difference to the best (2.6 points, power 0.8)"
    )


def test_a_race_ends_when_the_best_stands_apart(tmp_path: Path) -> None:
    state = race_of(tmp_path, [0.0, 0.01], seeds=3)
    assert len(drive(state, AdaptiveSeeds(state, 10))) == 1


def test_a_round_begins_when_the_last_run_of_the_one_before_has_ended(tmp_path: Path) -> None:
    state = race_of(tmp_path, [0.01, 1.0])
    race = AdaptiveSeeds(state, 3)
    runs = list(iter(race.suggest, None))
    for run in runs[:-1]:
        finish(state, run, miou)
        race.on_complete(run, None)
        assert race.suggest() is None
        assert not race.exhausted
    finish(state, runs[-1], miou)
    race.on_complete(runs[-1], None)
    assert points(list(iter(race.suggest, None))) == [(0.01, 2), (1.0, 2)]


def test_the_order_in_which_runs_end_decides_nothing(tmp_path: Path) -> None:
    found = []
    for backwards in (False, True):
        state = race_of(tmp_path / str(backwards), [0.0, 0.01, 1.0], seeds=2)
        race, given = AdaptiveSeeds(state, 6), []
        while not race.exhausted:
            runs = list(iter(race.suggest, None))
            given.append(points(runs))
            for run in reversed(runs) if backwards else runs:
                finish(state, run, miou)
                race.on_complete(run, None)
        found.append(given)
    assert found[0] == found[1]
    assert len(found[0]) > 2


@pytest.mark.parametrize("done", range(12))
def test_a_race_that_is_begun_again_goes_on_where_it_stood(tmp_path: Path, done: int) -> None:
    whole = race_of(tmp_path / "whole", [0.0, 0.01, 1.0], seeds=3)
    everything = points([run for runs in drive(whole, AdaptiveSeeds(whole, 5)) for run in runs])

    state = race_of(tmp_path / "cut", [0.0, 0.01, 1.0], seeds=3)
    race = AdaptiveSeeds(state, 5)
    ended: list[PlannedRun] = []
    while len(ended) < done and (run := race.suggest()):
        finish(state, run, miou)
        race.on_complete(run, None)
        ended.append(run)
    again = race_of(tmp_path / "cut", [0.0, 0.01, 1.0], seeds=3)
    rest = [run for runs in drive(again, AdaptiveSeeds(again, 5)) for run in runs]
    assert sorted(points(ended) + points(rest)) == everything
    assert len(ended) + len(rest) == len(everything)


def test_a_race_that_is_over_has_nothing_to_train(tmp_path: Path) -> None:
    state = race_of(tmp_path, [0.01, 1.0])
    drive(state, AdaptiveSeeds(state, 4))
    again = race_of(tmp_path, [0.01, 1.0])
    assert AdaptiveSeeds(again, 4).exhausted
    assert again.pending() == []
    assert {trial.config.seed for trial in again.trials} == {0, 1, 2, 3}


def test_a_seed_serves_all_readouts_of_a_training_run(tmp_path: Path) -> None:
    configs = [
        dataclasses.replace(BASE, seed=seed, swa_n=n) for seed in (0, 1) for n in (5, 10, 20)
    ]
    state = sweep_state(tmp_path, configs, axes=("swa_n",))

    def close(config: TrialConfig, readout: Readout) -> tuple[float, float]:
        worse = 0.3 if readout.swa_n == 20 else 0.0
        noise = NOISE[(config.seed + readout.swa_n // 10) % len(NOISE)]  # not alike in 5 and 10
        return 0.5, 0.6 - worse + noise + readout.swa_n / 1e5

    race, given = AdaptiveSeeds(state, 4), 0
    while not race.exhausted:
        for run in list(iter(race.suggest, None)):
            assert len(run.trials) == 3
            finish(state, run, close)
            race.on_complete(run, None)
            given += 1
    assert given == 4
    assert "0 fewer" in race.describe()


def test_a_setting_that_always_diverges_gets_no_more_seeds(tmp_path: Path) -> None:
    state = race_of(tmp_path, [0.0, 0.01, 1.0])

    def end(state: SweepState, run: PlannedRun, *_: object) -> None:
        if run.spec.config.lambda_adv == 0:
            fail(state, run, "nan")
        else:
            finish(state, run, miou)

    rounds = drive(state, AdaptiveSeeds(state, 3), end)
    assert points(rounds[1]) == [(0.01, 2), (1.0, 2)]


def test_a_setting_that_failed_does_not_lead_a_race_by_its_lucky_seed(tmp_path: Path) -> None:
    state = race_of(tmp_path, [0.0, 0.01, 1.0], seeds=3)

    def lucky(config: TrialConfig, readout: Readout) -> tuple[float, float]:
        mean = {0.0: 0.9, 0.01: 0.6, 1.0: 0.3}[config.lambda_adv]
        return 0.5, mean + NOISE[config.seed]

    def end(state: SweepState, run: PlannedRun, *_: object) -> None:
        if run.spec.config.lambda_adv == 0 and run.spec.config.seed:
            fail(state, run, "nan")
        else:
            finish(state, run, lucky)

    rounds = drive(state, AdaptiveSeeds(state, 4), end)
    # One seed makes 0 no best, but keeps it a contender; 1 lies below 0.01.
    assert points(rounds[1]) == [(0.0, 3), (0.01, 3)]


def test_a_setting_that_may_be_the_best_after_all_catches_up(tmp_path: Path) -> None:
    """Three seeds put 1 below; the fourth, with which 0.01 falls far, leaves that in doubt."""
    state = race_of(tmp_path, [0.0, 0.01, 1.0], seeds=3)

    def doubtful(config: TrialConfig, readout: Readout) -> tuple[float, float]:
        mean = 0.5 if config.lambda_adv == 1 else 0.6
        if config.lambda_adv == 0.01 and config.seed == 3:
            mean = 0.2
        shift = {0.0: 0, 0.01: 1, 1.0: 2}[config.lambda_adv]
        return 0.5, mean + NOISE[(config.seed + shift) % len(NOISE)] / 10

    race, rounds = AdaptiveSeeds(state, 5), []
    while not race.exhausted:
        rounds.append(list(iter(race.suggest, None)))
        for run in rounds[-1]:
            finish(state, run, doubtful)
            race.on_complete(run, None)
    assert points(rounds[1]) == [(0.0, 3), (0.01, 3)]
    assert points(rounds[2]) == [(0.0, 4), (0.01, 4), (1.0, 3), (1.0, 4)]
    assert len(rounds) == 3


def test_a_run_whose_worker_failed_holds_up_no_round(tmp_path: Path) -> None:
    state = race_of(tmp_path, [0.01, 1.0])
    race = AdaptiveSeeds(state, 3)
    runs = list(iter(race.suggest, None))
    for run in runs[1:]:
        finish(state, run, miou)
        race.on_complete(run, None)
    race.on_complete(runs[0], "its worker died")
    assert {seed for _, seed in points(list(iter(race.suggest, None)))} == {2}


def test_a_run_that_a_budget_cut_off_decides_nothing(tmp_path: Path) -> None:
    state = race_of(tmp_path, [0.01, 1.0])
    race = AdaptiveSeeds(state, 3)
    runs = list(iter(race.suggest, None))
    for run in runs[1:]:
        finish(state, run, miou)
        race.on_complete(run, None)
    race.on_complete(runs[0], None)
    assert race.exhausted
    assert state.pending() == [runs[0]]
    assert len(state.runs) == 4


@pytest.mark.parametrize(
    ("seeds", "limit", "base_seed", "words"),
    [
        (1, 10, 0, "--seeds 1"),
        (4, 3, 0, "--race-limit 3"),
        (2, 10, 2**31 - 3, "seed"),
    ],
)
def test_a_race_that_cannot_be_held_is_refused(
    tmp_path: Path, seeds: int, limit: int, base_seed: int, words: str
) -> None:
    base = dataclasses.replace(BASE, seed=base_seed)
    state = sweep_state(tmp_path, grid([0.01], range(base_seed, base_seed + seeds)), base=base)
    with pytest.raises(ConfigError, match=words):
        AdaptiveSeeds(state, limit)


# A limit of trials


def test_a_limit_counts_trials_that_ended_and_begins_no_run_beyond(tmp_path: Path) -> None:
    state = sweep_state(tmp_path, grid([0.0, 0.01, 1.0], range(2)))
    finish(state, state.runs[0], miou)
    limited = TrialLimit(FixedRuns(state.pending()), state, 3)
    given = [limited.suggest(), limited.suggest()]
    assert limited.suggest() is None
    assert not limited.exhausted  # one of them may fail, and another take its place
    for run in filter(None, given):
        finish(state, run, miou)
        limited.on_complete(run, None)
    assert limited.exhausted
    assert limited.why_partial == "limit of 3 trials"
    again = sweep_state(tmp_path, grid([0.0, 0.01, 1.0], range(2)))
    assert TrialLimit(FixedRuns(again.pending()), again, 3).exhausted


def test_a_failed_worker_does_not_count(tmp_path: Path) -> None:
    state = sweep_state(tmp_path, grid([0.0, 0.01]))
    limited = TrialLimit(FixedRuns(state.pending()), state, 1)
    run = limited.suggest()
    assert run is not None
    limited.on_complete(run, "its worker died")
    assert limited.suggest() is not None


def test_a_limit_that_is_not_in_the_way_is_not_reached(tmp_path: Path) -> None:
    state = sweep_state(tmp_path, grid([0.0, 0.01]))
    limited = TrialLimit(FixedRuns(state.pending()), state, 2)
    drive(state, limited)
    assert limited.why_partial == ""


def test_all_trials_of_a_run_count(tmp_path: Path) -> None:
    configs = [dataclasses.replace(BASE, seed=s, swa_n=n) for s in (0, 1) for n in (5, 10, 20)]
    state = sweep_state(tmp_path, configs)
    limited = TrialLimit(FixedRuns(state.pending()), state, 2)
    assert limited.suggest() is not None
    assert limited.suggest() is None


# Whole sweeps


def sweep(folder: Path, *options: str) -> dict[str, Any]:
    script = Path(lambda_grid.__file__)
    sets = [part for setting in SMALL for part in ("--set", setting)]
    command = [sys.executable, str(script), "--lambdas", "0", "0.1", "--seeds", "2", "--json"]
    command += ["--no-model"]
    done = subprocess.run(
        [*command, *sets, *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.slow
def test_a_limited_sweep_is_partial_with_figures_and_a_race_goes_on_from_it(tmp_path: Path) -> None:
    first = sweep(tmp_path, "--max-trials", "2")
    assert first["training_runs_done"] == 2
    assert first["why_partial"] == "limit of 2 trials"
    assert first["figure"] == "figures/fig4.png"
    assert state_of(tmp_path) == ("partial", "limit of 2 trials")
    raced = sweep(tmp_path, "--race", "--race-limit", "3", "--no-figures")
    # So short a training tells no lambda from another: each gets all seeds.
    assert (raced["trials"], raced["training_runs_done"]) == (6, 6)
    (note,) = raced["notes"]
    assert note.startswith("race: 3 to 3 seeds a setting, 6 training runs: ")
    assert state_of(tmp_path) == ("complete", None)
