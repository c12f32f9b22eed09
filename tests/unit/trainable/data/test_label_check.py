"""Masks that are wrong and decode: what is refused by file or split, and what is only suspect."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from record_helpers import BASE, finish, grid, sweep_state
from small import SMALL
from store_helpers import parent_of, publish
from trees import (
    LISTS,
    VOC,
    Pixels,
    voc_palette,
    write_list,
    write_sbd_mask,
    write_sbd_tree,
    write_segtrack_tree,
)

from analysis.record.schema import Sweep
from analysis.record.trials import load_trials
from analysis.report.page import render_report
from sweeps.record.manifest import begin, manifests
from sweeps.record.manifest import sweep_state as plan_from
from trainable import prepare, train
from trainable.config.schema import ConfigError, TrialConfig
from trainable.data import datasets
from trainable.data.datasets import DataFacts

SIZE = (20, 30)
WAY_OUT = "restore the mask that the data set ships"
A_MASK = f"{VOC}/SegmentationClass/train_001.png"


def mask_of(*labels: int) -> Pixels:
    """Stripes of these labels, those that stand more than once the broader."""
    columns = np.linspace(0, len(labels), SIZE[1], endpoint=False).astype(int)
    return np.broadcast_to(np.array(labels, np.uint8)[columns], SIZE).copy()


PLAIN = mask_of(0, 0, 3, 15, 255)


def write_tree(root: Path, train: list[Pixels], val: list[Pixels] | None = None) -> TrialConfig:
    """Write a tree of VOC with these labels, and return the config that trains on it."""
    for split, masks in (("train", train), ("val", val or [PLAIN] * 2)):
        names = [f"{split}_{number:03d}" for number in range(len(masks))]
        for name, labels in zip(names, masks, strict=True):
            image = root / VOC / "JPEGImages" / f"{name}.jpg"
            mask = root / VOC / "SegmentationClass" / f"{name}.png"
            for path in (image, mask):
                path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", SIZE[::-1], (90, 120, 60)).save(image)
            Image.fromarray(labels).save(mask)
        write_list(root / LISTS / f"{split}.txt", names)
    return config_of(root)


def config_of(root: Path, **values: Any) -> TrialConfig:
    given: dict[str, Any] = {"dataset": "voc2012", "voc_train": "train", "skip_bad_images": True}
    given |= {"data_root": str(root), "cache_dir": str(root / "cache")} | values
    return TrialConfig(**given)


def warned(config: TrialConfig) -> list[str]:
    return list(datasets.inspect(config).warnings)


def refused(config: TrialConfig) -> str:
    """Return why the data is refused, though images that cannot be decoded are left out."""
    with pytest.raises(ConfigError) as error:
        datasets.inspect(config)
    assert "\n" not in str(error.value)
    return str(error.value)


# One file


def palette_image(labels: Pixels, palette: list[int]) -> Image.Image:
    mask = Image.fromarray(labels).convert("P")
    mask.putpalette(palette)
    return mask


def adaptive(path: Path) -> None:
    """As a paint program saves VOC's colours: each at the place where it was met."""
    colours = palette_image(PLAIN, voc_palette()).convert("RGB")
    colours.convert("P", palette=Image.Palette.ADAPTIVE, colors=8).save(path)


def one_colour_off(path: Path) -> None:
    palette = voc_palette()
    palette[3 * 15] += 1
    palette_image(PLAIN, palette).save(path)


def jpeg(path: Path) -> None:
    Image.fromarray(PLAIN).save(path, "JPEG", quality=95)


def webp(path: Path) -> None:
    Image.fromarray(PLAIN).save(path, "WEBP")


def jpeg_in_tiff(path: Path) -> None:
    Image.fromarray(PLAIN).save(path, "TIFF", compression="jpeg")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (adaptive, ("of a palette mask must have VOC's colour", "places in a palette")),
        (one_colour_off, ("label 15", "[192, 128, 128]", "[193, 128, 128]")),
        (jpeg, ("keeps every pixel", "its content is JPEG")),
        (webp, ("keeps every pixel", "its content is WEBP")),
        (jpeg_in_tiff, ("keeps every pixel", "its content is jpeg TIFF")),
    ],
)
def test_a_mask_that_holds_no_labels_is_refused_by_its_name(
    spoil: Callable[[Path], None], words: tuple[str, ...], tmp_path: Path
) -> None:
    config = write_tree(tmp_path, [PLAIN] * 3)
    spoil(tmp_path / A_MASK)
    said = refused(config)
    assert said.startswith(f"{tmp_path / A_MASK}: ")
    assert said.endswith(WAY_OUT)
    assert [word for word in words if word not in said] == []


