"""Pascal VOC 2012 and SBD: layouts, labels, fingerprints, and what is refused."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from trees import (
    LISTS,
    VOC,
    VOC_SIZES,
    Pixels,
    sbd_labels_of,
    voc_image,
    voc_name,
    write_list,
    write_sbd_mask,
    write_sbd_tree,
    write_voc_tree,
)

from trainable.config.schema import ConfigError, TrialConfig
from trainable.data import datasets
from trainable.data.sources import file_tree, sbd, segtrack, voc

IMAGE = f"{VOC}/JPEGImages/2007_000001.jpg"
MASK = f"{VOC}/SegmentationClass/2007_000001.png"
MASK_AUG = f"{VOC}/SegmentationClassAug/2007_000001.png"


@pytest.fixture
def voc_root(tmp_path: Path) -> Path:
    return write_voc_tree(tmp_path / "voc")


@pytest.fixture
def sbd_root(tmp_path: Path) -> Path:
    return write_sbd_tree(tmp_path / "sbd", train=range(4), val=range(4, 6))


@pytest.mark.parametrize("given", ["..", "VOCdevkit", "VOCdevkit/VOC2012", f"{VOC}/JPEGImages"])
def test_a_root_some_levels_off_is_said(voc_root: Path, given: str) -> None:
    with pytest.raises(ConfigError, match=rf"must exist; name .*{voc_root.name}, which has it$"):
        voc.index(voc_config(voc_root / given))


def voc_config(root: Path, voc_train: str = "train", **values: Any) -> TrialConfig:
    return TrialConfig(data_root=str(root), voc_train=voc_train, **values)


def sbd_config(root: Path, **values: Any) -> TrialConfig:
    return TrialConfig(dataset="sbd", data_root=str(root), **values)


def decode(tree: file_tree.FileTree, sample: file_tree.Sample) -> file_tree.Decoded:
    decoded = file_tree.decode(tree, sample)
    assert decoded is not None
    return decoded


def fingerprint(config: TrialConfig) -> str:
    return datasets.inspect(config).fingerprint


def write_mask(root: Path, labels: Pixels) -> None:
    Image.fromarray(labels).save(root / MASK)


def opened(root: Path, path: str) -> Image.Image:
    with Image.open(root / path) as image:
        image.load()
        return image


def labels_at(root: Path, path: str) -> Pixels:
    return np.array(opened(root, path))


def test_voc_lists_name_the_samples_in_their_order(voc_root: Path) -> None:
    tree = voc.index(voc_config(voc_root))
    assert [sample.image.stem for sample in tree.train] == [voc_name(k) for k in range(4)]
    assert [sample.image.stem for sample in tree.val] == ["2007_000004", "2007_000005"]
    assert tree.train[1] == file_tree.Sample(image=voc_root / IMAGE, masks=(voc_root / MASK,))
    assert len(tree.classes) == 21
    assert (tree.classes[0], tree.classes[15]) == ("background", "person")


def test_voc_labels_are_palette_indices_and_keep_void(voc_root: Path) -> None:
    tree = voc.index(voc_config(voc_root))
    mask = opened(voc_root, f"{VOC}/SegmentationClass/2007_000000.png")
    assert mask.mode == "P"
    decoded = decode(tree, tree.train[0])
    assert decoded.labels.dtype == np.uint8
    assert (decoded.labels == np.array(mask)).all()
    assert (decoded.labels[:2] == 255).all()
    held = {label: int(count) for label, count in enumerate(decoded.counts) if count}
    assert held.keys() == {0, 3, 15, 255}
    assert held[255] == (decoded.labels == 255).sum()


def test_voc_accepts_a_grey_mask_blank_lines_and_a_name_that_stands_twice(voc_root: Path) -> None:
    labels = labels_at(voc_root, MASK)
    write_mask(voc_root, labels)
    assert opened(voc_root, MASK).mode == "L"
    with (voc_root / LISTS / "train.txt").open("a") as file:
        file.write("\n2007_000001 \n\n")
    tree = voc.index(voc_config(voc_root))
    assert len(tree.train) == 4
    assert (decode(tree, tree.train[1]).labels == labels).all()


def test_train_aug_is_the_default_and_has_masks_of_its_own(voc_root: Path) -> None:
    tree = voc.index(TrialConfig(data_root=str(voc_root)))
    assert [sample.image.stem for sample in tree.train] == [voc_name(k) for k in (0, 1, 2, 3, 6)]
    assert {sample.masks[0].parent.name for sample in tree.train} == {"SegmentationClassAug"}
    assert {sample.masks[0].parent.name for sample in tree.val} == {"SegmentationClass"}
    assert tree.val == voc.index(voc_config(voc_root)).val
    assert len(datasets.load(TrialConfig(data_root=str(voc_root))).train) == 5


def test_the_ready_made_list_of_train_aug_has_another_name_and_two_paths_a_line(
    voc_root: Path,
) -> None:
    ours = voc.index(voc_config(voc_root, "train_aug"))
    (voc_root / LISTS / "train_aug.txt").unlink()
    names = [sample.image.stem for sample in ours.train]
    write_list(
        voc_root / LISTS / "trainaug.txt",
        [f"/JPEGImages/{name}.jpg /SegmentationClassAug/{name}.png" for name in names],
    )
    tree = voc.index(voc_config(voc_root, "train_aug"))
    assert tree.train == ours.train
    assert tree.lists[0].name == "trainaug.txt"


@pytest.mark.parametrize("missing", [f"{LISTS}/train_aug.txt", f"{VOC}/SegmentationClassAug"])
def test_a_missing_train_aug_is_answered_with_the_command_and_the_other_list(
    voc_root: Path, missing: str
) -> None:
    (voc_root / missing).rename(voc_root / "away")
    with pytest.raises(ConfigError) as caught:
        voc.index(voc_config(voc_root, "train_aug"))
    message = str(caught.value)
    assert message.startswith(f"{voc_root / missing}: ")
    assert "`python -m trainable.prepare voc-aug --voc DIR --sbd DIR --out DIR`" in message
    assert "`--set voc_train=train`" in message
    voc.index(voc_config(voc_root, "train"))


@pytest.mark.parametrize("below", ["", "benchmark_RELEASE/dataset"])
def test_sbd_labels_are_read_from_matlabs_structures(tmp_path: Path, below: str) -> None:
    root = write_sbd_tree(tmp_path / "sbd" / below, train=range(4), val=range(4, 6))
    tree = sbd.index(sbd_config(tmp_path / "sbd"))
    assert [sample.image.stem for sample in tree.train] == [voc_name(k) for k in range(4)]
    assert [sample.image.stem for sample in tree.val] == [voc_name(k) for k in range(4, 6)]
    assert tree.train[2].masks == (root / "cls" / "2007_000002.mat",)
    assert tree.classes == voc.CLASSES
    for sample in tree.train:
        assert (decode(tree, sample).labels == sbd_labels_of(voc_image(sample.image.stem))).all()
    data = datasets.load(sbd_config(tmp_path / "sbd"))
    labels = data.train.run(1, 2)[1][0].numpy()
    assert (labels == sbd_labels_of(voc_image(voc_name(1)))).all()


def test_fingerprint_is_16_hex_digits_and_the_same_in_another_folder(voc_root: Path) -> None:
    before = fingerprint(voc_config(voc_root))
    assert len(before) == 16
    assert int(before, 16) >= 0
    moved = voc_root.with_name("moved")
    shutil.move(voc_root, moved)
    assert fingerprint(voc_config(moved)) == before


@pytest.mark.parametrize("path", [IMAGE, MASK])
def test_fingerprint_changes_with_one_byte(voc_root: Path, path: str) -> None:
    before = fingerprint(voc_config(voc_root))
    with (voc_root / path).open("ab") as file:
        file.write(b"\0")  # after the image's end, where no decoder looks
    assert fingerprint(voc_config(voc_root)) != before


def test_fingerprint_follows_order_split_names_and_classes(
    voc_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = voc.index(voc_config(voc_root))
    first, *rest = tree.train
    renamed = replace(first, image=first.image.with_name("renamed.jpg"))
    shutil.copy(first.image, renamed.image)
    others = [
        replace(tree, train=(*rest, first)),
        replace(tree, train=tuple(rest), val=(first, *tree.val)),
        replace(tree, train=(renamed, *rest)),
        replace(tree, train=(replace(first, classes=(1,)), *rest)),
        replace(tree, classes=(*tree.classes[:-1], "screen")),
    ]
    found = set()
    for each in (tree, *others):
        index = functools.partial(lambda tree, config, report: tree, each)
        monkeypatch.setattr(voc, "SOURCE", replace(voc.SOURCE, index=index))
        found.add(fingerprint(voc_config(voc_root)))
    assert len(found) == 6


def remove_image(root: Path) -> None:
    (root / IMAGE).unlink()


def remove_mask(root: Path) -> None:
    (root / MASK).unlink()


def put_folder_for_mask(root: Path) -> None:
    (root / MASK).unlink()
    (root / MASK).mkdir()


def cut_image(root: Path) -> None:
    content = (root / IMAGE).read_bytes()
    (root / IMAGE).write_bytes(content[: len(content) // 2])


def write_text_as_image(root: Path) -> None:
    (root / IMAGE).write_text("not an image")


def cut_mask(root: Path) -> None:
    content = (root / MASK).read_bytes()
    (root / MASK).write_bytes(content[: len(content) // 2])


def turn_mask(root: Path) -> None:
    write_mask(root, labels_at(root, MASK).T.copy())


def write_unknown_labels(root: Path) -> None:
    labels = labels_at(root, MASK)
    labels[20, 20:22] = (77, 22)
    write_mask(root, labels)


def write_first_unknown_label(root: Path) -> None:
    labels = labels_at(root, MASK)
    labels[20, 20] = 21
    write_mask(root, labels)


def colour_mask(root: Path) -> None:
    opened(root, MASK).convert("RGB").save(root / MASK)


def empty_val(root: Path) -> None:
    (root / LISTS / "val.txt").write_text("")


def empty_train(root: Path) -> None:
    (root / LISTS / "train.txt").write_text("\n")


def train_on_val(root: Path) -> None:
    with (root / LISTS / "train.txt").open("a") as file:
        file.write("2007_000005\n")


def leave_only_void_in_val(root: Path) -> None:
    for name in ("2007_000004", "2007_000005"):
        path = f"{VOC}/SegmentationClass/{name}.png"
        Image.fromarray(np.full_like(labels_at(root, path), 255)).save(root / path)


def remove_list(root: Path) -> None:
    (root / LISTS / "val.txt").unlink()


def write_binary_list(root: Path) -> None:
    (root / LISTS / "train.txt").write_bytes(b"\xff\xfe\x00")


def remove_folder(root: Path) -> None:
    shutil.rmtree(root / VOC)


@pytest.mark.parametrize(
    ("spoil", "named", "rule"),
    [
        (remove_image, IMAGE, "must exist"),
        (remove_mask, MASK, "must exist"),
        (put_folder_for_mask, MASK, "must be readable, but Is a directory"),
        (
            cut_image,
            IMAGE,
            r"an image that Pillow can read, but .*Truncated.*skip_bad_images=true`",
        ),
        (write_text_as_image, IMAGE, "must be an image that Pillow can read, but is none of BMP"),
        (cut_mask, MASK, "must be an image that Pillow can read"),
        (turn_mask, MASK, "must have its image's size, 56x40, but has 40x56"),
        (write_unknown_labels, MASK, r"must lie in 0..20 or be 255 \(void\), but got 22, 77;"),
        (write_first_unknown_label, MASK, r"must lie in 0..20 or be 255 \(void\), but got 21;"),
        (colour_mask, MASK, r"must be a palette or grey PNG .* has mode RGB"),
        (empty_val, "", "the val split must hold at least one image, but is empty"),
        (empty_train, "", "the train split must hold at least one image, but is empty"),
        (
            train_on_val,
            f"{VOC}/JPEGImages/2007_000005.jpg",
            "an image must be in one split, but is in train and val",
        ),
        (leave_only_void_in_val, "", r"the val split must have pixels that count.* void \(255\)"),
        (remove_list, f"{LISTS}/val.txt", "must be a readable list .*, but No such file"),
        (write_binary_list, f"{LISTS}/train.txt", "a readable list .*, but byte 0 is not UTF-8"),
        (remove_folder, VOC, "must exist; give `--data-root DIR`.* holds VOCdevkit/VOC2012"),
    ],
)
def test_a_spoilt_tree_is_refused_in_one_line_that_names_file_rule_and_way_out(
    voc_root: Path, spoil: Callable[[Path], None], named: str, rule: str
) -> None:
    spoil(voc_root)
    with pytest.raises(ConfigError, match=rule) as caught:
        datasets.inspect(voc_config(voc_root))
    message = str(caught.value)
    assert message.startswith(f"{voc_root / named}: ")
    assert "\n" not in message
    assert "; " in message


def cut_mat(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def empty_mat(path: Path) -> None:
    path.write_bytes(b"")


def spoil_mat(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def write_other_mat(path: Path) -> None:
    import scipy.io

    scipy.io.savemat(path, {"GTinst": 1}, do_compression=True)


def write_numbers_as_mat(path: Path) -> None:
    write_sbd_mask(path, np.zeros((40, 56)))  # type: ignore[arg-type]


def write_mat_of_21(path: Path) -> None:
    write_sbd_mask(path, np.full((40, 56), 21, dtype=np.uint8))


def write_small_mat(path: Path) -> None:
    write_sbd_mask(path, np.zeros((40, 55), dtype=np.uint8))


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (Path.unlink, "the file must exist"),
        (cut_mat, "must be a MATLAB file that holds GTcls.Segmentation, but .*incomplete"),
        (spoil_mat, "must be a MATLAB file that holds GTcls.Segmentation, but .*Error -3"),
        (empty_mat, "a MATLAB file .*, but .*Mat file appears to be"),
        (write_other_mat, "a MATLAB file that holds GTcls.Segmentation, but .*KeyError..GTcls"),
        (write_numbers_as_mat, r"GTcls.Segmentation must be bytes \[H, W\], but is float64"),
        (write_mat_of_21, "must lie in 0..20 .* got 21"),
        (write_small_mat, "must have its image's size, 56x40, but has 55x40"),
    ],
)
def test_a_spoilt_mat_file_is_refused_by_name(
    sbd_root: Path, spoil: Callable[[Path], None], rule: str
) -> None:
    path = sbd_root / "cls" / "2007_000001.mat"
    spoil(path)
    with pytest.raises(ConfigError, match=rule) as caught:
        datasets.inspect(sbd_config(sbd_root))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_an_uncompressed_mat_file_is_as_good(sbd_root: Path) -> None:
    path = sbd_root / "cls" / "2007_000001.mat"
    labels = sbd_labels_of(voc_image("2007_000001"))
    compressed = sbd.read_mask(path, path.read_bytes())
    write_sbd_mask(path, labels, compressed=False)
    assert (sbd.read_mask(path, path.read_bytes()) == compressed).all()


def test_the_first_offender_in_list_order_is_named(voc_root: Path) -> None:
    tree = voc.index(voc_config(voc_root))
    for sample in (*tree.train[1:], *tree.val):
        sample.image.unlink()
    for _ in range(5):
        with pytest.raises(ConfigError, match=IMAGE):
            datasets.inspect(voc_config(voc_root))


def test_an_offender_in_val_is_found(voc_root: Path) -> None:
    voc.index(voc_config(voc_root)).val[-1].masks[0].unlink()
    with pytest.raises(
        ConfigError, match=r"SegmentationClass/2007_000005\.png: the file must exist"
    ):
        datasets.inspect(voc_config(voc_root))


def test_all_faults_of_a_sample_are_reported_at_once(voc_root: Path) -> None:
    cut_image(voc_root)
    write_unknown_labels(voc_root)
    tree = voc.index(voc_config(voc_root))
    faults: list[ConfigError] = []
    assert file_tree.decode(tree, tree.train[1], faults.append) is None
    assert [str(fault).partition(": ")[0] for fault in faults] == [
        str(voc_root / IMAGE),
        str(voc_root / MASK),
    ]


@pytest.mark.parametrize("spoil", [cut_image, cut_mask, write_text_as_image])
def test_what_cannot_be_decoded_is_left_out_where_that_is_wanted(
    voc_root: Path, spoil: Callable[[Path], None]
) -> None:
    config = voc_config(voc_root, skip_bad_images=True)
    assert datasets.inspect(config).skipped == ()
    whole = fingerprint(config)
    assert whole == fingerprint(voc_config(voc_root))
    spoil(voc_root)
    facts = datasets.inspect(config)
    assert facts.skipped == (IMAGE,)
    with pytest.raises(ConfigError, match="2007_000001"):
        datasets.inspect(voc_config(voc_root))
    data = datasets.load(config)
    assert len(data.train) == 3
    assert data.train.sizes.tolist() == [list(VOC_SIZES[k]) for k in (0, 2, 3)]
    # The content is that of a list without the image.
    write_list(voc_root / LISTS / "train.txt", [voc_name(k) for k in (0, 2, 3)])
    assert facts.fingerprint == fingerprint(voc_config(voc_root)) == data.fingerprint
    assert facts.fingerprint != whole
    assert datasets.inspect(voc_config(voc_root)).skipped == ()


@pytest.mark.parametrize("spoil", [remove_image, remove_mask, turn_mask, write_unknown_labels])
def test_what_is_wrong_but_can_be_decoded_is_never_left_out(
    voc_root: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(voc_root)
    with pytest.raises(ConfigError, match="2007_000001"):
        datasets.inspect(voc_config(voc_root, skip_bad_images=True))


def test_what_pillow_only_warns_of_is_no_matter(voc_root: Path) -> None:
    image = opened(voc_root, IMAGE).quantize(256)
    image.save(voc_root / IMAGE, "PNG", transparency=bytes(range(256)))
    data = datasets.load(voc_config(voc_root))
    assert (data.train.run(1, 2)[0][0].permute(1, 2, 0).numpy() == image.convert("RGB")).all()


def test_a_split_of_which_nothing_can_be_decoded_is_refused(voc_root: Path) -> None:
    for sample in voc.index(voc_config(voc_root)).val:
        sample.image.write_bytes(b"")
    with pytest.raises(ConfigError, match="the val split must have pixels that count"):
        datasets.inspect(voc_config(voc_root, skip_bad_images=True))


@pytest.mark.parametrize(
    ("dataset", "index", "folder"),
    [
        ("voc2012", voc.index, "VOCdevkit"),
        ("sbd", sbd.index, "img, cls"),
        ("segtrackv2", segtrack.index, "JPEGImages"),
    ],
)
def test_no_data_root_is_answered_with_the_option_and_the_folder(
    dataset: str, index: Callable[[TrialConfig], file_tree.FileTree], folder: str
) -> None:
    with pytest.raises(ConfigError, match=f"{dataset}.*`--data-root DIR`.*holds {folder}"):
        index(TrialConfig(dataset=dataset))


def test_a_missing_data_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path}/nowhere/{VOC}: the folder must exist"):
        voc.index(voc_config(tmp_path / "nowhere"))


# Lists that lead out of the tree


@pytest.mark.parametrize(
    "line",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "..",
        "a/b",
        "a\\b",
        "a\0b",
        "a\x1b[31m",
        "x" * 5000,
        "/JPEGImages/../../x.jpg /SegmentationClassAug/a.png",
        "JPEGImages/a.jpg //etc/passwd/../x",
        "~/../x a",
    ],
)
def test_a_line_that_leads_out_of_the_tree_is_refused_by_its_number(
    line: str, tmp_path: Path
) -> None:
    path = tmp_path / "train.txt"
    path.write_text(f"2007_000001\n\n{line}\n2007_000002\n")
    for names in (file_tree.is_name, voc._is_line, segtrack._is_line):
        said: list[ConfigError] = []
        found = file_tree.read_list(path, said.append, names=names)
        assert found == ["2007_000001", "2007_000002"]
        (fault,) = said
        assert str(fault).startswith(f"{path}, line 3: must be the name of a file")
        assert len(str(fault)) < 400
        assert "\x1b" not in str(fault)


def test_two_paths_a_line_are_what_ready_made_lists_of_voc_hold(tmp_path: Path) -> None:
    path = tmp_path / "trainaug.txt"
    path.write_text("/JPEGImages/a.jpg /SegmentationClassAug/a.png\nb\n")
    assert len(file_tree.read_list(path, names=voc._is_line)) == 2
