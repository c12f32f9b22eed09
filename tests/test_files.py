"""Data sets that lie in files: layouts, labels, splits, fingerprints and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from trees import VOC_SIZES, Pixels, object_mask, write_segtrack_tree, write_voc_tree

from trainable import files, segtrack, voc
from trainable.config import ConfigError, TrialConfig
from trainable.config_files import read_yaml

VOC = "VOCdevkit/VOC2012"
LISTS = f"{VOC}/ImageSets/Segmentation"
IMAGE = f"{VOC}/JPEGImages/2007_000001.jpg"
MASK = f"{VOC}/SegmentationClass/2007_000001.png"


@pytest.fixture
def voc_root(tmp_path: Path) -> Path:
    return write_voc_tree(tmp_path / "voc")


@pytest.fixture
def segtrack_root(tmp_path: Path) -> Path:
    return write_segtrack_tree(tmp_path / "segtrack")


def voc_tree(root: Path) -> files.FileTree:
    return voc.index(TrialConfig(data_root=str(root)))


def segtrack_tree(root: Path, **values: Any) -> files.FileTree:
    return segtrack.index(TrialConfig(dataset="segtrackv2", data_root=str(root), **values))


def write_mask(root: Path, labels: Pixels) -> None:
    Image.fromarray(labels).save(root / MASK)


def labels_at(root: Path, path: str) -> Pixels:
    return np.array(files.read_image(root / path))


def test_voc_lists_name_the_samples_in_their_order(voc_root: Path) -> None:
    tree = voc_tree(voc_root)
    assert [sample.image.stem for sample in tree.train] == [f"2007_{k:06d}" for k in range(4)]
    assert [sample.image.stem for sample in tree.val] == ["2007_000004", "2007_000005"]
    assert tree.train[1] == files.Sample(image=voc_root / IMAGE, masks=(voc_root / MASK,))
    assert len(tree.classes) == 21
    assert (tree.classes[0], tree.classes[15]) == ("background", "person")
    files.check(tree)


def test_voc_labels_are_palette_indices_and_keep_void(voc_root: Path) -> None:
    tree = voc_tree(voc_root)
    assert files.read_image(voc_root / MASK).mode == "P"
    labels = tree.read_labels(tree.train[0])
    assert labels.dtype == np.uint8
    assert set(np.unique(labels)) == {0, 3, 15, 255}
    assert (labels[:2] == 255).all()


def test_voc_accepts_a_grey_mask_and_a_blank_line_in_a_list(voc_root: Path) -> None:
    labels = labels_at(voc_root, MASK)
    write_mask(voc_root, labels)
    assert files.read_image(voc_root / MASK).mode == "L"
    with (voc_root / LISTS / "train.txt").open("a") as file:
        file.write("\n")
    tree = voc_tree(voc_root)
    assert len(tree.train) == 4
    files.check(tree)
    assert (tree.read_labels(tree.train[1]) == labels).all()


def test_decode_puts_images_at_the_top_left_of_mean_colour_and_void(voc_root: Path) -> None:
    tree = voc_tree(voc_root)
    split = files.decode(tree, tree.train)
    assert split["images"].shape == (4, 3, 120, 120)
    assert split["labels"].shape == (4, 120, 120)
    assert split["images"].dtype == split["labels"].dtype == torch.uint8
    assert split["sizes"].dtype == torch.int64
    assert split["sizes"].tolist() == [list(size) for size in VOC_SIZES]
    mean = torch.tensor([124, 116, 104], dtype=torch.uint8).view(3, 1, 1)
    for k, sample in enumerate(tree.train):
        h, w = VOC_SIZES[k]
        image = torch.from_numpy(np.array(files.read_image(sample.image))).permute(2, 0, 1)
        assert torch.equal(split["images"][k, :, :h, :w], image)
        assert torch.equal(split["labels"][k, :h, :w], torch.from_numpy(tree.read_labels(sample)))
        for outside in (split["images"][k, :, h:], split["images"][k, :, :, w:]):
            assert (outside == mean).all()
        assert (split["labels"][k, h:] == 255).all()
        assert (split["labels"][k, :, w:] == 255).all()


def test_decode_makes_rgb_of_a_grey_image(voc_root: Path) -> None:
    grey = files.read_image(voc_root / IMAGE).convert("L")
    grey.save(voc_root / IMAGE)
    tree = voc_tree(voc_root)
    image = files.decode(tree, tree.train[1:2])["images"][0]
    assert torch.equal(image[0], image[1])
    assert torch.equal(image[0], image[2])


def test_decode_refuses_what_check_refuses(voc_root: Path) -> None:
    write_mask(voc_root, np.full((40, 56), 77, dtype=np.uint8))
    tree = voc_tree(voc_root)
    with pytest.raises(ConfigError, match=f"{MASK}.*got 77"):
        files.decode(tree, tree.train)


def test_fingerprint_is_16_hex_digits_and_the_same_in_another_folder(voc_root: Path) -> None:
    before = files.fingerprint(voc_tree(voc_root))
    assert len(before) == 16
    assert int(before, 16) >= 0
    moved = voc_root.with_name("moved")
    shutil.move(voc_root, moved)
    assert files.fingerprint(voc_tree(moved)) == before


@pytest.mark.parametrize("path", [IMAGE, MASK])
def test_fingerprint_changes_with_one_byte(voc_root: Path, path: str) -> None:
    before = files.fingerprint(voc_tree(voc_root))
    content = bytearray((voc_root / path).read_bytes())
    content[-20] ^= 1
    (voc_root / path).write_bytes(content)
    assert files.fingerprint(voc_tree(voc_root)) != before


def test_fingerprint_follows_order_split_names_and_classes(voc_root: Path) -> None:
    tree = voc_tree(voc_root)
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
    assert len({files.fingerprint(each) for each in (tree, *others)}) == 6


def remove_image(root: Path) -> None:
    (root / IMAGE).unlink()


def remove_mask(root: Path) -> None:
    (root / MASK).unlink()


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


def write_unknown_label(root: Path) -> None:
    labels = labels_at(root, MASK)
    labels[20, 20] = 77
    write_mask(root, labels)


def write_first_unknown_label(root: Path) -> None:
    labels = labels_at(root, MASK)
    labels[20, 20] = 21
    write_mask(root, labels)


def colour_mask(root: Path) -> None:
    files.read_image(root / MASK).convert("RGB").save(root / MASK)


def empty_val(root: Path) -> None:
    (root / LISTS / "val.txt").write_text("")


def empty_train(root: Path) -> None:
    (root / LISTS / "train.txt").write_text("\n")


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
        (cut_image, IMAGE, "must be an image that Pillow can read, but .*Truncated"),
        (write_text_as_image, IMAGE, "must be an image that Pillow can read"),
        (cut_mask, MASK, "must be an image that Pillow can read"),
        (turn_mask, MASK, "must have its image's size, 56x40, but has 40x56"),
        (write_unknown_label, MASK, r"must lie in 0..20 or be 255 \(void\), but got 77"),
        (write_first_unknown_label, MASK, r"must lie in 0..20 or be 255 \(void\), but got 21"),
        (colour_mask, MASK, r"must be a palette or grey PNG .* has mode RGB"),
        (empty_val, "voc", "the val split must hold at least one image, but is empty"),
        (empty_train, "voc", "the train split must hold at least one image, but is empty"),
        (remove_list, f"{LISTS}/val.txt", "must be a readable list"),
        (write_binary_list, f"{LISTS}/train.txt", "must be a readable list"),
        (remove_folder, VOC, "must exist; give `--data-root DIR`.* holds VOCdevkit/VOC2012"),
    ],
)
def test_a_spoilt_tree_is_refused_in_one_line_that_names_file_rule_and_way_out(
    voc_root: Path, spoil: Callable[[Path], None], named: str, rule: str
) -> None:
    spoil(voc_root)
    with pytest.raises(ConfigError, match=rule) as caught:
        files.check(voc_tree(voc_root))
    message = str(caught.value)
    assert message.startswith(f"{voc_root.parent / 'voc' / named if named != 'voc' else voc_root}:")
    assert "\n" not in message
    assert "; " in message


def test_the_first_offender_in_list_order_is_named(voc_root: Path) -> None:
    tree = voc_tree(voc_root)
    for sample in (*tree.train[1:], *tree.val):
        sample.image.unlink()
    for _ in range(5):
        with pytest.raises(ConfigError, match=IMAGE):
            files.check(tree)


def test_an_offender_in_val_is_found(voc_root: Path) -> None:
    tree = voc_tree(voc_root)
    tree.val[-1].masks[0].unlink()
    with pytest.raises(
        ConfigError, match=r"SegmentationClass/2007_000005\.png: the file must exist"
    ):
        files.check(tree)


@pytest.mark.parametrize(
    ("dataset", "index", "folder"),
    [("voc2012", voc.index, "VOCdevkit"), ("segtrackv2", segtrack.index, "JPEGImages")],
)
def test_no_data_root_is_answered_with_the_option_and_the_folder(
    dataset: str, index: Callable[[TrialConfig], files.FileTree], folder: str
) -> None:
    with pytest.raises(ConfigError, match=f"{dataset}.*`--data-root DIR`.*holds {folder}"):
        index(TrialConfig(dataset=dataset))


def test_a_missing_data_root_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"{tmp_path}/nowhere/{VOC}: the folder must exist"):
        voc_tree(tmp_path / "nowhere")


def test_class_tables_have_16_and_17_classes(segtrack_root: Path) -> None:
    merged = segtrack_tree(segtrack_root).classes
    separate = segtrack_tree(segtrack_root, segtrack_classes="separate17").classes
    assert (len(merged), len(separate)) == (16, 17)
    assert merged[0] == separate[0] == "background"
    assert set(separate) - set(merged) == {"bird_of_paradise", "birdfall"}
    assert set(merged) - set(separate) == {"bird"}


@pytest.mark.parametrize("name", ["merged16", "separate17"])
def test_class_tables_list_14_videos_and_24_objects(name: str) -> None:
    table = read_yaml(segtrack.TABLE_DIR / f"{name}.yaml")
    assert len(table) == 14
    assert sum(len(names) for names in table.values()) == 24


def test_segtrack_resolves_png_and_bmp_by_stem(segtrack_root: Path) -> None:
    tree = segtrack_tree(segtrack_root)
    samples = sorted((*tree.train, *tree.val), key=lambda sample: sample.image)
    assert len(samples) == 20
    assert {sample.image.suffix for sample in samples} == {".png", ".bmp"}
    folder = segtrack_root / "GroundTruth/bmx"
    assert samples[10].masks == (folder / "1/bmx_00000.png", folder / "2/bmx_00000.bmp")
    assert all(path.stem == sample.image.stem for sample in samples for path in sample.masks)
    files.check(tree)


def test_segtrack_prefers_png_where_a_stem_has_both(segtrack_root: Path) -> None:
    before = segtrack_tree(segtrack_root)
    for path in segtrack_root.glob("JPEGImages/bmx/*.png"):
        shutil.copy(path, path.with_suffix(".bmp"))
    assert segtrack_tree(segtrack_root) == before


def test_segtrack_labels_of_one_object_keep_uncertain_pixels_as_void(segtrack_root: Path) -> None:
    tree = segtrack_tree(segtrack_root)
    labels = tree.read_labels(tree.train[0])
    bird = tree.classes.index("bird")
    # object_mask(0): columns 5 to 29, one uncertain column on either side
    assert labels.dtype == np.uint8
    assert labels[20, [3, 4, 5, 29, 30, 31]].tolist() == [0, 255, bird, bird, 255, 0]
    assert (labels[9] == 0).all()


def test_segtrack_later_objects_win_and_certain_ones_beat_uncertain(segtrack_root: Path) -> None:
    tree = segtrack_tree(segtrack_root)
    labels = tree.read_labels(tree.train[-1])
    person, bike = tree.classes.index("person"), tree.classes.index("bike")
    # Objects overlap in columns 20 to 29; each is certain in an uncertain column of the other.
    assert labels[20, [18, 19, 20, 29]].tolist() == [person, person, bike, bike]
    assert labels[20, [30, 31, 49]].tolist() == [bike, bike, bike]
    assert labels[20, [3, 4, 50, 51]].tolist() == [0, 255, 255, 0]


@pytest.mark.parametrize("value", [1, 254])
def test_segtrack_every_value_between_0_and_255_is_uncertain(
    segtrack_root: Path, value: int
) -> None:
    tree = segtrack_tree(segtrack_root)
    mask = object_mask(0)
    mask[mask == 128] = value
    Image.fromarray(mask).save(tree.train[0].masks[0])
    assert tree.read_labels(tree.train[0])[20, [4, 30]].tolist() == [255, 255]


@pytest.mark.parametrize("split", ["interleave", "block"])
def test_segtrack_splits_are_deterministic_disjoint_and_a_fifth_of_each_video(
    segtrack_root: Path, split: str
) -> None:
    tree = segtrack_tree(segtrack_root, segtrack_split=split)
    assert segtrack_tree(segtrack_root, segtrack_split=split) == tree
    train, val = ({sample.image for sample in samples} for samples in (tree.train, tree.val))
    assert not train & val
    assert len(train | val) == 20
    for video in ("birdfall", "bmx"):
        assert sum(path.parent.name == video for path in val) == 2


@pytest.mark.parametrize("split", ["interleave", "block"])
def test_segtrack_splits_follow_data_seed_alone(segtrack_root: Path, split: str) -> None:
    def val(**values: int) -> list[str]:
        tree = segtrack_tree(segtrack_root, segtrack_split=split, **values)
        return [sample.image.stem for sample in tree.val]

    assert len({tuple(val(data_seed=seed)) for seed in range(8)}) > 1
    assert val(seed=1) == val(seed=2)


def test_a_split_of_one_video_does_not_follow_what_else_is_on_disk(segtrack_root: Path) -> None:
    before = [sample for sample in segtrack_tree(segtrack_root).val if "bmx" in sample.image.name]
    shutil.rmtree(segtrack_root / "JPEGImages/birdfall")
    assert list(segtrack_tree(segtrack_root).val) == before


def test_block_validates_on_contiguous_frames_and_interleave_does_not() -> None:
    for seed in map(str, range(20)):
        block = sorted(segtrack.val_frames(50, split="block", seed=seed))
        assert block == list(range(block[0], block[0] + 10))
        interleaved = segtrack.val_frames(50, split="interleave", seed=seed)
        assert len(interleaved) == 10
        assert max(interleaved) - min(interleaved) > 10
        assert interleaved | set(block) <= set(range(50))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
@pytest.mark.parametrize("split", ["interleave", "block"])
def test_a_short_video_validates_on_one_frame(count: int, split: str) -> None:
    assert len(segtrack.val_frames(count, split=split, seed="0")) == 1


def test_a_frame_listed_twice_counts_once(segtrack_root: Path) -> None:
    with (segtrack_root / "ImageSets/bmx.txt").open("a") as file:
        file.write("bmx_00003\n")
    tree = segtrack_tree(segtrack_root)
    assert len(tree.train) + len(tree.val) == 20


def test_a_list_whose_folder_is_not_on_disk_is_left_out(segtrack_root: Path) -> None:
    before = segtrack_tree(segtrack_root)
    (segtrack_root / "ImageSets/worm.txt").write_text("worm/\nworm_00000\n")
    assert segtrack_tree(segtrack_root) == before


def test_the_folder_of_a_video_is_the_first_line_of_its_list(segtrack_root: Path) -> None:
    for kind in ("JPEGImages", "GroundTruth"):
        (segtrack_root / kind / "bmx").rename(segtrack_root / kind / "bmx_2")
    stems = [f"bmx_{k:05d}" for k in range(10)]
    (segtrack_root / "ImageSets/bmx.txt").write_text("\n".join(["bmx_2", *stems]))
    tree = segtrack_tree(segtrack_root)
    assert tree.train[-1].image.parent.name == "bmx_2"
    files.check(tree)


def rename_video(root: Path) -> None:
    (root / "ImageSets/bmx.txt").rename(root / "ImageSets/unicycle.txt")


def add_object(root: Path) -> None:
    (root / "GroundTruth/bmx/3").mkdir()


def remove_object(root: Path) -> None:
    shutil.rmtree(root / "GroundTruth/bmx/2")


def remove_segtrack_list(root: Path) -> None:
    (root / "ImageSets/bmx.txt").unlink()


def write_list_without_frames(root: Path) -> None:
    (root / "ImageSets/bmx.txt").write_text("bmx/\n")


def write_list_without_folder(root: Path) -> None:
    (root / "ImageSets/bmx.txt").write_text("bmx_00000\nbmx_00001\n")


def write_binary_segtrack_list(root: Path) -> None:
    (root / "ImageSets/bmx.txt").write_bytes(b"\xff\xfe\x00")


def remove_frame(root: Path) -> None:
    (root / "JPEGImages/bmx/bmx_00003.bmp").unlink()


def remove_object_frame(root: Path) -> None:
    (root / "GroundTruth/bmx/2/bmx_00003.bmp").unlink()


def shrink_object_mask(root: Path) -> None:
    path = root / "GroundTruth/bmx/2/bmx_00003.bmp"
    Image.fromarray(object_mask(1)[:20]).save(path)


def remove_masks(root: Path) -> None:
    shutil.rmtree(root / "GroundTruth")


@pytest.mark.parametrize(
    ("spoil", "named", "rule"),
    [
        (rename_video, "ImageSets/unicycle.txt", "merged16.yaml must list the objects"),
        (add_object, "GroundTruth/bmx", "folders 1, 2 as in .*merged16.yaml, but holds 1, 2, 3"),
        (remove_object, "GroundTruth/bmx", "folders 1, 2 as in .*merged16.yaml, but holds 1;"),
        (remove_segtrack_list, "JPEGImages/bmx", "a list .* must name the folder"),
        (write_list_without_frames, "JPEGImages/bmx", "a list .* and frames below"),
        (write_list_without_folder, "JPEGImages/bmx", "a list .* must name the folder"),
        (write_binary_segtrack_list, "ImageSets/bmx.txt", "must be a readable list"),
        (remove_frame, "JPEGImages/bmx/bmx_00003", r"suffix of \.bmp, \.png must exist"),
        (remove_object_frame, "GroundTruth/bmx/2/bmx_00003", r"suffix of \.bmp, \.png must exist"),
        (shrink_object_mask, "GroundTruth/bmx/2/bmx_00003.bmp", "size, 56x40, but has 56x20"),
        (remove_masks, "GroundTruth", "must exist; give `--data-root DIR`.*holds JPEGImages"),
    ],
)
def test_a_spoilt_segtrack_tree_is_refused_in_one_line(
    segtrack_root: Path, spoil: Callable[[Path], None], named: str, rule: str
) -> None:
    spoil(segtrack_root)
    with pytest.raises(ConfigError, match=rule) as caught:
        files.check(segtrack_tree(segtrack_root))
    message = str(caught.value)
    assert message.startswith(f"{segtrack_root / named}:")
    assert "\n" not in message
    assert "; " in message
