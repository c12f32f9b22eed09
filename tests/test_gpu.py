"""What needs a CUDA device: run with `pytest -m gpu` where there is one."""

from __future__ import annotations

import pytest
import torch
from small import small_config

from trainable import datasets
from trainable.config import TrialConfig
from trainable.trainer import Trainer, build_trainer

pytestmark = pytest.mark.gpu


@pytest.fixture
def cuda() -> torch.device:
    if not torch.cuda.is_available():
        pytest.fail("these tests need a CUDA device, and torch finds none")
    return torch.device("cuda")


def trainer_on(device: torch.device, config: TrialConfig) -> Trainer:
    return build_trainer(config, datasets.load(config), [config.readout], device)


@pytest.mark.parametrize("adversarial", ["none", "standard", "pixelwise"])
def test_the_first_losses_are_those_of_the_cpu(cuda: torch.device, adversarial: str) -> None:
    config = small_config(adversarial=adversarial)
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
