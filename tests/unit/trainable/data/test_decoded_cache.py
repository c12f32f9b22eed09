"""The data set in memory and on disk: ragged splits, the cache of decoded files, the device."""

from __future__ import annotations

import errno
import io
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from paths import ROOT
from PIL import Image
from torch import Tensor
from trees import VOC, VOC_SIZES, write_voc_tree

from trainable import prepare
from trainable.config.schema import ConfigError, TrialConfig
from trainable.data import datasets, decoded_cache
from trainable.data.datasets import DataSet, Split
from trainable.data.sources import file_tree, parallel, voc
from trainable.data.sources.labels import VOID
from trainable.runs import training_run
from trainable.storage import block_checksums, json_files
from trainable.training import devices

ARRAYS = ("train.images", "train.labels", "val.images", "val.labels")
MASK = f"{VOC}/SegmentationClass/2007_000001.png"


@pytest.fixture
def config(tmp_path: Path) -> TrialConfig:
    root = write_voc_tree(tmp_path / "voc", aug=False)
    cache = tmp_path / "cache"
    return TrialConfig(data_root=str(root), voc_train="train", cache_dir=str(cache))


def entries(config: TrialConfig) -> list[Path]:
    return sorted(path for path in Path(config.cache_dir).iterdir() if path.is_dir())


def ragged() -> tuple[Split, list[tuple[Tensor, Tensor]]]:
    """Return a split of random images, and its images one by one."""
    torch.manual_seed(0)
    sizes = [(3, 5), (3, 5), (4, 2), (3, 5), (1, 1), (1, 1), (1, 1)]
    pairs = [
        (
            torch.randint(0, 256, (3, *size), dtype=torch.uint8),
            torch.randint(0, 9, size, dtype=torch.uint8),
        )
        for size in sizes
    ]
    images, labels = (
        torch.cat([part.flatten() for part in parts]) for parts in zip(*pairs, strict=True)
    )
    return Split(images=images, labels=labels, sizes=torch.tensor(sizes)), pairs


# Splits


def test_a_batch_puts_images_at_the_top_left_of_a_canvas_of_void() -> None:
    split, pairs = ragged()
    images, labels = split.batch(torch.tensor([2, 0, 4]))
    assert images.shape == (3, 3, 4, 5)
    assert labels.shape == (3, 4, 5)
    assert images.dtype == labels.dtype == torch.uint8
    for place, index in enumerate((2, 0, 4)):
        image, label = pairs[index]
        h, w = label.shape
        assert torch.equal(images[place, :, :h, :w], image)
        assert torch.equal(labels[place, :h, :w], label)
        assert (labels[place, h:] == VOID).all()
        assert (labels[place, :, w:] == VOID).all()


def test_a_batch_of_equal_images_is_a_plain_stack() -> None:
    split, pairs = ragged()
    images, labels = split.batch(torch.tensor([3, 0, 0]))
    assert torch.equal(images, torch.stack([pairs[k][0] for k in (3, 0, 0)]))
    assert torch.equal(labels, torch.stack([pairs[k][1] for k in (3, 0, 0)]))


@pytest.mark.parametrize(
    ("most", "counts"), [(1, [1] * 7), (2, [2, 1, 1, 2, 1]), (9, [2, 1, 1, 3])]
)
def test_neighbours_of_equal_size_come_together_and_all_come_in_order(
    most: int, counts: list[int]
) -> None:
    split, pairs = ragged()
    groups = list(split.equal_sized(most))
    assert [len(labels) for _, labels in groups] == counts
    seen = [pair for images, labels in groups for pair in zip(images, labels, strict=True)]
    for (image, label), (wanted, wanted_label) in zip(seen, pairs, strict=True):
        assert torch.equal(image, wanted)
        assert torch.equal(label, wanted_label)
    # No copy: the groups are views of the split.
    assert groups[0][0].data_ptr() == split.images.data_ptr()


def test_a_split_knows_its_bytes_and_moves_without_its_sizes() -> None:
    split, _ = ragged()
    assert len(split) == 7
    assert split.nbytes == 4 * (3 * 15 + 8 + 3)
    moved = split.to(torch.device("meta"))
    assert moved.images.device.type == moved.labels.device.type == "meta"
    assert torch.equal(moved.sizes, split.sizes)


