"""A message about a value says where that was given."""

from pathlib import Path

import pytest

from trainable.config.loading import load_config, read_yaml
from trainable.config.places import Override, Placed, located, places_of
from trainable.config.schema import ConfigError


def refusal(**given: object) -> str:
    with pytest.raises(ConfigError) as raised:
        load_config(**given)  # type: ignore[arg-type]
    return str(raised.value)


def test_a_value_of_a_file_is_told_with_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "trial.yaml"
    file.write_text("# mine\niterations: 100\n\nlr_generator: -1\n")
    said = f"{file}:4: `lr_generator > 0` must hold, but got lr_generator=-1.0"
    assert refusal(file=str(file)) == said
    file.write_text("lamda_adv: 3\n")
    assert refusal(file=str(file)).startswith(f"{file}:1: unknown key 'lamda_adv'; did you mean")


def test_an_option_is_told_as_it_was_given_even_where_a_file_has_part_in_it(tmp_path: Path) -> None:
    file = tmp_path / "trial.yaml"
    file.write_text("scale_min: 0.5\nlr_generator: 0.1\n")
    said = "--set scale_max=0.1: `scale_min <= scale_max` must hold, "
    assert refusal(file=str(file), overrides=["scale_max=0.1"]).startswith(said)
    crop = Override("crop_px=3", by="--crop 3")
    assert refusal(overrides=[crop]).startswith("--crop 3: `crop_px >= 32` must hold")
    # What a later option mends is not told of.
    file.write_text("lr_generator: -1\n")
    assert load_config(file=str(file), overrides=["lr_generator=0.1"]).lr_generator == 0.1


def test_a_value_that_nobody_gave_is_told_without_a_place() -> None:
    error = ConfigError("`swa_n >= 1` must hold, but got swa_n=0")
    assert located(error, {"crop_px": "--set crop_px=3"}) is error
    assert str(located(error, otherwise="my.yaml")) == f"my.yaml: {error}"


def test_every_key_of_a_file_has_its_place(tmp_path: Path) -> None:
    file = tmp_path / "q.yaml"
    file.write_text("base: {swa_n: 2}\npoints:\n- swa_n: 3\n- lambda_adv: 0\n")
    values = read_yaml(file)
    assert values == {"base": {"swa_n": 2}, "points": [{"swa_n": 3}, {"lambda_adv": 0}]}
    lines = {"base": 1, "points": 2, "swa_n": 1, "lambda_adv": 4}  # of two the first
    assert places_of(values) == {key: f"{file}:{line}" for key, line in lines.items()}
    assert isinstance(values["points"][0], Placed)
    assert values["points"][0].places == {"swa_n": f"{file}:3"}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("swa_n: 2\nswa_n: 3\n", 2),
        ("a: &x 1\nb: *x\n", 2),
        ("a: 1\nb: !!int 3\n", 2),
        ("a: [\n", 2),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line(content: str, line: int, tmp_path: Path) -> None:
    file = tmp_path / "q.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError) as raised:
        read_yaml(file)
    assert str(raised.value).startswith(f"{file}:{line} is not usable YAML: ")
