"""Masks from saved weights: the right weights, the right pixels, and no trust in any file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shlex
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from small import small_config, spec_of
from torch import nn
from torch.nn import functional
from trees import photograph_patch, voc_palette

from trainable import predict
from trainable.data import datasets
from trainable.data.augmentation import normalise
from trainable.data.sources.labels import OPACITY, palette
from trainable.inference import multi_scale, saved_model
from trainable.inference.multi_scale import predict_multi_scale
from trainable.inference.saved_model import load_model
from trainable.networks.build import build_generator
from trainable.runs.keys import readout_key
from trainable.runs.training_run import TrainingRun
from trainable.training.metrics import confusion_matrices, segmentation_metrics

pytestmark = pytest.mark.trains

CONFIG = small_config()
TRAINED = small_config(iterations=30, lr_generator=0.05)  # long enough to see some objects
CLASSES = datasets.inspect(CONFIG).classes
READOUTS = {readout_key(one): one for one in (small_config(swa_n=n).readout for n in (2, 3))}
KEYS = list(READOUTS)

Run = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs the command in this process: exit code, standard output and error."""

    def run(arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["predict.py", *shlex.split(arguments)])
        try:
            code: Any = predict.main()
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a photograph and a model: raw weights see 1, averages 2 and 3."""
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "photo.jpg")
    write_model(tmp_path / "model.pt")
    return tmp_path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was trained to its end."""
    run = TrainingRun(spec_of(TRAINED), tmp_path_factory.mktemp("runs"))
    while not run.complete:
        run.advance()
    run.close()
    return run.folder.path


def write_image(path: Path, size: tuple[int, int] = (37, 52)) -> Path:
    Image.fromarray(photograph_patch(1, size)).save(path)
    return path


def state_that_sees(label: int) -> dict[str, torch.Tensor]:
    """Return the weights of a generator that takes every pixel of any image for `label`."""
    state = build_generator(CONFIG, len(CLASSES)).state_dict()
    state = {name: torch.zeros_like(value) for name, value in state.items()}
    state["head.conv2d_list.0.bias"][label] = 1
    return state


def content(**changes: Any) -> dict[str, Any]:
    """Return what a model.pt holds: raw weights that see 1, averages that see 2, 3, ..."""
    averages = {}
    for label, (key, readout) in enumerate(READOUTS.items(), start=2):
        # An average lacks what its policy does not give: the rest is the raw weights'.
        seen = {"head.conv2d_list.0.bias": state_that_sees(label)["head.conv2d_list.0.bias"]}
        averages[key] = {"readout": dataclasses.asdict(readout), "state": seen}
    values = {
        "config": dataclasses.asdict(CONFIG),
        "classes": list(CLASSES),
        "training_key": "0" * 16,
        "iteration": 12,
        "generator": state_that_sees(1),
        "averages": averages,
    }
    return values | changes


def write_model(path: Path, **changes: Any) -> Path:
    torch.save(content(**changes), path)
    return path


def indices(path: Path) -> set[int]:
    with Image.open(path) as mask:
        assert mask.mode == "P"
        return set(np.array(mask).flatten().tolist())


def one_line(stderr: str) -> str:
    assert re.fullmatch(r"error: \S[^\n]*\n", stderr), stderr
    return stderr


# What is written


def test_a_mask_has_the_image_s_size_voc_s_palette_and_the_labels(folder: Path, run: Run) -> None:
    code, out, err = run("--checkpoint model.pt --weights raw --out masks photo.jpg")
    assert (code, err) == (0, "")
    assert out == ("1 masks in masks from the raw weights of model.pt after 12 iterations\n")
    assert {path.name for path in (folder / "masks").iterdir()} == {
        "photo.png",
        "photo_overlay.png",
    }
    with Image.open("masks/photo.png") as mask, Image.open("photo.jpg") as image:
        assert mask.size == image.size == (52, 37)
        assert mask.getpalette() == voc_palette()
        assert np.array(mask).tolist() == [[1] * 52] * 37


