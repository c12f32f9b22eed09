"""The Tune trainable: a reused actor gives the bits of a fresh process; faults are recorded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from small import small_config, spec_of
from training_helpers import numbers, run_to_end, train, tune_config

from trainable.ray_trainable import SegmentationTrainable
from trainable.runs.folder import CRASH_LOG, RunFolder
from trainable.runs.keys import RunSpec

pytestmark = pytest.mark.trains

FRESH = """
import json, sys
from pathlib import Path
from trainable.runs.keys import RunSpec
from trainable.runs.training_run import TrainingRun
import torch
torch.set_num_threads(1)
run = TrainingRun(RunSpec.from_primitives(json.loads(sys.argv[1])), Path(sys.argv[2]))
while not run.complete:
    run.advance()
run.close()
"""


def test_a_reused_actor_gives_the_bits_of_a_fresh_process(tmp_path: Path) -> None:
    before = spec_of(small_config(adversarial="standard", lambda_adv=1, seed=5))
    spec = spec_of(small_config())
    actor = SegmentationTrainable(tune_config(before, tmp_path / "reused"))
    run_to_end(actor)
    assert actor.reset_config(tune_config(spec, tmp_path / "reused"))
    run_to_end(actor)
    actor.cleanup()
    values = json.dumps(spec.to_primitives())
    subprocess.run([sys.executable, "-c", FRESH, values, str(tmp_path / "fresh")], check=True)
    assert numbers(spec, tmp_path / "reused") == numbers(spec, tmp_path / "fresh")


def test_a_report_says_how_far_the_run_is(tmp_path: Path) -> None:
    config = small_config()
    actor = SegmentationTrainable(tune_config(spec_of(config), tmp_path))
    report = run_to_end(actor)
    assert report["run_iteration"] == config.iterations
    assert 0 <= report["val/miou"] <= 1
    assert report["busy_s"] > 0
    assert 0.05 < report["rss_gb"] < 20


def test_an_actor_stopped_half_way_saves_what_it_did_and_frees_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainable.ray_trainable.REPORT_S", 0.0)
    config = small_config(checkpoint_every=1000)
    spec = spec_of(config)
    straight = train(spec, tmp_path / "straight")
    actor = SegmentationTrainable(tune_config(spec, tmp_path / "stopped"))
    actor.step()
    actor.cleanup()
    state = RunFolder(tmp_path / "stopped", spec.training_key).load_checkpoint()
    assert state is not None
    assert state["iteration"] == 3
    assert train(spec, tmp_path / "stopped") == straight


def test_a_fault_in_the_midst_of_an_iteration_saves_nothing_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(small_config())
    straight = train(spec, tmp_path / "straight")
    actor = SegmentationTrainable(tune_config(spec, tmp_path / "faulty"))
    with monkeypatch.context() as patch:
        patch.setattr("trainable.training.trainer.label_maps", _out_of_memory)
        with pytest.raises(MemoryError):
            actor.step()
        actor.cleanup()
    assert train(spec, tmp_path / "faulty") == straight


def _out_of_memory(*_: Any) -> None:
    raise MemoryError


def test_each_validation_is_reported_once_and_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(small_config())
    for report_s, folder in ((0.0, "often"), (60.0, "once")):
        monkeypatch.setattr("trainable.ray_trainable.REPORT_S", report_s)
        actor = SegmentationTrainable(tune_config(spec, tmp_path / folder))
        reported: list[list[float]] = []
        reports = 0
        while True:
            report = actor.step()
            reports += 1
            reported += report["validations"]
            if report["done"]:
                break
        history = numbers(spec, tmp_path / folder)["history"]
        assert reported == [[r["iteration"], r["val/miou"]] for r in history if "val/miou" in r]
        assert (reports == 1) == (folder == "once")


@pytest.mark.parametrize(
    ("least_s", "report_s", "reports_at"),
    [
        (
            0.0,
            0.0,
            [3, 4, 6, 8, 9, 12, 12, 12],
        ),  # at all recorded ones, then twice at the end
        (0.0, 60.0, [4, 8, 12, 12]),  # of validations alone, and at the end
        (60.0, 0.0, [12]),  # no validation comes sooner than REPORT_S after the report before it
    ],
)
def test_a_report_waits_for_its_interval_unless_it_has_a_validation(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    least_s: float,
    report_s: float,
    reports_at: list[int],
) -> None:
    monkeypatch.setattr("trainable.ray_trainable.REPORT_S", least_s)
    config = tune_config(spec_of(small_config()), tmp_path) | {"report_s": report_s}
    actor = SegmentationTrainable(config)
    reports = [actor.step()]
    while not reports[-1]["done"]:
        reports.append(actor.step())
    assert [one["run_iteration"] for one in reports] == reports_at


def test_rows_are_reported_once_a_checkpoint_holds_them_and_the_same_by_who_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured after the checkpoint is measured again, at another time."""
    monkeypatch.setattr("trainable.ray_trainable.REPORT_S", 0.0)
    spec = spec_of(small_config(log_every=1, eval_every=100, checkpoint_every=2))
    actor = SegmentationTrainable(tune_config(spec, tmp_path))
    told: list[dict[str, float]] = []
    for _ in range(3):
        told += actor.step()["rows"]
    assert [row["iteration"] for row in told] == [1, 2]  # and the third is of no checkpoint
    actor._let_go()  # as a kill does: nothing is saved
    again = SegmentationTrainable(tune_config(spec, tmp_path))
    rows: list[dict[str, float]] = []
    while True:
        report = again.step()
        rows += report["rows"]
        if report["done"]:
            break
    assert rows[:2] == told
    timeless = [{name: value for name, value in row.items() if name != "time"} for row in rows]
    assert timeless == numbers(spec, tmp_path)["history"]


