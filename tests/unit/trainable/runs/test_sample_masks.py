"""Masks at several stages of training: which, of which images, and the same bytes each time."""

from __future__ import annotations

import dataclasses
import io
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import small_config, spec_of

from trainable.config.loading import load_config
from trainable.config.schema import ConfigError, TrialConfig
from trainable.data.augmentation import normalise
from trainable.runs.folder import SAMPLES_FILE
from trainable.runs.keys import RunSpec, readout_key
from trainable.runs.sample_masks import of_readout, spread, stages_of
from trainable.runs.training_run import TrainingRun
from trainable.storage import json_files

pytestmark = pytest.mark.trains

CONFIG = small_config(iterations=24)  # recorded at 3, 4, 6, 8, 9, 12, ...
STAGES = (3, 6, 12, 24)  # the first of them from 1.2, 4.8, 12 and 24 on


def train(spec: RunSpec, storage: Path, *, restart: bool = False) -> bytes:
    """Train to the end, from a fresh object after each recorded iteration if asked for."""
    run = TrainingRun(spec, storage)
    while not run.complete:
        run.advance()
        if restart and not run.trainer.finished:
            run.save()
            run.close()
            run = TrainingRun(spec, storage)
    run.close()
    return (storage / spec.training_key / SAMPLES_FILE).read_bytes()