def test_an_overlay_is_the_image_with_colour_on_all_but_the_background(
    folder: Path, run: Run
) -> None:
    run("--checkpoint model.pt --weights raw --out masks photo.jpg")
    image = np.array(Image.open("photo.jpg")).astype(float)
    overlay = np.array(Image.open("masks/photo_overlay.png")).astype(float)
    dark_red = np.array([128, 0, 0])  # of label 1
    assert np.abs(overlay - (image * (1 - OPACITY) + dark_red * OPACITY)).max() <= 1
    write_model(folder / "model.pt", generator=state_that_sees(0))
    run("--checkpoint model.pt --weights raw --out masks photo.jpg")
    assert np.array_equal(np.array(Image.open("masks/photo_overlay.png")), image)


def test_the_palette_is_voc_s() -> None:
    colours = np.array(palette()).reshape(256, 3)
    # VOCdevkit: background, aeroplane, bicycle, person, tvmonitor, void.
    expected = {
        0: [0, 0, 0], 1: [128, 0, 0], 2: [0, 128, 0], 15: [192, 128, 128], 20: [0, 64, 128],
        255: [224, 224, 192],
    }  # fmt: skip
    assert {label: colours[label].tolist() for label in expected} == expected


def test_without_overlay_the_masks_stand_alone(folder: Path, run: Run) -> None:
    assert run("--checkpoint model.pt --weights raw --no-overlay --out masks photo.jpg")[0] == 0
    assert [path.name for path in (folder / "masks").iterdir()] == ["photo.png"]


def test_a_folder_s_images_are_taken_whatever_the_case_and_nothing_else(
    folder: Path, run: Run
) -> None:
    (folder / "in" / "deeper.png").mkdir(parents=True)
    for name in ("b.JPG", "a.jpeg", "c.Png", "d.bmp"):
        write_image(folder / "in" / name)
    write_image(folder / "in" / "deeper.png" / "e.png")
    for name in ("notes.txt", "._a.jpg"):
        (folder / "in" / name).write_text("no image")
    code, out, err = run(
        "--checkpoint model.pt --weights raw --no-overlay --out masks in photo.jpg"
    )
    assert (code, err, out[:8]) == (0, "", "5 masks ")
    found = sorted(path.stem for path in (folder / "masks").iterdir())
    assert found == ["a", "b", "c", "d", "photo"]


def test_an_image_that_cannot_be_used_is_named_and_the_others_are_done(
    folder: Path, run: Run
) -> None:
    (folder / "broken.jpg").write_bytes((folder / "photo.jpg").read_bytes()[:300])
    write_image(folder / "last.png")
    arguments = "--weights raw --no-overlay --out masks photo.jpg broken.jpg last.png"
    code, out, err = run(f"--checkpoint model.pt {arguments}")
    assert code == 1
    assert "broken.jpg: must be an image" in one_line(err)
    assert out.startswith("2 masks in masks ")
    assert out.endswith("; 1 of 3 images failed\n")
    assert {path.name for path in (folder / "masks").iterdir()} == {"photo.png", "last.png"}


