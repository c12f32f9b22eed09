"""Pretrained weights: what a file must be, what is taken from it, and what it may not do."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import pickle
import random
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from small import small_config, spec_of
from torch import Tensor, nn
from torch.nn import functional

from trainable.config.schema import ConfigError, TrialConfig
from trainable.data import datasets
from trainable.data.augmentation import normalise
from trainable.networks.build import build_generator
from trainable.networks.deeplab import DeepLab
from trainable.networks.pretrained import check_start, load_pretrained, pin
from trainable.runs.training_run import TrainingRun

pytestmark = pytest.mark.trains

State = dict[str, Tensor]
SMALL = TrialConfig(generator="deeplab_small", generator_width=4)


def config_of(path: Path | str, base: TrialConfig = SMALL, **values: Any) -> TrialConfig:
    return dataclasses.replace(base, weights=str(path), **values)


def empty(config: TrialConfig, classes: int) -> DeepLab:
    """Return a generator whose every number is 0, without the time that initialisation takes."""
    with torch.device("meta"):
        network = build_generator(config, classes)
    network.to_empty(device="cpu")
    with torch.no_grad():
        for value in network.state_dict().values():
            value.zero_()
    assert isinstance(network, DeepLab)
    return network


def numbered(shapes: State) -> State:
    """Return tensors of these shapes, each full of a number of its own and nearly no bytes."""
    return {
        name: torch.tensor(float(index)).expand(value.shape)
        for index, (name, value) in enumerate(shapes.items(), start=1)
    }


def without_counters(state: State) -> State:
    return {name: value for name, value in state.items() if "num_batches" not in name}


def in_base_codes_names(network: nn.Module, prefix: str = "") -> State:
    """Return numbered tensors in the naming of `resnet101COCO-41f33a49.pth`."""
    renamed = {
        prefix + name.replace("trunk.", "").replace("head.", "layer5."): value
        for name, value in network.state_dict().items()
    }
    return numbered(without_counters(renamed))


def small_file(folder: Path, classes: int = 5, prefix: str = "") -> Path:
    torch.save(in_base_codes_names(empty(SMALL, classes), prefix), folder / "small.pth")
    return folder / "small.pth"


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refusal(path: Path | str, config: TrialConfig = SMALL) -> str:
    """Return the one line with which a file is refused; the generator must stay as it was."""
    network = empty(config, 5)
    with pytest.raises(ConfigError) as caught:
        load_pretrained(network, config_of(path, config))
    assert not any(value.any() for value in network.state_dict().values())
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


# Which file


def test_without_weights_a_config_stays_as_it_is() -> None:
    assert pin(SMALL) is SMALL


def test_a_pinned_config_names_the_file_and_its_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = small_file(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "torchvision", None)  # a file of one's own needs it not
    pinned = pin(config_of("./small.pth"))
    assert pinned == config_of(path, weights_sha256=sha256_of(path))
    assert pin(pinned) == pinned
    assert pin(config_of("small.pth", weights_sha256=sha256_of(path).upper())) == pinned
    monkeypatch.setenv("HOME", str(tmp_path))
    assert pin(config_of("~/small.pth")) == pinned


def test_the_content_decides_the_training_and_the_path_does_not(tmp_path: Path) -> None:
    path = small_file(tmp_path)
    moved = shutil.copy(path, tmp_path / "moved.pth")
    first, second = pin(config_of(path)), pin(config_of(moved))
    assert first.training_identity() == second.training_identity()
    small_file(tmp_path, classes=6)
    assert pin(config_of(path)).training_identity() != first.training_identity()


@pytest.mark.parametrize("use", [pin, lambda config: load_pretrained(empty(SMALL, 5), config)])
def test_another_content_than_the_pinned_is_refused(
    tmp_path: Path, use: Callable[[TrialConfig], object]
) -> None:
    path = small_file(tmp_path)
    config = config_of(path, weights_sha256="0" * 64)
    with pytest.raises(ConfigError, match=f"{path}: its sha256 must be .*{sha256_of(path)}"):
        use(config)


def test_a_file_that_is_not_there_or_a_folder_is_refused(tmp_path: Path) -> None:
    missing = tmp_path / "none.pth"
    assert "No such file or directory" in refusal(missing)
    assert "put it there, or name the file with weights=FILE" in refusal(missing)
    with pytest.raises(ConfigError, match=rf"^{tmp_path}/model\.pt: must be the file of"):
        pin(config_of(tmp_path))
    with pytest.raises(ConfigError, match="No such file"):
        pin(config_of(missing))


RESNET18 = TrialConfig(generator="deeplabv3_resnet18", weights="torchvision")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of an empty cache of torch hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_torchvisions_weights_are_found_in_the_cache_of_torch_hub(hub: Path) -> None:
    state = numbered(torchvision.models.resnet18().state_dict())
    path = hub / "resnet18-f37072fd.pth"
    torch.save(state, path)
    pinned = pin(RESNET18)
    assert pinned == dataclasses.replace(RESNET18, weights_sha256=sha256_of(path))
    network = empty(pinned, 5)
    report = load_pretrained(network, pinned)
    assert report.file == str(path)
    assert (report.matched, report.head_loaded, report.unused) == (100, False, ())
    for name, value in network.trunk.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            assert torch.equal(value, state[name])


def test_torchvisions_weights_are_never_downloaded(hub: Path) -> None:
    where = r"resnet18-f37072fd\.pth: .*put https://download\.pytorch\.org/.*IMAGENET1K_V1"
    with pytest.raises(ConfigError, match=where):
        pin(RESNET18)
    assert list(hub.iterdir()) == []


@pytest.mark.parametrize(
    ("generator", "file"),
    [
        ("deeplabv2_resnet101", "resnet101-63fe2227.pth"),
        ("deeplabv3_resnet101", "resnet101-63fe2227.pth"),
        ("deeplabv3_resnet50", "resnet50-0676ba61.pth"),
        ("deeplabv3_resnet34", "resnet34-b627a593.pth"),
    ],
)
def test_the_file_is_that_of_the_trunks_resnet(hub: Path, generator: str, file: str) -> None:
    (hub / file).write_bytes(b"content")
    config = TrialConfig(generator=generator, weights="torchvision")
    assert pin(config).weights_sha256 == sha256_of(hub / file)


def test_torchvision_has_no_weights_for_the_small_generator() -> None:
    with pytest.raises(ConfigError, match="generator=deeplab_small; leave weights empty"):
        pin(config_of("torchvision"))


# What is taken from it


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file with the names and shapes of `resnet101COCO-41f33a49.pth`."""
    with torch.device("meta"):
        shapes = build_generator(TrialConfig(), 21)
    path = tmp_path_factory.mktemp("weights") / "resnet101COCO-41f33a49.pth"
    # The format of before torch 1.6, as the file has it.
    torch.save(in_base_codes_names(shapes), path, _use_new_zipfile_serialization=False)
    return path


