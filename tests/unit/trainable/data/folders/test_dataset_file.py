"""A `dataset.yaml`: what its values stand for, its splits, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_trees import SIZE, config_of, describe, write_image, write_mask, write_pairs

from trainable.config.schema import ConfigError
from trainable.data import datasets
from trainable.data.datasets import DataSet
from trainable.data.folders.layouts import index
from trainable.data.sources.labels import VOID


def loaded(root: Path, cache: Path, **values: object) -> DataSet:
    return datasets.load(config_of(root, cache_dir=str(cache), **values))


def rows_of(data: DataSet, number: int = 0) -> list[int]:
    """The label of each row of an image of the training split."""
    return [int(one) for one in data.train.run(number, number + 1)[1][0][:, 0]]


def names_of(root: Path, **values: object) -> tuple[list[str], list[str]]:
    tree = index(config_of(root, **values))
    train, val = ([sample.image.stem for sample in split] for split in (tree.train, tree.val))
    return train, val


def refusal(root: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        datasets.inspect(config_of(root, cache_dir=str(root / "cache")))
    message = str(caught.value)
    assert "\n" not in message
    assert ";" in message  # what to do
    return message


@pytest.mark.parametrize(
    ("classes", "values", "rows"),
    [
        ("[sky, road, car]", (0, 1, 2), [0, 1, 2] * 2),
        ("{sky: 0, road: 255}", (0, 255), [0, 1] * 3),
        ("{sky: [0, 3], road: 200}", (3, 200, 0), [0, 1, 0] * 2),
        ("{sky: 0, road: 4000}", (4000, 0), [1, 0] * 3),
        ("{sky: [0, 0, 0], road: [255, 0, 1]}", ((255, 0, 1), (0, 0, 0)), [1, 0] * 3),
    ],
)
def test_a_masks_values_become_the_classes_they_stand_for(
    tmp_path: Path, classes: str, values: tuple[object, ...], rows: list[int]
) -> None:
    root = describe(write_pairs(tmp_path / "own", *values), f"classes: {classes}\n")
    data = loaded(root, tmp_path / "cache")
    assert data.classes == ("sky", "road", "car")[: len(data.classes)]
    assert rows_of(data) == rows
    assert data.train.run(0, 1)[0].shape == (1, 3, *SIZE)


def test_what_is_ignored_counts_for_nothing(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "own", 0, 7, 255)
    describe(root, "classes: {sky: 0, road: 7}\nignore: [255]\n")
    assert rows_of(loaded(root, tmp_path / "cache")) == [0, 1, VOID] * 2


def test_ignored_colours_are_colours(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "own", (9, 9, 9), (0, 255, 0), (255, 0, 0))
    describe(root, "classes: {a: [9, 9, 9], b: [0, 255, 0]}\nignore: [[255, 0, 0]]\n")
    assert rows_of(loaded(root, tmp_path / "cache")) == [0, 1, VOID] * 2


@pytest.mark.parametrize("mode", ["P", "RGB", "RGBA", "LA"])
def test_grey_is_grey_however_it_is_saved(tmp_path: Path, mode: str) -> None:
    root = write_pairs(tmp_path / "own", 0, 1)
    for number in range(5):
        write_mask(root / f"masks/a{number}.png", 0, 1, mode=mode)
    describe(root, "classes: [sky, road]\n")
    assert rows_of(loaded(root, tmp_path / "cache")) == [0, 1] * 3


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".png", ".tif", ".webp", ".BMP"])
def test_images_of_any_kind_and_case_are_found_by_their_stems(tmp_path: Path, suffix: str) -> None:
    root = write_pairs(tmp_path / "own", 0, 1, kind=suffix, suffix="_mask")
    describe(root, "classes: [sky, road]\nmask_suffix: _mask\n")
    train, val = names_of(root)
    assert sorted(train + val) == [f"a{number}" for number in range(5)]


def test_a_pattern_names_images_in_folders_of_folders(tmp_path: Path) -> None:
    root = tmp_path / "own"
    for day in ("mon", "tue"):
        for number in range(3):
            write_image(root / f"photos/{day}/{number}.jpg")
            write_mask(root / f"masks/{day}/{number}.png", 0, 1)
    describe(root, "classes: [sky, road]\nimages: photos/**/*.jpg\n")
    tree = index(config_of(root))
    assert len(tree.train) + len(tree.val) == 6
    assert all(one.image.parent.name == one.masks[0].parent.name for one in tree.train)


def test_a_seeded_split_is_the_same_each_time_and_another_by_another_seed(tmp_path: Path) -> None:
    root = describe(
        write_pairs(tmp_path / "own", 0, 1, count=10),
        "classes: [sky, road]\nsplits: {val_fraction: 0.3}\n",
    )
    train, val = names_of(root)
    assert len(val) == 3
    assert not {*train} & {*val}
    assert (train, val) == names_of(root)
    assert any(names_of(root, data_seed=seed)[1] != val for seed in range(1, 4))
    write_image(root / "images/b.png")
    write_mask(root / "masks/b.png", 0, 1)
    assert {*names_of(root)[1]} - {"b"} <= {*val} | {*train}


def test_lists_name_images_with_or_without_folders_suffixes_and_bom(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "own", 0, 1)
    (root / "train.txt").write_bytes("\ufeffa0\nimages/a1.png\r\na2.jpg\n".encode())
    (root / "val.txt").write_text("a4.png\n")
    describe(root, "classes: [sky, road]\nsplits: {train: train.txt, val: val.txt}\n")
    assert names_of(root) == (["a0", "a1", "a2"], ["a4"])


@pytest.mark.parametrize("pattern", ["{kind}/{split}", "{split}/{kind}"])
def test_a_split_may_be_a_folder(tmp_path: Path, pattern: str) -> None:
    root = tmp_path / "own"
    for split in ("train", "val"):
        images, masks = (pattern.format(kind=kind, split=split) for kind in ("images", "masks"))
        write_pairs(root, 0, 1, count=2 + (split == "val"), images=images, masks=masks)
    describe(root, "classes: [sky, road]\nsplits: {train: train, val: val}\n")
    assert [len(names) for names in names_of(root)] == [2, 3]


def test_what_a_value_stands_for_decides_the_fingerprint(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "own", 0, 1, 2)
    found = set()
    for text in ("{sky: 0, road: [1, 2]}", "{sky: [0, 1], road: 2}", "{sky: 0, rail: [1, 2]}"):
        describe(root, f"classes: {text}\n")
        data = loaded(root, tmp_path / "cache")
        found.add(data.fingerprint)
    assert len(found) == 3
    assert rows_of(data) == [0, 1, 1] * 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("classes: [sky, sky]", "'sky' stands twice"),
        ("classes: {sky: 0, road: [0, 1]}", "0 is of sky and road"),
        ("classes: {sky: 0, road: 1}\nignore: [1]", "1 is of road and ignore"),
        ("classes: {sky: 0, road: []}", "class road must have mask values"),
        ("classes: {sky: 0, road: blue}", "class road must have mask values"),
        ("classes: {sky: 0, road: -1}", "class road must have mask values"),
        ("classes: {sky: 0, road: true}", "class road must have mask values"),
        ("classes: [sky]", "at least two"),
        ("classes: 3", "must be a list of names"),
        ("classes: [1, 2]", "a name that is no text"),
        ("images: images", "classes must be a list of names"),
        ("classes: [sky, road]\nimagse: x", "did you mean 'images'?"),
        ("classes: [sky, road]\nimages: ../x", "leads to no other folder"),
        ("classes: [sky, road]\nimages: photos", "photos: must be a folder or a pattern"),
        ("classes: [sky, road]\nmask_suffix: _m", "masks has no file a0_m.*"),
        ("classes: [sky, road]\nsplits: {val_fraction: 1}", "0 < SHARE < 1"),
        ("classes: [sky, road]\nsplits: {train: t.txt}", "{train: LIST, val: LIST}"),
        ("classes: [sky, road]\nsplits: {train: t.txt, val: v.txt}", "t.txt: must be a readable"),
        ("classes: [sky, road]\nignore: [x]", "ignore must be a list of mask values"),
        ("classes: {sky: 0, road: 9}", "but holds 1; add them"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    assert words in refusal(describe(write_pairs(tmp_path / "own", 0, 1), text + "\n"))


def test_masks_in_colour_where_values_are_said_are_refused(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "own", (0, 0, 0), (255, 0, 0))
    said = refusal(describe(root, "classes: [sky, road]\n"))
    assert "holds colours (mode RGB)" in said
    assert "`name: [r, g, b]`" in said


def test_two_images_of_one_stem_are_refused(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "own", 0, 1)
    write_image(root / "images/a0.jpg")
    assert "names without suffix must differ" in refusal(describe(root, "classes: [sky, road]\n"))


def test_a_line_of_a_list_must_name_one_image(tmp_path: Path) -> None:
    root = write_pairs(tmp_path / "own", 0, 1)
    (root / "train.txt").write_text("a0\nb9\n")
    (root / "val.txt").write_text("a1\n")
    describe(root, "classes: [sky, road]\nsplits: {train: train.txt, val: val.txt}\n")
    assert "'b9' must name one image, but no image with a mask is" in refusal(root)


def test_a_class_that_no_mask_has_is_said(tmp_path: Path) -> None:
    root = describe(write_pairs(tmp_path / "own", 0, 1), "classes: [sky, road, car]\n")
    facts = datasets.inspect(config_of(root, cache_dir=str(tmp_path / "cache")))
    assert facts.warnings == ("no mask has a pixel of car",)
