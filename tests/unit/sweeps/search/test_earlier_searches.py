"""What searches and races of earlier commands found belongs to the answer of the next one."""

from __future__ import annotations

from pathlib import Path

import pytest
from record_helpers import finish, grid, sweep_state
from search_helpers import drive, empty_sweep, leave, search_of

from sweeps.planning.ranking import settings_of
from sweeps.planning.state import SweepState
from sweeps.record import manifest
from sweeps.record.manifest import take_over_trials
from sweeps.search.adaptive_seeds import AdaptiveSeeds
from sweeps.search.optuna_source import UNCONFIRMED, SearchSource
from sweeps.search.suggestions import Search

pytestmark = pytest.mark.usefixtures("_nothing_stored")

URI = "sqlite:///mlflow.db"


def command(storage: Path, search: Search) -> SearchSource:
    """A command that searches to its end and leaves its manifest; it knows of earlier ones."""
    state = empty_sweep(storage)
    source = SearchSource(state, search)
    take_over_trials(state)
    source.__enter__()
    drive(source)
    leave(source)
    manifest.begin(state, URI)
    return source


def test_settings_that_an_earlier_search_confirmed_are_the_answer_of_the_next(
    tmp_path: Path,
) -> None:
    first = command(tmp_path, search_of(sampler="random", asks=6, confirm=1, seeds=2))
    second = command(tmp_path, search_of(sampler="qmc", asks=3))
    assert len(second.state.trials) == 3 * 6
    (confirmed,) = settings_of(second.state)
    assert [one.point(second.state.plan.axes) for one in settings_of(first.state)] == [
        confirmed.point(second.state.plan.axes)
    ]
    assert sorted(confirmed.metrics) == [1, 2]
    assert UNCONFIRMED not in second.state.notes
    # Each says of its own trials what it is to say.
    for source in (first, second):
        for trial in source.state.trials:
            assert second.state.tags[trial.trial_key] == source.state.tags[trial.trial_key]


def test_a_run_that_an_earlier_search_stopped_is_not_left_and_trained_if_asked_for(
    tmp_path: Path,
) -> None:
    search = search_of(scheduler="asha", sampler="random", asks=12)
    first = command(tmp_path, search)
    stopped = [ask for ask in first.asks if ask.state == "PRUNED"]
    assert stopped
    assert len(first.state.stopped) >= len(stopped)

    state = empty_sweep(tmp_path)
    take_over_trials(state)
    assert state.trials == []
    assert len(state.earlier.runs) == len(first.state.runs)
    crashed = {ask.training_key for ask in first.asks if ask.state == "FAIL"}
    assert {run.spec.training_key for run in state.left()} == crashed
    key = stopped[0].training_key
    assert key in state.stopped
    (run,) = state.add_trials([stopped[0].trials[0].config])
    assert state.pending() == [run]
    assert key not in state.stopped
    assert run.trials[0].trial_key not in state.tags
    assert run.trials[0] not in [trial for one in state.earlier.runs for trial in one.trials]


def race(storage: Path, lambdas: list[float]) -> tuple[SweepState, list[tuple[float, int]]]:
    """A command that holds a race; return its state and what it trained."""
    state = sweep_state(storage, grid(lambdas, range(2)))
    source = AdaptiveSeeds(state, 5)
    take_over_trials(state)
    trained = []
    while (run := source.suggest()) is not None:
        config = run.spec.config
        trained.append((config.lambda_adv, config.seed))
        noise = (config.seed * 37 % 11) / 100 + config.lambda_adv * (config.seed * 53 % 7) / 100
        finish(state, run, lambda *_, noise=noise: (0.5, 0.5 + noise))
        source.on_complete(run, None)
    manifest.begin(state, URI)
    return state, trained


# The seeds that the first race gave are known from the beginning; a look must not see them early.
def test_a_race_that_another_setting_joins_is_decided_as_one_that_began_with_it(
    tmp_path: Path,
) -> None:
    whole, trained = race(tmp_path / "whole", [0.0, 0.01, 0.02])
    _, before = race(tmp_path / "two", [0.0, 0.01])
    assert len(before) > 4
    joined, after = race(tmp_path / "two", [0.0, 0.01, 0.02])
    assert not set(after) & set(before)
    asked = {trial.trial_key for trial in whole.trials}
    assert {trial.trial_key for trial in joined.trials} == asked
    assert len(trained) == len(whole.trials)


def test_seeds_that_a_race_gave_count_where_the_next_command_holds_none(tmp_path: Path) -> None:
    raced, _ = race(tmp_path, [0.0, 0.01])
    state = sweep_state(tmp_path, grid([0.0, 0.01], range(2)))
    take_over_trials(state)
    assert state.pending() == []
    assert [one.metrics for one in settings_of(state)] == [
        one.metrics for one in settings_of(raced)
    ]
    assert len(settings_of(state)[0].metrics) > 2
