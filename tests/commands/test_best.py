"""The best setting of a sweep as a file, from which it is trained again with the same key."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from record_helpers import BASE, DATA, fail, finish, grid, sweep_state
from small import small_config
from store_helpers import parent_of, publish

from sweeps import best, lambda_grid
from sweeps.planning.plan import make_plan
from sweeps.planning.state import SweepState
from sweeps.record.publisher import Publisher
from trainable import train
from trainable.config.loading import load_config
from trainable.config.schema import Readout, TrialConfig
from trainable.data import datasets
from trainable.runs.keys import RunSpec, trial_key
from trainable.runs.training_run import TrainingRun

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

SEEDS = (4, 5, 6)


def miou(config: TrialConfig, _: Readout) -> tuple[float, float]:
    """The middle lambda is the best of the averaged weights, the largest of the raw ones."""
    value = {0.0: 0.5, 0.01: 0.7, 0.05: 0.6}[config.lambda_adv] + config.seed**2 / 1000
    return 0.5 + config.lambda_adv, value


@pytest.fixture
def state(tmp_path: Path, uri: str) -> SweepState:
    """A sweep of three lambdas and seeds whose settings are not the preset's, and its record."""
    configs = grid([0.0, 0.01, 0.05], SEEDS, swa_n=7, lr_generator=3e-3)
    state = sweep_state(tmp_path / "runs", configs)
    for run in state.runs:
        finish(state, run, miou)
    publish(state, uri)
    return state


def run(program: Any, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    """Run a command in this process and return its exit code."""
    monkeypatch.setattr("sys.argv", ["command", *options])
    try:
        return int(program.main())
    except SystemExit as end:
        return int(str(end.code))


def test_the_file_has_the_keys_of_the_best_setting_and_says_what_it_is(
    state: SweepState, uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("lambda_grid", "--tracking-uri", uri, "--out", "new/best.yaml")
    assert run(best, monkeypatch, *asked) == 0
    assert capsys.readouterr().out == "new/best.yaml\n"
    read = load_config(file="new/best.yaml")
    assert (read.lambda_adv, read.seed, read.swa_n) == (0.01, 4, 7)
    (trial,) = [
        one for one in state.trials if (one.config.lambda_adv, one.config.seed) == (0.01, 4)
    ]
    spec = RunSpec.of(read, [read.readout], DATA.fingerprint)
    assert spec.training_key == trial.training_key
    assert trial_key(spec.config, DATA.fingerprint) == trial.trial_key
    # What the record's parent run says of it, too.
    numbers = parent_of(uri).data.metrics
    text = Path("new/best.yaml").read_text()
    words = " ".join(line.removeprefix("#").strip() for line in text.splitlines())
    assert numbers["best/lambda_adv"] == 0.01
    for part in (
        f"best point: lambda_adv=0.01 with swa/miou {numbers['mean/swa/miou']:.4f} (95 % interval "
        f"{numbers['ci_low/swa/miou']:.4f} to {numbers['ci_high/swa/miou']:.4f}, 3 seeds)",
        f"; {numbers['best/not_distinguishable']:.0f} of 2 other settings",
        state.plan.sweep_key,
        "with seeds 4, 5, 6.",
        "python -m trainable.train --config new/best.yaml",
    ):
        assert part in words
    assert max(map(len, text.splitlines())) <= 100
    values = [line.partition(":")[0] for line in text.splitlines() if line[:1] not in ("#", "")]
    assert not {"momentum", "checkpoint_every", "data_root"} & set(values)  # the defaults, or none


def test_a_best_lambda_of_zero_keeps_the_adversary_for_sweeps_that_begin_from_it(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = sweep_state(tmp_path / "runs", grid([0.0, 0.01], SEEDS))
    for one in state.runs:
        finish(state, one, lambda config, _: (0.5, 0.6 - config.lambda_adv))
    publish(state, uri)
    assert run(best, monkeypatch, "lambda_grid", "--tracking-uri", uri) == 0
    read = load_config(file="best.yaml")
    assert (read.lambda_adv, read.adversarial) == (0.0, BASE.adversarial)
    assert read.discriminator_width == BASE.discriminator_width
    keys = [one.training_key for one in state.trials if not one.config.has_adversary]
    assert RunSpec.of(read, [read.readout], DATA.fingerprint).training_key == keys[0]


def test_another_file_is_overwritten_on_request_alone(
    state: SweepState, uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = (state.plan.sweep_key, "--tracking-uri", uri)
    Path("best.yaml").write_text("seed: 3\n")
    assert run(best, monkeypatch, *asked) == 2
    assert "best.yaml is there with another content" in capsys.readouterr().err
    assert Path("best.yaml").read_text() == "seed: 3\n"
    assert run(best, monkeypatch, *asked, "--force") == 0
    written = Path("best.yaml").read_bytes()
    assert run(best, monkeypatch, *asked) == 0  # the same again
    assert Path("best.yaml").read_bytes() == written
    assert [path.name for path in Path().glob(".best*")] == []


def without_a_finished_trial(state: SweepState, uri: str) -> str:
    base = dataclasses.replace(BASE, iterations=100)
    failed = sweep_state(state.plan.storage, [base], base=base)
    fail(failed, failed.runs[0], "it diverged")
    publish(failed, uri)
    return failed.plan.sweep_key


def of_other_fields(state: SweepState, uri: str) -> str:
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    parent = parent_of(uri)
    found = client.search_runs([parent.info.experiment_id], "tags.kind = 'trial'")
    client.log_param(found[0].info.run_id, "swa_cycles", "3")
    return "lambda_grid"


CASES: dict[str, tuple[Callable[[SweepState, str], str], str]] = {
    "unknown": (lambda state, uri: "nothing", "no sweep 'nothing' in the record; it holds: lambda"),
    "before the first": (lambda state, uri: "lambda_grid~1", "holds 0 with numbers on shapes"),
    "unfinished": (without_a_finished_trial, "has no finished trials yet; resume it first"),
    "other fields": (of_other_fields, "unknown key 'swa_cycles'"),
}


@pytest.mark.parametrize("case", CASES)
def test_a_sweep_without_a_best_setting_is_refused_in_one_line_and_nothing_written(
    case: str,
    state: SweepState,
    uri: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    choose, words = CASES[case]
    assert run(best, monkeypatch, choose(state, uri), "--tracking-uri", uri) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not Path("best.yaml").exists()


@pytest.mark.trains
def test_what_is_trained_from_the_file_is_the_training_run_of_the_sweep(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = small_config(precision="fp32")
    plan = make_plan(
        "lambda_grid",
        base=base,
        axes=("lambda_adv",),
        data=datasets.inspect(base),
        storage=tmp_path / "runs",
    )
    state = SweepState.of(plan, [base])
    with closing(TrainingRun(state.runs[0].spec, plan.storage)) as training:
        while not training.complete:
            training.advance()
    with Publisher(state, uri, pytest.fail, with_model=False) as publisher:
        publisher.publish(state.runs[0])
    assert run(best, monkeypatch, "lambda_grid", "--tracking-uri", uri) == 0
    capsys.readouterr()
    assert run(train, monkeypatch, "--config", "best.yaml", "--json") == 0
    said = capsys.readouterr()
    assert "holds the result already" in said.err
    assert json.loads(said.out)["training_key"] == state.runs[0].spec.training_key
    asked = ("--config", "best.yaml", "--plan", "--json", "--tracking-uri", uri, "--seeds", "1")
    assert run(lambda_grid, monkeypatch, *asked) == 0
    assert json.loads(capsys.readouterr().out)["training_runs_done"] == 1