def test_the_base_codes_file_fills_trunk_and_head(coco: Path) -> None:
    state = torch.load(coco, weights_only=True)
    assert {"conv1.weight", "bn1.running_var", "layer3.22.bn3.bias"} <= state.keys()
    assert {"layer1.0.downsample.1.weight", "layer5.conv2d_list.3.bias"} <= state.keys()
    network = empty(TrialConfig(), 21)
    report = load_pretrained(network, TrialConfig(weights=str(coco)))
    for name, value in network.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            theirs = name.replace("trunk.", "").replace("head.", "layer5.")
            assert torch.equal(value, state[theirs]), name
    assert report.matched == len(state) == 528
    assert report.head_loaded
    assert report.unused == report.initialised == ()
    assert report.describe() == f"{coco}: 528 tensors in caffe layout of trunk and head"


def test_with_other_classes_the_head_stays_as_initialised(coco: Path) -> None:
    network = empty(TrialConfig(), 16)
    report = load_pretrained(network, TrialConfig(weights=str(coco)))
    assert all(value.any() for name, value in network.trunk.named_parameters())
    assert not any(value.any() for value in network.head.parameters())
    assert (report.matched, report.head_loaded) == (520, False)
    assert (report.classes, report.file_classes) == (16, 21)
    assert report.initialised == tuple(
        f"head.{name}" for name, _ in network.head.named_parameters()
    )
    assert report.unused[0] == "layer5.conv2d_list.0.weight"
    assert len(report.unused) == 8
    first, second = report.describe().splitlines()
    assert first.endswith("stays as initialised (21 classes in the file, 16 here)")
    assert second.endswith("layer5.conv2d_list.1.weight and 5 more")


