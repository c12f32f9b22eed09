"""The joint search: its space, its options, and what it refuses before anything is trained."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from driver_helpers import Asked, read
from paths import ROOT
from record_helpers import BASE
from search_helpers import AXES, begin, drive, empty_sweep, search_of
from small import SMALL, left_to_a_search
from whole_sweeps import DEADLINE_S

from sweeps.driver.search_options import search_source
from sweeps.joint_search import SWEEP, axes, parser, source
from sweeps.planning.state import SweepState
from sweeps.search.optuna_source import SearchSource
from sweeps.search.spaces.axes import Axis, Choice, Range
from sweeps.search.spaces.space import Space
from sweeps.search.warm_start import read_point
from sweeps.swa_grid import THRESHOLDS
from trainable.config.loading import load_config, presets
from trainable.config.schema import DEFAULTS, ConfigError

SCRIPT = ROOT / "sweeps" / "joint_search.py"


def options_of(storage: Path, *arguments: str) -> Asked:
    return read(parser(), "--storage", str(storage), *arguments)


def ready(storage: Path, *arguments: str, **changes: Any) -> tuple[SweepState, SearchSource]:
    state = empty_sweep(storage, dataclasses.replace(BASE, **changes), axes=SWEEP.axes)
    found = source(state, *options_of(storage, *arguments))
    assert isinstance(found, SearchSource)
    return state, found


# The space


@pytest.mark.parametrize("preset", presets())
def test_the_space_lies_within_the_bounds_of_every_preset_and_round_its_own_setting(
    preset: str,
) -> None:
    base = load_config(preset=preset)
    space = Space(axes=axes(base))
    space.check(base)
    for name, axis in space.axes.items():
        assert axis.contains(getattr(base, name)), name
    assert tuple(space.axes) == SWEEP.axes
    assert len(space.siblings(base, {k: getattr(base, k) for k in space.training})) == (
        6 * len({*THRESHOLDS, base.swa_threshold})
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lambda_adv": Range(-0.1, 1.0)}, "`lambda_adv >= 0` must hold, but got lambda_adv=-0.1"),
        ({"swa_threshold": Choice((0.0, 1.0))}, "`0 <= swa_threshold < 1` must hold"),
        ({"lambda_adv": Range(0.0, 1.0, log=True)}, "`low > 0` must hold for lambda_adv on a log"),
        ({"lambda_adv": Range(1.0, 0.1)}, "`low <= high` must hold for lambda_adv"),
        ({"lambda_adv": Range(0.1, float("inf"))}, "`low <= high` must hold for lambda_adv"),
        ({"batch_size": Range(2.5, 8, whole=True)}, "batch_size must go from one whole number"),
        ({"swa_n": Choice(())}, "swa_n must have at least one value"),
        ({"swa_n": Choice((5, 5))}, "swa_n must have each value once"),
        ({"swa_n": Range(1, 20, whole=True)}, "swa_n must be a list of values"),
        ({"lambda_advs": Range(0.1, 1.0)}, "unknown axis 'lambda_advs'; did you mean 'lambda_adv'"),
        ({"seed": Choice((0, 1))}, "seed cannot be searched"),
        ({"image_px": Choice((32, 48))}, "image_px cannot be searched"),
        ({"generator": Choice(("deeplab_small", "unet"))}, "unknown generator 'unet'"),
    ],
)
def test_a_space_out_of_bounds_is_refused(change: dict[str, Axis], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Space(axes=AXES | change).check(BASE)
    assert message in str(refused.value)


def test_a_rule_among_fields_is_tried_at_the_corners() -> None:
    space = Space(axes={"scale_min": Range(0.5, 1.5), "scale_max": Range(1.0, 2.0)})
    with pytest.raises(ConfigError, match=r"at scale_min=1.5, scale_max=1.0: `scale_min <= "):
        space.check(BASE)


def test_with_many_axes_each_is_tried_alone() -> None:
    rates = [name for name in DEFAULTS if name.startswith(("lr_", "adam_", "loss_", "poly_"))]
    wide = {name: Range(0.1, 0.2) for name in [*rates, "momentum", "weight_decay", "scale_min"]}
    assert len(wide) > 10
    Space(axes=wide).check(BASE)
    with pytest.raises(ConfigError, match="`0 <= momentum < 1` must hold"):
        Space(axes=wide | {"momentum": Range(0.1, 1.0)}).check(BASE)


def test_a_space_of_readouts_alone_is_not_searched() -> None:
    with pytest.raises(ConfigError, match=r"swa_grid.py answers them all"):
        Space(axes={"swa_n": Choice((1, 5))}, readouts="sampled").check(BASE)


def test_numbers_are_suggested_by_their_place_so_that_near_ones_are_alike() -> None:
    numbers, names = Choice((20, 1, 5)), Choice(("eq7", "uniform"))
    assert numbers.suggested == optuna.distributions.IntDistribution(0, 2)
    assert [numbers.value(numbers.param(value)) for value in numbers.values] == [20, 1, 5]
    assert [numbers.value(place) for place in range(3)] == [1, 5, 20]
    assert names.suggested == optuna.distributions.CategoricalDistribution(("eq7", "uniform"))
    assert names.value(names.param("eq7")) == "eq7"


def test_a_range_holds_numbers_between_its_ends_and_no_text() -> None:
    found = [Range(0.1, 1.0).contains(value) for value in (0.1, 0.5, 1.0, 0.05, 1.5, "0.5", "eq7")]
    assert found == [True, True, True, False, False, False, False]


# Samplers and schedulers


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ({"lambda_adv": Range(0.1, 1.0)}, "at least 2 axes to vary, but has 1"),
        ({"lambda_adv": Range(0.1, 1.0), "momentum": Range(0.9, 0.9)}, "but has 1"),
        ({"generator": Choice(("deeplab_small", "deeplabv3_resnet18"))}, "needs axes of numbers"),
    ],
)
def test_cma_es_refuses_a_space_that_it_cannot_do(
    tmp_path: Path, axes: dict[str, Axis], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        SearchSource(empty_sweep(tmp_path), search_of(sampler="cmaes", axes=axes))


@pytest.mark.parametrize("scheduler", ["asha", "hyperband", "median"])
def test_a_scheduler_without_validations_before_the_end_is_refused(
    tmp_path: Path, scheduler: str
) -> None:
    with pytest.raises(ConfigError, match="`eval_every < iterations`"):
        ready(tmp_path, "--scheduler", scheduler, eval_every=240)
    assert not (tmp_path / "searches").exists()


def test_a_searched_field_may_not_be_set_to_one_value_as_well(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"lambda_adv is searched, 0.0005 to 1, but `--set"):
        ready(tmp_path, "--set", "lambda_adv=0.1")


# Points and plans


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lambda_adv", "`--point key=value,key=value` must hold"),
        ("lambda_adv=2", "lambda_adv must be 0.0005 to 1, but is 2"),
        ("lambda_adv=x", "lambda_adv must be a number"),
        ("lamda_adv=0.1", "unknown axis 'lamda_adv'; did you mean 'lambda_adv'"),
        ("swa_n=5", "swa_n is read in all its values"),
        ("lambda_adv=0.1,lambda_adv=0.2", "lambda_adv must stand once"),
    ],
)
def test_a_point_that_is_not_one_of_the_space_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_point(text, Space(axes=AXES), BASE)
    assert message in str(refused.value)


def test_a_point_names_what_differs_from_the_preset(tmp_path: Path) -> None:
    _, search = ready(tmp_path, "--point", "lambda_adv=1e-1", "--point", "lr_generator=0.02")
    with search:
        search.suggest()
        search.suggest()
    assert [ask.values["lambda_adv"] for ask in search.asks] == [0.1, BASE.lambda_adv]
    assert [ask.values["lr_generator"] for ask in search.asks] == [BASE.lr_generator, 0.02]
    sampled = Space(axes=axes(BASE), readouts="sampled")
    assert read_point("swa_n=10", sampled, BASE)["swa_n"] == 10


def test_more_points_than_asks_are_refused(tmp_path: Path) -> None:
    points = ["--point", "lambda_adv=0.1", "--point", "lambda_adv=0.2"]
    with pytest.raises(ConfigError, match="`points <= --asks` must hold, but got 2 points"):
        ready(tmp_path, *points, "--asks", "1")
    ready(tmp_path, *points[:2], *points[:2], "--asks", "1")  # the same twice is one


def test_a_folder_to_warm_start_from_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--warm-start must name folders of run folders"):
        ready(tmp_path, "--warm-start", str(tmp_path / "nowhere"))


def test_a_plan_counts_what_a_search_will_train_and_writes_nothing(tmp_path: Path) -> None:
    options = options_of(tmp_path, "--plan", "--asks", "5", "--confirm", "2", "--seeds", "3")
    state = empty_sweep(tmp_path, axes=SWEEP.axes)
    source(state, *options)
    assert len(state.runs) == 5 + 2 * 3
    assert len(state.trials) == 5 * 6 * 7 + 2 * 3
    assert list(tmp_path.iterdir()) == []


def test_a_plan_of_a_search_that_was_begun_shows_what_is_done(tmp_path: Path) -> None:
    drive(begin(tmp_path, search_of(sampler="random", asks=3)))
    state = empty_sweep(tmp_path)
    arguments = ["--plan", "--sampler", "random", "--asks", "5", "--confirm", "0"]
    search_source(state, *options_of(tmp_path, *arguments), Space(axes=AXES))
    assert len(state.runs) == 5
    done = len(list(tmp_path.glob("*/result.json"))) + len(list(tmp_path.glob("*/failure.json")))
    assert len(state.runs) - len(state.pending()) >= done > 0


# Whole


@pytest.mark.slow
def test_one_command_searches_confirms_and_stores_a_study(tmp_path: Path) -> None:
    sets = [part for setting in left_to_a_search(SMALL) for part in ("--set", setting)]
    command = [sys.executable, str(SCRIPT), "--asks", "4", "--confirm", "1", "--seeds", "2"]
    command += ["--scheduler", "asha", "--json", "--no-figures", "--no-model", *sets]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["training_runs"] == 4 + 2
    assert said["best"]["best/seeds"] == 2
    storage = f"sqlite:///{tmp_path / 'runs' / 'optuna.db'}"
    name, readouts = sorted(optuna.get_all_study_names(storage))
    assert readouts == f"{name} (readouts)"
    study = optuna.load_study(study_name=name, storage=storage)
    assert {trial.state.name for trial in study.trials} <= {"COMPLETE", "PRUNED"}
    again = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert again.returncode == 0, again.stderr
    assert "nothing to train" in again.stderr
    assert json.loads(again.stdout)["best"] == said["best"]
