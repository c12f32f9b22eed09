"""Run folders: whole or not at all, one writer, and a kill that loses nothing."""

from __future__ import annotations

import dataclasses
import multiprocessing
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from small import small_config, spec_of
from training_helpers import hold, numbers, train

from trainable.config.schema import ConfigError
from trainable.networks.pretrained import pin
from trainable.runs import folder as folder_module
from trainable.runs.folder import RunFolder, RunFolderLockedError
from trainable.runs.keys import RunSpec, readout_key
from trainable.runs.results import clear_finished, outcome
from trainable.runs.training_run import TrainingRun
from trainable.storage.tensors import load_tensors, save_tensors
from trainable.training.build import new_generator

pytestmark = pytest.mark.trains


def weights(spec: RunSpec, storage: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a finished folder: the generator's, and each average's by its key."""
    model = load_tensors(storage / spec.training_key / "model.pt")
    tensors: dict[str, torch.Tensor] = dict(model["generator"])
    for key, average in model["averages"].items():
        tensors |= {f"{key}/{name}": value for name, value in average["state"].items()}
    return tensors


def test_a_finished_folder_holds_config_metrics_result_and_model(tmp_path: Path) -> None:
    spec = spec_of(small_config())
    result = train(spec, tmp_path)
    names = {path.name for path in (tmp_path / spec.training_key).iterdir()}
    assert names == {
        "config.json",
        "metrics.json",
        "result.json",
        "lock",
        "model.pt",
        "model.sha256",
        "samples.npz",
    }
    config = RunFolder(tmp_path, spec.training_key).read("config")
    assert config is not None
    assert RunSpec.from_primitives({k: config[k] for k in spec.to_primitives()}) == spec
    assert set(result["readouts"]) == {readout_key(spec.config.readout)}


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5])
def test_a_run_that_was_stopped_ends_with_the_bits_of_one_that_was_not(
    tmp_path: Path, stop_after: int
) -> None:
    spec = spec_of(small_config(), small_config(swa_rule="uniform", swa_threshold=0.5))
    straight = train(spec, tmp_path / "straight")
    # No close, no save: what a killed process leaves behind is what `advance` wrote.
    stopped = TrainingRun(spec, tmp_path / "stopped")
    for _ in range(stop_after):
        stopped.advance()
    stopped.folder.__exit__(None, None, None)
    assert train(spec, tmp_path / "stopped") == straight
    one, two = weights(spec, tmp_path / "straight"), weights(spec, tmp_path / "stopped")
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_each_call_after_the_last_iteration_validates_one_network(tmp_path: Path) -> None:
    """Two readouts, then the raw weights; an interruption among them loses nothing else."""
    spec = spec_of(small_config(), small_config(swa_n=3))
    straight = train(spec, tmp_path / "straight")
    run = TrainingRun(spec, tmp_path / "stopped")
    while not run.trainer.finished:
        run.advance()
    for _ in range(2):
        run.advance()
        assert not run.complete
        assert run.folder.read("result") is None
    run.close()
    again = TrainingRun(spec, tmp_path / "stopped")
    assert again.trainer.finished
    calls = 0
    while not again.complete:
        again.advance()
        calls += 1
    again.close()
    assert calls == 3
    assert numbers(spec, tmp_path / "stopped") == straight


def test_an_unfinished_folder_keeps_its_two_newest_checkpoints(tmp_path: Path) -> None:
    run = TrainingRun(spec_of(small_config(checkpoint_every=1)), tmp_path)
    for _ in range(4):  # records at 3, 4, 6, 8
        run.advance()
    kept = sorted(path.name for path in run.folder.path.glob("checkpoint-*"))
    assert kept == [f"checkpoint-000000{n}.{kind}" for n in (6, 8) for kind in ("pt", "sha256")]
    run.close()


def test_a_run_started_again_goes_on_from_its_last_checkpoint(tmp_path: Path) -> None:
    spec = spec_of(small_config())
    run = TrainingRun(spec, tmp_path)
    for _ in range(4):  # records at 3, 4, 6, 8; checkpoints at 4 and 8
        run.advance()
    run.close()
    again = TrainingRun(spec, tmp_path)
    assert again.trainer.iteration == 8
    again.close()


def test_the_checkpoint_of_another_run_is_not_gone_on_with(tmp_path: Path) -> None:
    spec, other = spec_of(small_config()), spec_of(small_config(lambda_adv=0.5))
    for one in (spec, other):
        run = TrainingRun(one, tmp_path)
        run.advance()
        run.advance()
        run.close()
    for path in (tmp_path / other.training_key).glob("checkpoint-*"):
        shutil.copy(path, tmp_path / spec.training_key)
    again = TrainingRun(spec, tmp_path)
    assert again.trainer.iteration == 0
    again.close()
    assert train(spec, tmp_path) == train(spec, tmp_path / "straight")


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "spoil",
    [
        _flip_a_bit,
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.with_suffix(".sha256").unlink(),
    ],
    ids=["flipped bit", "cut short", "no checksum"],
)
def test_a_bad_checkpoint_is_set_aside_for_the_one_before(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    spec = spec_of(small_config())
    straight = train(spec, tmp_path / "straight")
    run = TrainingRun(spec, tmp_path)
    for _ in range(4):
        run.advance()
    run.close()
    spoil(run.folder.checkpoints()[-1])
    again = TrainingRun(spec, tmp_path)
    assert again.trainer.iteration == 4
    assert len(list(run.folder.path.glob("*.bad"))) == 1
    again.close()
    assert train(spec, tmp_path) == straight


class _Executed:
    """What a malicious pickle holds: a call that leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


def test_a_checkpoint_with_code_in_it_is_set_aside_and_nothing_runs(tmp_path: Path) -> None:
    run = TrainingRun(spec_of(small_config()), tmp_path)
    for _ in range(4):
        run.advance()
    run.close()
    trace = tmp_path / "executed"
    save_tensors(run.folder.checkpoints()[-1], {"iteration": _Executed(trace)})
    again = TrainingRun(spec_of(small_config()), tmp_path)
    assert again.trainer.iteration == 4
    again.close()
    assert not trace.exists()


def test_a_checkpoint_with_other_readouts_is_not_continued(tmp_path: Path) -> None:
    config = small_config()
    run = TrainingRun(spec_of(config), tmp_path)
    for _ in range(4):
        run.advance()
    run.close()
    other = TrainingRun(spec_of(config, small_config(swa_n=3)), tmp_path)
    assert other.trainer.iteration == 0
    other.close()


def test_averages_carried_together_equal_averages_trained_alone(tmp_path: Path) -> None:
    configs = [
        small_config(swa_rule=rule, swa_n=n, swa_threshold=threshold, swa_batch_norm=norm)
        for rule, n, threshold, norm in (
            ("eq7", 1, 0.0, "recompute"),
            ("uniform", 3, 0.5, "average"),
            ("ema", 2, 0.9, "copy"),
            ("uniform", 100, 0.25, "recompute"),
        )
    ]
    together = train(spec_of(configs[0], *configs[1:]), tmp_path / "together")["readouts"]
    for number, config in enumerate(configs):
        key = readout_key(config.readout)
        alone = train(spec_of(config), tmp_path / str(number))["readouts"]
        assert alone == {key: together[key]}


def test_outcome_wants_every_readout_and_the_attempt(tmp_path: Path) -> None:
    config = small_config()
    spec = spec_of(config)
    folder = RunFolder(tmp_path, spec.training_key)
    assert outcome(folder, spec) is None
    train(spec, tmp_path)
    assert outcome(folder, spec) is not None
    assert outcome(folder, spec_of(config, small_config(swa_n=3))) is None
    values = spec.to_primitives()
    assert outcome(folder, RunSpec.from_primitives(values | {"attempt": "x"})) is None


def test_other_data_than_planned_are_refused(tmp_path: Path) -> None:
    values = spec_of(small_config()).to_primitives() | {"data_fingerprint": "0" * 16}
    with pytest.raises(ConfigError, match=r"must have fingerprint 0{16}, but has"):
        TrainingRun(RunSpec.from_primitives(values), tmp_path)


def test_training_starts_from_the_weights_of_a_file(tmp_path: Path) -> None:
    config = small_config(weights=tmp_path / "trunk.pth", trunk_batch_norm="frozen", iterations=1)
    generator = new_generator(small_config(seed=7), 7)
    torch.save(generator.get_submodule("trunk").state_dict(), config.weights)
    pinned = pin(config)
    run = TrainingRun(spec_of(pinned), tmp_path)
    started, theirs = run.trainer.generator.state_dict(), generator.state_dict()
    assert all(torch.equal(started[name], theirs[name]) for name in theirs if "trunk" in name)
    described = run.folder.read("config")
    assert described is not None
    assert "the head stays as initialised" in described["pretrained"]
    run.close()
    # Other bytes under the same name are another training.
    other = new_generator(small_config(seed=8), 7).get_submodule("trunk")
    torch.save(other.state_dict(), config.weights)
    with pytest.raises(ConfigError, match="its sha256 must be weights_sha256="):
        TrainingRun(spec_of(pinned), tmp_path)
    assert spec_of(pin(config)).training_key != spec_of(pinned).training_key


def test_a_folder_has_one_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "LOCK_WAIT_S", 0.3)
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(tmp_path, held, release))
    holder.start()
    assert held.wait(60)
    with pytest.raises(RunFolderLockedError, match="being written by another process"):
        RunFolder(tmp_path, "key").__enter__()
    # SIGKILL gives no chance to clean up, and the lock must be free all the same.
    holder.kill()
    holder.join()
    with RunFolder(tmp_path, "key"):
        pass


