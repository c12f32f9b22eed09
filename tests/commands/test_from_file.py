"""A user's own sweep: what a file or a short script asks, and what is refused in one line."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from paths import ROOT
from small import SMALL
from whole_sweeps import DEADLINE_S

from sweeps import from_file
from sweeps.api.checks import TAKEN
from sweeps.api.description import Sweep
from sweeps.api.options import trials as trials_of
from sweeps.search.spaces.axes import Choice, Range
from trainable.config.loading import load_config
from trainable.config.schema import ConfigError

pytestmark = pytest.mark.trains

EXAMPLES = ROOT / "examples"
HEAD = "name: mine\nquestion: Why?\n"
GRID = "grid: {lr_generator: [0.1]}\n"

# What a file holds, and what its refusal must name.
BAD_FILES = {
    f"{HEAD}grid: {{lr_genrator: [1]}}": ("'lr_genrator'", "did you mean 'lr_generator'?"),
    f"{HEAD}grids: {{lr_generator: [1]}}": ("unknown key 'grids'",),
    f"{HEAD}grid: {{}}": ("axes must have from 1", "have 0"),
    f"{HEAD}grid:": ("one of axes, points and search", "none"),
    f"{HEAD}grid: 3": ("axes must hold `field: value`", "3"),
    f"{HEAD}axes: [3]": ("axes must hold `field: value`", "a list"),
    f"{HEAD}axis: {{swa_n: [3]}}": ("unknown key 'axis'", "did you mean 'axes'?"),
    f"{HEAD}grid: {{lr_generator: []}}": ("`lr_generator: [value, ...]`", "at least one", "[]"),
    f"{HEAD}grid: {{lr_generator: 0.1}}": ("`lr_generator: [value, ...]`", "0.1"),
    f"{HEAD}grid: {{lr_generator: [-1]}}": ("`lr_generator > 0`", "lr_generator=-1.0"),
    f"{HEAD}grid: {{lr_generator: [fast]}}": ("lr_generator must be a number", "'fast'"),
    f"{HEAD}grid: {{swa_n: [1, [2]]}}": ("swa_n must be a whole number", "[2]"),
    f"{HEAD}grid: {{swa_n: [1], swa_n: [2]}}": ("'swa_n' stands twice",),
    f"{HEAD}{GRID}{GRID}": ("'grid' stands twice",),
    f"{HEAD}grid: {{swa_n: [{'1, ' * 101}], log_every: [{'1, ' * 100}]}}": ("10000", "10100"),
    f"{HEAD}{GRID}sampler: tpe": ("a grid names its points", "`sampler`", "`search`"),
    f"{HEAD}{GRID}search: {{lambda_adv: [0, 1]}}": ("one of axes, points and search", "axes and"),
    f"{HEAD}search: {{lambda_adv: [0, 1]}}\nsampler: tpe": ("`--sampler`",),
    f"{HEAD}search: {{lambda_adv: {{low: -1, high: 1}}}}": ("`lambda_adv >= 0`", "out of bounds"),
    f"{HEAD}search: {{lambda_adv: {{low: 1, high: 0}}}}": ("`low <= high`", "1.0 to 0.0"),
    f"{HEAD}search: {{lambda_adv: {{low: 1}}}}": ("{low: number, high: number}", "{'low': 1}"),
    f"{HEAD}search: {{lambda_adv: {{low: 0, hihg: 1}}}}": ("'hihg'", "did you mean 'high'?"),
    f"{HEAD}search: {{lambda_adv: {{low: 1, high: 2, log: 3}}}}": ("true or false", "3"),
    f"{HEAD}search: {{lamda_adv: [0, 1]}}": ("'lamda_adv'", "did you mean 'lambda_adv'?"),
    f"{HEAD}search: {{swa_n: [1, 2]}}": ("must vary what is trained", "swa_n"),
    f"{HEAD}search: {{lambda_adv: {{low: 0.1, high: 1, when: {{adversarial: [none]}}}}}}": (
        *("`when` of lambda_adv", "an axis above it", "got 'adversarial'"),
    ),
    f"{HEAD}{GRID}objective: [miou, muou]": ("unknown objective 'muou'", "did you mean"),
    f"{HEAD}search: {{}}": ("search must have at least one axis",),
    f"{HEAD}search: {{lr_generator: [[1]]}}": ("lr_generator must be a number", "[1]"),
    f"{HEAD}search: {{lr_generator: []}}": ("lr_generator must have at least one value",),
    f"{HEAD}search: {{lr_generator: [1e-3, 0.001]}}": ("each value once", "[0.001, 0.001]"),
    f"{HEAD}search: {{iterations: {{low: 1, high: 1.0e+300}}}}": ("within 64 bits", "iterations"),
    f"{HEAD}": ("one of axes, points and search", "none"),
    f"{HEAD}{GRID}points: [{{swa_n: 1}}]": ("one of axes, points and search", "axes and points"),
    f"{HEAD}points: []": ("points must be a list of 1", "of 0"),
    f"{HEAD}points: {{swa_n: 1}}": ("points must be a list", "a mapping"),
    f"{HEAD}points: [3]": ("a point must hold `field: value`", "3"),
    f"{HEAD}points: [{{}}]": ("a point must have at least one field",),
    f"{HEAD}points: [{{seed: 3}}]": ("seed is no axis", "`seeds`"),
    f"{HEAD}grid: {{image_px: [24, 48]}}": ("one data set", "image_px", "`base`"),
    f"{HEAD}grid: {{device: [cpu, cuda]}}": ("decide the numbers", "device", "`base`"),
    f"{HEAD}{GRID}base: {{iterations: 0}}": ("`iterations >= 1`", "iterations=0"),
    f"{HEAD}{GRID}base: {{iteration: 3}}": ("'iteration'", "did you mean 'iterations'?"),
    f"{HEAD}{GRID}base: {{voc_train: 2020-01-01}}": ("voc_train must be text",),
    f"{HEAD}{GRID}base: [3]": ("base must hold `field: value`", "a list"),
    f"{HEAD}{GRID}seeds: 0": ("seeds", "from 1 to 10000", "0"),
    f"{HEAD}{GRID}seeds: yes": ("seeds", "from 1 to 10000", "True"),
    f"{HEAD}grid: {{swa_n: [{'1, ' * 101}]}}\nseeds: 10000": ("at most 100000 trials", "101"),
    f"{HEAD}{GRID}preset: demmo": ("unknown preset 'demmo'", "did you mean 'demo'?"),
    f"{HEAD}{GRID}preset: 3": ("preset must be text", "3"),
    f"question: Why?\n{GRID}": ("name must be text", "nothing"),
    f"name: mine\nquestion: 3\n{GRID}": ("question must be text", "3"),
    f"name: ../mine\nquestion: Why?\n{GRID}": ("name must match", "'../mine'"),
    f"name: {'a' * 65}\nquestion: Why?\n{GRID}": ("name must match", "aaa"),
    f"name: swa_grid\nquestion: Why?\n{GRID}": ("a sweep that ships", "'swa_grid'"),
    "- name": ("q.yaml", "a list"),
    "name: [": ("q.yaml", "not usable YAML"),
}


@pytest.mark.parametrize("content", BAD_FILES)
def test_a_file_that_cannot_be_answered_is_refused_in_one_line_and_nothing_is_written(
    content: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    (tmp_path / "q.yaml").write_text(content)
    monkeypatch.setattr(sys, "argv", ["from_file.py", "../q.yaml"])
    with pytest.raises(SystemExit) as ended:
        from_file.main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert [word for word in BAD_FILES[content] if word not in said] == []
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "options",
    [
        ["--sampler", "tpe"],
        ["--scheduler", "none"],
        ["--readouts", "exhaustive"],
        ["--asks", "20"],
        ["--confirm", "0"],
        ["--patience", "3"],
        ["--terminator", "0.5"],
        ["--point", "lr_generator=0.1"],
        ["--warm-start"],
    ],
)
def test_a_grid_takes_no_option_of_a_search(
    options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "q.yaml").write_text(HEAD + GRID)
    monkeypatch.setattr(sys, "argv", ["from_file.py", str(tmp_path / "q.yaml"), *options])
    with pytest.raises(SystemExit) as ended:
        from_file.main()
    assert ended.value.code == 2
    assert f"a grid names its points and takes no {options[0]};" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        Sweep.from_yaml(tmp_path / "q.yaml")


def test_a_grid_is_the_product_of_its_axes_with_every_seed(tmp_path: Path) -> None:
    path = tmp_path / "q.yaml"
    path.write_text(f"{HEAD}grid: {{swa_n: [1, 2], lr_generator: [1e-3, 0.1]}}\n")
    own = Sweep.from_yaml(path)
    assert own.varied == ("swa_n", "lr_generator")
    trials = trials_of(own, load_config(), [4, 5], Namespace())
    found = [(t.seed, t.swa_n, t.lr_generator) for t in trials]
    # 1e-3 is text in YAML 1.1, and a number here.
    assert found == list(itertools.product((4, 5), (1, 2), (0.001, 0.1)))


def test_a_point_that_does_not_name_an_axis_has_the_value_of_the_base(tmp_path: Path) -> None:
    path = tmp_path / "q.yaml"
    path.write_text(f"{HEAD}points: [{{swa_n: 9}}, {{lambda_adv: 0}}]\n")
    own = Sweep.from_yaml(path)
    assert own.varied == ("swa_n", "lambda_adv")
    trials = trials_of(own, load_config(), [0], Namespace())
    found = [(trial.swa_n, trial.lambda_adv) for trial in trials]
    assert found == [(9, 0.2), (5, 0.0)]


@pytest.mark.parametrize(
    ("argv", "trials"),
    [([], 2), (["--seeds", "1"], 1), (["--preset", "demo", "--set", "iterations=3"], 2)],
)
def test_the_command_line_stands_above_the_file(
    argv: list[str],
    trials: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    preset = "segtrackv2" if "--preset" in argv else "demo"
    base = "base: {iterations: -1}" if "--set" in argv else "base: {iterations: 9}"
    path = tmp_path / "q.yaml"
    path.write_text(f"{HEAD}{GRID}seeds: 2\npreset: {preset}\n{base}\n")
    monkeypatch.setattr(sys, "argv", ["from_file.py", str(path), "--plan", "--json", *argv])
    assert from_file.main() == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["sweep"], said["dataset"], said["trials"]) == ("mine", "shapes", trials)
    assert list(tmp_path.iterdir()) == [path]


def test_a_search_has_the_axes_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "q.yaml"
    axes = "lr_generator: {low: 1e-3, high: 1, log: true}, batch_size: {low: 2, high: 9}"
    path.write_text(f"{HEAD}search: {{{axes}, swa_n: [2, 5]}}\n")
    own = Sweep.from_yaml(path)
    assert own.varied == ("lr_generator", "batch_size", "swa_n")
    assert own.space == {
        "lr_generator": Range(0.001, 1.0, log=True),
        "batch_size": Range(2.0, 9.0, whole=True),
        "swa_n": Choice((2, 5)),
    }
    assert own.settings == ()


EXAMPLE_COMMANDS = {
    "yaml": ["-m", "sweeps.from_file", str(EXAMPLES / "my_sweep.yaml")],
    "script": [str(EXAMPLES / "my_sweep.py")],
}


def test_the_example_script_has_about_ten_lines() -> None:
    lines = (EXAMPLES / "my_sweep.py").read_text().splitlines()
    assert len([line for line in lines if line and not line.strip().startswith('"""')]) <= 12


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLE_COMMANDS)
def test_each_example_answers_its_question(example: str, tmp_path: Path) -> None:
    sets = [part for setting in SMALL for part in ("--set", setting)]
    command = [sys.executable, *EXAMPLE_COMMANDS[example], "--seeds", "1", "--json", *sets]
    command += ["--no-figures", "--no-model"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["trials"], said["training_runs"]) == {"yaml": (6, 6), "script": (6, 2)}[example]
    assert said["training_runs_done"] == said["training_runs"]
    assert said["best"]["best/others"] == 5


