"""What the doctor finds wrong with a machine, and what it advises."""

import json
import resource
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import torchvision
from trees import write_voc_tree

from sweeps import doctor
from sweeps.driver import health
from sweeps.driver.health import Finding
from sweeps.execution.ray_folder import RayFolderError

FINE = Finding(what="python", said="3.11")
WRONG = Finding(what="store", said="http://me:secret@host does not answer", advice="start it")


def run(
    findings: list[Finding], monkeypatch: pytest.MonkeyPatch, *options: str
) -> tuple[int, dict[str, object]]:
    given: dict[str, object] = {}

    def look(**looked_at: object) -> list[Finding]:
        given.update(looked_at)
        return findings

    monkeypatch.setattr(health, "look", look)
    monkeypatch.setattr(sys, "argv", ["doctor.py", *options])
    return doctor.main(), given


def test_all_is_well(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, given = run([FINE], monkeypatch, "--data-root", "a", "--data-root", "b", "--storage", "s")
    assert (code, given["data_roots"], given["storage"]) == (0, ("a", "b"), "s")
    assert capsys.readouterr().out == "ok     python   3.11\nall is well\n"


def test_what_is_wrong_stands_with_its_advice_and_without_secrets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([FINE, WRONG], monkeypatch)[0] == 1
    assert capsys.readouterr().out.splitlines()[1:] == [
        "wrong  store    http://***@host does not answer",
        "                start it",
        "1 of 2 are wrong",
    ]
    assert run([FINE, WRONG], monkeypatch, "--json")[0] == 1
    said = json.loads(capsys.readouterr().out)
    assert [one["ok"] for one in said["findings"]] == [True, False]
    assert said["wrong"] == 1


def test_a_torchvision_of_another_torch_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    assert health.of_torch().advice == ""

    def missing(*_: object) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(torchvision.ops, "nms", missing)
    found = health.of_torch()
    assert found.said.endswith(": operator torchvision::nms does not exist")
    assert "torch torchvision" in found.advice


@pytest.mark.parametrize(
    ("there", "usable", "built", "said", "advice"),
    [
        ([], False, "13.0", "no GPU", ""),
        (["T4"], True, "13.0", "T4; driver", ""),
        (["T4"], False, "13.0", "cannot use it", "update the driver"),
        (["T4"], False, None, "without CUDA", "install torch for CUDA"),
    ],
)
def test_a_gpu_that_torch_cannot_use_is_wrong(
    there: list[str],
    usable: bool,
    built: str | None,
    said: str,
    advice: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "gpus", lambda: [(name, "7.5") for name in there])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: usable)
    monkeypatch.setattr(torch.version, "cuda", built)
    found = health.of_gpus()
    assert said in found.said
    assert found.advice.startswith(advice)
    assert bool(found.advice) == bool(advice)


def test_too_little_memory_and_too_few_files_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LEAST_MEMORY", 1e30)
    assert "--max-concurrent 1" in health.of_memory().advice
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, 4096))
    assert health.of_open_files().advice.startswith("`ulimit -n ")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (4096, 4096))
    assert health.of_open_files().advice == ""


def test_a_home_that_cannot_be_written_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert health.of_home().advice == ""
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    assert "export HOME=" in health.of_home().advice


def test_a_ray_without_a_folder_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def nowhere() -> Iterator[Path]:
        raise RayFolderError("no folder; name one with RAY_TMPDIR")
        yield

    monkeypatch.setattr(health, "ray_folder", nowhere)
    assert health.of_ray(start=False).advice.endswith("name one with RAY_TMPDIR")


def test_a_store_is_wrong_that_does_not_answer_or_is_none(tmp_path: Path) -> None:
    found = health.of_store("http://127.0.0.1:9")
    assert found.said == "http://127.0.0.1:9 does not answer"
    assert found.advice.startswith("start it, or name another with --tracking-uri; it says: ")
    (tmp_path / "text.db").write_text("no database, but a text of more than a hundred bytes" * 4)
    assert health.of_store(f"sqlite:///{tmp_path}/text.db").advice
    new = health.of_store(f"sqlite:///{tmp_path}/mlflow.db")
    assert (new.advice, "no file yet" in new.said) == ("", True)
    assert [path.name for path in tmp_path.iterdir()] == ["text.db"]


def test_a_folder_without_room_or_that_is_a_file_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert health.of_storage(str(tmp_path / "runs")).advice == ""
    (tmp_path / "file").touch()
    assert "but" in health.of_storage(str(tmp_path / "file")).advice
    full = shutil.disk_usage(tmp_path)._replace(free=10**6)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    found = health.of_storage(str(tmp_path / "runs"))
    assert found.said.endswith("runs: 0.0 GB free")
    assert found.advice.startswith("make room")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_data_root_is_told_by_its_lists_and_another_folder_by_what_it_lacks(
    tmp_path: Path,
) -> None:
    found = health.of_data(str(write_voc_tree(tmp_path / "data")))
    assert "Pascal VOC 2012" in found.said
    assert "val " in found.said
    other = health.of_data(str(tmp_path))
    assert other.said.endswith("is no data set that is known")
    assert "VOCdevkit/VOC2012" in other.advice
