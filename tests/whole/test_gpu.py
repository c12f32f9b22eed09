"""What needs a CUDA device: run with `pytest -m gpu` where there is one."""

from __future__ import annotations

import pytest
import torch
from small import small_config

from trainable.config.schema import TrialConfig
from trainable.data import datasets
from trainable.training.build import build_trainer
from trainable.training.trainer import NonFiniteLossError, Trainer

pytestmark = pytest.mark.gpu


@pytest.fixture
def cuda() -> torch.device:
    if not torch.cuda.is_available():
        pytest.fail("these tests need a CUDA device, and torch finds none")
    return torch.device("cuda")


def trainer_on(device: torch.device, config: TrialConfig) -> Trainer:
    return build_trainer(config, datasets.load(config), [config.readout], device)


@pytest.mark.parametrize("adversarial", ["none", "standard", "pixelwise"])
def test_the_first_losses_are_those_of_the_cpu(
    cuda: torch.device, adversarial: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    config = small_config(adversarial=adversarial, precision="fp32")
    ours, theirs = (trainer_on(device, config).step() for device in (cuda, torch.device("cpu")))
    for name, loss in theirs.items():
        torch.testing.assert_close(ours[name].cpu(), loss, rtol=1e-3, atol=1e-4)


def test_a_checkpoint_of_the_cpu_goes_on_there(cuda: torch.device) -> None:
    config = small_config(swa_threshold=0.5)
    cpu = trainer_on(torch.device("cpu"), config)
    while cpu.iteration < 8:
        cpu.advance()
    gpu = trainer_on(cuda, config)
    gpu.load_state_dict(cpu.state_dict())
    while not gpu.finished:
        gpu.advance()
    assert 0 <= gpu.evaluate(gpu.averaged(gpu.averages.each[0]))["miou"] <= 1


def test_bf16_is_the_default_and_near_fp32(cuda: torch.device) -> None:
    usual, exact = (trainer_on(cuda, small_config(precision=p)) for p in ("auto", "fp32"))
    assert usual.numerics.precision == "bf16"
    ours, theirs = usual.step(), exact.step()
    for name, loss in theirs.items():
        assert ours[name].dtype == torch.float32
        torch.testing.assert_close(ours[name], loss, rtol=0.05, atol=0.01)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_deterministic_mode_gives_the_same_bits_twice(cuda: torch.device, precision: str) -> None:
    config = small_config(deterministic=True, precision=precision)
    results = []
    for _ in range(2):
        trainer = trainer_on(cuda, config)
        while not trainer.finished:
            trainer.advance()
        results.append(trainer.generator.state_dict())
    one, two = results
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_non_finite_loss_is_seen_one_iteration_later(cuda: torch.device) -> None:
    trainer = trainer_on(cuda, small_config(lr_generator=1e30, log_every=10, eval_every=10))
    with pytest.raises(NonFiniteLossError, match="at iteration 2;"):
        trainer.advance()
    assert trainer.iteration <= 3
