"""Networks of one's own: imported, padded and enlarged, known by their code, refused in a line."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from pathlib import Path

import pytest
import torch
from own_nets import LIBRARY, PLAIN, config_with
from small import small_config
from torch import nn

from trainable.config.schema import ConfigError, TrialConfig
from trainable.networks import custom_code
from trainable.networks.build import build_discriminator, build_generator, parts_of
from trainable.networks.custom import CustomGenerator
from trainable.networks.custom_check import check_networks
from trainable.networks.custom_code import check_trusted, code_of, pinned
from trainable.networks.pretrained import pin
from trainable.runs.keys import training_key
from trainable.training.build import build_trainer, new_generator

pytestmark = pytest.mark.trains


def refusal(config: TrialConfig) -> str:
    with pytest.raises(ConfigError) as caught:
        check_networks([config], 3)
    message = str(caught.value)
    assert "\n" not in message
    assert ";" in message  # what to do
    return message


@pytest.mark.parametrize("name", [PLAIN, LIBRARY, "own_nets:torn", "torchvision:fcn_resnet50"])
def test_logits_have_the_size_of_the_image_and_every_side_is_taken(name: str) -> None:
    network = new_generator(config_with(name), 3).eval()
    for height, width in ((16, 16), (17, 40), (33, 64)):
        assert network(torch.randn(2, 3, height, width)).shape == (2, 3, height, width)


def test_no_pixel_is_padded_where_none_need_be_and_no_logit_enlarged() -> None:
    config = small_config(generator="own_nets:torn")
    network = new_generator(config, 3)
    assert isinstance(network, CustomGenerator)
    assert network.divisor == 8
    images = torch.randn(2, 3, 24, 32)
    assert torch.equal(network(images), network.network(images))


def test_logits_per_cell_are_enlarged_as_torch_enlarges_them() -> None:
    network = new_generator(small_config(generator=PLAIN), 3).eval()
    images = torch.randn(1, 3, 24, 20)
    cells = network.get_submodule("network")(images)["out"]
    wanted = nn.functional.interpolate(cells, size=(24, 20), mode="bilinear", align_corners=False)
    assert torch.equal(network(images), wanted)


def test_arguments_reach_the_callable() -> None:
    config = small_config(**{"generator": PLAIN, "generator_args.width": 6})
    assert config.generator_args == '{"width": 6}'
    weight = build_generator(config, 3).get_parameter("network.backbone.0.weight")
    assert len(weight) == 6


@pytest.mark.parametrize(
    ("name", "parts"),
    [(PLAIN, {"trunk", "head"}), (LIBRARY, {"trunk", "head"}), ("own_nets:one_part", {"all"})],
)
def test_every_weight_trains_at_the_rate_of_its_part(name: str, parts: set[str]) -> None:
    from trainable.data import datasets

    config = config_with(name, lr_trunk_multiplier=0.5, lr_head_multiplier=4, lr_generator=0.1)
    data = datasets.load(config)
    trainer = build_trainer(config, data, [config.readout], torch.device("cpu"))
    found = parts_of(trainer.generator)
    assert set(found) == parts
    grouped = [one for group in trainer.optimizer.param_groups for one in group["params"]]
    assert len(grouped) == len(list(trainer.generator.parameters())) == len({*map(id, grouped)})
    rates = {"trunk": 0.05, "head": 0.4, "all": 0.1}
    assert [group["lr"] for group in trainer.optimizer.param_groups] == [
        pytest.approx(rates[part]) for part in found
    ]


@pytest.mark.parametrize("policy", ["affine_frozen", "frozen"])
def test_the_policy_of_batch_norm_is_that_of_the_named_trunk(policy: str) -> None:
    config = config_with(LIBRARY, weights="some.pth", trunk_batch_norm=policy)
    network = build_generator(config, 3).train()
    assert isinstance(network, CustomGenerator)
    norms = {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    }
    trunk = [one for name, one in norms.items() if name.startswith("network.encoder.")]
    others = [one for name, one in norms.items() if not name.startswith("network.encoder.")]
    assert trunk
    assert others
    assert not any(norm.weight.requires_grad for norm in trunk)
    assert all(norm.weight.requires_grad and norm.training for norm in others)
    assert all(norm.training is (policy != "frozen") for norm in trunk)


def test_a_policy_of_a_trunk_needs_a_trunk() -> None:
    config = small_config(
        generator="own_nets:one_part", weights="some.pth", trunk_batch_norm="frozen"
    )
    assert "has no part of the name trunk, backbone, encoder" in refusal(config)


def test_a_discriminator_of_ones_own_judges_each_pixel() -> None:
    config = small_config(**{"discriminator": "own_nets:judge", "discriminator_args.width": 3})
    check_networks([config], 3)
    network = build_discriminator(config, 3)
    assert network is not None
    assert network(torch.rand(2, 3, 24, 24)).shape == (2, 1, 24, 24)
    assert network.get_parameter("network.0.weight").shape == (3, 3, 4, 4)
    baseline = dataclasses.replace(pinned(config), lambda_adv=0.0).canonical()
    assert (baseline.discriminator, baseline.discriminator_code) == ("encoder_decoder", "")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("own_nets:one_class_too_few", ("(2, 3, 24, 24)", "but gave (2, 2, 24, 24)")),
        ("own_nets:vectors", ("[N, C, h, w]", "a tensor of shape (1, 3)")),
        ("own_nets:fails", ("classes=3", "ValueError says 'no such luck'")),
        ("own_nets:no_network", ("torch.nn.Module", "a int")),
        ("own_nets:idle", ("2 get no gradient", "spare.weight")),
        ("own_nets:moody", ("same logits for the same seed", "by torch")),
        ("own_nets:fixed", ("multiples of 64 pixels", "'224 pixels are wanted'")),
        ("own_nets:plane", ("callable plane", "did you mean 'plain'?")),
        ("no_such_nets:unet", ("module no_such_nets", "ModuleNotFoundError")),
        ("torchvision:fcn_resnet5", ("unknown network", "did you mean 'fcn_resnet50'?")),
        ("smp:Unett", ("unknown network", "did you mean 'Unet'?")),
    ],
)
def test_a_generator_that_cannot_be_trained_is_refused_in_one_line(
    name: str, words: tuple[str, ...]
) -> None:
    said = refusal(small_config(generator=name))
    assert all(word in said for word in words), said


def test_a_discriminator_that_gives_a_logit_per_class_is_refused() -> None:
    said = refusal(small_config(discriminator="own_nets:one_part"))
    assert "must take (2, 3, 24, 24)" in said or "but gave" in said
    assert "(2, 1, 24, 24) or (2, 1, 1, 1)" in said


def test_what_a_library_would_download_is_refused() -> None:
    said = refusal(small_config(**{"generator": LIBRARY, "generator_args.encoder_weights": "x"}))
    assert "encoder_weights" in said
    assert "weights=FILE" in said


def test_to_ask_a_library_for_no_weights_says_nothing() -> None:
    silent = small_config(generator=LIBRARY, generator_args='{"encoder_weights": null}')
    check_networks([silent], 3)
    named = small_config(generator=PLAIN, generator_args='{"weights": null}')
    assert "weights" in refusal(named)  # of one's own it is an argument as any other


def test_an_unknown_argument_is_refused_with_what_the_callable_says() -> None:
    said = refusal(small_config(**{"generator": PLAIN, "generator_args.depth": 3}))
    assert "unexpected keyword argument 'depth'" in said


def test_arguments_and_code_are_of_a_network_of_ones_own_alone() -> None:
    with pytest.raises(ConfigError, match="generator_args is of a generator of one's own"):
        small_config(**{"generator_args.width": 3})
    with pytest.raises(ConfigError, match="names with a dot are of generator_args"):
        small_config(**{"seed.width": 3})
    with pytest.raises(ConfigError, match="generator_args must be a mapping"):
        small_config(generator=PLAIN, generator_args="[1]")


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of one's own in the current folder."""
    path = tmp_path / "my_nets.py"
    path.write_text("from own_nets import plain\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [one for one in sys.path if one])
    monkeypatch.delitem(sys.modules, "my_nets", raising=False)
    yield_code(monkeypatch)
    return path


def yield_code(monkeypatch: pytest.MonkeyPatch) -> None:
    custom_code.code_of.cache_clear()
    monkeypatch.delitem(sys.modules, "my_nets", raising=False)
    importlib.invalidate_caches()


def test_the_code_of_a_module_decides_the_key(nets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config(generator="my_nets:plain")
    first = pin(config)
    assert first.generator_code
    assert training_key(first, "data") == training_key(pin(config), "data")
    nets.write_text("from own_nets import plain  # another\n")
    yield_code(monkeypatch)
    second = pin(config)
    assert training_key(second, "data") != training_key(first, "data")
    with pytest.raises(ConfigError, match=f"must be generator_code='{first.generator_code}', but"):
        build_generator(first, 3)


def test_all_of_a_package_of_ones_own_decides_the_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nets: Path
) -> None:
    nets.unlink()
    (tmp_path / "my_nets").mkdir()
    (tmp_path / "my_nets" / "__init__.py").touch()
    (tmp_path / "my_nets" / "unet.py").write_text("from own_nets import plain\n")
    other = tmp_path / "my_nets" / "blocks.py"
    other.write_text("WIDTH = 1\n")
    codes = []
    for text in ("WIDTH = 1\n", "WIDTH = 2\n"):
        other.write_text(text)
        monkeypatch.delitem(sys.modules, "my_nets.unet", raising=False)
        yield_code(monkeypatch)
        codes.append(code_of("my_nets.unet:plain"))
    assert codes[0] != codes[1]


def test_a_librarys_version_stands_for_its_code() -> None:
    assert code_of("torchvision:fcn_resnet50").startswith("torchvision 0.")
    assert ", timm " in code_of(LIBRARY)


def test_what_a_file_names_is_imported_only_where_it_is_named_by_who_asks() -> None:
    config = small_config(generator=PLAIN, discriminator="own_nets:judge")
    with pytest.raises(ConfigError, match=r"add --network own_nets:judge$"):
        check_trusted(config, "model.pt", [PLAIN])
    check_trusted(config, "model.pt", [PLAIN, "own_nets:judge"])
    check_trusted(config_with(LIBRARY), "model.pt", [])


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, custom_code.SMP, None)
    with pytest.raises(ConfigError, match=r"pip install 'pixelwise-adversarial-sweeps\[smp\]'"):
        custom_code.callable_of("smp:Unet")