def test_fewer_branches_take_the_first_of_the_file(tmp_path: Path) -> None:
    path = small_file(tmp_path)
    config = config_of(path, aspp_branches=2)
    network = empty(config, 5)
    report = load_pretrained(network, config)
    assert report.head_loaded
    bias = torch.load(path, weights_only=True)["layer5.conv2d_list.1.bias"]
    assert torch.equal(network.head.get_parameter("conv2d_list.1.bias"), bias)
    unused = {f"layer5.conv2d_list.{i}.{kind}" for i in (2, 3) for kind in ("weight", "bias")}
    assert set(report.unused) == unused


@pytest.mark.parametrize("prefix", ["", "Scale.", "module.", "module.Scale."])
@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_prefixes_and_the_key_of_a_checkpoint_are_seen_through(
    tmp_path: Path, prefix: str, key: str | None
) -> None:
    path = small_file(tmp_path, prefix=prefix)
    state = torch.load(path, weights_only=True)
    if key is not None:
        torch.save({"epoch": 3, key: state}, path)
    network = empty(SMALL, 5)
    report = load_pretrained(network, config_of(path))
    assert report.head_loaded
    assert torch.equal(network.trunk.conv1.weight, state[f"{prefix}conv1.weight"])
    branch = f"{prefix}layer5.conv2d_list.2.weight"
    assert torch.equal(network.head.get_parameter("conv2d_list.2.weight"), state[branch])


def test_deeplabv3_with_torchvisions_weights_gives_its_outputs(tmp_path: Path) -> None:
    torch.manual_seed(0)
    reference = torchvision.models.segmentation.deeplabv3_resnet50(
        weights=None, weights_backbone=None, num_classes=21, aux_loss=True
    ).eval()
    path = tmp_path / "deeplabv3_resnet50.pth"
    torch.save(reference.state_dict(), path)
    config = TrialConfig(generator="deeplabv3_resnet50", weights=str(path))
    network = empty(config, 21)
    report = load_pretrained(network, config)
    assert report.head_loaded
    assert report.unused == report.initialised == ()
    assert "in torchvision layout" in report.describe()
    images = torch.randn(1, 3, 65, 49)
    with torch.no_grad():
        torch.testing.assert_close(network.eval()(images), reference(images)["out"])


def test_a_head_of_another_kind_stays_as_initialised(tmp_path: Path) -> None:
    state = in_base_codes_names(empty(SMALL, 5))
    state = {name: value for name, value in state.items() if not name.startswith("layer5.")}
    state["classifier.4.bias"] = torch.zeros(5)
    torch.save(state, tmp_path / "file.pth")
    report = load_pretrained(empty(SMALL, 5), config_of(tmp_path / "file.pth"))
    assert (report.head_loaded, report.file_classes) == (False, None)
    assert report.unused == ("classifier.4.bias",)
    assert "the file has none of this kind, 5 classes here" in report.describe()


def test_loading_draws_no_random_number_and_keeps_the_policy_of_the_trunk(tmp_path: Path) -> None:
    config = config_of(small_file(tmp_path), trunk_batch_norm="frozen")
    network = empty(config, 5)
    before = torch.get_rng_state()
    load_pretrained(network, config)
    assert torch.equal(torch.get_rng_state(), before)
    assert not network.trunk.bn1.weight.requires_grad
    assert not network.train().trunk.bn1.training
    assert network.trunk.conv1.weight.requires_grad


# What is refused


def test_a_trunk_must_be_there_as_a_whole(tmp_path: Path) -> None:
    path = small_file(tmp_path)
    state = torch.load(path, weights_only=True)
    count = sum(not name.startswith("layer5.") for name in state)
    del state["layer3.0.bn2.running_var"], state["layer4.0.conv1.weight"]
    torch.save(state, path)
    message = refusal(path)
    assert f"must find all its {count} tensors, but finds {count - 2}" in message
    assert "layer3.0.bn2.running_var is missing" in message
    assert "generator=deeplab_small" in message


def test_a_tensor_of_another_shape_is_named_with_both_shapes(tmp_path: Path) -> None:
    path = small_file(tmp_path)
    state = torch.load(path, weights_only=True)
    torch.save(state | {"layer1.0.conv1.weight": torch.zeros(4, 4, 1, 1)}, path)
    message = refusal(path)
    assert "layer1.0.conv1.weight must have shape (4, 4, 3, 3), but has (4, 4, 1, 1)" in message


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (torch.zeros(4, dtype=torch.int8), "but is torch.strided of torch.int8"),
        (torch.zeros(4).to_sparse(), "but is torch.sparse_coo of torch.float32"),
        (torch.zeros(4, device="meta"), "but is torch.strided of torch.float32"),
        (torch.tensor([1, 1, 1, torch.nan]), "must be finite"),
    ],
)
def test_what_is_no_plain_or_finite_number_is_refused(
    tmp_path: Path, value: Tensor, problem: str
) -> None:
    path = small_file(tmp_path)
    torch.save(torch.load(path, weights_only=True) | {"bn1.weight": value}, path)
    message = refusal(path)
    assert "bn1.weight must" in message
    assert problem in message