def test_a_run_that_goes_on_reports_its_validations_from_the_first_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainable.ray_trainable.REPORT_S", 0.0)
    spec = spec_of(small_config())
    actor = SegmentationTrainable(tune_config(spec, tmp_path))
    for _ in range(2):
        actor.step()
    actor.cleanup()
    again = SegmentationTrainable(tune_config(spec, tmp_path))
    assert [iteration for iteration, _ in again.step()["validations"]] == [4]


def test_a_run_that_is_stopped_leaves_its_history_and_no_new_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainable.ray_trainable.REPORT_S", 0.0)
    stopped = spec_of(small_config(checkpoint_every=1000))
    actor = SegmentationTrainable(tune_config(stopped, tmp_path))
    while not actor.step()["validations"]:
        pass
    actor.reset_config(tune_config(spec_of(small_config(seed=1)), tmp_path))
    folder = RunFolder(tmp_path, stopped.training_key)
    history = folder.read("metrics")
    assert history is not None
    assert "val/miou" in history["history"][-1]
    assert folder.checkpoints() == []
    run_to_end(actor)


def test_a_run_without_gpu_memory_says_so_and_leaves_its_folder_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(small_config())
    actor = SegmentationTrainable(tune_config(spec, tmp_path / "crowded"))
    with monkeypatch.context() as patch:
        patch.setattr("trainable.training.trainer.label_maps", _out_of_gpu_memory)
        report = actor.step()
    assert report["done"]
    assert report["out_of_memory"] == "CUDA out of memory"
    assert RunFolder(tmp_path / "crowded", spec.training_key).read("failure") is None
    assert train(spec, tmp_path / "crowded") == train(spec, tmp_path / "straight")


def _out_of_gpu_memory(*_: Any) -> None:
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_a_diverged_run_is_done_with_its_cause_and_not_tried_again(tmp_path: Path) -> None:
    spec = spec_of(small_config(lr_generator=1e30))
    actor = SegmentationTrainable(tune_config(spec, tmp_path))
    assert run_to_end(actor)["done"]
    failure = RunFolder(tmp_path, spec.training_key).read("failure")
    assert failure is not None
    assert "must stay finite" in failure["cause"]


def test_a_fault_leaves_its_traceback_in_the_run_folder_and_is_raised(tmp_path: Path) -> None:
    values = spec_of(small_config()).to_primitives() | {"data_fingerprint": "0" * 16}
    spec = RunSpec.from_primitives(values)
    actor = SegmentationTrainable(tune_config(spec, tmp_path))
    with pytest.raises(ValueError, match="must have fingerprint"):
        actor.step()
    log = tmp_path / spec.training_key / CRASH_LOG
    assert "must have fingerprint" in log.read_text().splitlines()[-1]
