"""What `--fields` says of the fields of a config."""

import dataclasses
import re

import pytest

from trainable.config.fields import Field, all_fields, describe_fields
from trainable.config.schema import CHOICES, DEFAULTS, ConfigError, TrialConfig


def test_every_field_is_there_in_the_schemas_order_with_a_meaning() -> None:
    found = all_fields()
    assert [field.name for field in found] == [one.name for one in dataclasses.fields(TrialConfig)]
    assert [field.name for field in found if len(field.meaning.split()) < 2] == []
    sections = list(dict.fromkeys(field.section for field in found))
    assert sections[:3] == ["Data", "Networks", "Losses"]
    assert sections[-1] == "Execution"


def test_a_field_has_the_comment_beside_it_or_above_it_its_choices_and_its_rule() -> None:
    by_name = {field.name: field for field in all_fields()}
    beside, above = by_name["lambda_adv"], by_name["precision"]
    assert beside == Field(
        name="lambda_adv",
        section="Losses",
        meaning="weight of the adversarial term; section 4.2, Fig. 4",
        choices=(),
        rule="lambda_adv >= 0",
    )
    assert above.meaning.startswith("`fp32`, or autocast in `bf16`")
    assert above.choices == tuple(CHOICES["precision"])
    assert by_name["scale_max"].meaning == by_name["scale_min"].meaning


def test_lines_fit_80_columns_and_meanings_stand_below_each_other() -> None:
    lines = describe_fields()
    assert max(map(len, lines)) < 80
    assert {len(line) - len(line.lstrip()) for line in lines} == {0, 2, 28}
    assert [line for line in lines if line.startswith("  seed = 0  ")]
    assert [line for line in lines if line.startswith("  mirror = true  ")]


@pytest.mark.parametrize(
    ("word", "names"),
    [
        ("lambda", ["lambda_adv"]),
        ("IZMAILOV", ["swa_rule"]),  # of the meaning, whatever its case
        ("encoder_decoder_skips", ["discriminator"]),  # of the choices
        ("", list(DEFAULTS)),
    ],
)
def test_a_word_of_name_meaning_or_choices_finds_fields(word: str, names: list[str]) -> None:
    found = [line.split()[0] for line in describe_fields(word) if re.match(r"  \w", line)]
    assert found == names


def test_a_word_of_no_field_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match=r"none has 'lamda_adv'; did you mean 'lambda_adv'\?"):
        describe_fields("lamda_adv")
    with pytest.raises(ConfigError, match=r"`python -m trainable\.train --fields` lists them"):
        describe_fields("xyzzy")
