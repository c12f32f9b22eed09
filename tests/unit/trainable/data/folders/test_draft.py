"""`prepare init`: what it finds in a folder, what looks odd to it, and the file that it drafts."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from own_trees import config_of, write_image, write_mask, write_pairs
from PIL import Image

from trainable.data import datasets
from trainable.data.folders.dataset_file import read_description
from trainable.prepare import main


def init(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["prepare", "init", str(root)])
    try:
        code = main()
    except SystemExit as end:
        code = int(str(end.code))
    said = capsys.readouterr()
    return code, said.out, said.err


def test_masks_in_black_and_white_are_background_and_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_pairs(tmp_path / "own", 0, 255, suffix="_mask", count=4)
    code, said, _ = init(root, monkeypatch, capsys)
    assert code == 0
    assert "4 images with masks, of 8x6 pixels" in said
    assert "0 50.00%, 255 50.00%" in said
    assert "odd: masks hold 0 and 255 alone" in said
    found = read_description(root / "dataset.yaml")
    assert found.classes == ("background", "object")
    assert dict(found.labels) == {0: 0, 255: 1}
    assert found.mask_suffix == "_mask"
    facts = datasets.inspect(config_of(root, cache_dir=str(tmp_path / "cache")))
    assert facts.warnings == ()


def test_colours_are_drafted_as_colours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_pairs(tmp_path / "own", (0, 0, 9), (255, 0, 0))
    _, said, _ = init(root, monkeypatch, capsys)
    assert "colours of the masks, by pixels: [0, 0, 9] 50.00%" in said
    found = read_description(root / "dataset.yaml")
    assert found.in_colour
    assert set(found.labels) == {9, 255 << 16}


def test_what_is_odd_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_pairs(tmp_path / "own", 0, 1, 255)
    write_image(root / "images/alone.png")
    Image.new("RGB", (8, 6)).save(root / "images/jpeg.png")
    Image.new("L", (8, 6)).save(root / "masks/jpeg.jpg")
    Image.new("RGB", (9, 6)).save(root / "images/large.png")
    write_mask(root / "masks/large.png", 0, 1)
    code, said, _ = init(root, monkeypatch, capsys)
    assert code == 0
    assert f"odd: {root}/images/alone.png: an image must have a mask" in said
    assert f"odd: {root}/masks/jpeg.jpg: a mask must be of a format that keeps" in said
    assert f"odd: {root}/masks/large.png: is of 8x6, its image of 9x6" in said
    assert "ignore: [255]" in (root / "dataset.yaml").read_text()


def test_no_file_is_drafted_over_one_that_is_there_or_where_none_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_pairs(tmp_path / "own", 0, 1)
    (root / "dataset.yaml").write_text("mine\n")
    code, _, error = init(root, monkeypatch, capsys)
    assert (code, error.count("\n")) == (2, 1)
    assert (root / "dataset.yaml").read_text() == "mine\n"
    known = tmp_path / "cityscapes"
    for folder in ("leftImg8bit/train", "gtFine/train"):
        (known / folder).mkdir(parents=True)
    code, _, error = init(known, monkeypatch, capsys)
    assert code == 2
    assert "is Cityscapes and needs no dataset.yaml" in error


def test_a_folder_without_masks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "images/a.png")
    code, _, error = init(tmp_path, monkeypatch, capsys)
    assert code == 2
    assert "must hold a folder of masks" in error
    assert list(tmp_path.glob("*.yaml")) == []
