"""What a name of a config stands for: one line of a dict makes a new one train, and no other."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small import small_config, spec_of
from torch import Tensor, nn
from torch.nn import functional
from training_helpers import train

from trainable.config import choices
from trainable.config.choices import (
    AdversarialSpec,
    DatasetSpec,
    DiscriminatorSpec,
    GeneratorSpec,
    SwaRuleSpec,
)
from trainable.config.schema import DATA_FIELDS, DEFAULTS, ConfigError, Readout, TrialConfig
from trainable.data.check import check
from trainable.data.sources import voc
from trainable.data.sources.file_tree import (
    FaultHandler,
    FileTree,
    Sample,
    Splits,
    checked_splits,
    data_root,
)
from trainable.data.sources.labels import mask_image
from trainable.data.sources.source import FileSource, GeneratedSource
from trainable.inference.multi_scale import predict_multi_scale
from trainable.inference.saved_model import SavedModel, load_model
from trainable.networks.build import build_generator
from trainable.runs import keys
from trainable.runs.keys import readout_key
from trainable.runs.training_run import TrainingRun

pytestmark = pytest.mark.trains


def refer(monkeypatch: pytest.MonkeyPatch, thing: Any) -> str:
    """Put something into a module that no code of ours knows, and return its reference."""
    module = ModuleType("of_a_newcomer")
    module.thing = thing  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "of_a_newcomer", module)
    return "of_a_newcomer:thing"


def trained_and_loaded(config: TrialConfig, storage: Path) -> SavedModel:
    """Train, stop, resume, save and load, and predict with the averaged weights."""
    spec = spec_of(config)
    straight = train(spec, storage / "straight")
    stopped = TrainingRun(spec, storage / "stopped")
    stopped.advance()
    stopped.save()
    stopped.close()
    assert train(spec, storage / "stopped") == straight
    model = load_model(storage / "stopped" / spec.training_key)
    network = model.network(readout_key(config.readout))
    image = torch.randint(0, 256, (3, 21, 30), dtype=torch.uint8)
    predicted = predict_multi_scale(network, image, config=config)
    assert predicted.shape == (len(model.classes), 21, 30)
    torch.testing.assert_close(predicted.sum(dim=0), torch.ones(21, 30))
    return model


class Plain(nn.Module):
    """A generator that is no DeepLab."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        convolution = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
        self.trunk = nn.Sequential(convolution, nn.BatchNorm2d(4), nn.ReLU())
        self.head = nn.Conv2d(4, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        cells = self.head(self.trunk(images))
        return functional.interpolate(cells, size=images.shape[-2:], mode="bilinear")


def plain(config: TrialConfig, classes: int) -> nn.Module:
    return Plain(classes)


def test_a_generator_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = GeneratorSpec(builder=refer(monkeypatch, plain), least_px=8)
    monkeypatch.setitem(choices.GENERATORS, "plain", spec)
    model = trained_and_loaded(small_config(generator="plain", crop_px=16), tmp_path)
    assert isinstance(model.network(None), Plain)


class Decoder(Plain):
    """A generator with weights that no optimizer would be given."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.decoder = nn.Conv2d(classes, classes, 1)


def decoder(config: TrialConfig, classes: int) -> nn.Module:
    return Decoder(classes)


def test_a_generator_with_weights_that_would_not_train_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = GeneratorSpec(builder=refer(monkeypatch, decoder), least_px=8)
    monkeypatch.setitem(choices.GENERATORS, "decoder", spec)
    with pytest.raises(ConfigError, match=r"but lie in decoder, head, trunk; name"):
        build_generator(small_config(generator="decoder"), 3)


class Judge(nn.Conv2d):
    """A discriminator that sees one pixel."""

    def __init__(self, classes: int, *, width: int) -> None:
        super().__init__(classes, 1, 1)


def test_a_discriminator_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = DiscriminatorSpec(builder=refer(monkeypatch, Judge), least_px=1)
    monkeypatch.setitem(choices.DISCRIMINATORS, "one_pixel", spec)
    config = small_config(discriminator="one_pixel", lambda_adv=1)
    trained_and_loaded(config, tmp_path)
    run = TrainingRun(spec_of(config), tmp_path / "again")
    assert run.trainer.adversary is not None
    assert isinstance(run.trainer.adversary.discriminator, Judge)
    run.close()


def loss_squares(logits: Tensor, target: float, mask: Tensor) -> Tensor:
    """Least squares (Mao et al., 2017)."""
    return ((logits - target).square() * mask).sum() / mask.sum().clamp(min=1)


def test_a_loss_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = AdversarialSpec(loss=refer(monkeypatch, loss_squares))
    monkeypatch.setitem(choices.ADVERSARIAL, "squares", spec)
    squares, entropy = small_config(adversarial="squares"), small_config(adversarial="pixelwise")
    found = trained_and_loaded(squares, tmp_path).states[None]
    other = trained_and_loaded(entropy, tmp_path).states[None]
    assert any(not torch.equal(found[name], other[name]) for name in found)


def share_of_all(readout: Readout, averaged: int) -> float:
    return 1.0


def test_an_averaging_rule_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SwaRuleSpec(share=refer(monkeypatch, share_of_all))
    monkeypatch.setitem(choices.SWA_RULES, "latest", spec)
    config = small_config(swa_rule="latest", swa_n=1, swa_batch_norm="copy")
    states = trained_and_loaded(config, tmp_path).states
    raw, averaged = states[None], states[readout_key(config.readout)]
    assert all(torch.equal(raw[name], averaged[name]) for name in raw)


def generate(config: TrialConfig) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(config.data_seed)
    images = torch.randint(0, 256, (8, 3, 24, 32), dtype=torch.uint8, generator=draw)
    labels = (images[:, 0] > 127).to(torch.uint8)
    return (images[:5], labels[:5]), (images[5:], labels[5:])


def test_a_generated_data_set_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = GeneratedSource(classes=("dark", "red"), generate=generate)
    spec = DatasetSpec(source=refer(monkeypatch, source))
    monkeypatch.setitem(choices.DATASETS, "noise", spec)
    assert trained_and_loaded(small_config(dataset="noise"), tmp_path).classes == ("dark", "red")


def index(config: TrialConfig, report: FaultHandler) -> FileTree:
    root = data_root(config, "pairs")
    samples = tuple(
        Sample(image=path, masks=(path.with_suffix(".png"),))
        for path in sorted(root.glob("pairs/*.bmp"))
    )
    return FileTree(
        root=root,
        train=samples[:3],
        val=samples[3:],
        lists=(),
        classes=("dark", "red"),
        read_mask=voc.read_mask,
    )


def survey(config: TrialConfig, report: FaultHandler) -> tuple[str, Splits]:
    return "pairs of files", checked_splits(index(config, report), report)


PAIRS = FileSource(
    title="pairs",
    holds="pairs",
    is_root=lambda root: (root / "pairs").is_dir(),
    index=index,
    survey=survey,
)


def test_a_data_set_in_files_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(choices.DATASETS, "pairs", DatasetSpec(source=refer(monkeypatch, PAIRS)))
    (tmp_path / "pairs").mkdir()
    images, labels = generate(TrialConfig())[0]
    for number, (image, mask) in enumerate(zip(images.numpy(), labels.numpy(), strict=True)):
        picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
        picture.save(tmp_path / f"pairs/{number}.bmp")
        mask_image(mask).save(tmp_path / f"pairs/{number}.png")
    values = {"dataset": "pairs", "data_root": tmp_path, "cache_dir": tmp_path / "cache"}
    assert trained_and_loaded(small_config(**values), tmp_path).classes == ("dark", "red")
    about, findings = check(tmp_path)
    assert about[0] == f"{tmp_path}: pairs of files"
    assert findings == []


def test_a_folder_of_no_data_set_is_told_what_any_of_them_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(choices.DATASETS, "pairs", DatasetSpec(source=refer(monkeypatch, PAIRS)))
    with pytest.raises(ValueError, match=r", or pairs \(pairs\), but"):
        check(tmp_path)


def test_the_smallest_value_of_a_data_sets_field_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = dataclasses.replace(choices.DATASETS["sbd"], least={"data_seed": 3})
    monkeypatch.setitem(choices.DATASETS, "sbd", spec)
    assert TrialConfig(dataset="sbd", data_seed=3).data_seed == 3
    with pytest.raises(ValueError, match="`data_seed >= 3` must hold, but got data_seed=2"):
        TrialConfig(dataset="sbd", data_seed=2)


@pytest.mark.parametrize("name", choices.DATASETS)
def test_what_a_data_set_reads_are_fields_of_a_config_that_decide_the_data(name: str) -> None:
    spec = choices.DATASETS[name]
    assert {*spec.fields, *spec.least} <= {*DATA_FIELDS} <= {*DEFAULTS}


def test_training_imports_what_every_name_stands_for_before_it_compares_versions() -> None:
    modules = {reference.partition(":")[0] for reference in choices.references()}
    program = "import sys, trainable.runs.training_run; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert {"trainable.data.sources.voc", "trainable.networks.deeplab"} < modules
    assert modules <= set(done.stdout.split())


def test_a_config_needs_no_torch() -> None:
    program = "import sys, trainable.config.loading as it; it.load_config(); print(*sys.modules)"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "torch" not in done.stdout.split()


def test_what_a_name_stands_for_is_part_of_the_code_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = keys.version_on_disk()
    shutil.copytree(keys.PACKAGE, tmp_path / "trainable")
    monkeypatch.setattr(keys, "PACKAGE", tmp_path / "trainable")
    assert keys.version_on_disk() == before
    path = tmp_path / "trainable/config/choices.py"
    path.write_text(path.read_text().replace("deeplab:deeplab_small", "deeplab:deeplabv3"))
    assert keys.version_on_disk() != before