# The cache


def test_what_is_mapped_is_what_the_files_hold(config: TrialConfig) -> None:
    data = datasets.load(config)
    tree = voc.index(config)
    for split, samples in ((data.train, tree.train), (data.val, tree.val)):
        assert len(split) == len(samples)
        for k, sample in enumerate(samples):
            images, labels = split.run(k, k + 1)
            with Image.open(sample.image) as image, Image.open(sample.masks[0]) as mask:
                assert (images[0].permute(1, 2, 0).numpy() == np.array(image)).all()
                assert (labels[0].numpy() == np.array(mask)).all()
    assert data.train.sizes.tolist() == [list(size) for size in VOC_SIZES]
    assert data.train.sizes.dtype == torch.int64
    facts = datasets.inspect(config)
    assert (facts.fingerprint, facts.classes) == (data.fingerprint, data.classes)
    assert facts.fingerprint in entries(config)[0].name


def test_writing_to_what_is_mapped_leaves_the_cache_as_it_is(config: TrialConfig) -> None:
    before = datasets.load(config).train.images.clone()
    datasets.load(config).train.images.zero_()
    assert torch.equal(datasets.load(config).train.images, before)


def test_the_second_start_reads_no_file(
    config: TrialConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def counting(path: Path) -> bytes:
        read.append(path)
        return path.read_bytes()

    monkeypatch.setattr(file_tree, "read_content", counting)
    first = datasets.inspect(config)
    assert len(read) == len(set(read)) == 12
    read.clear()
    assert datasets.inspect(config) == first
    datasets.load(config)
    assert read == []


def test_a_start_that_finds_its_data_waits_for_no_one(
    config: TrialConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets.inspect(config)
    monkeypatch.setattr(
        decoded_cache, "_locked", lambda folder: pytest.fail("the lock was asked for")
    )
    datasets.inspect(config)


def test_the_cache_is_the_users_unless_the_config_names_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def folder(**values: Any) -> Path:
        return decoded_cache.cache_folder(TrialConfig(**values))

    assert folder(cache_dir="here") == Path("here")
    assert folder() == Path(os.environ["XDG_CACHE_HOME"]) / "pixelwise-adversarial"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert folder() == tmp_path / ".cache/pixelwise-adversarial"
    assert folder(cache_dir="~/mine") == tmp_path / "mine"


def test_generated_data_needs_no_cache(tmp_path: Path) -> None:
    datasets.load(TrialConfig(dataset="shapes", cache_dir=str(tmp_path / "cache")))
    assert list(tmp_path.iterdir()) == []


def test_a_byte_changed_in_a_file_of_the_same_size_is_seen(config: TrialConfig) -> None:
    path = Path(config.data_root) / MASK
    labels = np.array(Image.open(io.BytesIO(path.read_bytes())))
    # Uncompressed, so that a label changes no more than its byte and the checksums.
    Image.fromarray(labels).save(path, compress_level=0)
    before, status = datasets.inspect(config).fingerprint, path.stat()
    labels[20, 20] = 7
    Image.fromarray(labels).save(path, compress_level=0)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    assert path.stat().st_size == status.st_size
    assert datasets.inspect(config).fingerprint != before
    assert datasets.load(config).train.run(1, 2)[1][0, 20, 20] == 7
    assert len(entries(config)) == 2


def test_the_same_content_elsewhere_shares_an_entry(config: TrialConfig, tmp_path: Path) -> None:
    before = datasets.inspect(config)
    shutil.copytree(tmp_path / "voc", tmp_path / "copy", copy_function=shutil.copyfile)
    folder = entries(config)[0]
    made = folder.stat().st_ino
    copy = TrialConfig(
        data_root=str(tmp_path / "copy"), voc_train="train", cache_dir=config.cache_dir
    )
    assert datasets.inspect(copy) == before
    assert [path.stat().st_ino for path in entries(config)] == [made]


def cut_array(entry: Path) -> None:
    with (entry / "train.images").open("r+b") as file:
        file.truncate(99)


def remove_array(entry: Path) -> None:
    (entry / "val.labels").unlink()


def spoil_index(entry: Path) -> None:
    (entry / "index.json").write_text("{")


def spoil_record(entry: Path) -> None:
    record_of(entry).write_bytes(b"\xff")


def record_of(entry: Path) -> Path:
    return next(entry.parent.glob("tree-*.json"))


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def change_a_label(entry: Path) -> None:
    flip_a_bit(entry / "train.labels")


def change_a_pixel(entry: Path) -> None:
    flip_a_bit(entry / "val.images")


def change_a_size(entry: Path) -> None:
    """Height for width: the arrays have the same bytes."""
    path = entry / "index.json"
    path.write_text(path.read_text().replace("[90, 120]", "[120, 90]", 1))


def change_a_warning(entry: Path) -> None:
    path = record_of(entry)
    path.write_text(re.sub(r'"warnings": \[.*?\]', '"warnings": []', path.read_text()))


def without_checksum(entry: Path) -> None:
    path = record_of(entry)
    path.write_text(re.sub(r', "sha256": "\w+"', "", path.read_text()))


def take_another_trees_record(entry: Path) -> None:
    path = record_of(entry)
    content = json_files.loads(path.read_bytes()) | {"signature": "0" * 16}
    path.write_bytes(json_files.dumps(content))


def take_another_entrys_index(entry: Path) -> None:
    path = entry / "index.json"
    content = json_files.loads(path.read_bytes()) | {"entry": "0" * 16}
    path.write_bytes(json_files.dumps(content))


DAMAGES: dict[Callable[[Path], None], str] = {
    cut_array: "train.images has 99 bytes, not ",
    remove_array: "val.labels is missing",
    spoil_index: "index.json has no checksum",
    spoil_record: ".json has no checksum",
    change_a_label: "train.labels was changed after it was written: MiB 1 of 1",
    change_a_pixel: "val.images was changed after it was written: MiB 1 of 1",
    change_a_size: "index.json was changed after it was written",
    change_a_warning: ".json was changed after it was written",
    without_checksum: ".json has no checksum: another version wrote it",
    take_another_trees_record: ".json is of the tree 0000000000000000",
    take_another_entrys_index: "index.json is of the entry 0000000000000000",
}


@pytest.mark.parametrize("spoil", DAMAGES)
def test_a_damaged_cache_is_said_in_a_line_and_made_anew(
    config: TrialConfig, spoil: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    before = datasets.inspect(config)
    assert before.warnings
    data = datasets.load(config)
    kept = [
        part.clone() for split in (data.train, data.val) for part in (split.images, split.labels)
    ]
    (entry,) = entries(config)
    spoil(entry)
    assert datasets.inspect(config) == before
    said = capsys.readouterr().err
    assert DAMAGES[spoil] in said
    assert said.endswith("; decoding the data again\n")
    assert said.count("\n") == 1
    again = datasets.load(config)
    found = [part for split in (again.train, again.val) for part in (split.images, split.labels)]
    assert all(torch.equal(*pair) for pair in zip(kept, found, strict=True))
    assert entries(config) == [entry]
    assert decoded_cache.check_cache(entry.parent) == (1, [])
    assert capsys.readouterr().err == ""


def test_a_cache_that_is_deleted_is_made_anew_without_a_word(
    config: TrialConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    before = datasets.inspect(config)
    shutil.rmtree(entries(config)[0])
    assert datasets.inspect(config) == before
    assert capsys.readouterr().err == ""


def test_a_start_checks_a_sample_and_prepare_check_all(
    config: TrialConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(block_checksums, "BLOCK_BYTES", 512)
    datasets.inspect(config)
    (entry,) = entries(config)
    path = entry / "train.images"
    blocks = sum(-(-(entry / name).stat().st_size // 512) for name in ARRAYS)
    assert blocks > 100
    flip_a_bit(path)
    seen: list[int] = []

    class Last(random.SystemRandom):
        """A draw that never meets the block that was changed."""

        def sample(self, population: Any, k: int, **_: Any) -> list[Any]:
            seen.append(k)
            return list(population)[:k]

    monkeypatch.setattr(random, "SystemRandom", Last)
    datasets.inspect(config)
    assert seen == [16]
    number = path.stat().st_size // 2 // 512 + 1
    (line,) = decoded_cache.check_cache(entry.parent)[1]
    assert line.startswith(f"{path} was changed after it was written: MiB {number} of ")
    monkeypatch.setattr("sys.argv", ["prepare", "check", config.data_root])
    monkeypatch.setattr("sys.argv", [*sys.argv, "--cache-dir", config.cache_dir])
    assert prepare.main() == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"{entry.parent}: 1 decoded data sets, 1 of them with findings" in lines
    assert lines[-2:] == [line, "1 finding"]


def test_damage_that_one_sample_meets_and_the_next_one_misses_is_decoded_again(
    config: TrialConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(block_checksums, "BLOCK_BYTES", 512)
    datasets.inspect(config)
    (entry,) = entries(config)
    path = entry / "train.images"
    whole = path.read_bytes()
    flip_a_bit(path)
    starts = [len(whole) // 2 // 512, 0]

    class Drawn(random.SystemRandom):
        """The first draw meets the block that was changed, and no later one does."""

        def sample(self, population: Any, k: int, **_: Any) -> list[Any]:
            start = starts.pop(0) if len(starts) > 1 else starts[0]
            return list(population)[start : start + k]

    monkeypatch.setattr(random, "SystemRandom", Drawn)
    datasets.inspect(config)
    assert path.read_bytes() == whole


def test_what_a_check_draws_changes_no_draw_of_a_seed(config: TrialConfig) -> None:
    datasets.inspect(config)
    state = random.getstate(), torch.get_rng_state()
    datasets.load(config)
    assert random.getstate() == state[0]
    assert torch.equal(torch.get_rng_state(), state[1])


def test_another_process_that_decoded_it_anew_meanwhile_is_believed(
    config: TrialConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets.inspect(config)
    (entry,) = entries(config)
    whole = (entry / "train.labels").read_bytes()
    flip_a_bit(entry / "train.labels")

    @contextmanager
    def locked(folder: Path) -> Iterator[None]:
        (entry / "train.labels").write_bytes(whole)
        yield

    monkeypatch.setattr(decoded_cache, "_locked", locked)
    monkeypatch.setattr(decoded_cache, "_add", lambda *_: pytest.fail("it was decoded once more"))
    datasets.inspect(config)


def test_other_code_or_another_pillow_reads_no_old_arrays(
    config: TrialConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = datasets.inspect(config)
    monkeypatch.setattr("PIL.__version__", "0")
    decoded_cache.code_version.cache_clear()
    assert datasets.inspect(config) == before
    assert len(entries(config)) == 2
    monkeypatch.undo()
    decoded_cache.code_version.cache_clear()


@pytest.mark.parametrize("name", ["sources/voc.py", "sources/label_check.py", "decoded_cache.py"])
def test_an_edit_of_what_decodes_is_a_new_entry_and_a_new_key(name: str, tmp_path: Path) -> None:
    package = shutil.copytree(ROOT / "trainable", tmp_path / "trainable")
    program = """
from trainable.data import decoded_cache
from trainable.runs import keys
print(decoded_cache.code_version(), keys.code_version())
"""

    def versions() -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.split()

    before = versions()
    with (package / "data" / name).open("a") as file:
        file.write("# edited")
    for old, new in zip(before, versions(), strict=True):
        assert old != new


def test_a_cache_that_cannot_be_written_is_one_line_with_the_way_out(
    config: TrialConfig, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(ConfigError) as caught:
        datasets.inspect(config)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'cache'}: ")
    assert "\n" not in message
    assert "`--set cache_dir=DIR`" in message


def test_a_full_disk_is_one_line_and_leaves_nothing(
    config: TrialConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            ConfigError, match=r"No space left on device; .*cache_dir=DIR"
        ) as caught:
            datasets.inspect(config)
    assert "\n" not in str(caught.value)
    assert [path.name for path in Path(config.cache_dir).iterdir()] == ["lock"]
    datasets.inspect(config)


def test_a_refused_tree_leaves_nothing(config: TrialConfig) -> None:
    (Path(config.data_root) / MASK).unlink()
    with pytest.raises(ConfigError, match="must exist"):
        datasets.inspect(config)
    assert [path.name for path in Path(config.cache_dir).iterdir()] == ["lock"]


# Several processes

PROCESS = """
import os, signal, sys, time
from pathlib import Path
from trainable.data import datasets, decoded_cache
from trainable.config.schema import TrialConfig
root, cache, meet, dies = sys.argv[1:]
original, count = decoded_cache.decode, 0
def decode(tree, sample):
    global count
    count += 1
    time.sleep(0.05)
    if dies and count == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(tree, sample)
decoded_cache.decode = decode
Path(meet, str(os.getpid())).touch()
while len(os.listdir(meet)) < (1 if dies else 2):
    time.sleep(0.005)
config = TrialConfig(data_root=root, voc_train="train", cache_dir=cache)
print(datasets.inspect(config).fingerprint, count)
"""


def start(config: TrialConfig, meet: Path, dies: str = "") -> subprocess.Popen[str]:
    meet.mkdir(exist_ok=True)
    command = [sys.executable, "-c", PROCESS, config.data_root, config.cache_dir, str(meet), dies]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_of_two_processes_that_start_at_once_one_decodes(
    config: TrialConfig, tmp_path: Path
) -> None:
    said = [
        process.communicate()[0].split()
        for process in [start(config, tmp_path / "meet") for _ in range(2)]
    ]
    assert sorted(int(count) for _, count in said) == [0, 6]
    assert {fingerprint for fingerprint, _ in said} == {datasets.inspect(config).fingerprint}


def test_a_process_killed_while_it_decodes_leaves_no_entry(
    config: TrialConfig, tmp_path: Path
) -> None:
    process = start(config, tmp_path / "meet", "dies")
    assert process.communicate()[0] == ""
    assert process.returncode == -9
    (left,) = entries(config)
    assert left.suffix == ".partial"
    assert not list(Path(config.cache_dir).glob("*.json"))
    fingerprint = datasets.inspect(config).fingerprint
    (entry,) = entries(config)
    assert entry.name.startswith(fingerprint)


# In threads, in order, with a bar


def test_results_come_in_order_and_only_a_few_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        time.sleep(0.002 * (item % 3))
        return item * item

    with parallel.in_order(work, range(50), "work") as results:
        assert next(results) == 0
        time.sleep(0.1)
        assert max(begun) <= 6
        assert list(results) == [item * item for item in range(1, 50)]
    with parallel.in_order(work, [], "work") as results:
        assert list(results) == []


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_is_shown_at_a_terminal_alone(
    config: TrialConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    datasets.inspect(config)
    assert capsys.readouterr() == ("", "")
    shutil.rmtree(config.cache_dir)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    datasets.inspect(config)
    assert "decoding train" in terminal.getvalue()
    assert "4/4" in terminal.getvalue()


# The device

GIB = 2**30


@pytest.mark.parametrize(
    ("device", "data_device", "nbytes", "there"),
    [
        ("cuda", "auto", 5 * GIB, True),
        ("cuda", "auto", 5 * GIB + 1, False),
        ("cuda", "host", 1, False),
        ("cuda", "device", 99 * GIB, True),
        ("cpu", "auto", 1, False),
    ],
)
def test_data_lies_on_a_gpu_that_has_twice_the_room(
    device: str, data_device: str, nbytes: int, there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (10 * GIB, 80 * GIB))
    assert devices.lies_on(torch.device(device), data_device, nbytes) == there


def test_a_data_set_moves_as_a_whole(config: TrialConfig) -> None:
    data = datasets.load(config)
    pixels = sum(height * width for height, width in (*VOC_SIZES, *VOC_SIZES[:2]))
    assert data.nbytes == 4 * pixels
    moved = data.to(torch.device("meta"))
    for split in (moved.train, moved.val):
        assert split.images.device.type == split.labels.device.type == "meta"
    assert (moved.classes, moved.fingerprint) == (data.classes, data.fingerprint)


def test_a_warm_worker_keeps_its_data_where_it_put_it(config: TrialConfig) -> None:
    def load(device: str, **values: Any) -> DataSet:
        data_config = training_run._data_config(replace(config, **values))
        return training_run._load_data(data_config, torch.device(device))

    mapped = load("cpu")
    assert load("cpu", seed=3, lambda_adv=1) is mapped
    there = load("meta", data_device="device")
    assert there.train.images.device.type == "meta"
    assert there.fingerprint == mapped.fingerprint
