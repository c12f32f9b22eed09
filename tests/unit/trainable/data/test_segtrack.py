"""SegTrack-v2: layout, labels, class tables, splits, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from trees import Pixels, object_mask, write_segtrack_tree

from trainable.config.loading import read_yaml
from trainable.config.schema import ConfigError, TrialConfig
from trainable.data import datasets
from trainable.data.sources import file_tree, segtrack


@pytest.fixture
def segtrack_root(tmp_path: Path) -> Path:
    return write_segtrack_tree(tmp_path / "segtrack")


def config_of(root: Path, **values: Any) -> TrialConfig:
    return TrialConfig(dataset="segtrackv2", data_root=str(root), **values)


def segtrack_tree(root: Path, **values: Any) -> file_tree.FileTree:
    return segtrack.index(config_of(root, **values))


def labels_of(tree: file_tree.FileTree, sample: file_tree.Sample) -> Pixels:
    decoded = file_tree.decode(tree, sample)
    assert decoded is not None
    return decoded.labels


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
    datasets.inspect(config_of(segtrack_root))


def test_segtrack_prefers_png_where_a_stem_has_both(segtrack_root: Path) -> None:
    before = segtrack_tree(segtrack_root)
    for path in segtrack_root.glob("JPEGImages/bmx/*.png"):
        shutil.copy(path, path.with_suffix(".bmp"))
    assert segtrack_tree(segtrack_root) == before


def test_segtrack_labels_of_one_object_keep_uncertain_pixels_as_void(segtrack_root: Path) -> None:
    tree = segtrack_tree(segtrack_root)
    labels = labels_of(tree, tree.train[0])
    bird = tree.classes.index("bird")
    # object_mask(0): columns 5 to 29, one uncertain column on either side
    assert labels.dtype == "uint8"
    assert labels[20, [3, 4, 5, 29, 30, 31]].tolist() == [0, 255, bird, bird, 255, 0]
    assert (labels[9] == 0).all()


def test_segtrack_later_objects_win_and_certain_ones_beat_uncertain(segtrack_root: Path) -> None:
    tree = segtrack_tree(segtrack_root)
    labels = labels_of(tree, tree.train[-1])
    person, bike = tree.classes.index("person"), tree.classes.index("bike")
    # Objects overlap in columns 20 to 29; each is certain in an uncertain column of the other.
    assert labels[20, [18, 19, 20, 29]].tolist() == [person, person, bike, bike]
    assert labels[20, [30, 31, 49]].tolist() == [bike, bike, bike]
    assert labels[20, [3, 4, 50, 51]].tolist() == [0, 255, 255, 0]


@pytest.mark.parametrize("colour", [(1, 1, 1), (254, 254, 254), (255, 0, 0), (255, 255, 254)])
def test_segtrack_every_colour_between_black_and_white_is_uncertain(
    segtrack_root: Path, colour: tuple[int, int, int]
) -> None:
    tree = segtrack_tree(segtrack_root)
    mask = object_mask(0)
    mask[mask[..., 0] == 128] = colour
    Image.fromarray(mask).save(tree.train[0].masks[0])
    assert labels_of(tree, tree.train[0])[20, [4, 30]].tolist() == [255, 255]


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
    datasets.inspect(config_of(segtrack_root))


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
        (remove_frame, "JPEGImages/bmx/bmx_00003{.bmp,.png}", "the file must exist"),
        (remove_object_frame, "GroundTruth/bmx/2/bmx_00003{.bmp,.png}", "the file must exist"),
        (shrink_object_mask, "GroundTruth/bmx/2/bmx_00003.bmp", "size, 56x40, but has 56x20"),
        (remove_masks, "GroundTruth", "must exist; give `--data-root DIR`.*holds JPEGImages"),
    ],
)
def test_a_spoilt_segtrack_tree_is_refused_in_one_line(
    segtrack_root: Path, spoil: Callable[[Path], None], named: str, rule: str
) -> None:
    spoil(segtrack_root)
    with pytest.raises(ConfigError, match=rule) as caught:
        datasets.inspect(config_of(segtrack_root))
    message = str(caught.value)
    assert message.startswith(f"{segtrack_root / named}:")
    assert "\n" not in message
    assert "; " in message
