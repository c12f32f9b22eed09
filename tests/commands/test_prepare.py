"""`python -m trainable.prepare`: train_aug from VOC and SBD, and what `check` finds in a folder."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from trees import (
    LISTS,
    VOC,
    Pixels,
    sbd_labels_of,
    voc_image,
    voc_name,
    voc_palette,
    write_list,
    write_sbd_mask,
    write_sbd_tree,
    write_segtrack_tree,
    write_voc_pair,
    write_voc_tree,
)

from trainable import prepare
from trainable.config.loading import read_yaml
from trainable.config.schema import TrialConfig
from trainable.data import datasets
from trainable.data.sources import segtrack

AUG = f"{VOC}/SegmentationClassAug"


def run(monkeypatch: pytest.MonkeyPatch, *argv: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["prepare", *map(str, argv)])
    try:
        return prepare.main()
    except SystemExit as ended:
        return int(str(ended.code))


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    """VOC with images 0 to 3 for training and 4, 5 for validation; SBD with 0, 4, 6 and 5, 7."""
    own = write_voc_tree(tmp_path / "voc", aug=False)
    return own, write_sbd_tree(tmp_path / "sbd", train=(0, 4, 6), val=(5, 7))


@pytest.fixture
def build(roots: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], int]:
    """Build train_aug from the two trees in a folder, and return the exit code."""
    own, other = roots
    return lambda out: run(monkeypatch, "voc-aug", "--voc", own, "--sbd", other, "--out", out)


def content(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }


def refused(stderr: str) -> str:
    assert stderr.startswith("error: ")
    assert stderr.count("\n") == 1
    return stderr


def mask_at(path: Path) -> tuple[str, list[int], Pixels]:
    with Image.open(path) as mask:
        return mask.mode, mask.getpalette() or [], np.array(mask)


def across(*args: object) -> None:
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


# voc-aug


def test_train_aug_is_both_data_sets_without_vocs_validation_images(
    roots: tuple[Path, Path],
    build: Callable[[Path], int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own, _ = roots
    out = tmp_path / "new" / "out"
    assert build(out) == 0
    names = [voc_name(k) for k in (0, 1, 2, 3, 6, 7)]
    assert (out / LISTS / "train_aug.txt").read_text().split() == names
    assert {path.stem for path in (out / AUG).iterdir()} == set(names)
    for name in names[:4]:  # VOC has a mask, byte for byte
        wins = own / VOC / "SegmentationClass" / f"{name}.png"
        assert (out / AUG / f"{name}.png").read_bytes() == wins.read_bytes()
    for name in names[4:]:
        mode, palette, labels = mask_at(out / AUG / f"{name}.png")
        assert (mode, palette) == ("P", voc_palette())
        assert (labels == sbd_labels_of(voc_image(name))).all()
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "VOC train 4, VOC val 2, SBD train 3, SBD val 2",
        "train_aug 6: 4 masks of VOC, 2 of SBD",
        "the whole data sets give 10,582: part of them is missing here",
        f"use it with --data-root {out}",
    ]
    # All of VOC is there, too, and no copy of an image was made.
    before = content(own)
    assert {name: data for name, data in content(out).items() if name in before} == before
    image = f"{VOC}/JPEGImages/{names[0]}.jpg"
    assert (out / image).samefile(own / image)


def test_what_is_built_can_be_trained_on(build: Callable[[Path], int], tmp_path: Path) -> None:
    assert build(tmp_path / "out") == 0
    data = datasets.load(TrialConfig(data_root=str(tmp_path / "out")))
    assert (len(data.train), len(data.val)) == (6, 2)
    labels = data.train.run(5, 6)[1][0].numpy()
    assert (labels == sbd_labels_of(voc_image(voc_name(7)))).all()


def test_a_mask_of_voc_wins_even_where_no_list_of_voc_names_it(
    roots: tuple[Path, Path], build: Callable[[Path], int], tmp_path: Path
) -> None:
    own, _ = roots
    write_voc_pair(own, voc_name(6))
    assert build(tmp_path / "out") == 0
    for name in (f"SegmentationClass/{voc_name(6)}.png", f"JPEGImages/{voc_name(6)}.jpg"):
        built = name.replace("SegmentationClass", "SegmentationClassAug")
        assert (tmp_path / "out" / VOC / built).samefile(own / VOC / name)


@pytest.mark.parametrize("links", [True, False])
def test_in_vocs_own_folder_only_what_is_new_is_added(
    links: bool,
    roots: tuple[Path, Path],
    build: Callable[[Path], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, _ = roots
    before = {path: path.stat().st_ino for path in own.rglob("*")}
    if not links:
        monkeypatch.setattr(os, "link", across)
    assert build(tmp_path / "out") == build(own) == 0
    assert content(own) == content(tmp_path / "out")
    assert {path: path.stat().st_ino for path in before} == before
    assert not list(own.glob(".*"))


def test_where_linking_is_not_possible_files_are_copied(
    roots: tuple[Path, Path],
    build: Callable[[Path], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert build(tmp_path / "linked") == 0
    monkeypatch.setattr(os, "link", across)
    assert build(tmp_path / "copied") == 0
    assert content(tmp_path / "copied") == content(tmp_path / "linked")
    image = f"{VOC}/JPEGImages/{voc_name(0)}.jpg"
    assert not (tmp_path / "copied" / image).samefile(roots[0] / image)


def remove_sbd_mask(own: Path, other: Path) -> str:
    (other / "cls/2007_000006.mat").unlink()
    return "cls/2007_000006.mat: the file must exist"


def break_sbd_mask(own: Path, other: Path) -> str:
    path = other / "cls/2007_000006.mat"
    path.write_bytes(path.read_bytes()[:-9])
    return "cls/2007_000006.mat: must be a MATLAB file"


def shrink_sbd_mask(own: Path, other: Path) -> str:
    write_sbd_mask(other / "cls/2007_000006.mat", np.ones((3, 4), dtype=np.uint8))
    return "cls/2007_000006.mat: a mask must have its image's size, 64x72, but has 4x3"


def remove_voc_mask(own: Path, other: Path) -> str:
    # SBD's mask of the same image must not stand in for VOC's.
    (own / VOC / "SegmentationClass/2007_000000.png").unlink()
    return "SegmentationClass/2007_000000.png: the file must exist"


def remove_voc_image(own: Path, other: Path) -> str:
    (own / VOC / "JPEGImages/2007_000004.jpg").unlink()
    return "JPEGImages/2007_000004.jpg: the file must exist"


def remove_voc_train_image(own: Path, other: Path) -> str:
    (own / VOC / "JPEGImages/2007_000000.jpg").unlink()
    return "JPEGImages/2007_000000.jpg: the file must exist"


def remove_sbd_list(own: Path, other: Path) -> str:
    (other / "val.txt").unlink()
    return "sbd/val.txt: must be a readable list"


def remove_sbd(own: Path, other: Path) -> str:
    shutil.rmtree(other)
    return "sbd/img: the folder must exist; give `--sbd DIR`, where DIR is the folder that holds"


def remove_voc(own: Path, other: Path) -> str:
    shutil.rmtree(own)
    return f"{VOC}: the folder must exist; give `--voc DIR`"


def train_on_val(own: Path, other: Path) -> str:
    write_list(own / LISTS / "train.txt", [voc_name(4)])
    return "JPEGImages/2007_000004.jpg: an image must be in one split"


@pytest.mark.parametrize(
    "spoil",
    [
        remove_sbd_mask, break_sbd_mask, shrink_sbd_mask, remove_voc_mask, remove_voc_image,
        remove_voc_train_image,
        remove_sbd_list, remove_sbd, remove_voc, train_on_val,
    ],
)  # fmt: skip
@pytest.mark.parametrize("in_place", [False, True])
def test_bad_input_is_one_line_and_nothing_is_written(
    in_place: bool,
    spoil: Callable[[Path, Path], str],
    roots: tuple[Path, Path],
    build: Callable[[Path], int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    rule = spoil(*roots)
    before = sorted(tmp_path.rglob("*"))
    assert build(roots[0] if in_place else tmp_path / "new" / "out") == 2
    assert rule in refused(capsys.readouterr().err)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_out_that_holds_data_is_refused_and_left_alone(
    roots: tuple[Path, Path],
    build: Callable[[Path], int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert build(out) == 0
    before = content(tmp_path)
    assert build(out) == 2
    assert f"{out / AUG}: --out must not hold the folder yet" in refused(capsys.readouterr().err)
    shutil.rmtree(out / AUG)
    assert build(out) == 2
    said = refused(capsys.readouterr().err)
    assert f"{out}/VOCdevkit: --out must be --voc's folder or hold no VOCdevkit" in said
    assert content(tmp_path) == {k: v for k, v in before.items() if not k.startswith(f"out/{AUG}")}


def test_a_full_disk_is_one_line_and_nothing_stays(
    roots: tuple[Path, Path],
    build: Callable[[Path], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Image.Image, "save", full)
    before = sorted(tmp_path.rglob("*"))
    assert build(tmp_path / "out") == 2
    said = refused(capsys.readouterr().err)
    assert f"{tmp_path / 'out'}: --out must be writable and have room, but No space left" in said
    assert sorted(tmp_path.rglob("*")) == before


def test_an_interrupt_leaves_nothing(
    build: Callable[[Path], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(prepare, "_move", interrupt)
    before = sorted(tmp_path.rglob("*"))
    assert build(tmp_path / "out") == 130
    assert "interrupted" in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


# check


def check(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, list[str]]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(root.parent / "none"))  # other tests decode, too
    code = run(monkeypatch, "check", root)
    said = capsys.readouterr()
    assert said.err == ""
    return code, said.out.splitlines()


def test_check_says_what_voc_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_voc_tree(tmp_path / "voc")
    code, lines = check(root, monkeypatch, capsys)
    assert code == 0
    assert lines[0] == f"{root}: Pascal VOC 2012, with SBD's masks (train_aug)"
    assert lines[1] == "train: 4 images, 0 of them with findings, from 56x40 to 120x90 pixels"
    labels = np.concatenate(
        [mask_at(root / VOC / f"SegmentationClass/{voc_name(k)}.png")[2].ravel() for k in range(4)]
    )
    shares = {
        name: f"{name} {(labels == label).mean():.2%}"
        for name, label in (("background", 0), ("bird", 3), ("person", 15), ("void", 255))
    }
    assert lines[2] == f"train: 3 of 21 classes, by pixels: {', '.join(shares.values())}"
    assert [line.partition(":")[0] for line in lines[3:7]] == ["val"] * 2 + ["train_aug"] * 2
    assert lines[5].startswith("train_aug: 5 images")
    # Image 1 of the small tree is dark all over.
    suspect = [
        f"{name}/2007_000001.png) hold 0 and 255" for name in (f"{VOC}/SegmentationClass", AUG)
    ]
    assert [part in line for part, line in zip(suspect, lines[7:9], strict=True)] == [True, True]
    assert lines[9:] == ["no findings"]


def test_check_knows_voc_without_sbd_and_sbd_and_segtrack(
    roots: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own, other = roots
    code, lines = check(own, monkeypatch, capsys)
    assert (code, lines[-1]) == (0, "no findings")
    assert lines[0] == f"{own}: Pascal VOC 2012, without SBD's masks (train_aug)"
    assert not [line for line in lines if line.startswith("train_aug")]

    (tmp_path / "unpacked/benchmark_RELEASE").mkdir(parents=True)
    other = other.rename(tmp_path / "unpacked/benchmark_RELEASE/dataset").parents[1]
    code, lines = check(other, monkeypatch, capsys)
    assert (code, lines[0], lines[-1]) == (0, f"{other}: SBD", "no findings")
    assert lines[1].startswith("train: 3 images")
    assert "void 0.00%" in lines[2]

    root = write_segtrack_tree(tmp_path / "segtrack")
    code, lines = check(root, monkeypatch, capsys)
    assert (code, lines[-1]) == (0, "no findings")
    assert lines[0].startswith(f"{root}: SegTrack-v2 (merged16 has 16 classes, separate17 has 17 ")
    assert lines[1].startswith("train: 16 images")
    assert lines[2].startswith("train: 4 of 16 classes, by pixels: background")
    assert lines[3].startswith("val: 4 images")


def test_check_lists_every_fault_of_voc_in_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_voc_tree(tmp_path / "voc", train=6)
    images, masks = root / VOC / "JPEGImages", root / VOC / "SegmentationClass"
    (images / "2007_000000.jpg").write_bytes(b"no image")
    labels = mask_at(masks / "2007_000000.png")[2]
    labels[3, 3:5] = (99, 33)
    Image.fromarray(labels).save(masks / "2007_000000.png")
    (masks / "2007_000001.png").unlink()
    Image.fromarray(labels).save(masks / "2007_000002.png")
    with Image.open(masks / "2007_000003.png") as mask:
        mask.convert("RGB").save(masks / "2007_000003.png")
    (images / "2007_000006.jpg").unlink()
    Image.fromarray(np.full((4, 4), 2, dtype=np.uint8)).save(root / AUG / "2007_000005.png")
    (images / "beside.jpg").touch()
    (images / "beside2.jpg").touch()
    with (root / LISTS / "train.txt").open("a") as file:
        file.write("\n2007_000004\n2007_000007\n")
    before = content(tmp_path)
    code, lines = check(root, monkeypatch, capsys)
    assert code == 1
    assert lines[1].startswith("train: 7 images, 4 of them with findings, from")
    start = next(k for k, line in enumerate(lines) if "that no list names" in line)
    assert lines[start] == f"{VOC}/JPEGImages: files that no list names: 2"
    broken = (
        "must be an image that Pillow can read, but is none of BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP"
    )
    assert lines[start + 1].startswith(f"warning: train_aug: 1 of 5 masks (the first is {AUG}/")
    assert lines[start + 2 :] == [
        f"{LISTS}/train.txt: a list must have no blank lines, but has 1",
        f"{LISTS}/train.txt: a list must name an image once, but names 2007_000004 2 times",
        f"{VOC}/JPEGImages/2007_000007.jpg: an image must be in one split, but is in train and val",
        f"{VOC}/JPEGImages/2007_000000.jpg: {broken}",
        f"{VOC}/SegmentationClass/2007_000000.png: labels must lie in 0..20 or be 255 (void), but "
        "got 33, 99",
        f"{VOC}/SegmentationClass/2007_000001.png: the file must exist",
        f"{VOC}/SegmentationClass/2007_000002.png: a mask must have its image's size, 64x72, but "
        "has 120x90",
        f"{VOC}/SegmentationClass/2007_000002.png: labels must lie in 0..20 or be 255 (void), but "
        "got 33, 99",
        f"{VOC}/SegmentationClass/2007_000003.png: a mask must be a palette or grey PNG (mode P or "
        "L) whose indices are the labels, but has mode RGB",
        f"{VOC}/JPEGImages/2007_000006.jpg: the file must exist",
        f"{VOC}/SegmentationClassAug/2007_000005.png: a mask must have its image's size, 56x40, "
        "but has 4x4",
        "11 findings",
    ]
    assert content(tmp_path) == before


@pytest.mark.parametrize("half", [f"{LISTS}/train_aug.txt", AUG])
def test_check_finds_half_of_train_aug(
    half: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_voc_tree(tmp_path / "voc")
    (root / half).rename(tmp_path / "away")
    code, lines = check(root, monkeypatch, capsys)
    assert code == 1
    assert [line for line in lines if line.startswith(f"{half}: ")]


def test_check_lists_every_fault_of_segtrack_in_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_segtrack_tree(tmp_path / "segtrack")
    (root / "JPEGImages/birdfall/birdfall_00002.png").unlink()
    (root / "GroundTruth/bmx/1/bmx_00004.png").unlink()
    Image.new("RGB", (5, 6)).save(root / "GroundTruth/bmx/2/bmx_00005.bmp")
    (root / "JPEGImages/bmx/Thumbs.db").touch()
    (root / "JPEGImages/worm_2").mkdir()
    (root / "JPEGImages/yak").mkdir()
    write_list(root / "ImageSets/yak.txt", ["yak", "yak_00000"])
    code, lines = check(root, monkeypatch, capsys)
    assert code == 1
    assert lines[1].startswith("train: 16 images, 2 of them with findings")
    assert lines[3].startswith("val: 4 images, 1 of them with findings")
    assert lines[5] == "JPEGImages/bmx: files that no list names: 1"
    tables = [segtrack.TABLE_DIR / f"{name}.yaml" for name in ("merged16", "separate17")]
    rule = "must list the objects of the video, but knows only " + ", ".join(read_yaml(tables[0]))
    assert lines[6:] == [
        f"ImageSets/yak.txt: {tables[0]} {rule}",
        f"JPEGImages/worm_2: a list in {root}/ImageSets must name the folder in its first line and "
        "frames below, but none does",
        f"ImageSets/yak.txt: {tables[1]} {rule}",
        "JPEGImages/birdfall/birdfall_00002{.bmp,.png}: the file must exist",
        "GroundTruth/bmx/2/bmx_00005.bmp: a mask must have its image's size, 56x40, but has 5x6",
        "GroundTruth/bmx/1/bmx_00004{.bmp,.png}: the file must exist",  # in val, which comes last
        "6 findings",
    ]


def test_check_refuses_what_is_none_of_the_three(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "check", tmp_path) == 2
    said = refused(capsys.readouterr().err)
    for known in ("VOCdevkit/VOC2012", "img and cls", "GroundTruth"):
        assert known in said
    assert run(monkeypatch, "check", tmp_path / "nowhere") == 2
    assert run(monkeypatch, "check") == 2
    assert run(monkeypatch) == 2


def test_check_finds_a_split_in_which_no_pixel_counts(
    roots: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own, _ = roots
    for name in ("2007_000004", "2007_000005"):
        path = own / VOC / "SegmentationClass" / f"{name}.png"
        Image.fromarray(np.full_like(mask_at(path)[2], 255)).save(path)
    code, lines = check(own, monkeypatch, capsys)
    assert code == 1
    assert lines[-2].startswith(f"{own}: the val split must have pixels that count")
