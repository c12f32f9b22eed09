"""Section 4.3's grid: which readouts, from how few runs, and each as if trained for itself."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from record_helpers import sweep_state
from refusals import refusal_of
from small import SMALL, small_config, spec_of
from whole_sweeps import DEADLINE_S

from sweeps import swa_grid
from sweeps.driver import sweep
from sweeps.swa_grid import THRESHOLDS, intervals, parser, trials
from trainable.config.loading import load_config, presets
from trainable.config.schema import TrialConfig
from trainable.runs.keys import RunSpec, readout_key
from trainable.runs.training_run import TrainingRun
from trainable.storage.tensors import load_tensors

pytestmark = pytest.mark.trains


def grid(base: TrialConfig, *argv: str) -> list[TrialConfig]:
    options = parser().parse_args(argv)
    return trials(base, range(options.seeds), options)


def preset(name: str) -> TrialConfig:
    return load_config(preset=name, overrides=["data_root=there"])


@pytest.mark.parametrize("name", presets())
def test_by_default_72_readouts_and_three_seeds_come_from_three_runs(
    name: str, tmp_path: Path
) -> None:
    state = sweep_state(tmp_path, grid(preset(name)))
    assert (len(state.trials), len(state.runs)) == (6 * 6 * 2 * 3, 3)
    assert state.runs[0].label(swa_grid.SWEEP.axes) == "seed=0 (72 readouts)"


@pytest.mark.parametrize("name", presets())
def test_the_ranges_hold_the_papers_setting_and_average_at_least_twice(name: str) -> None:
    base = preset(name)
    averagings = intervals(base)
    assert base.swa_n in averagings
    assert 0.0 in THRESHOLDS  # the paper's best
    left = base.iterations * (1 - max(THRESHOLDS))
    assert left / max(averagings) > 1
    # What eq7 keeps of the weights it started from goes from nothing to nearly all.
    kept = [(n / (n + 1)) ** (base.iterations / n) for n in averagings]
    assert kept[0] < 1e-4
    assert kept[-1] > 0.9


def test_a_short_training_has_no_interval_longer_than_itself() -> None:
    assert intervals(small_config(swa_n=2, iterations=12)) == [1, 2, 4, 8, 12]


def test_options_choose_the_grid() -> None:
    options = ["--n", "3", "9", "--thresholds", "0.5", "--rules", "ema", "--seeds", "1"]
    found = [(c.swa_rule, c.swa_n, c.swa_threshold) for c in grid(load_config(), *options)]
    assert found == [("ema", 3, 0.5), ("ema", 9, 0.5)]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--n", "0"], ("--n", "from 1 to", "'0'")),
        (["--n"], ("--n", "expected at least one argument")),
        (["--thresholds", "1"], ("`0 <= swa_threshold < 1`", "swa_threshold=1.0")),
        (["--thresholds", "nan"], ("swa_threshold must be finite", "nan")),
        (["--rules", "eq8"], ("--rules", "'eq8'", "eq7")),
        (["--rules"], ("--rules", "expected at least one argument")),
    ],
)
def test_a_range_that_is_empty_or_out_of_bounds_is_refused_in_one_line(
    argv: list[str],
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    said = refusal_of(swa_grid, argv, monkeypatch, capsys)
    assert [word for word in words if word not in said] == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "weight"),
    [
        ([], 0.0),
        (["--set", "lambda_adv=0.05"], 0.05),
        (["--config", "mine.yaml"], 0.01),
    ],
)
def test_the_discriminator_is_not_involved_unless_it_is_asked_for(
    argv: list[str], weight: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(
        "dataset: shapes\ncrop_px: 48\ngenerator: deeplab_small\ntrunk_batch_norm: train\n"
    )
    seen = []

    def note(base: TrialConfig, *_: Any) -> list[TrialConfig]:
        seen.append(base.lambda_adv)
        return [base]

    question = dataclasses.replace(swa_grid.SWEEP, trials=note)
    monkeypatch.setattr(swa_grid, "SWEEP", question)
    monkeypatch.setattr(sweep, "describe", lambda *_, **__: "")  # trains a few iterations
    monkeypatch.setattr(sys, "argv", ["swa_grid.py", "--plan", *argv])
    assert swa_grid.main() == 0
    assert seen == [weight]


def numbers(spec: RunSpec, storage: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train and return the result's readouts and the averages' states."""
    run = TrainingRun(spec, storage)
    while not run.complete:
        run.advance()
    run.close()
    result = run.folder.read("result")
    assert result is not None
    return result, load_tensors(run.folder.path / "model.pt")["averages"]


def test_a_readout_of_the_grid_has_the_bits_of_a_training_for_it_alone(tmp_path: Path) -> None:
    base = small_config(iterations=24, adversarial="none")
    configs = grid(base, "--n", "1", "2", "7", "--thresholds", "0", "0.3", "0.9", "--seeds", "1")
    merged, averages = numbers(spec_of(configs[0], *configs[1:]), tmp_path / "merged")
    assert len(merged["readouts"]) == 18
    for place in (0, 7, 17):
        key = readout_key(configs[place].readout)
        alone, own = numbers(spec_of(configs[place]), tmp_path / str(place))
        assert alone["readouts"] == {key: merged["readouts"][key]}
        assert alone["val"] == merged["val"]
        assert own[key]["state"].keys() == averages[key]["state"].keys()
        assert all(v.equal(averages[key]["state"][n]) for n, v in own[key]["state"].items())


@pytest.mark.slow
def test_the_grid_records_every_readout_of_two_runs_and_its_best_by_name(tmp_path: Path) -> None:
    sets = [part for setting in SMALL for part in ("--set", setting)]
    command = [sys.executable, swa_grid.__file__, "--seeds", "2", "--json", *sets]
    command += ["--no-figures", "--no-model"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["trials"], said["training_runs_done"]) == (120, 2)
    assert len(said["settings"]) == 60
    assert said["by_axis"].keys() == {"swa_rule", "swa_n", "swa_threshold"}
    assert "warning" not in done.stderr
