"""The ablation: which losses on which networks, on each data set, and what is refused."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from record_helpers import sweep_state
from refusals import refusal_of

from sweeps import ablation
from sweeps.ablation import parser, trials
from trainable.config.loading import load_config
from trainable.config.schema import ConfigError, TrialConfig


def rows(base: TrialConfig, *argv: str) -> list[TrialConfig]:
    options = parser().parse_args(argv)
    return trials(base, [0], options)


def preset(name: str, **changes: Any) -> TrialConfig:
    settings = [f"{key}={value}" for key, value in changes.items()]
    return load_config(preset=name, overrides=["data_root=there", *settings])


def pairs(configs: list[TrialConfig]) -> list[tuple[str, str]]:
    return [(config.generator, config.adversarial) for config in configs]


LOSSES = ("none", "standard", "pixelwise")


@pytest.mark.parametrize(
    ("name", "own", "further"),
    [
        ("voc2012", "deeplabv2_resnet101", ["deeplabv3_resnet18", "deeplabv3_resnet34"]),
        ("segtrackv2", "deeplabv2_resnet101", []),
        ("demo", "deeplab_small", ["deeplabv3_resnet18"]),
    ],
)
def test_by_default_a_preset_asks_what_the_paper_shows_of_its_data(
    name: str, own: str, further: list[str]
) -> None:
    expected = [(own, loss) for loss in LOSSES]
    expected += [(one, loss) for one in further for loss in ("none", "pixelwise")]
    assert pairs(rows(preset(name))) == expected


def test_the_baseline_has_no_weight_and_the_others_the_presets() -> None:
    weights = {c.adversarial: c.lambda_adv for c in rows(preset("segtrackv2"))}
    assert weights == {"none": 0.0, "standard": 0.01, "pixelwise": 0.01}


def test_every_row_is_a_training_of_its_own_with_each_seed(tmp_path: Path) -> None:
    options = parser().parse_args([])
    state = sweep_state(tmp_path, trials(load_config(), range(options.seeds), options))
    assert (len(state.trials), len(state.runs)) == (15, 15)
    seeds = Counter(trial.config.seed for trial in state.trials)
    assert seeds == {0: 5, 1: 5, 2: 5}


def test_options_choose_losses_and_generators_each_once() -> None:
    argv = ["--losses", "standard", "--generators", "deeplabv3_resnet34", "deeplabv3_resnet34"]
    assert pairs(rows(preset("voc2012"), *argv)) == [("deeplabv3_resnet34", "standard")]


def test_further_generators_start_from_random_weights_and_the_presets_own_from_its_file() -> None:
    base = preset("voc2012", weights="coco.pth")
    for config in rows(base):
        own = config.generator == base.generator
        assert config.weights == ("coco.pth" if own else "")
        assert config.trunk_batch_norm == ("affine_frozen" if own else "train")
    chosen = preset("voc2012", weights="torchvision", generator="deeplabv3_resnet34")
    assert rows(chosen)[0].weights == "torchvision"


def test_losses_without_a_weight_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"`lambda_adv > 0` must hold.*lambda_adv=0"):
        rows(preset("demo", lambda_adv=0))


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--losses", "pixel-wise"], ("--losses", "'pixel-wise'", "pixelwise")),
        (["--losses"], ("--losses", "expected at least one argument")),
        (["--generators", "deeplabv3"], ("--generators", "'deeplabv3'", "deeplabv3_resnet18")),
        (["--set", "lambda_adv=0"], ("`lambda_adv > 0`",)),
        (
            ["--set", "crop_px=24", "--set", "discriminator=encoder_decoder"],
            ("`crop_px >= 32`", "deeplabv3_resnet18"),
        ),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    argv: list[str],
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    said = refusal_of(ablation, argv, monkeypatch, capsys)
    assert [word for word in words if word not in said] == []
    assert list(tmp_path.iterdir()) == []


def test_an_ablation_records_its_masks() -> None:
    assert ablation.SWEEP.with_samples
