"""What is on the disk at each moment at which a kill or a power cut may come."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from trainable.run_folder import load_tensors, save_tensors, write_atomically


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What was synced and renamed, in order: the operation and the name, a folder's with a /."""
    done: list[tuple[str, str]] = []
    sync, rename = os.fsync, os.replace

    def fsync(descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        done.append(("sync", f"{path.name}/" if path.is_dir() else path.name))
        sync(descriptor)

    def replace(source: Any, target: Any) -> None:
        rename(source, target)
        done.append(("name", Path(target).name))

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    return done


def test_content_is_on_the_disk_before_its_name_and_that_before_anything_else(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    write_atomically(tmp_path / "result.json", b"{}")
    temporary = f".result.json.{os.getpid()}.tmp"
    folder = f"{tmp_path.name}/"
    assert calls == [("sync", temporary), ("name", "result.json"), ("sync", folder)]


def test_tensors_never_lie_there_without_their_checksum(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    path = tmp_path / "model.pt"
    save_tensors(path, {"weight": torch.ones(3)})
    named = [name for operation, name in calls if operation == "name"]
    assert named == ["model.sha256", "model.pt"]
    assert calls.index(("sync", f".model.pt.{os.getpid()}.tmp")) < calls.index(("name", "model.pt"))
    assert calls[-1] == ("sync", f"{tmp_path.name}/")
    assert torch.equal(load_tensors(path)["weight"], torch.ones(3))
