"""Axes that are there only with certain values of others: what is asked, trained, told, refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from kills import goes_on_as_if_never_killed, searched
from record_helpers import BASE
from search_helpers import begin, empty_sweep, leave, search_of, studies

from sweeps.search.method import SAMPLERS
from sweeps.search.samplers import check_sampler
from sweeps.search.spaces.axes import Axis, Choice, Range, log_range
from sweeps.search.spaces.space import Space
from sweeps.search.warm_start import read_point
from trainable.config.schema import ConfigError

pytestmark = pytest.mark.trains

PIXELWISE = {"adversarial": ("pixelwise",)}
AXES: dict[str, Axis] = {
    "adversarial": Choice(("none", "pixelwise")),
    "lambda_adv": Range(0.0005, 1.0, log=True, when=PIXELWISE),
    "lr_generator": Range(0.005, 0.08, log=True),
    "swa_n": Choice((1, 5, 20)),
    "swa_threshold": Choice((0.0, 0.5), when={"adversarial": ("pixelwise",), "swa_n": (5, 20)}),
}
NAMES = tuple(AXES)


@pytest.mark.usefixtures("_nothing_stored", "_early_model")
@pytest.mark.parametrize(
    ("sampler", "readouts"), [("tpe", "exhaustive"), ("tpe", "sampled"), ("random", "exhaustive")]
)
def test_an_axis_is_asked_for_where_it_is_there_alone_also_after_a_kill(
    tmp_path: Path, sampler: str, readouts: str
) -> None:
    search = search_of(sampler=sampler, readouts=readouts, axes=AXES, asks=9)
    assert goes_on_as_if_never_killed(tmp_path, search, first=13, step=9, distinct=False) > 13
    asks = searched(tmp_path / "straight", search).asks
    there = {ask.values["adversarial"]: "lambda_adv" in ask.values for ask in asks}
    assert there == {"none": False, "pixelwise": True}
    for ask in asks:
        config = ask.run.spec.config
        if ask.values["adversarial"] == "none":
            # As of any run without an adversary: so its key is that of a grid's baseline.
            assert config == dataclasses.replace(config, lambda_adv=BASE.lambda_adv).canonical()
        else:
            assert config.lambda_adv == ask.values["lambda_adv"]


@pytest.mark.usefixtures("_nothing_stored")
def test_readouts_that_are_there_only_sometimes_are_answered_once(tmp_path: Path) -> None:
    asks = searched(tmp_path, search_of(sampler="random", axes=AXES, asks=6)).asks
    for ask in asks:
        found = [(trial.config.swa_n, trial.config.swa_threshold) for trial in ask.trials]
        own = BASE.swa_threshold
        if ask.values["adversarial"] == "none":
            assert found == [(1, own), (5, own), (20, own)]
        else:
            assert found == [(1, own), (5, 0.0), (5, 0.5), (20, 0.0), (20, 0.5)]


def test_the_stored_study_has_the_params_that_were_drawn_and_no_others(tmp_path: Path) -> None:
    source = searched(tmp_path, search_of(sampler="random", axes=AXES, asks=5))
    asks, readouts = studies(tmp_path)
    asked = [ask.values for ask in source.asks]
    assert [trial.params for trial in asks.trials] == asked
    assert {frozenset(trial.params) for trial in readouts.trials} == {
        frozenset({"adversarial", "lr_generator", "swa_n"}),
        frozenset({"adversarial", "lambda_adv", "lr_generator", "swa_n"}),
        frozenset(AXES),
    }


@pytest.mark.usefixtures("_nothing_stored")
def test_a_warm_start_takes_runs_of_either_kind(tmp_path: Path) -> None:
    storage = str(tmp_path)
    before = searched(tmp_path, search_of(sampler="random", axes=AXES, asks=6))
    complete = {ask.training_key for ask in before.asks if ask.state == "COMPLETE"}
    again = begin(tmp_path, search_of(axes=AXES, asks=6, warm_start=(storage,)))
    told = again._study._study.get_trials(deepcopy=False)
    assert len(told) == len(complete) > 2
    assert {"lambda_adv" in trial.params for trial in told} == {True, False}
    leave(again)


def test_a_point_says_nothing_of_an_axis_that_is_not_there() -> None:
    space = Space(axes=AXES)
    assert read_point("adversarial=none,lr_generator=0.01", space, BASE) == {
        "adversarial": "none",
        "lr_generator": 0.01,
    }
    with pytest.raises(
        ConfigError, match="lambda_adv is there only when adversarial is pixelwise; leave it out"
    ):
        read_point("adversarial=none,lambda_adv=0.1", space, BASE)


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ({"lr_generator": (0.01,)}, "must name an axis above it that is a list of values"),
        ({"swa_n": (5,)}, "must name an axis above it"),
        ({"adversarial": ("standard",)}, r"one of none, pixelwise, but got \['standard'\]"),
        ({"adversarial": ()}, r"but got \[\]"),
        ({"generator": ("vgg",)}, "but got 'generator'"),
    ],
)
def test_a_condition_that_can_never_hold_or_names_no_axis_is_refused(
    when: dict[str, tuple[str, ...]], words: str
) -> None:
    axes = AXES | {"lambda_adv": log_range(0.0005, 1.0, when)}
    with pytest.raises(ConfigError, match=f"`when` of lambda_adv {words}|{words}"):
        Space(axes=axes).check(BASE)


def test_what_is_trained_does_not_depend_on_a_readout() -> None:
    axes: dict[str, Axis] = {
        "swa_n": Choice((1, 5)),
        "lr_generator": Range(0.005, 0.08, when={"swa_n": (5,)}),
    }
    with pytest.raises(ConfigError, match="but swa_n is a readout, of which a training run"):
        Space(axes=axes).check(BASE)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_that_models_all_axes_at_once_is_refused(sampler: str) -> None:
    if sampler in ("tpe", "random"):
        check_sampler(sampler, Space(axes=AXES))
    else:
        with pytest.raises(ConfigError, match="only when adversarial is pixelwise; take tpe or"):
            check_sampler(sampler, Space(axes=AXES))


def test_a_readout_that_no_sampler_draws_may_be_there_only_sometimes_with_any() -> None:
    axes = {name: axis for name, axis in AXES.items() if name != "lambda_adv"}
    for sampler in ("gp", "qmc"):
        check_sampler(sampler, Space(axes=axes))
        with pytest.raises(ConfigError, match="swa_threshold is there only when"):
            check_sampler(sampler, Space(axes=axes, readouts="sampled"))
    assert not Space(axes=axes).has_conditions
    assert Space(axes=axes, readouts="sampled").has_conditions


def test_conditions_are_in_the_name_of_a_search_where_there_are_any(tmp_path: Path) -> None:
    plan = empty_sweep(tmp_path, axes=NAMES).plan
    plain = AXES | {"lambda_adv": Range(0.0005, 1.0, log=True)}
    assert search_of(axes=AXES).name(plan) != search_of(axes=plain).name(plan)
    assert "when" not in json.dumps(Space(axes=search_of().space.axes).to_primitives())
