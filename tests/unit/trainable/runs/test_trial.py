"""A trial in plain Python: the result that a run folder holds, trained once."""

import dataclasses
from pathlib import Path

import pytest
from small import small_config, spec_of
from training_helpers import numbers, train

from trainable.runs.results import Failure, Result
from trainable.runs.trial import train_trial

pytestmark = pytest.mark.trains


def test_a_trial_is_trained_once_to_the_result_of_its_run_folder(tmp_path: Path) -> None:
    config = small_config()
    ended = train_trial(config, tmp_path / "runs")
    assert isinstance(ended, Result)
    spec = spec_of(config)
    assert numbers(spec, tmp_path / "runs") == train(spec, tmp_path / "again")
    (result,) = (tmp_path / "runs").glob("*/result.json")
    before = result.stat().st_mtime_ns
    assert train_trial(config, tmp_path / "runs") == ended
    assert result.stat().st_mtime_ns == before


def test_a_further_readout_is_added_to_those_of_the_run(tmp_path: Path) -> None:
    config = small_config()
    train_trial(config, tmp_path)
    ended = train_trial(dataclasses.replace(config, swa_n=1), tmp_path)
    assert isinstance(ended, Result)
    assert len(ended.readouts) == 2


def test_a_trial_that_diverges_is_a_failure(tmp_path: Path) -> None:
    ended = train_trial(small_config(lr_generator=1e30), tmp_path)
    assert isinstance(ended, Failure)
    assert "loss_mce" in ended.cause
    assert train_trial(small_config(lr_generator=1e30), tmp_path) == ended
