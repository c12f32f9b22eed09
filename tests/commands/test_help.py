"""What `--help` and `--help-all` of every command show."""

import argparse
import importlib
import shlex
import sys

import pytest
from paths import ROOT

from trainable import train
from trainable.cli.parser import Parser

SCREEN = 32, 80  # lines and columns; the classic 24 lines hold most of it
FOLDERS = ("trainable", "sweeps", "analysis")
COMMANDS = sorted(
    f"{folder}.{path.stem}"
    for folder in FOLDERS
    for path in (ROOT / folder).glob("*.py")
    if "\ndef parser(" in path.read_text(encoding="utf-8")
)


@pytest.fixture(params=COMMANDS)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Parser:
    """The parser of each command, on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", str(SCREEN[1]))
    monkeypatch.setattr(sys, "argv", [f"{request.param.replace('.', '/')}.py"])
    module = importlib.import_module(request.param)
    made = module.parser()
    assert isinstance(made, Parser)
    return made


def subparsers(parser: argparse.ArgumentParser) -> list[Parser]:
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += action.choices.values()
    return [one for one in found if isinstance(one, Parser)]


def options(parser: Parser) -> list[argparse.Action]:
    hidden = argparse.SUPPRESS
    return [one for one in parser._actions if one.option_strings and one.help != hidden]


def test_commands_are_found() -> None:
    assert {"sweeps.lambda_grid", "trainable.train", "analysis.compare"} < set(COMMANDS)
    assert len(COMMANDS) >= 18


def test_help_fits_a_screen_and_says_how_to_see_the_rest(parser: Parser) -> None:
    for one in subparsers(parser):
        lines = one.format_help().splitlines()
        assert len(lines) <= SCREEN[0]
        assert max(map(len, lines)) <= SCREEN[1]
        assert lines[-1].startswith("--help-all ")


def test_help_all_shows_every_option(parser: Parser) -> None:
    for one in subparsers(parser):
        shown = one.format_everything()
        assert [
            name for option in options(one) for name in option.option_strings if name not in shown
        ] == []


def test_options_say_what_they_are_and_their_default(parser: Parser) -> None:
    for one in subparsers(parser):
        for option in options(one):
            assert option.help, option.option_strings
            if option.default not in (None, False, True, []):
                assert "default" in option.help, option.option_strings


def test_every_example_is_one_that_the_command_takes(parser: Parser) -> None:
    needed = shlex.split(parser.example)
    assert needed
    parser.parse_args(needed)
    for example in parser.examples_of_groups:
        parser.parse_args([*needed, *shlex.split(example)])
    assert f"\nexample: {parser.prog} {parser.example}\n" in parser.format_help()


def test_train_lists_the_fields_of_a_config(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--fields", "lambda"])
    assert train.main() == 0
    assert capsys.readouterr().out.startswith("Losses:\n  lambda_adv = 0.01 ")
    monkeypatch.setattr(sys, "argv", ["train.py", "--fields", "lamda_adv"])
    with pytest.raises(SystemExit) as ended:
        train.main()
    assert ended.value.code == 2
    assert "did you mean 'lambda_adv'?" in capsys.readouterr().err
