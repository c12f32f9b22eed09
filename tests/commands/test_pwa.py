"""The one command whose subcommands are all others, and its completion by the Tab key."""

import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import IO

import pytest
from argcomplete import finders
from paths import ROOT

from sweeps import pwa
from sweeps.driver import session
from trainable.cli.parser import program
from trainable.config.loading import presets
from trainable.config.schema import CHOICES, DEFAULTS

FOLDERS = ("trainable", "sweeps", "analysis")
HEAVY = {"torch", "ray", "mlflow", "optuna", "pandas", "numpy", "matplotlib"}


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/pwa", *words])
    return pwa.main()


def in_a_fresh_process(program: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_every_command_of_the_packages_is_a_subcommand() -> None:
    commands = {
        f"{path.parent.name}.{path.stem}"
        for folder in FOLDERS
        for path in (ROOT / folder).glob("*.py")
        if "\ndef main(" in path.read_text(encoding="utf-8")
    }
    # A simulation that a test of the documentation runs, and this one.
    assert set(pwa.MODULES.values()) == commands - {"analysis.simulate_importance", "sweeps.pwa"}


@pytest.mark.parametrize("words", [(), ("-h",), ("--help",), ("--help-all",)])
def test_help_has_a_line_for_each_command(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 32
    assert max(map(len, lines)) <= 80
    assert [line.split()[0] for line in lines if line.startswith("  ")] == list(pwa.MODULES)


def test_help_is_there_without_anything_heavy() -> None:
    said = in_a_fresh_process(
        "import sys; sys.argv = ['pwa', '--help']; from sweeps import pwa; pwa.main(); "
        "print(*sys.modules)"
    )
    assert set(said.splitlines()[-1].split()) & HEAVY == set()


def test_an_unknown_command_is_refused_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "lamda_grid")
    assert ended.value.code == 2
    said = "error: unknown command 'lamda_grid'; did you mean 'lambda_grid'?; see `pwa --help`\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("name", ["lambda_grid", "train", "compare"])
def test_a_subcommand_names_itself_in_help_and_errors(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, name, "--help")
    assert not ended.value.code
    assert capsys.readouterr().out.startswith(f"usage: pwa {name} [options]")
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, name, "--frobnicate")
    assert ended.value.code == 2
    assert capsys.readouterr().err.endswith(f"; see `pwa {name} --help`\n")
    assert program() == ["pwa", name]


def test_an_interrupted_sweep_is_resumed_by_the_command_that_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(session, "ray_slots", interrupt)
    assert run(monkeypatch, "lambda_grid", "--seeds", "1") == 130
    assert capsys.readouterr().out.rstrip().endswith("resume with: pwa lambda_grid --seeds 1")


Completed = Callable[[str], list[str]]


@pytest.fixture
def completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Completed:
    """What the Tab key offers at the end of a line, by the protocol of bash and argcomplete."""
    answer = tmp_path / "answer"
    # It would take over file 9, which may be pytest's.
    monkeypatch.setattr(finders.CompletionFinder, "_init_debug_stream", lambda _: None)
    opened: list[IO[str]] = []

    def open_and_keep(name: str, mode: str) -> IO[str]:
        opened.append(open(name, mode))  # noqa: SIM115  closed below
        return opened[-1]

    monkeypatch.setattr(finders, "open", open_and_keep, raising=False)  # it closes no file

    def complete(line: str) -> list[str]:
        for name, value in {
            "_ARGCOMPLETE": "1",
            "_ARGCOMPLETE_IFS": "\n",
            "_ARGCOMPLETE_COMP_WORDBREAKS": " \t\n",
            "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
            "COMP_LINE": line,
            "COMP_POINT": str(len(line.encode())),
        }.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            run(monkeypatch)
        assert ended.value.code == 0
        opened.pop().close()
        return [one.rstrip() for one in answer.read_text().splitlines()]

    return complete


def test_tab_completes_commands(completed: Completed) -> None:
    assert completed("pwa la") == ["lambda_grid"]
    assert {"lambda_grid", "train", "doctor"} <= set(completed("pwa "))


def test_tab_completes_the_options_of_a_command(completed: Completed) -> None:
    assert completed("pwa lambda_grid --lam") == ["--lambdas"]
    offered = completed("pwa lambda_grid --seeds 2 --ra")
    assert offered == ["--race", "--race-limit"]


def test_tab_completes_presets_fields_and_their_values(completed: Completed) -> None:
    assert completed("pwa lambda_grid --preset ") == presets()
    fields = completed("pwa lambda_grid --set ")
    assert set(fields) == {f"{name}=" for name in DEFAULTS}
    values = completed("pwa lambda_grid --set swa_rule=")
    assert values == [f"swa_rule={rule}" for rule in CHOICES["swa_rule"]]
    assert completed("pwa joint_search --sampler r") == ["random"]


def test_tab_completes_files(completed: Completed, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").touch()
    offered = completed(f"pwa from_file {tmp_path}/m")
    assert offered == [str(tmp_path / "mine.yaml")]


@pytest.mark.parametrize("name", pwa.MODULES)
def test_every_module_has_a_parser_for_completion_and_a_main(name: str) -> None:
    module = import_module(pwa.MODULES[name])
    assert callable(module.parser)
    assert callable(module.main)
