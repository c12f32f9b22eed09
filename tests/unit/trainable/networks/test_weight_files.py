"""Weights as people have them: wrapped, contained, in safetensors, of a run, of torchvision."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from own_nets import LIBRARY, PLAIN, config_with
from safetensors.torch import save_file
from small import small_config, spec_of
from torch import Tensor, nn

from trainable.config.schema import ConfigError, TrialConfig
from trainable.networks.build import build_generator
from trainable.networks.pretrained import LoadReport, load_pretrained, pin
from trainable.networks.weight_names import common, translated, unwrapped
from trainable.runs.trial import train_run

pytestmark = pytest.mark.trains

SMALL = small_config(generator_width=4)
State = dict[str, Tensor]


def trained(config: TrialConfig = SMALL, seed: int = 5, classes: int = 3) -> nn.Module:
    torch.manual_seed(seed)
    return build_generator(config, classes)


def load(config: TrialConfig, path: Path | str, classes: int = 3) -> tuple[LoadReport, nn.Module]:
    network = trained(config, seed=6, classes=classes)
    return load_pretrained(network, dataclasses.replace(config, weights=str(path))), network


def check_same(network: nn.Module, state: State) -> None:
    found = network.state_dict()
    assert [
        name
        for name, value in state.items()
        if "num_batches" not in name and not torch.equal(found[name], value)
    ] == []


@pytest.mark.parametrize(
    "prefix",
    [
        *("module.", "_orig_mod.", "model.", "net.", "module.model._orig_mod.", "net.module."),
        *("student.branch_1.", "module.query_encoder."),
    ],
)
@pytest.mark.parametrize(
    "containers", [(), ("state_dict",), ("model_state_dict",), ("state_dict_ema",), ("x", "model")]
)
def test_weights_are_found_behind_any_wrapper_and_in_any_container(
    tmp_path: Path, prefix: str, containers: tuple[str, ...]
) -> None:
    network = trained()
    content: dict[str, object] = {
        prefix + name: value for name, value in network.state_dict().items()
    }
    for key in reversed(containers):
        content = {"epoch": 3, key: content} if key != "x" else {"state_dict": content}
    torch.save(content, tmp_path / "file.pth")
    report, loaded = load(SMALL, tmp_path / "file.pth")
    trunk = {n: v for n, v in network.state_dict().items() if n.startswith("trunk.")}
    check_same(loaded, trunk)
    if unwrapped(prefix) == "":
        assert report.head_loaded
        assert report.unused == ()
        check_same(loaded, network.state_dict())


def test_a_prefix_before_the_right_trunk_is_not_called_the_wrong_one(tmp_path: Path) -> None:
    trunk = trained().get_submodule("trunk").state_dict()
    torch.save({f"teacher.q.{n}": v for n, v in trunk.items()}, tmp_path / "file.pth")
    report, loaded = load(SMALL, tmp_path / "file.pth")
    assert not report.head_loaded
    check_same(loaded.get_submodule("trunk"), trunk)


def test_safetensors_are_read(tmp_path: Path) -> None:
    network = trained()
    save_file(dict(network.state_dict()), tmp_path / "file.safetensors")
    report, loaded = load(SMALL, tmp_path / "file.safetensors")
    assert report.head_loaded
    check_same(loaded, network.state_dict())
    (tmp_path / "file.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0not json")
    with pytest.raises(ConfigError, match="but is broken"):
        load(SMALL, tmp_path / "file.safetensors")


@pytest.mark.parametrize("name", [PLAIN, LIBRARY, "own_nets:one_part"])
def test_a_network_of_ones_own_takes_its_own_weights_back(tmp_path: Path, name: str) -> None:
    config = config_with(name)
    network = trained(config)
    state = network.get_submodule("network").state_dict()
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "file.pth")
    report, loaded = load(config, tmp_path / "file.pth")
    assert report.head_loaded
    check_same(loaded.get_submodule("network"), state)


def test_an_encoder_takes_torchvisions_resnet(tmp_path: Path) -> None:
    import torchvision

    torch.manual_seed(1)
    resnet = torchvision.models.resnet18().state_dict()
    torch.save(resnet, tmp_path / "file.pth")
    config = small_config(**{"generator": LIBRARY, "generator_args.encoder_name": "resnet18"})
    report, loaded = load(config, tmp_path / "file.pth")
    assert not report.head_loaded
    encoder = loaded.get_submodule("network.encoder").state_dict()
    check_same(loaded.get_submodule("network.encoder"), {n: resnet[n] for n in encoder})


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    storage = tmp_path_factory.mktemp("runs")
    spec = spec_of(SMALL, dataclasses.replace(SMALL, swa_n=4))
    train_run(spec, storage)
    return storage / spec.training_key


def test_a_run_gives_its_last_weights_or_an_average_by_its_key(run_folder: Path) -> None:
    saved = torch.load(run_folder / "model.pt", weights_only=True)
    classes = len(saved["classes"])
    _, raw = load(SMALL, f"{run_folder}#raw", classes)
    check_same(raw, saved["generator"])
    digests = {pin(dataclasses.replace(SMALL, weights=f"{run_folder}#raw")).weights_sha256}
    for key, average in saved["averages"].items():
        _, loaded = load(SMALL, f"{run_folder}/model.pt#{key[:6]}", classes)
        check_same(loaded, average["state"])
        weights = f"{run_folder}#{key[:6]}"
        digests.add(pin(dataclasses.replace(SMALL, weights=weights)).weights_sha256)
    assert len(digests) == 3  # so that each is another training


def test_which_of_several_averages_must_be_said(run_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds 2 averages, .* add #raw, or # and one of"):
        load(SMALL, run_folder)


def test_torchvisions_weights_are_named_by_their_enum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torchvision

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    name = "DeepLabV3_ResNet50_Weights.COCO_WITH_VOC_LABELS_V1"
    config = TrialConfig(generator="deeplabv3_resnet50", weights=name)
    assert not config.is_caffe
    with pytest.raises(ConfigError, match=rf"put https://.*deeplabv3.* there \({name}\)"):
        pin(config)
    reference = torchvision.models.segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=21, aux_loss=True
    )
    url = torchvision.models.get_weight(name).url
    (tmp_path / "checkpoints").mkdir()
    torch.save(reference.state_dict(), tmp_path / "checkpoints" / url.rpartition("/")[2])
    assert pin(config).weights == name
    report = load_pretrained(build_generator(config, 21), config)
    assert report.head_loaded
    with pytest.raises(ConfigError, match=r"did you mean 'ResNet50_Weights\.IMAGENET1K_V2'"):
        pin(TrialConfig(weights="ResNet50_Weights.IMAGENET1K_V3"))


def test_names_of_all_kinds_have_one_in_common() -> None:
    assert (
        common("module._orig_mod.backbone.layer1.0.conv1.weight") == "trunk.layer1.0.conv1.weight"
    )
    assert common("net.encoder.model.conv1.weight") == "trunk.conv1.weight"
    assert common("classifier.4.bias") == "head.4.bias"
    wanted = ["network.encoder.conv1.weight", "network.decoder.bias"]
    names = ["module.encoder.conv1.weight", "module.decoder.bias", "fc.weight"]
    assert translated(names, wanted) == dict(zip(wanted, names[:2], strict=True))
