"""What Optuna and its dashboard find of a search: names, attributes, times and states."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
import pytest
from record_helpers import BASE, BEGUN_AT, finish
from search_helpers import (
    AXES,
    begin,
    drive,
    empty_sweep,
    leave,
    miou,
    search_of,
    studies,
)

from sweeps.search.optuna_db import open_database
from sweeps.search.spaces.axes import Axis, Choice, Range

TRAINING = ("lambda_adv", "lr_generator")


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.get_trials()]


def everything(study: optuna.Study) -> list[Any]:
    """All of a study's trials, times too."""
    names = (
        *("number", "state", "params", "values", "user_attrs", "intermediate_values"),
        *("datetime_start", "datetime_complete"),
    )
    return [[getattr(trial, name) for name in names] for trial in study.get_trials()]


def test_each_suggestion_is_a_trial_with_its_number_apart_from_its_readouts(tmp_path: Path) -> None:
    crash = {"lambda_adv": 0.9, "lr_generator": 0.02}
    search = search_of(scheduler="asha", sampler="random", asks=10, confirm=1, points=(crash,))
    source = begin(tmp_path, search)
    drive(source)
    leave(source)
    asks, readouts = studies(tmp_path)
    assert readouts.study_name == f"{asks.study_name} (readouts)"
    assert asks.study_name.startswith(f"joint_search-{source.state.plan.sweep_key}-")
    assert states(asks) == [ask.state for ask in source.asks]
    assert {"COMPLETE", "PRUNED", "FAIL"} == set(states(asks))
    for ask, trial in zip(source.asks, asks.trials, strict=True):
        assert (trial.user_attrs["ask"], trial.number) == (ask.number, ask.number)
        assert trial.params == {name: ask.values[name] for name in TRAINING}
        assert trial.intermediate_values == ask.reports
        assert trial.values == (
            None if ask.scores is None else [*ask.scores]
        )  # None of one that was pruned half-way
        if ask.state == "COMPLETE":
            # The readout that gave the value, which no sampler has drawn.
            assert (trial.user_attrs["swa_n"], trial.user_attrs["swa_threshold"]) == (5, 0.5)
    causes = {trial.state.name: trial.user_attrs.get("cause") for trial in asks.trials}
    assert causes["FAIL"] == "its worker died"
    assert causes["COMPLETE"] is None
    assert "asha" in str(causes["PRUNED"]) or causes["PRUNED"] == "loss_mce is nan"
    assert [asks.best_value] == max([*ask.scores] for ask in source.asks if ask.scores is not None)

    complete = [ask for ask in source.asks if ask.state == "COMPLETE"]
    by_key = {trial.user_attrs["trial_key"]: trial for trial in readouts.trials}
    assert len(by_key) == len(readouts.trials) == 6 * len(complete)
    for ask in complete:
        for one in ask.trials:
            stored = by_key[one.trial_key]
            assert stored.params == {name: getattr(one.config, name) for name in AXES}
            assert stored.value == miou(one.config, one.config.readout)[1]
            assert stored.user_attrs["ask"] == ask.number


@pytest.mark.parametrize("readouts", ["exhaustive", "sampled"])
def test_a_study_says_what_it_is(readouts: str, tmp_path: Path) -> None:
    source = begin(tmp_path, search_of(asks=1, readouts=readouts, sampler="qmc"))
    drive(source)
    leave(source)
    study, *others = studies(tmp_path)
    assert len(others) == (readouts == "exhaustive")
    plan = source.state.plan
    for one in (study, *others):
        assert one.metric_names == ["swa/miou"]
        said = one.user_attrs
        assert (said["sweep_key"], said["dataset"]) == (plan.sweep_key, BASE.dataset)
        assert (said["sampler"], said["scheduler"], said["seed"]) == ("qmc", "none", BASE.seed)
        assert said["question"] == plan.question
    value = study.user_attrs["value"]
    if others:
        assert value.startswith("swa/miou of the best of the 6 readouts of a run; each is in ")
        assert value.endswith(others[0].study_name)
    else:
        assert value == "swa/miou of the readout suggested"
        assert study.trials[0].params.keys() == AXES.keys()


