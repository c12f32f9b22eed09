"""A sweep of one's own says the same in Python as in YAML, by the same rules."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweeps import Choice, Range, Sweep, log_range
from trainable.config.schema import ConfigError, arguments_in

SWEEPS = {
    "axes": Sweep(
        name="width",
        question="Does a wider network want a smaller rate?",
        preset="demo",
        base={"iterations": 20, "mirror": False, "weights": "", "lr_discriminator": 1e-5},
        axes={"generator_width": [8, 12], "lr_generator": [1e-5, 0.02]},
        seeds=4,
    ),
    "points": Sweep(name="few", points=[{"swa_n": 9}, {"lambda_adv": 0, "adversarial": "none"}]),
    "search": Sweep(
        name="rates",
        search={
            "lr_generator": log_range(0.005, 1),
            "batch_size": Range(2, 9),
            "generator_width": {"low": 4, "high": 12, "step": 4},
            "adversarial": ["standard", "pixelwise"],
            "swa_n": Choice((2, 5)),
        },
    ),
    "conditions": Sweep(
        name="conditions",
        objective=["val/miou", "cost/train_s"],
        search={
            "adversarial": ["none", "pixelwise"],
            "lambda_adv": log_range(0.001, 1, {"adversarial": ("pixelwise",)}),
            "generator_width": {"values": [4, 8], "when": {"adversarial": ["none"]}},
        },
    ),
}


@pytest.mark.parametrize("kind", SWEEPS)
def test_a_sweep_is_the_same_after_a_way_through_a_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "q.yaml"
    SWEEPS[kind].to_yaml(path)
    assert Sweep.from_yaml(path) == SWEEPS[kind]
    # Numbers enter keys as text, where 1 is not 1.0.
    assert repr(Sweep.from_yaml(path)) == repr(SWEEPS[kind])


def test_a_file_that_calls_the_axes_a_grid_as_before_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "q.yaml"
    path.write_text("name: few\ngrid: {swa_n: [1, 2]}\n")
    assert Sweep.from_yaml(path) == Sweep(name="few", axes={"swa_n": [1, 2]})
    path.write_text("name: few\ngrid: {swa_n: [1, 2]}\naxes: {swa_n: [3]}\n")
    with pytest.raises(ConfigError, match="axes must stand once"):
        Sweep.from_yaml(path)


def test_arrays_ranges_and_tuples_are_values_as_lists_are() -> None:
    named = Sweep(name="few", axes={"swa_n": [1, 2], "lr_generator": [0.25, 0.5]})
    given: dict[str, Any] = {"swa_n": range(1, 3), "lr_generator": np.array([0.25, 0.5])}
    assert Sweep(name="few", axes=given) == named
    assert repr(Sweep(name="few", axes=given)) == repr(named)
    assert Sweep(name="few", axes={"swa_n": (np.int64(1), 2), "lr_generator": (0.25, 0.5)}) == named


def test_mappings_and_lists_are_values_of_the_fields_that_hold_such(tmp_path: Path) -> None:
    unets: dict[str, Any] = {
        "base": {"class_weights": [1, 2, 1], "discriminator_args": {"width": 8}},
        "axes": {"generator_args": [{"encoder_name": "resnet18"}, {"encoder_name": "resnet34"}]},
    }
    sweep = Sweep(name="unets", **unets)
    sweep.to_yaml(tmp_path / "q.yaml")
    assert Sweep.from_yaml(tmp_path / "q.yaml") == sweep
    assert sweep.base is not None
    assert sweep.base["class_weights"] == "1,2,1"
    assert arguments_in(str(sweep.base["discriminator_args"])) == {"width": 8}
    points = [arguments_in(str(point["generator_args"])) for point in sweep.settings]
    assert points == unets["axes"]["generator_args"]


def test_a_range_of_a_field_of_whole_numbers_draws_whole_numbers() -> None:
    space = SWEEPS["search"].space
    assert space["batch_size"] == Range(2.0, 9.0, whole=True)
    assert space["lr_generator"] == Range(0.005, 1.0, log=True)
    assert space["generator_width"] == Range(4.0, 12.0, whole=True, step=4)


def test_the_points_are_every_combination_of_the_axes_or_those_named() -> None:
    assert list(SWEEPS["axes"].settings) == [
        {"generator_width": width, "lr_generator": rate}
        for width in (8, 12)
        for rate in (1e-5, 0.02)
    ]
    assert SWEEPS["points"].varied == ("swa_n", "lambda_adv", "adversarial")
    assert (SWEEPS["search"].settings, len(SWEEPS["search"].varied)) == ((), 5)


# What Python alone can give; all else is refused as tests/commands/test_from_file.py has it.
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no name": ({"name": None}, "name must be text"),
    "nothing varies": ({}, "one of axes, points and search must be there, but got none"),
    "two ways": ({"axes": {"swa_n": [1]}, "points": [{"swa_n": 1}]}, "but got axes and points"),
    "a set": ({"axes": {"swa_n": {1, 2}}}, r"`swa_n: \[value, ...\]` must hold"),
    "an object": ({"axes": {"swa_n": [object()]}}, "swa_n must be a whole number"),
    "not finite": ({"axes": {"lr_generator": [math.nan]}}, "lr_generator must be finite"),
    "a field of none": ({"search": {"lr": log_range(1, 2)}}, "unknown field 'lr'"),
    "an end that is none": (
        {"search": {"lr_generator": Range("a", 2)}},  # type: ignore[arg-type]
        "low: number",
    ),
    "half a step": (
        {"search": {"swa_n": {"low": 1, "high": 3, "step": 0.5}}},
        "step of swa_n must be a whole number, but got 0.5",
    ),
    "not whole": ({"search": {"lr_generator": Range(1, 2, whole=True)}}, "is no whole number"),
    "a condition that is none": (
        {"search": {"swa_n": {"values": [1], "when": ["adversarial"]}}},
        "when of swa_n must hold `field: value`",
    ),
    "a condition of one value": (
        {"search": {"swa_n": {"values": [1], "when": {"adversarial": "none"}}}},
        r"when of swa_n must hold `adversarial: \[value, ...\]`, but got 'none'",
    ),
    "a condition on no field": (
        {"search": {"swa_n": {"values": [1], "when": {"advresarial": ["none"]}}}},
        "unknown field 'advresarial'; did you mean 'adversarial'",
    ),
    "values that are none": (
        {"search": {"swa_n": {"values": 3}}},
        "values of swa_n must be a list",
    ),
    "values and a range": (
        {"search": {"swa_n": {"values": [1], "low": 2}}},
        "unknown key 'low' of swa_n",
    ),
    "no objective": ({"axes": {"swa_n": [1]}, "objective": []}, "but is empty"),
    "a number for one": ({"axes": {"swa_n": [1]}, "objective": 3}, "objective must be text"),
    "a number for axes": ({"axes": 3}, "axes must hold `field: value`"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_asked_is_refused_when_it_is_described(case: str) -> None:
    given, words = BAD[case]
    with pytest.raises(ConfigError, match=words) as refused:
        Sweep(**{"name": "mine", **given})
    assert "\n" not in str(refused.value)


def test_a_sweep_that_no_file_may_hold_is_not_written(tmp_path: Path) -> None:
    many = Sweep(name="many", points=[{"swa_n": n + 1} for n in range(9_000)])
    with pytest.raises(ConfigError, match="may have 65536 bytes"):
        many.to_yaml(tmp_path / "q.yaml")
    assert list(tmp_path.iterdir()) == []