def test_an_image_too_large_for_the_memory_is_named_and_the_others_are_done(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:

    def run_out(image: torch.Tensor, *, caffe: bool) -> torch.Tensor:
        if image.shape[-1] == 80:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")
        return normalise(image, caffe=caffe)

    monkeypatch.setattr(multi_scale, "normalise", run_out)
    write_image(folder / "large.png", (60, 80))
    code, _, err = run("--checkpoint model.pt --weights raw --out masks large.png photo.jpg")
    assert code == 1
    assert one_line(err) == "error: large.png: CUDA out of memory. Tried to allocate\n"
    assert indices(folder / "masks/photo.png") == {1}


# Probabilities


def network() -> nn.Module:
    torch.manual_seed(0)
    return build_generator(CONFIG, len(CLASSES)).eval()


def photograph(height: int, width: int) -> torch.Tensor:
    return torch.from_numpy(photograph_patch(0, (height, width)).copy()).permute(2, 0, 1)


def test_scales_and_mirroring_give_the_mean_of_their_probabilities() -> None:
    generator, image = network(), photograph(40, 56)
    found = predict_multi_scale(generator, image, config=CONFIG, scales=(0.5, 1, 1.25), flip=True)
    each = []
    with torch.no_grad():
        for size in ((20, 28), (40, 56), (50, 70)):
            whole = normalise(image[None], caffe=False)
            resized = functional.interpolate(whole, size=size, mode="bilinear")
            for turned in ((), (3,)):
                maps = functional.softmax(generator(resized.flip(turned)), dim=1).flip(turned)
                each.append(functional.interpolate(maps, size=(40, 56), mode="bilinear"))
    torch.testing.assert_close(found, torch.stack(each).mean(dim=0)[0])
    torch.testing.assert_close(found.sum(dim=0), torch.ones(40, 56))
    single = predict_multi_scale(generator, image, config=CONFIG)
    torch.testing.assert_close(single, each[2][0])
    assert not torch.allclose(found, single, atol=1e-3)


def test_with_mirroring_a_mirrored_image_gives_the_mirrored_prediction() -> None:
    generator, image = network(), photograph(40, 57)
    found = predict_multi_scale(generator, image, config=CONFIG, flip=True)
    mirrored = predict_multi_scale(generator, image.flip(2), config=CONFIG, flip=True)
    torch.testing.assert_close(mirrored.flip(2), found)


@pytest.mark.parametrize("size", [(5, 40), (40, 7), (1, 1)])
def test_an_image_below_the_least_crop_lies_at_the_top_left_of_mean_colour(
    size: tuple[int, int],
) -> None:
    generator, image = network(), photograph(*size)
    view = torch.zeros(1, 3, max(16, size[0]), max(16, size[1]))  # normalised, the mean is 0
    view[..., : size[0], : size[1]] = normalise(image[None], caffe=False)
    with torch.no_grad():
        expected = generator(view).softmax(dim=1)[0, :, : size[0], : size[1]]
    torch.testing.assert_close(predict_multi_scale(generator, image, config=CONFIG), expected)


def test_an_image_is_normalised_as_the_config_s_trunk_wants_it() -> None:
    image = photograph(40, 56)
    for layout in ("caffe", "torchvision"):
        config = small_config(trunk_layout=layout)
        generator = build_generator(config, len(CLASSES)).eval()
        with torch.no_grad():
            logits = generator(normalise(image[None], caffe=layout == "caffe"))
        found = predict_multi_scale(generator, image, config=config)
        torch.testing.assert_close(found, logits.softmax(dim=1)[0])


def test_the_options_reach_the_probabilities(folder: Path, run: Run) -> None:
    torch.manual_seed(0)
    state = build_generator(CONFIG, len(CLASSES)).state_dict()
    write_model(folder / "model.pt", generator=state)
    image = torch.from_numpy(np.array(Image.open("photo.jpg"))).permute(2, 0, 1)
    views: dict[str, dict[str, Any]] = {
        "": {},
        "--scales 0.75,1.5": {"scales": (0.75, 1.5)},
        "--flip": {"flip": True},
    }
    masks = []
    for options, keywords in views.items():
        run(f"--checkpoint model.pt --weights raw --out masks {options} photo.jpg")
        expected = predict_multi_scale(network(), image, config=CONFIG, **keywords).argmax(dim=0)
        masks.append(np.array(Image.open("masks/photo.png")))
        assert np.array_equal(masks[-1], expected.numpy())
    assert not any(np.array_equal(masks[0], other) for other in masks[1:])


@pytest.mark.parametrize("weights", ["raw", "averaged"])
def test_the_masks_of_the_validation_images_have_the_metrics_of_the_result(
    trained: Path, weights: str, run: Run, tmp_path: Path
) -> None:
    val = datasets.load(TRAINED).val
    images = tmp_path / "images"
    images.mkdir()
    ((pixels, labels),) = val.equal_sized(len(val))
    for number, image in enumerate(pixels):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(images / f"{number}.png")
    arguments = f"--weights {weights} --out {tmp_path / 'masks'} {images}"
    assert run(f"--run-folder {trained} {arguments}")[0] == 0
    masks = [np.array(Image.open(tmp_path / f"masks/{n}.png")) for n in range(len(val))]
    matrices = confusion_matrices(
        torch.from_numpy(np.stack(masks)).long(), labels.long(), len(CLASSES)
    )
    result = json.loads((trained / "result.json").read_text())
    swa = result["readouts"][readout_key(TRAINED.readout)]["swa"]
    assert segmentation_metrics(matrices) == (result["val"] if weights == "raw" else swa)
    assert result["val"] != swa


# Which weights


@pytest.mark.parametrize(
    ("options", "averages", "label", "words"),
    [
        ("", 1, 2, ("averaged weights (swa_rule=eq7 swa_n=2 ", "after 12 iterations")),
        ("--weights averaged", 1, 2, ("averaged weights",)),
        ("--weights raw", 1, 1, ("raw weights",)),
        ("--weights raw", 2, 1, ("raw weights",)),
        (f"--readout {KEYS[1]}", 2, 3, ("averaged weights (swa_rule=eq7 swa_n=3 ",)),
        (f"--readout {KEYS[0][:6]}", 2, 2, ("averaged weights (swa_rule=eq7 swa_n=2 ",)),
    ],
)
def test_the_weights_asked_for_are_taken_and_named(
    options: str, averages: int, label: int, words: tuple[str, ...], folder: Path, run: Run
) -> None:
    kept = dict(list(content()["averages"].items())[:averages])
    write_model(folder / "model.pt", averages=kept)
    code, out, err = run(f"--checkpoint model.pt {options} --out masks photo.jpg")
    assert (code, err) == (0, "")
    assert indices(folder / "masks/photo.png") == {label}
    assert [word for word in words if word not in out] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", ("--readout KEY", "is not given", *KEYS, "swa_n=2", "swa_n=3")),
        ("--weights averaged", ("--readout KEY", "is not given", *KEYS)),
        ("--readout zz", ("--readout KEY", "'zz', which fits 0", *KEYS)),
        (f"--readout {KEYS[0]} --weights raw", ("--readout", "--weights raw")),
    ],
)
def test_weights_that_are_not_one_are_refused_with_the_keys(
    options: str, words: tuple[str, ...], folder: Path, run: Run
) -> None:
    code, out, err = run(f"--checkpoint model.pt {options} --out masks photo.jpg")
    assert (code, out) == (2, "")
    assert [word for word in words if word not in one_line(err)] == []
    assert not (folder / "masks").exists()


