"""Precision, memory format, kernels and determinism: what each may change, and what not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from small import SMALL, small_config, spec_of

from trainable import train
from trainable.cli.parsed_options import read_options
from trainable.config.schema import ConfigError, TrialConfig
from trainable.data import datasets
from trainable.runs.keys import training_key
from trainable.runs.training_run import TrainingRun
from trainable.training.build import build_trainer
from trainable.training.numerics import (
    HALF,
    Numerics,
    auto_precision,
    check_precision,
    common_precision,
    with_precision,
)
from trainable.training.trainer import NonFiniteLossError, Trainer

pytestmark = pytest.mark.trains

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


GPUS = {"Turing": (False, "fp16"), "Ampere": (True, "bf16")}  # has bf16; what auto means


@pytest.fixture(params=GPUS)
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have torch find a GPU; every GPU emulates bf16, not every one has it."""
    name: str = request.param
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: name)
    monkeypatch.setattr(
        "torch.cuda.is_bf16_supported",
        lambda including_emulation=True: including_emulation or GPUS[name][0],
    )
    return name


def test_on_a_gpu_auto_is_bf16_where_it_has_that_and_else_fp16(gpu: str) -> None:
    found = Numerics.of(small_config(), torch.device("cuda")).describe()
    assert found["precision"] == auto_precision(torch.device("cuda")) == GPUS[gpu][1]
    assert auto_precision(CPU) == "fp32"


def test_what_auto_means_is_settled_before_the_key(gpu: str) -> None:
    here = TrialConfig(dataset="shapes", trunk_batch_norm="train")
    auto = with_precision(here, GPUS[gpu][1])
    named = dataclasses.replace(here, precision=GPUS[gpu][1])
    others = [dataclasses.replace(here, precision=one) for one in ("fp32", "bf16", "fp16")]
    assert training_key(auto, "") == training_key(named, "")
    assert len({training_key(one, "") for one in others}) == 3
    assert with_precision(others[0], "bf16") is others[0]


def test_the_command_that_trains_one_trial_settles_it(
    gpu: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["train", *(f"--set={setting}" for setting in SMALL)])
    options = read_options(train.TrainOptions, train.parser().parse_args())
    spec, _ = train._spec(options)
    assert spec.config.precision == GPUS[gpu][1]
    assert spec.training_key == training_key(spec.config, spec.data_fingerprint)
    on_cpu = dataclasses.replace(options, overrides=(*options.overrides, "device=cpu"))
    assert train._spec(on_cpu)[0].config.precision == "fp32"


def test_bf16_is_refused_where_it_would_be_emulated(gpu: str, tmp_path: Path) -> None:
    for precision in ("fp32", "fp16", GPUS[gpu][1]):
        check_precision(precision, torch.device("cuda"))
    check_precision("bf16", CPU)
    if gpu == "Turing":
        said = "precision=bf16 needs a GPU .* but Turing has none; set precision=fp16 or fp32"
        with pytest.raises(ConfigError, match=said):
            TrainingRun(spec_of(small_config(precision="bf16")), tmp_path)


def test_nodes_must_agree_on_what_auto_means() -> None:
    assert common_precision({"a": "fp16", "b": "fp16"}) == "fp16"
    with pytest.raises(ConfigError, match=r"means fp16 on a, bf16 on b; say which with --set"):
        common_precision({"b": "bf16", "a": "fp16"})


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


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_computes_the_networks_and_nothing_else(precision: str) -> None:
    trainer = trainer_of(small_config(precision=precision))
    seen = set[torch.dtype]()
    assert trainer.adversary is not None
    for network in (trainer.generator, trainer.adversary.discriminator):
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.register_forward_hook(lambda *args: seen.add(args[2].dtype))
    losses = losses_of(trainer)
    assert seen == {HALF[precision]}
    usual = losses_of(trainer_of(small_config()))
    assert losses == pytest.approx(usual, rel=0.05)
    assert losses != usual
    states = trainer.generator.state_dict() | trainer.averages.each[0].values
    assert {value.dtype for value in states.values()} == {torch.float32, torch.int64}


def scalers_of(trainer: Trainer) -> list[torch.amp.GradScaler]:
    assert trainer.adversary is not None
    return [trainer.scaler, trainer.adversary.scaler]


def set_scales(trainer: Trainer, scale: float) -> None:
    for scaler in scalers_of(trainer):
        scaler.load_state_dict(scaler.state_dict() | {"scale": scale})


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_other_precisions_scale_no_gradient(precision: str) -> None:
    scalers = scalers_of(trainer_of(small_config(precision=precision)))
    assert not any(scaler.is_enabled() for scaler in scalers)


def test_small_gradients_do_not_vanish_in_fp16() -> None:
    # The discriminator's loss is so small that fp16 has no number for its gradients.
    config = small_config(precision="fp16", loss_disc_weight=3e-5)
    scaled, unscaled = trainer_of(config), trainer_of(config)
    set_scales(unscaled, 1)
    for trainer, grows in ((scaled, True), (unscaled, False)):
        trainer.step()
        assert trainer.adversary is not None
        weight = next(trainer.adversary.discriminator.parameters())
        assert weight.grad is not None
        assert bool(weight.grad.any()) is grows


@pytest.mark.parametrize("kernels", ["fused", "plain"])
def test_steps_that_overflow_are_left_out_and_a_resumed_run_has_the_same_bits(kernels: str) -> None:
    config = small_config(precision="fp16", optimizer_kernels=kernels)
    straight, stopped = trainer_of(config), trainer_of(config)
    before = [weight.clone() for weight in straight.generator.parameters()]
    for trainer in (straight, stopped):
        set_scales(trainer, 2.0**40)
    straight.advance()
    assert all(map(torch.equal, before, straight.generator.parameters()))
    assert [scaler.get_scale() for scaler in scalers_of(straight)] == [2.0**37, 2.0**37]
    for _ in range(2):
        stopped.advance()
    resumed = trainer_of(config)
    resumed.load_state_dict(stopped.state_dict())
    for trainer in (straight, resumed):
        while not trainer.finished:
            trainer.advance()
    assert straight.state_dict()["scaler"] == resumed.state_dict()["scaler"]
    for one, two in zip(scalers_of(straight), scalers_of(resumed), strict=True):
        assert one.state_dict() == two.state_dict()
    ours, theirs = straight.generator.state_dict(), resumed.generator.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_gradients_that_overflow_at_any_scale_end_the_run_by_name(network: str) -> None:
    trainer = trainer_of(small_config(precision="fp16"))
    assert trainer.adversary is not None
    module = trainer.generator if network == "generator" else trainer.adversary.discriminator
    weight = next(module.parameters())
    weight.register_hook(lambda gradient: gradient * math.inf)  # type: ignore[no-untyped-call]
    set_scales(trainer, 2.0**-6)
    said = f"the {network}'s gradients must .* in fp16 at any scale at iteration 3; lower .*fp32"
    with pytest.raises(NonFiniteLossError, match=said):
        trainer.advance()


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