def test_a_suggestion_waits_runs_and_ends_and_is_never_left_running(tmp_path: Path) -> None:
    search = search_of(asks=3)
    source = begin(tmp_path, search)
    run = source.suggest()
    source.suggest()
    assert run is not None
    source.on_result(run, 20, 0.25)
    source._database.close()  # as a kill would leave it
    source._log.close()
    (study,) = studies(tmp_path)[:1]
    assert states(study) == ["RUNNING", "RUNNING"]
    assert study.trials[0].intermediate_values == {20: 0.25}

    again = begin(tmp_path, search)
    assert again.suggest() is not None
    leave(again)
    assert states(studies(tmp_path)[0]) == ["WAITING", "WAITING"]

    last = begin(tmp_path, search)
    drive(last)
    leave(last)
    (study,) = studies(tmp_path)[:1]
    assert states(study) == [ask.state for ask in last.asks]
    assert study.trials[0].intermediate_values == last.asks[0].reports


def test_times_are_those_of_the_training_whenever_they_are_written(tmp_path: Path) -> None:
    """The first suggestion ended while a driver watched, the second while there was none."""
    search = search_of(asks=2, sampler="random", axes={"lambda_adv": Range(0.0005, 0.2, log=True)})
    source = begin(tmp_path, search)
    for run in (source.suggest(), source.suggest()):
        assert run is not None
        finish(source.state, run, miou)  # a row a second from BEGUN_AT on
        if run is source.asks[0].run:
            source.on_complete(run, None)
    source._database.close()
    source._log.close()
    leave(begin(tmp_path, search))
    ends = datetime.fromtimestamp(BEGUN_AT + BASE.iterations)
    for study in studies(tmp_path):
        for trial in study.trials:
            assert trial.datetime_start == datetime.fromtimestamp(BEGUN_AT)
            assert trial.datetime_complete == ends


# A kill may come between the state of a trial and its times, for which Optuna took its own.
def test_a_restart_mends_times_and_writes_nothing_twice(tmp_path: Path) -> None:
    axes: dict[str, Axis] = {"lambda_adv": Range(0.001, 0.2), "swa_n": Choice((1, 5))}
    search = search_of(asks=4, axes=axes)
    source = begin(tmp_path, search)
    drive(source)
    leave(source)
    before = [everything(study) for study in studies(tmp_path)]
    with open_database(tmp_path).engine.begin() as connection:
        connection.exec_driver_sql("UPDATE trials SET datetime_complete = datetime_start")
    assert [everything(study) for study in studies(tmp_path)] != before
    leave(begin(tmp_path, search))
    assert [everything(study) for study in studies(tmp_path)] == before


def test_what_a_person_adds_stays_and_a_study_of_before_is_made_anew(tmp_path: Path) -> None:
    search = search_of(asks=2, axes={"swa_n": Choice((1, 5)), "lambda_adv": Range(0.001, 0.2)})
    state = empty_sweep(tmp_path)
    name = f"joint_search-{search.name(state.plan)}"
    old = optuna.create_study(
        study_name=name, storage=open_database(tmp_path), direction="maximize"
    )
    for key in "ab":  # two readouts of one suggestion
        old.add_trial(optuna.trial.create_trial(value=0.1, user_attrs={"trial_key": key, "ask": 0}))
    source = begin(tmp_path, search, state)
    drive(source)
    leave(source)
    study = studies(tmp_path)[0]
    assert [trial.user_attrs["ask"] for trial in study.trials] == [0, 1]
    study.add_trial(optuna.trial.create_trial(value=0.2))
    leave(begin(tmp_path, search))
    assert [trial.user_attrs.get("ask") for trial in studies(tmp_path)[0].trials] == [0, 1, None]
