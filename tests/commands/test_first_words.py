"""A command says something before it loads what takes seconds."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import pytest
from driver_helpers import SETS, question
from paths import ROOT

from sweeps.driver import sweep
from sweeps.driver.options import SweepOptions, sweep_parser
from sweeps.driver.script import SweepScript
from sweeps.driver.start import run_sweep

SLOW_TO_LOAD = ("matplotlib", "mlflow", "optuna", "pandas", "ray", "scipy", "sqlalchemy", "torch")
SCRIPTS = ("ablation", "from_file", "joint_search", "lambda_grid", "swa_grid", "best", "publish")
COMMANDS = (*(f"sweeps.{name}" for name in SCRIPTS), "analysis.make_figures", "examples.my_sweep")


def test_what_stands_before_the_first_words_is_quick_to_load() -> None:
    program = f"""
import importlib, json, sys
loaded = {{}}
for name in {COMMANDS}:
    module = importlib.import_module(name)
    loaded[name] = [heavy for heavy in {SLOW_TO_LOAD} if heavy in sys.modules]
    for parser in ("parser", "_parser"):
        if hasattr(module, parser):
            getattr(module, parser)()
            loaded[f"options of {{name}}"] = [h for h in {SLOW_TO_LOAD} if h in sys.modules]
print(json.dumps(loaded))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = json.loads(done.stdout)
    assert set(COMMANDS) < set(loaded)
    assert "options of sweeps.joint_search" in loaded
    assert {name: found for name, found in loaded.items() if found} == {}


@pytest.mark.parametrize(
    ("options", "said"),
    [((), "preset demo"), (("--preset", "voc2012"), "preset voc2012"), (("--config", "a"), "a")],
)
def test_a_sweep_says_what_begins_before_it_loads_the_rest(
    options: tuple[str, ...],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen: list[str] = []

    def answer(asked: SweepScript, given: SweepOptions, own: argparse.Namespace) -> int:
        seen.append(capsys.readouterr().out)
        return 0

    monkeypatch.setattr(sweep, "answer", answer)
    monkeypatch.setattr("sys.argv", ["mine.py", *SETS, *options])
    assert run_sweep(question([{}]), sweep_parser("What?")) == 0
    assert seen == [f"mine with {said}: loading PyTorch\n"]


def test_with_json_the_words_are_not_on_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sweep, "answer", lambda *_: 0)
    monkeypatch.setattr("sys.argv", ["mine.py", "--json"])
    run_sweep(question([{}]), sweep_parser("What?"))
    assert capsys.readouterr() == ("", "mine with preset demo: loading PyTorch\n")


def test_who_asks_for_help_is_told_of_no_loading(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["mine.py", "--help"])
    with pytest.raises(SystemExit):
        run_sweep(question([{}]), sweep_parser("What?"))
    said = capsys.readouterr()
    assert said.out.startswith("usage: ")
    assert "loading" not in said.out + said.err