def own_palette(path: Path) -> None:
    palette_image(PLAIN, voc_palette()).save(path)


def grey_palette(path: Path) -> None:
    palette_image(PLAIN, [value for value in range(256) for _ in range(3)]).save(path)


def short_palette(path: Path) -> None:
    palette_image(PLAIN, voc_palette()).save(path)
    content = path.read_bytes()
    at = content.index(b"PLTE")
    chunk = b"PLTE" + content[at + 4 :][: 3 * 16]  # 255 has no colour
    sized = struct.pack(">I", 3 * 16) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(content[: at - 4] + sized + content[at + 4 + 3 * 256 + 4 :])
    with Image.open(path) as mask:
        assert len(mask.getpalette() or []) == 3 * 16


def other_colours_elsewhere(path: Path) -> None:
    palette = voc_palette()
    palette[3 * 7 : 3 * 8] = [1, 2, 3]  # of a label that the mask does not hold
    palette_image(PLAIN, palette).save(path)


def grey_bmp(path: Path) -> None:
    Image.fromarray(PLAIN).save(path, "BMP")


@pytest.mark.parametrize(
    "save",
    [own_palette, grey_palette, short_palette, other_colours_elsewhere, grey_bmp],
)
def test_the_same_labels_are_taken_however_they_are_kept(
    save: Callable[[Path], None], tmp_path: Path
) -> None:
    config = write_tree(tmp_path, [PLAIN] * 3)
    save(tmp_path / A_MASK)
    assert warned(config) == []
    assert np.array_equal(datasets.load(config).train.run(1, 2)[1][0].numpy(), PLAIN)


# A split


def test_a_split_in_black_and_white_is_refused(tmp_path: Path) -> None:
    said = refused(write_tree(tmp_path, [mask_of(0, 255), mask_of(0, 0, 255)]))
    assert said.startswith(f"{tmp_path}: the masks of the train split must hold labels 0 to 20")
    assert "but hold 0 and 255 alone" in said
    assert said.endswith("restore the masks that the data set ships")


def test_so_is_one_that_validates(tmp_path: Path) -> None:
    assert "the val split" in refused(write_tree(tmp_path, [PLAIN], [mask_of(0, 255)] * 2))


MANY = [PLAIN] * 19
WARNINGS: dict[str, tuple[list[Pixels], str]] = {
    "one file in black and white": (
        [PLAIN] * 99 + [mask_of(0, 255)],
        f"train: 1 of 100 masks (the first is {VOC}/SegmentationClass/train_099.png) hold 0 and "
        "255 alone, as a mask in black and white does, where 255 is void",
    ),
    "no object": (
        [*MANY, mask_of(0)],
        f"train: 1 of 20 masks (the first is {VOC}/SegmentationClass/train_019.png) have nothing "
        "but background",
    ),
    "no background": (
        [*MANY, mask_of(3, 15)],
        f"train: 1 of 20 masks (the first is {VOC}/SegmentationClass/train_019.png) have no "
        "background",
    ),
    "labels from 1": (
        [mask_of(1, 1, 4, 16, 255)] * 3,
        "train: label 1 has 50.0% and label 0 has 0.0% of the pixels that count: labels that begin "
        "at 1 are off by one, 0 is the background",
    ),
    "void at 0, labels from 1": (
        [mask_of(0, *[1] * 11, *[4] * 4, *[16] * 4)] * 3,
        "train: label 1 has 53.3% and label 0 has 6.7% of the pixels that count: labels that begin "
        "at 1 are off by one, 0 is the background",
    ),
    "one class": ([mask_of(0)] * 2, "train: all pixels that count are of one class, background"),
}


