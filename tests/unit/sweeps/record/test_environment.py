"""What is recorded of the code: its own commit and changes, and nothing of what surrounds it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from sweeps.record import environment

FILES = {f"{name}/__init__.py": f'"""{name}"""\n' for name in environment.PACKAGES}
KEY = "Zq9-huNter"


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=n", "-c", "user.email=e", "-c", "init.defaultBranch=main")
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        ["git", *identity, *words], cwd=folder, env=env, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def repository(folder: Path, files: dict[str, str], *, ignored: str = "") -> str:
    """Make a repository of one commit, and return that."""
    write(folder, files | {".gitignore": ignored})
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "one")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def thesis(tmp_path: Path) -> Path:
    """Somebody's repository, with a key that is not committed, and an environment inside of it."""
    folder = tmp_path / "thesis"
    repository(folder, {"thesis.tex": "text\n"}, ignored="venv/\n")
    (folder / "thesis.tex").write_text(f"text\nnotes of mine {KEY}\n")
    return folder


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the packages lie in a folder."""
    write(folder, FILES)
    monkeypatch.setattr(environment, "HERE", folder / "sweeps")


def test_a_repository_round_an_installed_package_is_not_recorded(
    thesis: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(thesis / "venv/lib/site-packages", monkeypatch)
    assert (environment.git_commit(), environment.git_diff()) == ("unknown", "")


def test_packages_that_lie_untracked_in_a_repository_are_not_its_own(
    thesis: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(thesis, monkeypatch)
    git(thesis, "add", "trainable/__init__.py")
    assert (environment.git_commit(), environment.git_diff()) == ("unknown", "")


def test_of_a_repository_that_tracks_the_packages_only_they_are_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository(tmp_path, {**FILES, "thesis.tex": "text\n"})
    installed(tmp_path, monkeypatch)
    (tmp_path / "thesis.tex").write_text(KEY)
    assert (environment.git_commit(), environment.git_diff()) == (commit, "")
    (tmp_path / "sweeps" / "__init__.py").write_text(f'CHANGED = 1\nAPI_KEY = "{KEY}"\n')
    assert environment.git_commit() == f"{commit}-dirty"
    diff = environment.git_diff()
    assert "+CHANGED = 1" in diff
    assert "+API_KEY = ***" in diff
    assert KEY not in diff
    assert "thesis.tex" not in diff


@pytest.mark.parametrize("variable", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"])
def test_no_variable_leads_to_another_repository(
    variable: str, thesis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = repository(tmp_path / "ours", FILES)
    installed(tmp_path / "ours", monkeypatch)
    places = {"GIT_DIR": ".git", "GIT_WORK_TREE": "", "GIT_INDEX_FILE": ".git/index"}
    monkeypatch.setenv(variable, str(thesis / places[variable]))
    assert (environment.git_commit(), environment.git_diff()) == (commit, "")
    installed(thesis / "venv", monkeypatch)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "ours" / ".git"))
    assert (environment.git_commit(), environment.git_diff()) == ("unknown", "")


def test_no_program_of_the_users_settings_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository(tmp_path, FILES | {".gitattributes": "*.py diff=mine\n"})
    installed(tmp_path, monkeypatch)
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
    program.chmod(0o700)
    for name in ("diff.external", "core.fsmonitor", "diff.mine.textconv", "diff.mine.command"):
        git(tmp_path, "config", name, str(program))
    (tmp_path / "sweeps" / "__init__.py").write_text("CHANGED = 1\n")
    assert "+CHANGED = 1" in environment.git_diff()
    assert environment.git_commit().endswith("-dirty")
    assert not (tmp_path / "ran").exists()
