"""What the options of a command make of a config."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainable.cli.options import ConfigOptions, config_of


@pytest.mark.parametrize("field", ["data_root", "cache_dir"])
def test_a_folder_is_the_same_wherever_a_worker_runs(
    field: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for given, wanted in (("cells", tmp_path / "cells"), ("~/cells", tmp_path / "home/cells")):
        options = ConfigOptions(
            preset=None, config=None, data_root=None, overrides=(f"{field}={given}",)
        )
        assert getattr(config_of(options), field) == str(wanted)