def masks_of(content: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    storage = tmp_path_factory.mktemp("trained")
    return storage, train(spec_of(CONFIG), storage)


@pytest.mark.parametrize(
    ("changes", "stages"),
    [
        ({}, (20, 60, 120, 240)),  # 5 % is 12, the first recorded iteration from there on 20
        ({"log_every": 50, "eval_every": 1000, "iterations": 20_000}, (1000, 4000, 10_000, 20_000)),
        ({"log_every": 1000, "eval_every": 70}, (70, 140, 240)),
        ({"log_every": 1, "eval_every": 1, "iterations": 1}, (1,)),
    ],
)
def test_stages_are_the_first_recorded_iterations_from_their_shares_on(
    changes: dict[str, Any], stages: tuple[int, ...]
) -> None:
    assert stages_of(dataclasses.replace(load_config(), **changes)) == stages


def test_images_are_spread_over_the_set_each_once() -> None:
    assert spread(1449) == [181, 543, 905, 1267]
    assert spread(6) == [0, 2, 3, 5]
    assert [spread(count) for count in (1, 2, 4)] == [[0], [0, 1], [0, 1, 2, 3]]


def test_a_run_leaves_images_truths_stages_and_each_average(trained: tuple[Path, bytes]) -> None:
    masks = masks_of(trained[1])
    own = spec_of(CONFIG)
    key = readout_key(own.readouts[0])
    names = ["image", "truth", *(f"raw-{stage}" for stage in STAGES), f"swa-{key}", "swa"]
    assert masks.keys() == {f"{name}-{k}" for name in names for k in range(4)}
    assert masks["image-0"].shape == (24, 24, 3)
    assert {mask.dtype for mask in masks.values()} == {np.dtype("uint8")}
    assert not np.array_equal(masks["image-0"], masks["image-3"])


def test_the_last_masks_are_what_the_trained_networks_predict(tmp_path: Path) -> None:
    run = TrainingRun(spec_of(CONFIG), tmp_path)
    while not run.complete:
        run.advance()
    trainer = run.trainer
    masks = masks_of((run.folder.path / SAMPLES_FILE).read_bytes())
    average = trainer.averages.each[0]
    key = readout_key(average.readout)
    averaged = trainer.averaged(average)
    networks = {"raw-24": trainer.generator, f"swa-{key}": averaged, "swa": averaged}
    for k, index in enumerate(spread(6)):
        image, label = trainer.data.val.run(index, index + 1)
        assert np.array_equal(masks[f"image-{k}"], image[0].permute(1, 2, 0).numpy())
        assert np.array_equal(masks[f"truth-{k}"], label[0].numpy())
        for name, network in networks.items():
            with torch.no_grad():
                predicted = network.eval()(normalise(image, caffe=False)).argmax(1)[0]
            assert np.array_equal(masks[f"{name}-{k}"], predicted.numpy())
    run.close()


def test_a_repetition_gives_the_same_bytes_at_any_time(
    trained: tuple[Path, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.localtime(time.time() + 1e6)
    monkeypatch.setattr(time, "localtime", lambda *_: later)
    assert train(spec_of(CONFIG), tmp_path) == trained[1]


def test_a_run_that_is_stopped_at_every_iteration_leaves_the_same_bytes(
    trained: tuple[Path, bytes], tmp_path: Path
) -> None:
    assert train(spec_of(CONFIG), tmp_path, restart=True) == trained[1]


def test_a_stage_after_the_last_checkpoint_is_made_again(
    trained: tuple[Path, bytes], tmp_path: Path
) -> None:
    run = TrainingRun(spec_of(CONFIG), tmp_path)
    while run.trainer.iteration < 6:  # a checkpoint at 4, a stage at 6: as a kill leaves it
        run.advance()
    run.close()
    assert "raw-6-0" in masks_of((run.folder.path / SAMPLES_FILE).read_bytes())
    assert train(spec_of(CONFIG), tmp_path) == trained[1]


def test_training_anew_keeps_no_mask_of_before(trained: tuple[Path, bytes], tmp_path: Path) -> None:
    spec = spec_of(CONFIG)
    train(spec, tmp_path)
    again = dataclasses.replace(spec, attempt="second")
    run = TrainingRun(again, tmp_path)
    run.advance()
    run.close()
    names = masks_of((tmp_path / spec.training_key / SAMPLES_FILE).read_bytes()).keys()
    assert {name.rpartition("-")[0] for name in names} == {"image", "truth", "raw-3"}


def test_a_damaged_file_costs_its_stages_and_not_the_run(tmp_path: Path) -> None:
    spec = spec_of(CONFIG)
    run = TrainingRun(spec, tmp_path)
    while run.trainer.iteration < 12:
        run.advance()
    run.close()
    path = tmp_path / spec.training_key / SAMPLES_FILE
    path.write_bytes(path.read_bytes()[:-100])
    names = masks_of(train(spec, tmp_path)).keys()
    assert "raw-24-0" in names
    assert "raw-3-0" not in names
    assert path.with_suffix(".bad").exists()


def test_a_file_with_any_byte_changed_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "key" / SAMPLES_FILE
    path.parent.mkdir()
    np.savez_compressed(path, image=np.arange(12, dtype=np.uint8).reshape(3, 4))
    whole = json_files.seal_zip(path.read_bytes(), {"training_key": "key"})
    path.write_bytes(whole)
    assert of_readout(path, CONFIG.readout, "trial") is not None
    changed = [whole[:k] + bytes([whole[k] ^ 0x55]) + whole[k + 1 :] for k in range(len(whole))]
    shorter = [whole[:k] for k in range(len(whole))]
    for content in (*changed, *shorter, whole + b"\n"):
        path.write_bytes(content)
        with pytest.raises(ConfigError) as refused:
            of_readout(path, CONFIG.readout, "trial")
        assert str(refused.value).startswith(f"{path} must be what a training run wrote, but it ")


def test_the_file_of_another_run_is_refused(trained: tuple[Path, bytes], tmp_path: Path) -> None:
    path = tmp_path / "key" / SAMPLES_FILE
    path.parent.mkdir()
    path.write_bytes(trained[1])
    with pytest.raises(ConfigError, match=f"it is of run {spec_of(CONFIG).training_key}"):
        of_readout(path, CONFIG.readout, "trial")


def test_a_trial_gets_its_own_average_and_no_other(tmp_path: Path) -> None:
    def read(**changes: Any) -> TrialConfig:
        return small_config(iterations=24, lr_generator=0.2, **changes)

    early, late = read(swa_threshold=0.0, swa_n=24), read(swa_threshold=0.9)
    alone = {}
    for name, config in {"early": early, "late": late}.items():
        train(spec_of(config), tmp_path / name)
        path = tmp_path / name / spec_of(config).training_key / SAMPLES_FILE
        alone[name] = of_readout(path, config.readout, name)
    train(spec_of(early, late), tmp_path / "both")
    path = tmp_path / "both" / spec_of(early).training_key / SAMPLES_FILE
    for name, config in {"early": early, "late": late}.items():
        content = of_readout(path, config.readout, name)
        assert content is not None
        assert content == alone[name]
        assert {"swa-0", "swa-3", "raw-24-0"} < masks_of(content).keys()
    assert alone["early"] != alone["late"]
    assert of_readout(tmp_path / SAMPLES_FILE, early.readout, "early") is None
