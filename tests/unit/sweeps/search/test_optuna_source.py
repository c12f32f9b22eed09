"""Searches: what Optuna is asked and told, and that a kill at any moment changes none of it."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
from kills import goes_on_as_if_never_killed, searched
from record_helpers import BASE, finish
from sealing import write_log
from search_helpers import (
    AXES,
    KilledError,
    Killer,
    begin,
    drive,
    empty_sweep,
    history,
    leave,
    miou,
    search_of,
    studies,
    told,
    validations,
)

from sweeps.record.ended_run import EndedRun
from sweeps.search.event_log import EventLog
from sweeps.search.method import SAMPLERS, SCHEDULERS, Method
from sweeps.search.optuna_source import UNCONFIRMED, SearchSource
from sweeps.search.spaces.axes import Choice, Range
from sweeps.search.study import ReplayableStudy
from trainable.config.schema import ConfigError
from trainable.runs.folder import RunFolder
from trainable.runs.results import Result, summary

pytestmark = pytest.mark.trains


# Interruptions

WAYS = [(sampler, "none", "exhaustive") for sampler in SAMPLERS]
WAYS += [("tpe", scheduler, "exhaustive") for scheduler in SCHEDULERS if scheduler != "none"]
WAYS += [("qmc", "hyperband", "sampled"), ("cmaes", "asha", "sampled"), ("tpe", "asha", "sampled")]


@pytest.mark.usefixtures("_nothing_stored", "_early_model")
@pytest.mark.parametrize(("sampler", "scheduler", "readouts"), WAYS)
def test_a_search_that_was_killed_goes_on_as_one_that_was_not(
    tmp_path: Path, sampler: str, scheduler: str, readouts: str
) -> None:
    search = search_of(sampler=sampler, scheduler=scheduler, readouts=readouts, asks=6)
    # In the middle and near the end, where a model suggests.
    assert goes_on_as_if_never_killed(tmp_path, search, first=14, step=7) > 14


@pytest.mark.usefixtures("_nothing_stored", "_early_model")
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_axis_that_goes_by_steps_has_no_value_between_them_also_after_a_kill(
    tmp_path: Path, sampler: str
) -> None:
    axes = AXES | {"batch_size": Range(2, 14, whole=True, step=4)}
    search = search_of(sampler=sampler, axes=axes, asks=6)
    assert goes_on_as_if_never_killed(tmp_path, search, first=16, step=50) > 16
    values = [ask.values["batch_size"] for ask in searched(tmp_path / "straight", search).asks]
    assert set(values) <= {2, 6, 10, 14}
    assert len(set(values)) > 1


def test_a_step_that_does_not_fit_its_range_is_refused_and_enters_the_name_of_a_search(
    tmp_path: Path,
) -> None:
    plan = empty_sweep(tmp_path).plan
    names = set()
    for step in (1, 2, 4):
        axis = Range(2, 14, whole=True, step=step)
        axis.check("batch_size")
        names.add(search_of(axes=AXES | {"batch_size": axis}).name(plan))
    assert len(names) == 3
    assert "step" not in json.dumps(search_of(axes=AXES).space.to_primitives())
    for axis, words in (
        (Range(2, 14, whole=True, step=5), "from 2 to 14 in equal steps, but got step=5"),
        (Range(2, 14, whole=True, step=0), "in equal steps, but got step=0"),
        (Range(2, 14, whole=True, log=True, step=4), "leave `step` out"),
        (Range(2, 14, step=4), "leave `step` out"),
    ):
        with pytest.raises(ConfigError, match=words):
            axis.check("batch_size")


@pytest.mark.slow
@pytest.mark.usefixtures("_nothing_stored", "_early_model")
@pytest.mark.parametrize(("sampler", "scheduler", "readouts"), WAYS)
def test_a_search_may_be_killed_all_along(
    tmp_path: Path, sampler: str, scheduler: str, readouts: str
) -> None:
    search = search_of(sampler=sampler, scheduler=scheduler, readouts=readouts, asks=7)
    step = 9 if sampler == "gp" else 4  # a Gaussian process takes half a second per ask
    # Each way at every fourth place, its neighbours in the list at those between.
    first = 1 + WAYS.index((sampler, scheduler, readouts)) % 4
    assert goes_on_as_if_never_killed(tmp_path, search, first=first, step=step) > 20


@pytest.mark.usefixtures("_nothing_stored")
def test_a_restart_gives_first_what_was_under_way_in_the_order_of_its_asks(tmp_path: Path) -> None:
    search = search_of(asks=5)
    before = begin(tmp_path, search)
    given = [before.suggest() for _ in range(3)]
    leave(before)
    again = begin(tmp_path, search)
    assert [again.suggest() for _ in range(3)] == given
    assert len(again.asks) == 3
    assert again.suggest() not in given


@pytest.mark.usefixtures("_nothing_stored")
def test_what_ended_while_there_was_no_driver_is_told_at_once(tmp_path: Path) -> None:
    before = begin(tmp_path, search_of())
    runs = [before.suggest(), before.suggest()]
    assert runs[1] is not None
    finish(before.state, runs[1], miou, history=history(runs[1].spec.config))
    leave(before)
    again = begin(tmp_path, search_of())
    assert [ask.state for ask in again.asks] == [None, "COMPLETE"]
    assert again.suggest() == runs[0]
    assert again.suggest() not in runs


@pytest.mark.usefixtures("_nothing_stored")
def test_a_run_that_a_budget_cut_off_is_neither_told_nor_followed_by_another(
    tmp_path: Path,
) -> None:
    source = begin(tmp_path, search_of())
    run = source.suggest()
    assert run is not None
    source.on_complete(run, None)
    assert source.asks[0].state is None
    assert (source.suggest(), source.exhausted) == (None, True)
    leave(source)
    assert begin(tmp_path, search_of()).suggest() == run


@pytest.mark.usefixtures("_nothing_stored")
def test_a_search_of_more_asks_goes_on_with_that_of_fewer(tmp_path: Path) -> None:
    more = told(searched(tmp_path / "more", search_of(asks=6)))
    searched(tmp_path / "fewer", search_of(asks=4), slots=1)
    straight = told(searched(tmp_path / "straight", search_of(asks=6), slots=1))
    assert told(searched(tmp_path / "fewer", search_of(asks=6), slots=1)) == straight
    assert len(more) == len(straight) == 6


@pytest.mark.usefixtures("_nothing_stored")
@pytest.mark.parametrize(
    "change",
    [{"sampler": "random"}, {"scheduler": "asha"}, {"readouts": "sampled"},
     {"axes": AXES | {"lambda_adv": Range(0.001, 1.0, log=True)}},
     {"points": ({"lambda_adv": 0.1, "lr_generator": 0.02},)}],
)  # fmt: skip
def test_another_search_begins_anew_says_why_and_shares_the_runs(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    searched(tmp_path, search_of(asks=2))
    other = begin(tmp_path, search_of(asks=2, **change))
    assert other.asks == []
    (note,) = other.state.notes
    assert note.startswith("a new search")
    assert next(iter(change)) in note or "lambda_adv" in note
    assert len(list((tmp_path / "searches").iterdir())) == 2


def test_the_log_drops_a_line_that_a_kill_tore_and_refuses_damage(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for number in range(2):
        log = EventLog(path)
        log.open()
        log.append({"event": number})
        log.close()
    with path.open("a") as file:
        file.write('{"event": 2, "va')
    torn = EventLog(path)
    assert torn.events == [{"event": 0}, {"event": 1}]
    torn.open()
    torn.append({"event": "next"})
    torn.close()
    assert [event["event"] for event in EventLog(path).events] == [0, 1, "next"]
    whole = path.read_text()
    lines = whole.splitlines(keepends=True)
    for number, damage in {
        2: [lines[0], lines[1][:4] + "\n", lines[2]],
        1: [lines[0].replace("0", "3", 1), *lines[1:]],  # a digit
        3: [*lines[:2], lines[2].replace(": ", ":  ", 1)],
    }.items():
        path.write_text("".join(damage))
        with pytest.raises(ConfigError, match=rf"line {number} of .*log.jsonl must be what a"):
            EventLog(path)
    # Each of these lines is as it was written, but not where.
    for number, damage in {2: [lines[0], lines[2]], 1: [lines[1], lines[0], lines[2]]}.items():
        path.write_text("".join(damage))
        with pytest.raises(ConfigError, match=rf"line {number} of .* was changed after it was"):
            EventLog(path)


def test_a_search_has_one_driver(tmp_path: Path) -> None:
    late = SearchSource(empty_sweep(tmp_path), search_of())
    first = begin(tmp_path, search_of())
    with pytest.raises(ConfigError, match="must have one driver"):
        begin(tmp_path, search_of())
    assert first.suggest() is not None
    leave(first)
    with pytest.raises(ConfigError, match="must have one driver"):
        late.__enter__()  # what it read is no longer all there is


# What is told


@pytest.mark.usefixtures("_nothing_stored")
def test_exhaustive_values_a_run_by_its_best_readout_and_sampled_by_the_one_suggested(
    tmp_path: Path,
) -> None:
    for readouts in ("exhaustive", "sampled"):
        source = searched(tmp_path / readouts, search_of(readouts=readouts, sampler="random"))
        complete = [ask for ask in source.asks if ask.state == "COMPLETE"]
        assert len(complete) > 2
        for ask in complete:
            found = source.state.outcome(ask.run)
            assert isinstance(found, Result)
            assert len(ask.run.spec.readouts) == 6  # every run carries them all
            values = [summary(found, t.config.readout)["swa/miou"] for t in ask.trials]
            assert len(values) == (6 if readouts == "exhaustive" else 1)
            assert ask.scores == (max(values),)


@pytest.mark.usefixtures("_nothing_stored")
def test_a_setting_weighs_once_for_the_sampler_whatever_its_readouts(tmp_path: Path) -> None:
    source = searched(tmp_path, search_of(asks=5))
    trials = source._study._study.trials
    assert len(trials) == 5
    assert {frozenset(trial.params) for trial in trials} == {
        frozenset({"lambda_adv", "lr_generator"})
    }


@pytest.mark.usefixtures("_nothing_stored")
def test_a_suggestion_that_shares_a_training_run_is_answered_without_training(
    tmp_path: Path,
) -> None:
    axes = AXES | {"lambda_adv": Choice((0.01, 0.1)), "lr_generator": Choice((0.01, 0.02))}
    search = search_of(axes=axes, readouts="sampled", sampler="random", asks=20)
    source = searched(tmp_path, search)
    assert len(source.asks) == 20
    assert len(source.state.runs) == 4 == len(list(tmp_path.glob("*/result.json")))
    assert {ask.state for ask in source.asks} == {"COMPLETE"}


@pytest.mark.usefixtures("_nothing_stored")
def test_what_folders_answer_already_is_not_trained_again(tmp_path: Path) -> None:
    searched(tmp_path, search_of())
    (log,) = (tmp_path / "searches").iterdir()
    log.unlink()
    source = begin(tmp_path, search_of())
    while (run := source.suggest()) is not None:
        source.on_complete(
            run, "its worker died"
        )  # what left no outcome is all that there is to train
    trained = {ask.training_key for ask in source.asks if ask.state == "FAIL"}
    assert trained == {ask.training_key for ask in source.asks if ask.scores is None} - {
        path.parent.name for path in tmp_path.glob("*/failure.json")
    }


@pytest.mark.usefixtures("_nothing_stored")
def test_a_crash_is_told_as_failed_and_not_tried_again_by_a_restart(tmp_path: Path) -> None:
    search = search_of(asks=1)
    source = begin(tmp_path, search)
    run = source.suggest()
    assert run is not None
    source.on_complete(run, "CUDA error")
    leave(source)
    again = begin(tmp_path, search)
    assert (again.suggest(), again.exhausted) == (None, True)
    assert again.state.stopped == {run.spec.training_key: "CUDA error"}
    assert {tags["search_state"] for tags in again.state.tags.values()} == {"FAIL"}
    for state, cause in ((source.state, "CUDA error"), (again.state, None)):
        ended = EndedRun.read(state, run, cause)
        assert ended is not None
        assert (ended.status, ended.result, ended.cause) == ("FAILED", None, "CUDA error")


@pytest.mark.usefixtures("_nothing_stored")
@pytest.mark.parametrize("scheduler", ["asha", "hyperband"])
def test_a_scheduler_stops_what_lags_and_never_at_the_last_iteration(
    tmp_path: Path, scheduler: str
) -> None:
    source = searched(tmp_path, search_of(scheduler=scheduler, sampler="random", asks=15))
    stopped = [ask for ask in source.asks if ask.training_key in source.state.stopped]
    assert stopped
    for ask in stopped:
        assert ask.state == "PRUNED"
        assert max(ask.reports) < BASE.iterations
        assert ask.run not in source.state.pending()
        assert scheduler in source.state.stopped[ask.training_key]
        ended = EndedRun.read(source.state, ask.run, None)
        assert ended is not None
        assert ended.status == "KILLED"


@pytest.mark.usefixtures("_nothing_stored")
def test_a_rung_at_the_last_iteration_stops_nothing(tmp_path: Path) -> None:
    base = dataclasses.replace(BASE, iterations=180)  # rungs at 60 and 180
    search = search_of(scheduler="asha", sampler="random", asks=15)
    source = begin(tmp_path, search, empty_sweep(tmp_path, base))
    drive(source)
    at_the_end = [ask for ask in source.asks if 180 in ask.reports]
    assert len(at_the_end) > 1
    assert {ask.state for ask in at_the_end} == {"COMPLETE"}


@pytest.mark.usefixtures("_nothing_stored")
def test_quasi_random_asks_are_one_sequence(tmp_path: Path) -> None:
    source = begin(tmp_path, search_of(sampler="qmc", asks=9))
    for _ in range(9):
        source.suggest()
    # Sobol's first 8 points have one in each eighth of an axis; the first ask is drawn alone.
    low, high = math.log(0.0005), math.log(1.0)
    drawn = [float(ask.values["lambda_adv"]) for ask in source.asks[1:]]
    places = [(math.log(value) - low) / (high - low) for value in drawn]
    assert sorted(int(8 * place) for place in places) == list(range(8))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_that_sees_no_pruned_trials_learns_that_they_are_bad(sampler: str) -> None:
    method = Method(sampler=sampler, scheduler="none", seed=0)
    study = ReplayableStudy(method, search_of().space, BASE)
    for number, value in enumerate([0.6, 0.4, None, 0.7]):
        study.ask()
        if value is None:
            study.tell(number, "PRUNED")
        else:
            study.tell(number, "COMPLETE", [value])
    pruned = study._study.trials[2]
    seen = ("COMPLETE", 0.4) if sampler in ("gp", "cmaes") else ("PRUNED", None)
    assert (pruned.state.name, pruned.value) == seen


# Confirmation


@pytest.mark.usefixtures("_nothing_stored")
def test_the_best_settings_are_trained_again_with_other_seeds(tmp_path: Path) -> None:
    source = searched(tmp_path, search_of(sampler="random", asks=8, confirm=2, seeds=3))
    state = source.state
    confirmed = [t for t in state.trials if state.tags[t.trial_key]["phase"] == "confirm"]
    assert sorted(trial.config.seed for trial in confirmed) == [1, 1, 2, 2, 3, 3]
    scores = [ask.scores[0] for ask in source.asks if ask.scores is not None]
    asked = {ask.number: ask for ask in source.asks}
    chosen = {int(state.tags[trial.trial_key]["ask"]) for trial in confirmed}
    best = {(score,) for score in sorted(scores, reverse=True)[:2]}
    assert {asked[number].scores for number in chosen} == best
    # With the readout that was best in the search, and no other.
    assert {(t.config.swa_n, t.config.swa_threshold) for t in confirmed} == {(5, 0.5)}
    assert state.pending() == [
        ask.run for ask in source.asks if ask.state == "FAIL"
    ]  # a crash leaves nothing behind

    assert UNCONFIRMED not in state.notes

    again = begin(tmp_path, source.search)
    assert again.exhausted
    assert len(again.state.trials) == len(state.trials)


@pytest.mark.usefixtures("_nothing_stored")
@pytest.mark.parametrize("confirm", [0, 1])
def test_a_best_without_confirmation_is_called_biased(tmp_path: Path, confirm: int) -> None:
    source = begin(tmp_path, search_of(asks=2, confirm=confirm))
    source.suggest()
    leave(source)
    assert UNCONFIRMED in source.state.notes


def test_a_store_that_cannot_be_written_holds_nothing_up_and_is_made_up_for(
    tmp_path: Path,
) -> None:
    tmp_path.joinpath("optuna.db").write_text("not a database" * 100)
    source = searched(tmp_path, search_of(asks=3))
    assert all(ask.state is not None for ask in source.asks)
    assert "is behind" in " ".join(source.state.notes)
    tmp_path.joinpath("optuna.db").unlink()
    leave(begin(tmp_path, search_of(asks=3)))
    asks, readouts = studies(tmp_path)
    complete = sum(ask.state == "COMPLETE" for ask in source.asks)
    assert (len(asks.trials), len(readouts.trials)) == (3, 6 * complete)


# Beginning with what is known


@pytest.mark.usefixtures("_nothing_stored")
def test_points_are_asked_for_first(tmp_path: Path) -> None:
    points = ({"lambda_adv": 0.02, "lr_generator": 0.02}, {"lambda_adv": 0.1, "lr_generator": 0.01})
    source = searched(tmp_path, search_of(points=points, asks=4))
    assert [ask.values for ask in source.asks[:2]] == list(points)
    assert source.asks[2].values not in points


LINES = 7  # of a log: the search, an ask, its four validations, its end


@pytest.mark.usefixtures("_nothing_stored")
@pytest.mark.parametrize(
    ("number", "change"),
    [
        (1, {"earlier": None}),
        (2, {"values": {"lambda_adv": 0.1}}),
        (2, {"values": None}),
        (2, {"values": {"lambda_adv": -1.0, "lr_generator": 0.01}}),
        (2, {"ask": 7}),
        (3, {"ask": 9}),
        (3, {"miou": None}),
        (3, {"iteration": "soon"}),
        (7, {"state": "DONE"}),
        (7, {"values": None}),
        (7, {"event": "told"}),
        (2, {"event": None}),
        (7, {"event": "ask"}),
    ],
)
def test_a_line_that_no_search_wrote_is_refused_with_its_place(
    number: int, change: dict[str, Any], tmp_path: Path
) -> None:
    search = search_of(asks=1)
    leave(searched(tmp_path, search))
    (path,) = (tmp_path / "searches").iterdir()
    lines = EventLog(path).events
    assert len(lines) == LINES
    for entry in ({**lines[number - 1], **change}, {"event": lines[number - 1]["event"]}, {}):
        write_log(path, [*lines[: number - 1], entry, *lines[number:]])
        with pytest.raises(ConfigError) as refused:
            SearchSource(empty_sweep(tmp_path), search)
        assert f"line {number} of {path} must be" in str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("_nothing_stored")
def test_the_log_of_another_search_is_not_gone_on_with(tmp_path: Path) -> None:
    for search in (search_of(asks=1), search_of(asks=1, points=({"lambda_adv": 0.1},))):
        leave(begin(tmp_path, search))
    one, other = sorted((tmp_path / "searches").iterdir())
    other.write_bytes(one.read_bytes())
    searches = (search_of(asks=1), search_of(asks=1, points=({"lambda_adv": 0.1},)))
    (refused,) = [
        search for search in searches if other.stem == search.name(empty_sweep(tmp_path).plan)
    ]
    with pytest.raises(ConfigError, match=f"line 1 of {other} .* begins another search"):
        SearchSource(empty_sweep(tmp_path), refused)


@pytest.mark.usefixtures("_nothing_stored")
def test_a_warm_start_that_is_killed_as_it_begins_is_the_whole_one(tmp_path: Path) -> None:
    earlier = empty_sweep(tmp_path / "earlier")
    configs = [
        dataclasses.replace(BASE, lambda_adv=value, swa_n=5, swa_threshold=0.5)
        for value in (0.01, 0.1, 0.2)
    ]
    for run in earlier.add_trials(configs):
        finish(earlier, run, miou, history=history(run.spec.config))
    search = search_of(warm_start=(str(tmp_path / "earlier"),), asks=1)
    source = SearchSource(empty_sweep(tmp_path / "new"), search)
    Killer(1).arm(source._log)
    with pytest.raises(KilledError):
        source.__enter__()
    source._log.close()
    again = begin(tmp_path / "new", search)
    assert len(again._study._study.trials) == len(configs)
    leave(again)


@pytest.mark.usefixtures("_nothing_stored")
def test_a_damaged_log_of_another_search_holds_none_up(tmp_path: Path) -> None:
    other = tmp_path / "searches" / "other.jsonl"
    other.parent.mkdir()
    other.write_text("{\n{}\n")
    leave(begin(tmp_path, search_of(asks=1)))


@pytest.mark.usefixtures("_nothing_stored")
def test_a_warm_start_tells_the_sampler_of_finished_runs_that_fit(tmp_path: Path) -> None:
    earlier = empty_sweep(tmp_path / "earlier")
    fitting = [
        dataclasses.replace(BASE, lambda_adv=value, swa_n=5, swa_threshold=0.5)
        for value in (0.01, 0.1)
    ]
    others = [
        dataclasses.replace(fitting[0], seed=1),  # another seed
        dataclasses.replace(fitting[0], lambda_adv=0.0),  # outside the space
        dataclasses.replace(fitting[0], momentum=0.8),  # another fixed part
        dataclasses.replace(fitting[0], lambda_adv=0.2, swa_n=7),  # no readout of the space
    ]
    for run in earlier.add_trials([*fitting, *others]):
        finish(earlier, run, miou, history=history(run.spec.config))
    search = search_of(warm_start=(str(tmp_path / "earlier"),), asks=2)
    source = begin(tmp_path / "new", search)
    trials = source._study._study.trials
    assert sorted(trial.params["lambda_adv"] for trial in trials) == [0.01, 0.1]
    assert {trial.value for trial in trials} == {miou(c, c.readout)[1] for c in fitting}
    drive(source)
    leave(source)
    assert [ask.number for ask in source.asks] == [0, 1]
    # What was told stays told, whatever becomes of the folders.
    for path in (tmp_path / "earlier").glob("*/result.json"):
        path.unlink()
    assert told(begin(tmp_path / "new", search)) == told(source)


@pytest.mark.usefixtures("_nothing_stored")
def test_the_history_of_a_run_that_ended_unseen_reaches_the_scheduler(tmp_path: Path) -> None:
    source = begin(tmp_path, search_of(scheduler="asha", asks=1))
    run = source.suggest()
    assert run is not None
    finish(source.state, run, miou, history=history(run.spec.config))
    source.on_complete(run, None)
    assert source.asks[0].reports == dict(validations(run.spec.config))
    (log,) = (tmp_path / "searches").iterdir()
    kinds = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert kinds == ["search", "ask", *["report"] * 4, "tell"]
    assert RunFolder(tmp_path, run.spec.training_key).read("result") is not None