def test_an_unfinished_run_gives_its_newest_raw_weights_alone(tmp_path: Path, run: Run) -> None:
    unfinished = TrainingRun(spec_of(CONFIG), tmp_path)
    for _ in range(4):  # records at 3, 4, 6, 8; checkpoints at 4 and 8
        unfinished.advance()
    unfinished.close()
    folder, image = unfinished.folder.path, write_image(tmp_path / "photo.jpg")
    code, out, _ = run(f"--run-folder {folder} --out {tmp_path / 'masks'} {image}")
    assert (code, "raw weights" in out, "after 8 iterations" in out) == (0, True, True)
    saved = load_model(folder).network(None).state_dict()
    now = unfinished.trainer.generator.state_dict()
    assert all(torch.equal(saved[name], now[name]) for name in now)
    for options in ("--weights averaged", f"--readout {KEYS[0]}"):
        code, _, err = run(f"--run-folder {folder} {options} --out {tmp_path / 'no'} {image}")
        assert code == 2
        assert "averages have no batch norm yet; use --weights raw" in one_line(err)
    assert not (tmp_path / "no").exists()


def test_a_loaded_network_is_in_evaluation_mode_and_a_copy(folder: Path) -> None:
    model = load_model(folder / "model.pt")
    assert model.readouts == READOUTS
    one = model.network(None)
    assert not any(module.training for module in one.modules())
    with torch.no_grad():
        for value in one.parameters():
            value.fill_(7)
    other = model.network(None)
    assert not any(torch.any(value == 7) for value in other.parameters())


# Files that are not to be trusted


