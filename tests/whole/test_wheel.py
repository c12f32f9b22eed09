"""A wheel holds every module and every file that the code reads beside its modules."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from paths import ROOT

from sweeps import pwa

OURS = ("trainable", "sweeps", "analysis")
NOT_SHIPPED = shutil.ignore_patterns("__pycache__", "*.egg-info", ".*")


def test_a_wheel_holds_all_that_the_packages_have(tmp_path: Path) -> None:
    tree, out = tmp_path / "tree", tmp_path / "out"  # building leaves files beside the sources
    for package in OURS:
        shutil.copytree(ROOT / package, tree / package, ignore=NOT_SHIPPED)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--no-build-isolation", "--wheel-dir", out, tree], check=True)
    (wheel,) = out.glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        held = {name for name in content.namelist() if name.startswith(OURS)}
        content.extractall(tmp_path / "installed")
    files = [path for package in OURS for path in (tree / package).rglob("*") if path.is_file()]
    assert held == {path.relative_to(tree).as_posix() for path in files}
    assert {f"{package}/py.typed" for package in OURS} < held
    assert {"analysis/paper.yaml", "analysis/report/report.js"} < held
    assert {"trainable/presets/demo.yaml", "trainable/presets/segtrack/merged16.yaml"} < held
    assert commands_of(tmp_path / "installed", tmp_path) == list(pwa.MODULES)


def commands_of(installed: Path, folder: Path) -> list[str]:
    """The commands that `pwa --help` names, run from another folder, without the source tree."""
    (entry_points,) = installed.glob("*.dist-info/entry_points.txt")
    assert "pwa = sweeps.pwa:main" in entry_points.read_text()
    program = "import sys; from sweeps.pwa import main; sys.argv = ['pwa', '--help']; main()"
    command = [sys.executable, "-c", program]
    env = os.environ | {"PYTHONPATH": str(installed)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True)
    return [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