def test_no_file_may_take_the_name_of_a_sweep_that_ships() -> None:
    scripts = (ROOT / "sweeps").glob("*.py")
    ships = {path.stem for path in scripts if "\nSWEEP = SweepScript(" in path.read_text()}
    assert ships == set(TAKEN)


@pytest.mark.parametrize(
    ("below", "place", "rule"),
    [
        (
            "base:\n  mirror: true\n  lamda_adv: 3\ngrid: {swa_n: [2]}",
            5,
            "unknown field 'lamda_adv'",
        ),
        ("base: {mirror: true}\nseeds: 0\ngrid: {swa_n: [2]}", 4, "seeds must be"),
        ("grid:\n  swa_n: [2]\n  lr_generator: [-1]", 5, "`lr_generator > 0` must hold"),
        ("points:\n- {swa_n: 2}\n- swa_n: 3\n  crop_px: 3", 6, "`crop_px >= 32` must hold"),
        ("search:\n  lr_generator: {low: 2, high: 1}", 4, ""),
        ("grid: {swa_n: [2]}\nbase:\n  iterations: 0", 5, "`iterations >= 1` must hold"),
        ("preset: demmo\ngrid: {swa_n: [2]}", 3, "unknown preset 'demmo'"),
        ("grid: {swa_n: [2]}\nseeds: [", 5, ""),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_line(
    below: str,
    place: int,
    rule: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("q.yaml").write_text(f"name: mine\nquestion: Why?\n{below}\n")
    monkeypatch.setattr(sys, "argv", ["from_file.py", "q.yaml", "--plan"])
    with pytest.raises(SystemExit):
        from_file.main()
    line = re.escape(f"error: q.yaml:{place}")
    assert re.match(rf"{line}:? {re.escape(rule)}", capsys.readouterr().err)
