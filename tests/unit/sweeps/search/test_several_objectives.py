"""Several objectives: what a sampler is told, which settings are confirmed, what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from kills import goes_on_as_if_never_killed, searched
from record_helpers import BASE
from search_helpers import AXES, begin, empty_sweep, leave, search_of, studies

from analysis.stats.ranking import not_dominated
from sweeps.search.method import SCHEDULERS
from sweeps.search.optuna_source import SearchSource
from sweeps.search.samplers import check_sampler
from sweeps.search.spaces.axes import Axis, Range
from sweeps.search.suggestions import spread
from trainable.config.schema import ConfigError

pytestmark = pytest.mark.trains

BOTH = ("swa/miou", "cost/train_s")
# A run of larger batches takes longer, and these searches' mIoU does not follow from them.
TRADED: dict[str, Axis] = AXES | {"batch_size": Range(1, 40, whole=True)}


@pytest.mark.usefixtures("_nothing_stored", "_early_model")
@pytest.mark.parametrize("sampler", ["tpe", "gp", "qmc", "random"])
def test_a_search_for_two_goes_on_after_a_kill_as_one_that_was_not_killed(
    tmp_path: Path, sampler: str
) -> None:
    search = search_of(sampler=sampler, axes=TRADED, asks=7)
    at = goes_on_as_if_never_killed(tmp_path, search, first=11, step=10, objectives=BOTH)
    assert at > 11
    asks = searched(tmp_path / "straight", search, objectives=BOTH).asks
    scores = [ask.scores for ask in asks if ask.scores is not None]
    assert len({score[1] for score in scores}) > 1, "the second says nothing"


def test_the_stored_study_has_a_direction_and_a_name_for_each(tmp_path: Path) -> None:
    source = searched(tmp_path, search_of(sampler="random", asks=5), objectives=BOTH)
    for study in studies(tmp_path):
        assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
        assert study.metric_names == [*BOTH]
    told = [trial.values for trial in studies(tmp_path)[0].trials]
    assert told == [None if ask.scores is None else [*ask.scores] for ask in source.asks]


@pytest.mark.usefixtures("_nothing_stored")
def test_settings_of_the_front_are_confirmed_from_end_to_end(tmp_path: Path) -> None:
    search = search_of(sampler="random", axes=TRADED, asks=40, confirm=2, seeds=1)
    source = searched(tmp_path, search, objectives=BOTH)
    scores = {ask.number: ask.scores for ask in source.asks if ask.scores is not None}
    front = not_dominated(scores, [False, True])
    assert len(front) > 2
    tags = source.state.tags
    confirmed = [t for t in source.state.trials if tags[t.trial_key]["phase"] == "confirm"]
    chosen = [int(tags[trial.trial_key]["ask"]) for trial in confirmed]
    assert chosen == [front[0], front[-1]]


def test_a_front_has_what_nothing_beats_in_all_at_once() -> None:
    points = {
        "best": (0.9, 50.0),
        "beaten by it": (0.8, 60.0),
        "between": (0.7, 20.0),
        "its twin": (0.7, 20.0),
        "as dear": (0.6, 20.0),
        "cheap": (0.1, 1.0),
        "unknown": (math.nan, 0.1),
    }
    assert not_dominated(points, [False, True]) == ["best", "between", "cheap"]
    assert not_dominated(points, [False, False]) == ["best", "beaten by it"]


def test_a_few_entries_are_spread_from_the_first_to_the_last() -> None:
    assert spread(range(10), 3) == [0, 4, 9]
    assert spread(range(2), 3) == [0, 1]
    assert spread(range(5), 1) == [0]
    assert spread(range(5), 0) == []


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_scheduler_judges_by_one(tmp_path: Path, scheduler: str) -> None:
    state, search = empty_sweep(tmp_path, objectives=BOTH), search_of(scheduler=scheduler)
    if scheduler == "none":
        SearchSource(state, search)
    else:
        with pytest.raises(ConfigError, match="there are 2 objectives; leave --scheduler out"):
            SearchSource(state, search)


def test_cmaes_has_one_objective() -> None:
    check_sampler("cmaes", search_of().space)
    with pytest.raises(ConfigError, match="one objective, but got 2; take tpe, gp, qmc or"):
        check_sampler("cmaes", search_of().space, objectives=2)


@pytest.mark.usefixtures("_nothing_stored")
def test_a_warm_start_tells_all_values(tmp_path: Path) -> None:
    before = searched(tmp_path, search_of(sampler="random"), objectives=BOTH)
    search = search_of(warm_start=(str(tmp_path),))
    again = begin(tmp_path, search, empty_sweep(tmp_path, BASE, objectives=BOTH))
    told = {tuple(t.values) for t in again._study._study.get_trials(deepcopy=False)}
    assert told == {ask.scores for ask in before.asks if ask.scores is not None}
    leave(again)


def test_another_objective_is_another_sweep_and_the_default_is_none(tmp_path: Path) -> None:
    keys = {
        empty_sweep(tmp_path, objectives=objectives).plan.sweep_key
        for objectives in (("swa/miou",), ("val/miou",), BOTH)
    }
    assert len(keys) == 3
    assert empty_sweep(tmp_path).plan.sweep_key in keys
    assert tuple(AXES) == empty_sweep(tmp_path).plan.axes