@pytest.mark.parametrize("kind", WARNINGS)
def test_what_is_suspect_is_a_warning(kind: str, tmp_path: Path) -> None:
    train, line = WARNINGS[kind]
    said = warned(write_tree(tmp_path, train))
    assert line in said
    # A class that validates alone follows from some of these.
    assert [other for other in said if other != line and "no image of train" not in other] == []


@pytest.mark.parametrize(
    "train",
    [
        [PLAIN],
        [mask_of(0, 3, 15)] * 3,  # without void, as SBD's
        [PLAIN] * 20 + [mask_of(0)],  # below 1 in 20
        [PLAIN] * 20 + [mask_of(3, 15, 15)],
        [mask_of(0, *[1] * 4, 3, 15)] * 3,  # much of class 1, and background beside it
        [mask_of(3, 15, 15), PLAIN, *MANY],
    ],
)
def test_what_is_as_it_should_be_is_none(train: list[Pixels], tmp_path: Path) -> None:
    assert warned(write_tree(tmp_path, train)) == []


def test_a_class_that_only_validates_is_named(tmp_path: Path) -> None:
    config = write_tree(tmp_path, [PLAIN], [PLAIN, mask_of(0, 1, 20)])
    assert warned(config) == ["val: no image of train has its aeroplane, tvmonitor"]


# SBD and SegTrack-v2


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.full((40, 56), 21, np.uint8), "labels must lie in 0..20"),
        (np.zeros((40, 56)), "must be bytes [H, W], but is float64 [40, 56]"),
        (np.zeros((3, 40, 56), np.uint8), "must be bytes [H, W], but is uint8 [3, 40, 56]"),
        (np.zeros((40, 55), np.uint8), "must have its image's size, 56x40"),
    ],
)
def test_labels_of_sbd_that_are_none_are_refused_whatever_is_left_out(
    labels: Any, words: str, tmp_path: Path
) -> None:
    root = write_sbd_tree(tmp_path / "sbd", train=range(4), val=range(4, 6))
    path = root / "cls" / "2007_000001.mat"
    import scipy.io

    content = np.empty((1, 1), dtype=[("Segmentation", object)])
    content[0, 0] = (labels,)
    scipy.io.savemat(path, {"GTcls": content}, do_compression=True)
    said = refused(config_of(root, dataset="sbd", voc_train="train_aug"))
    assert said.startswith(f"{path}: ")
    assert words in said


def test_a_split_of_sbd_in_black_and_white_is_refused(tmp_path: Path) -> None:
    root = write_sbd_tree(tmp_path / "sbd", train=range(4), val=range(4, 6))
    for path in (root / "cls").iterdir():
        size = np.array(Image.open(root / "img" / f"{path.stem}.jpg")).shape[:2]
        labels = np.zeros(size, np.uint8)
        labels[5:9] = 255
        write_sbd_mask(path, labels)
    assert "but hold 0 and 255 alone" in refused(config_of(root, dataset="sbd"))


def transparent(mask: Pixels) -> Image.Image:
    alpha = np.where(mask[..., 0] > 0, 255, 0).astype(np.uint8)
    return Image.fromarray(np.dstack([np.zeros_like(mask), alpha]))


def transparent_palette(mask: Pixels) -> Image.Image:
    image = Image.fromarray(mask[..., 0]).convert("P")
    image.info["transparency"] = 0
    return image


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (transparent, "must be opaque"),
        (transparent_palette, "must be opaque"),
        (lambda mask: Image.fromarray((mask[..., 0] > 0).astype(np.uint8)), "is [1, 1, 1]"),
        (lambda mask: Image.fromarray(mask * np.array([1, 0, 0], np.uint8)), "must be white"),
    ],
)
def test_an_object_of_segtrack_that_is_not_white_is_refused(
    make: Callable[[Pixels], Image.Image], words: str, tmp_path: Path
) -> None:
    root = write_segtrack_tree(tmp_path / "segtrack")
    path = root / "GroundTruth" / "birdfall" / "birdfall_00003.png"
    plain = np.zeros((40, 56, 3), np.uint8)
    plain[10:30, 5:30] = 255
    make(plain).save(path)
    said = refused(config_of(root, dataset="segtrackv2", voc_train="train_aug"))
    assert said.startswith(f"{path}: ")
    assert words in said