def test_half_precision_is_widened(tmp_path: Path) -> None:
    path = small_file(tmp_path)
    state = torch.load(path, weights_only=True)
    torch.save({name: value.half() for name, value in state.items()}, path)
    network = empty(SMALL, 5)
    load_pretrained(network, config_of(path))
    assert network.trunk.conv1.weight.dtype == torch.float32
    assert torch.equal(network.trunk.conv1.weight, state["conv1.weight"])


def test_the_weights_of_a_resnet_50_do_not_fit_a_resnet_101(tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = torchvision.models.resnet50().state_dict()
    torch.save(numbered(shapes), tmp_path / "resnet50.pth")
    config = TrialConfig(generator="deeplabv3_resnet101")
    message = refusal(tmp_path / "resnet50.pth", config)
    assert "all its 520 tensors, but finds 265" in message
    assert "layer3.6.conv1.weight is missing" in message


@pytest.mark.parametrize(
    ("content", "holds"),
    [
        ([torch.zeros(1)], "holds list"),
        (torch.zeros(1), "holds Tensor"),
        ({"conv1.weight": [1.0]}, "holds list under 'conv1.weight'"),
        ({3: torch.zeros(1)}, "holds Tensor under 3"),
        ({"weights": {"conv1.weight": torch.zeros(1)}}, "holds dict under 'weights'"),
        ({"state_dict": {"conv1": {"weight": torch.zeros(1)}}}, "holds dict under 'conv1'"),
        ({}, "but finds 0, and conv1.weight is missing"),
    ],
)
def test_what_is_no_flat_mapping_of_names_to_tensors_is_refused(
    tmp_path: Path, content: object, holds: str
) -> None:
    torch.save(content, tmp_path / "file.pth")
    assert holds in refusal(tmp_path / "file.pth")


def in_torchvisions_names(resnet: str, *left_out: str) -> State:
    with torch.device("meta"):
        state = getattr(torchvision.models, resnet)().state_dict()
    return numbered({n: value for n, value in state.items() if not n.startswith(left_out)})


def trained_on(pixels: Tensor) -> State:
    """Return a trunk without a name that tells its layout, its first batch norm's from pixels."""
    torch.manual_seed(0)
    state = in_torchvisions_names("resnet18", "fc.")
    state["conv1.weight"] = torch.randn(64, 3, 7, 7)
    seen = functional.conv2d(pixels, state["conv1.weight"], stride=2, padding=3)
    state["bn1.running_mean"] = seen.mean(dim=(0, 2, 3))
    state["bn1.running_var"] = seen.var(dim=(0, 2, 3))
    return state


LAYOUTS = ("caffe", "torchvision")


def refused_layout(state: State, folder: Path, config: TrialConfig) -> str | None:
    """Return the layout in which the trunk of a file is to be read instead, None if it is read."""
    torch.save(state, folder / "file.pth")
    config = config_of(folder / "file.pth", config)
    try:
        load_pretrained(empty(config, 5), config)
    except ConfigError as error:
        (other,) = re.findall(r"in theirs with --set trunk_layout=(\w+)$", str(error))
        return str(other)
    return None


@pytest.mark.parametrize("scale", [0.01, 1, 100])  # of the weights, which tell nothing
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_first_batch_norm_tells_in_which_layout_a_trunk_was_trained(
    tmp_path: Path, layout: str, scale: float
) -> None:
    images, _ = datasets.load(small_config()).train.batch(torch.arange(8))
    state = trained_on(normalise(images, caffe=layout == "caffe"))
    state["conv1.weight"] *= scale
    state["bn1.running_var"] *= scale**2
    for other in LAYOUTS:
        config = TrialConfig(generator="deeplabv3_resnet18", trunk_layout=other)
        found = refused_layout(state, tmp_path, config)
        assert found == (None if other == layout else layout)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kind", ["classifier", "deeplabv3", "base code"])
def test_names_tell_in_which_layout_a_trunk_was_trained(
    tmp_path: Path, kind: str, layout: str
) -> None:
    config = TrialConfig(generator="deeplabv3_resnet18", trunk_layout=layout)
    state = in_torchvisions_names("resnet18")
    if kind == "deeplabv3":
        state = {f"module.backbone.{name}": value for name, value in state.items()}
    if kind == "base code":
        state = {f"Scale.{name}": value for name, value in state.items()}
    theirs = "caffe" if kind == "base code" else "torchvision"
    assert refused_layout(state, tmp_path, config) == (None if layout == theirs else theirs)


def test_torchvisions_resnet_is_not_read_as_caffes_by_the_papers_generator(tmp_path: Path) -> None:
    state = in_torchvisions_names("resnet101")
    assert refused_layout(state, tmp_path, TrialConfig()) == "torchvision"
    assert refused_layout(state, tmp_path, TrialConfig(trunk_layout="torchvision")) is None


@pytest.mark.parametrize("layout", LAYOUTS)
def test_where_nothing_tells_the_layout_it_is_the_configs(tmp_path: Path, layout: str) -> None:
    config = TrialConfig(generator="deeplabv3_resnet18", trunk_layout=layout)
    assert refused_layout(in_torchvisions_names("resnet18", "fc."), tmp_path, config) is None


def test_torchvisions_weights_by_name_have_torchvisions_layout() -> None:
    with pytest.raises(ConfigError, match=r"trunk_layout=torchvision` must hold .*; leave it"):
        TrialConfig(weights="torchvision", trunk_layout="caffe")


@pytest.mark.parametrize("policy", ["affine_frozen", "train"])
def test_batch_norms_are_not_kept_as_nothing_left_them(policy: str, tmp_path: Path) -> None:
    config = small_config(trunk_batch_norm=policy)
    spec = spec_of(config)
    said = r"--set weights=FILE, or train them with --set trunk_batch_norm=train$"
    if policy == "train":
        TrainingRun(spec, tmp_path).close()
    else:
        with pytest.raises(ConfigError, match=said):
            TrainingRun(spec, tmp_path)
    check_start(dataclasses.replace(config, weights="a file"))


class Trap:
    """Creates a file when it is unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("format_", ["zip", "legacy", "pickle"])
def test_nothing_in_a_file_is_executed(tmp_path: Path, format_: str) -> None:
    path, trapped = tmp_path / "evil.pth", tmp_path / "trapped"
    content = {"conv1.weight": Trap(trapped)}
    if format_ == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=format_ == "zip")
    assert "is broken or holds more than tensors" in refusal(path)
    assert not trapped.exists()
    if format_ != "pickle":
        torch.load(path, weights_only=False)
        assert trapped.exists()


def test_a_torchscript_archive_is_refused_in_one_line(tmp_path: Path) -> None:
    # torch warns of one, besides; warnings are errors here.
    with zipfile.ZipFile(tmp_path / "file.pth", "w") as archive:
        for name in ("data.pkl", "constants.pkl", "version"):
            archive.writestr(f"archive/{name}", b"3\n")
    assert "is broken or holds more than tensors" in refusal(tmp_path / "file.pth")


@pytest.mark.parametrize("content", [b"", b"\x80", b"PK\x03\x04", b"<html>404</html>", b"\0" * 99])
def test_what_is_no_file_of_weights_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.pth"
    path.write_bytes(content)
    assert "is broken or holds more than tensors" in refusal(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, zipped: bool) -> None:
    buffer, path = io.BytesIO(), tmp_path / "file.pth"
    state = {"conv1.weight": torch.zeros(4, 3, 3, 3), "bn1.weight": torch.zeros(4)}
    torch.save(state, buffer, _use_new_zipfile_serialization=zipped)
    whole, draw = buffer.getvalue(), random.Random(0)
    network = empty(SMALL, 5)
    for attempt in range(200):
        damaged = bytearray(whole)
        if attempt % 2:
            del damaged[draw.randrange(len(whole)) :]
        else:
            for _ in range(4):
                damaged[draw.randrange(len(whole))] = draw.randrange(256)
        path.write_bytes(damaged)
        # Read or not, this is no trunk; any other exception fails the test.
        with pytest.raises(ConfigError) as caught:
            load_pretrained(network, config_of(path))
        assert "\n" not in str(caught.value)