def test_a_write_that_fails_leaves_the_file_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder(tmp_path, "key")
    with folder:
        folder.write("result", {"miou": 0.5})
        monkeypatch.setattr("os.fsync", _disk_full)
        with pytest.raises(OSError, match="no space"):
            folder.write("result", {"miou": 0.6})
    assert folder.read("result") == {"miou": 0.5, "training_key": "key"}


def _disk_full(descriptor: int) -> None:
    raise OSError(f"no space for {descriptor}")


def test_checkpoints_that_a_kill_left_of_a_finished_run_are_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(small_config())
    with monkeypatch.context() as killed:
        killed.setattr(RunFolder, "drop_checkpoints", lambda _: None)
        train(spec, tmp_path)
    folder = RunFolder(tmp_path, spec.training_key, wait_s=0)
    with RunFolder(tmp_path, spec.training_key):  # its worker, after all
        clear_finished(folder)
        assert folder.checkpoints()
    clear_finished(folder)
    assert not list(folder.path.glob("checkpoint-*"))


def test_a_worker_that_finds_the_result_of_one_that_was_killed_clears_its_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(small_config())
    with monkeypatch.context() as killed:
        killed.setattr(RunFolder, "drop_checkpoints", lambda _: None)
        train(spec, tmp_path)
    folder = RunFolder(tmp_path, spec.training_key, wait_s=0)
    assert folder.checkpoints()
    with closing(TrainingRun(spec, tmp_path)) as run:
        assert run.found
    assert not list(folder.path.glob("checkpoint-*"))


@pytest.mark.parametrize("changed", ["attempt", "readouts"])
def test_checkpoints_of_a_later_training_of_a_finished_run_are_kept(
    tmp_path: Path, changed: str
) -> None:
    spec = spec_of(small_config())
    train(spec, tmp_path)
    more = spec_of(small_config(), small_config(swa_rule="uniform"))
    later = {"attempt": dataclasses.replace(spec, attempt="again"), "readouts": more}[changed]
    with closing(TrainingRun(later, tmp_path)) as run:
        run.advance()
        run.save()
    folder = RunFolder(tmp_path, spec.training_key, wait_s=0)
    assert folder.checkpoints()
    clear_finished(folder)
    assert folder.checkpoints()