def test_a_jpeg_behind_png_is_refused_for_segtrack_too(tmp_path: Path) -> None:
    root = write_segtrack_tree(tmp_path / "segtrack")
    path = root / "GroundTruth" / "birdfall" / "birdfall_00003.png"
    content = io.BytesIO()
    with Image.open(path) as mask:
        mask.save(content, "JPEG")
    path.write_bytes(content.getvalue())
    assert "its content is JPEG" in refused(config_of(root, dataset="segtrackv2"))


def test_the_masks_of_segtrack_as_they_are_give_no_warning(tmp_path: Path) -> None:
    root = write_segtrack_tree(tmp_path / "segtrack")
    assert warned(config_of(root, dataset="segtrackv2")) == []


# Who is told


def test_a_later_start_and_a_copy_elsewhere_are_told_the_same(tmp_path: Path) -> None:
    config = write_tree(tmp_path, WARNINGS["no object"][0])
    first = warned(config)
    assert first == [WARNINGS["no object"][1]]
    assert warned(config) == first  # from the cache


def test_check_names_it_without_a_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tree(tmp_path, WARNINGS["no object"][0])
    monkeypatch.setattr("sys.argv", ["prepare", "check", str(tmp_path)])
    assert prepare.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"warning: {WARNINGS['no object'][1]}" in lines
    assert lines[-1] == "no findings"


def test_check_finds_what_loading_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tree(tmp_path, [PLAIN] * 3, [mask_of(0, 255)] * 2)
    adaptive(tmp_path / A_MASK)
    monkeypatch.setattr("sys.argv", ["prepare", "check", str(tmp_path)])
    assert prepare.main() == 1
    out = capsys.readouterr().out
    assert f"{A_MASK}: label " in out
    assert "the masks of the val split must hold labels" in out
    assert out.endswith("2 findings\n")


def test_one_trial_says_it_on_the_screen_and_to_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_tree(tmp_path, WARNINGS["no object"][0])
    small = [*SMALL, "batch_size=2", "iterations=1", "crop_px=16"]
    sets = [part for one in small for part in ("--set", one)]
    options = ["--preset", "demo", "--set", "dataset=voc2012", "--set", "voc_train=train", *sets]
    options += ["--data-root", str(tmp_path), "--set", f"cache_dir={config.cache_dir}"]
    options += ["--storage", str(tmp_path / "runs"), "--json"]
    monkeypatch.setattr("sys.argv", ["train", *options])
    assert train.main() == 0
    said = capsys.readouterr()
    assert f"warning: {WARNINGS['no object'][1]}\n" in said.err
    assert json.loads(said.out)["data_warnings"] == [WARNINGS["no object"][1]]


def test_the_record_and_the_report_repeat_it(tmp_path: Path, uri: str) -> None:
    lines = ("train: all pixels that count are of one class, <b>", "val: suspect, too")
    data = DataFacts(fingerprint="0123456789abcdef", classes=("a", "b", "c"), warnings=lines)
    state = sweep_state(tmp_path / "runs", grid([0.01]), base=BASE, data=data)
    finish(state, state.runs[0])
    begin(state, uri)
    (manifest,) = manifests(state.plan.storage)
    assert publish(plan_from(manifest, state.plan.storage), uri) == []
    assert parent_of(uri).data.tags["data_warnings"] == "\n".join(lines)
    sweep = Sweep.of(load_trials(uri, "lambda_grid"))
    assert sweep.data_warnings.splitlines() == list(lines)


def test_the_report_says_it_beside_what_came_out() -> None:
    from report_helpers import section

    one = section({"data_warnings": "train: one class, <b>\nval: suspect, too"})
    page = render_report([one], tracking_uri="sqlite:///mlflow.db", versions={})
    assert "<strong>Suspect data:</strong> train: one class, &lt;b&gt;." in page
    assert "<strong>Suspect data:</strong> val: suspect, too." in page
    assert "Suspect data" not in render_report(
        [section()], tracking_uri="sqlite:///mlflow.db", versions={}
    )