class Executed:
    """What a malicious pickle holds: a call that leaves a trace."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("executed"),)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def with_code(path: Path) -> None:
    write_model(path, iteration=Executed())


def with_code_and_its_checksum(path: Path) -> None:
    write_model(path, classes=[Executed()])
    path.with_suffix(".sha256").write_text(hashlib.sha256(path.read_bytes()).hexdigest())


def flipped_bit(path: Path) -> None:
    changed = bytearray(path.read_bytes())
    path.with_suffix(".sha256").write_text(hashlib.sha256(changed).hexdigest())
    changed[len(changed) // 2] ^= 1
    path.write_bytes(changed)


def wrong_shape(path: Path) -> None:
    state = state_that_sees(1)
    state["trunk.conv1.weight"] = torch.zeros(4, 3, 5, 5)
    write_model(path, generator=state)


def unknown_field(path: Path) -> None:
    write_model(path, config=dataclasses.asdict(CONFIG) | {"iteratons": 3})


def impossible_readout(path: Path) -> None:
    averages = content()["averages"]
    averages[KEYS[0]]["readout"]["swa_n"] = 0
    write_model(path, averages=averages)


def wider_network(path: Path) -> None:
    write_model(path, config=dataclasses.asdict(CONFIG) | {"generator_width": 8})


def torch_script(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model/constants.pkl", b"")


NOT_USABLE: dict[Callable[[Path], Any], tuple[str, ...]] = {
    cut_short: ("it cannot be read",),
    with_code: ("holds code, which is not run",),
    with_code_and_its_checksum: ("holds code, which is not run",),
    flipped_bit: ("its SHA-256 must be the one in model.sha256",),
    wrong_shape: ("trunk.conv1.weight must be ((4, 3, 3, 3),", "but is ((4, 3, 5, 5),"),
    unknown_field: ("unknown key 'iteratons'", "did you mean 'iterations'?"),
    impossible_readout: ("`swa_n >= 1` must hold",),
    wider_network: ("trunk.conv1.weight must be ((8, 3, 3, 3),",),
    torch_script: ("it cannot be read",),
    lambda path: write_model(path, classes=["a", "b"]): ("head.conv2d_list.0.weight",),
    lambda path: write_model(path, classes=[1, 2]): ("are not names",),
    lambda path: write_model(path, generator=[]): ("must be a model.pt",),
    lambda path: torch.save({"state_dict": {}}, path): ("it has no 'config'",),
    lambda path: torch.save([1], path): ("it holds a list",),
    lambda path: path.write_bytes(b""): ("it cannot be read",),
    lambda path: path.unlink(): ("cannot read model.pt: No such file",),
}  # fmt: skip


@pytest.mark.parametrize("spoil", NOT_USABLE)
def test_a_file_that_is_not_a_model_is_refused_by_name_and_nothing_runs(
    spoil: Callable[[Path], Any], folder: Path, run: Run
) -> None:
    spoil(folder / "model.pt")
    code, out, err = run("--checkpoint model.pt --weights raw --out masks photo.jpg")
    assert (code, out) == (2, "")
    said = one_line(err)
    assert "model.pt" in said
    assert [word for word in NOT_USABLE[spoil] if word not in said] == []
    assert not (folder / "executed").exists()
    assert not (folder / "masks").exists()


def test_the_model_of_a_run_folder_must_have_its_checksum(
    trained: Path, folder: Path, run: Run
) -> None:
    copy = Path(shutil.copytree(trained, folder / "copy"))
    assert run("--run-folder copy --out masks photo.jpg")[0] == 0
    (copy / "model.sha256").unlink()
    for way in ("--run-folder copy", "--checkpoint copy/model.pt"):
        code, _, err = run(f"{way} --out again photo.jpg")
        assert code == 2
        assert "model.pt: its SHA-256 must stand in model.sha256, but that is missing" in one_line(
            err
        )
    shutil.copy(copy / "model.pt", folder / "alone.pt")  # which may come from anywhere
    assert run("--checkpoint alone.pt --out again photo.jpg")[0] == 0


def test_the_model_of_another_run_is_refused_though_its_checksum_holds(
    trained: Path, folder: Path, run: Run
) -> None:
    copy = Path(shutil.copytree(trained, folder / "copy"))
    write_model(copy / "model.pt")
    digest = hashlib.sha256((copy / "model.pt").read_bytes()).hexdigest()
    (copy / "model.sha256").write_text(digest)
    code, _, err = run("--run-folder copy --out masks photo.jpg --weights raw")
    assert code == 2
    assert f"copy/model.pt: must be of run {trained.name}, as config.json beside it" in one_line(
        err
    )


def test_a_changed_digit_beside_a_model_is_refused(trained: Path, folder: Path, run: Run) -> None:
    copy = Path(shutil.copytree(trained, folder / "copy"))
    path = copy / "config.json"
    path.write_text(path.read_text().replace('"lambda_adv": 0.', '"lambda_adv": 1.'))
    code, _, err = run("--run-folder copy --out masks photo.jpg")
    assert code == 2
    assert "copy/config.json must be what a training run wrote, but it was changed" in one_line(err)


def test_a_network_takes_no_memory_before_the_tensors_of_a_file_fit_it() -> None:
    skeleton = saved_model._skeleton(small_config(generator_width=64), CLASSES)
    assert all(value.is_meta for value in skeleton.state_dict().values())


def test_a_checksum_that_holds_is_no_obstacle(folder: Path, run: Run) -> None:
    digest = hashlib.sha256((folder / "model.pt").read_bytes()).hexdigest()
    (folder / "model.sha256").write_text(digest)
    assert run("--run-folder . --weights raw --out masks photo.jpg")[0] == 0


# Bad input


def two_of_one_name(folder: Path) -> None:
    write_image(folder / "photo.png")


def mask_named_as_an_overlay(folder: Path) -> None:
    write_image(folder / "photo_overlay.jpg")


@pytest.mark.parametrize(
    ("prepare", "arguments", "words"),
    [
        (two_of_one_name, "--out masks photo.jpg photo.png", ("photo.jpg and photo.png",)),
        (None, "--out masks photo.jpg photo.jpg", ("photo.jpg and photo.jpg",)),
        (
            mask_named_as_an_overlay,
            "--out masks photo.jpg photo_overlay.jpg",
            ("masks/photo_overlay.png",),
        ),
        (lambda folder: write_image(folder / "a.png"), "--out . a.png", ("a.png would be over",)),
        (None, "--out masks nowhere.jpg", ("nowhere.jpg: the image or folder must exist",)),
        (lambda folder: (folder / "in").mkdir(), "--out masks in", ("in: the folder must hold",)),
        (None, "--out photo.jpg photo.jpg", ("--out must lie in a folder", "photo.jpg is a file")),
        (None, "--out masks --scales 1,x photo.jpg", ("--scales", "'1,x'")),
        (None, "--out masks --scales 0 photo.jpg", ("--scales", "from 0.1 to 10", "'0'")),
        (None, "--out masks --scales 1,nan photo.jpg", ("--scales", "'1,nan'")),
        (None, "--out masks --device cuda photo.jpg", ("device=cuda", "device=auto")),
        (None, "--out masks --run-folder . photo.jpg", ("--run-folder", "--checkpoint")),
        (None, "--out masks", ("INPUT",)),
    ],
)  # fmt: skip
def test_bad_input_is_refused_in_one_line_and_nothing_is_written(
    prepare: Callable[[Path], Any] | None,
    arguments: str,
    words: tuple[str, ...],
    folder: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if prepare is not None:
        prepare(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    code, out, err = run(f"--checkpoint model.pt --weights raw {arguments}")
    assert (code, out) == (2, "")
    assert [word for word in words if word not in one_line(err)] == []
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_a_run_folder_with_nothing_trained_is_refused(folder: Path, run: Run) -> None:
    (folder / "empty").mkdir()
    code, _, err = run("--run-folder empty --out masks photo.jpg")
    assert code == 2
    assert "empty: a run folder must hold model.pt or a checkpoint" in one_line(err)


def test_an_interrupt_says_how_many_masks_there_are(
    folder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "predict_multi_scale", interrupt)
    code, out, err = run("--checkpoint model.pt --weights raw --out masks photo.jpg")
    assert (code, out, err) == (130, "", "interrupted; 0 of 1 masks are in masks\n")
