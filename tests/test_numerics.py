"""Precision, memory format, kernels and determinism: what each may change, and what not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from small import small_config

from trainable import datasets
from trainable.config import TrialConfig
from trainable.numerics import Numerics
from trainable.trainer import Trainer, build_trainer

CPU = torch.device("cpu")


def trainer_of(config: TrialConfig) -> Trainer:
    return build_trainer(config, datasets.load(config), [config.readout], CPU)


def losses_of(trainer: Trainer, iterations: int = 3) -> dict[str, float]:
    for _ in range(iterations):
        losses = trainer.step()
    assert {loss.dtype for loss in losses.values()} == {torch.float32}
    return {name: loss.item() for name, loss in losses.items()}


@pytest.fixture
def switches() -> Iterator[None]:
    yield
    Numerics.of(small_config(), CPU).apply()


def test_on_a_cpu_auto_is_fp32() -> None:
    assert Numerics.of(small_config(), CPU).describe() == {
        "precision": "fp32",
        "memory_format": "channels_last",
        "optimizer_kernels": "fused",
        "compile": False,
        "deterministic": False,
    }


def test_on_a_gpu_auto_is_bf16_where_it_has_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: True)
    found = Numerics.of(small_config(), torch.device("cuda")).describe()
    assert found["precision"] == "bf16"
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda: False)
    found = Numerics.of(small_config(), torch.device("cuda")).describe()
    assert found["precision"] == "fp32"


@pytest.mark.parametrize("adversarial", ["none", "standard", "pixelwise"])
@pytest.mark.parametrize(
    "setting", ["memory_format=contiguous", "optimizer_kernels=plain", "deterministic=true"]
)
@pytest.mark.usefixtures("switches")
def test_a_setting_changes_the_rounding_alone(adversarial: str, setting: str) -> None:
    name, _, value = setting.partition("=")
    usual = losses_of(trainer_of(small_config(adversarial=adversarial)))
    other = losses_of(trainer_of(small_config(adversarial=adversarial, **{name: value})))
    assert other == pytest.approx(usual, rel=1e-4)


def test_bf16_computes_the_networks_in_bf16_and_nothing_else() -> None:
    trainer = trainer_of(small_config(precision="bf16"))
    seen = set[torch.dtype]()
    assert trainer.adversary is not None
    for network in (trainer.generator, trainer.adversary.discriminator):
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.register_forward_hook(lambda *args: seen.add(args[2].dtype))
    losses = losses_of(trainer)
    assert seen == {torch.bfloat16}
    usual = losses_of(trainer_of(small_config()))
    assert losses == pytest.approx(usual, rel=0.05)
    assert losses != usual
    states = trainer.generator.state_dict() | trainer.averages.each[0].values
    assert {value.dtype for value in states.values()} == {torch.float32, torch.int64}


@pytest.mark.parametrize("memory_format", ["channels_last", "contiguous"])
def test_weights_are_laid_out_as_the_memory_format_says(memory_format: str) -> None:
    trainer = trainer_of(small_config(memory_format=memory_format))
    weight = trainer.generator.get_submodule("trunk.layer1.0.conv1").weight
    assert isinstance(weight, torch.Tensor)
    assert weight.is_contiguous() == (memory_format == "contiguous")
    assert weight.is_contiguous(memory_format=torch.channels_last) == (not weight.is_contiguous())


@pytest.mark.usefixtures("switches")
def test_a_reused_process_takes_the_switches_of_the_run_at_hand() -> None:
    for deterministic in (True, False):
        trainer_of(small_config(deterministic=deterministic))
        assert torch.are_deterministic_algorithms_enabled() == deterministic
        assert torch.backends.cudnn.benchmark != deterministic


def test_averages_in_host_memory_have_the_same_bits() -> None:
    device, host = (trainer_of(small_config(averages_on=place)) for place in ("device", "host"))
    for trainer in (device, host):
        losses_of(trainer)
    one, two = (trainer.averages.each[0].values["weights"] for trainer in (device, host))
    assert torch.equal(one, two)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own
@pytest.mark.usefixtures("switches")
def test_compiled_networks_give_the_same_losses_and_keep_their_names() -> None:
    usual, compiled = (trainer_of(small_config(compile=value)) for value in ("false", "true"))
    assert losses_of(compiled) == pytest.approx(losses_of(usual), rel=1e-4)
    assert compiled.generator.state_dict().keys() == usual.generator.state_dict().keys()
    assert compiled.evaluate(compiled.generator)["miou"] > 0
