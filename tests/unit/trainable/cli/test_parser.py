"""The parser of every command: two lengths of help, and refusals of one line."""

import sys

import pytest

from trainable.cli.parser import Parser, program

ABOUT = "Count sheep.\n\nAll of them,   twice."


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> Parser:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys, "argv", ["count.py"])
    made = Parser(description=ABOUT, example="--fast field", module="count")
    made.add_argument("where", nargs="+", metavar="WHERE", help="a field")
    speed = made.group("speed", "--fast")
    speed.add_argument("--fast", action="store_true", help="be fast")
    speed.add_argument("--steps", type=int, nargs="+", default=[3], help="(default: 3)")
    made.rarely("--steps")
    return made


def test_help_shows_what_is_used_most_and_help_all_everything(parser: Parser) -> None:
    short, everything = parser.format_help(), parser.format_everything()
    usage = f"usage: {parser.prog} [options] WHERE [WHERE ...]\n"
    assert short.startswith(f"{usage}\nCount sheep.\npositional arguments:\n")
    assert everything.startswith(f"{usage}\n{ABOUT}\n\npositional arguments:\n")
    assert ("--steps" in short, "--steps STEPS [STEPS ...]" in everything) == (False, True)
    assert ("\nspeed:\n  --fast" in short, "\nspeed, such as --fast:\n" in everything) == (
        True,
        True,
    )
    assert short.endswith(f"\nexample: {parser.prog} --fast field\n--help-all shows every option\n")
    assert parser.format_help() == short
    assert vars(parser.parse_args(["field"])).keys() == {"where", "fast", "steps"}


@pytest.mark.parametrize("option", ["--help", "--help-all"])
def test_help_is_printed_and_ends_with_zero(
    option: str, parser: Parser, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser.parse_args([option])
    assert not ended.value.code
    said = parser.format_help() if option == "--help" else parser.format_everything()
    assert capsys.readouterr().out == said


def test_bad_input_is_one_line_that_names_the_help(
    parser: Parser, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["field", "--steps", "many"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: argument --steps: invalid int value: 'many'; see `")
    assert said.endswith(f"`{parser.prog} --help`\n")


def test_a_program_is_named_as_it_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    monkeypatch.setattr(sys, "argv", ["my sheep/count.py"])
    assert program() == ["python3", "my sheep/count.py"]
    assert program("sheep.count") == ["python3", "-m", "sheep.count"]
    monkeypatch.setattr(sys, "argv", ["pwa lambda_grid"])
    assert program() == program("sweeps.lambda_grid") == ["pwa", "lambda_grid"]
