"""Describe what a sweep runs on and with: machine, packages, command, and the code in git."""

from __future__ import annotations

import getpass
import os
import platform
import shlex
import subprocess  # nosec B404  # words, no shell
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import distributions
from pathlib import Path

from trainable.cli.parser import CONSOLE, command_line, program
from trainable.storage.redaction import redact

MOST_DIFF = 1_000_000  # characters
PACKAGES = ("trainable", "sweeps", "analysis")
OUTPUT_S = 120.0  # of git or nvidia-smi, on a machine that is busy or whose disk is slow
HERE = Path(__file__).parents[1]


def environment() -> dict[str, object]:
    """Return the machine of the driver, the installed packages and the command."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory / 1e9, 1),
        "gpus": [name for name, _ in gpus()],
        "packages": _packages(),
        "command": command_line(*program(), *sys.argv[1:]),
    }


def owner() -> str:
    """Return who runs this program, and where, as `user@host`."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # of a container, whose user may have no name
        user = f"uid{os.getuid()}"
    return f"{user}@{platform.node()}"


def source_tags(described: Mapping[str, object], commit: str) -> dict[str, str]:
    """Return the tags by which MLflow's pages show what made a run.

    Args:
        described: What `environment` returned.
        commit: What `git_commit` returned.
    """
    words = shlex.split(str(described.get("command", "")))
    if words[:1] != [CONSOLE]:
        words = words[2:] if words[1:2] == ["-m"] else words[1:]
    name = " ".join(words[:2] if words[:1] == [CONSOLE] else words[:1])
    tags = {"mlflow.source.name": name, "mlflow.source.type": "LOCAL"} if name else {}
    return tags if commit == "unknown" else tags | {"mlflow.source.git.commit": commit}


def git_commit() -> str:
    """Return the commit of the code, with `-dirty` after it if the code was changed since.

    It is `unknown` where no repository tracks these files: what surrounds an installed package,
    such as its user's own project, has another history.
    """
    if not _tracked():
        return "unknown"
    commit = _git("rev-parse", "HEAD").decode().strip()
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *PACKAGES)
    return f"{commit}-dirty" if changed else commit or "unknown"


def git_diff() -> str:
    """Return the diff of this code against its commit, with secrets hidden and a limited length.

    It covers only the three packages, and is empty where no repository tracks them.
    """
    if not _tracked():
        return ""
    # Neither a program of the user's settings nor colours, but the text itself.
    plain = ("--no-ext-diff", "--no-textconv", "--no-color")
    text = redact(_git("diff", *plain, "HEAD", "--", *PACKAGES).decode(errors="replace"))
    if len(text) > MOST_DIFF:
        return f"{text[:MOST_DIFF]}\n[cut: {MOST_DIFF} of {len(text)} characters]\n"
    return text


def _tracked() -> bool:
    """Return whether a git repository tracks the three packages."""
    return bool(
        _git("ls-files", "--error-unmatch", "--", *(f"{one}/__init__.py" for one in PACKAGES))
    )


def _git(*words: str) -> bytes:
    """Return the output of a git command in the folder that holds the packages.

    Variables such as GIT_DIR, which may name another repository, and the user's monitor of files,
    which is a program, are left out.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    quiet = (
        "git",
        "--no-optional-locks",
        "-c",
        "core.fsmonitor=false",
        "-c",
        "core.quotePath=true",
    )
    return _output(*quiet, *words, folder=HERE.parent, env=env)


@cache
def _packages() -> dict[str, str]:
    """Return the version of each installed package by its name; hundreds of files are read once."""
    return dict(sorted((found.name, found.version) for found in distributions() if found.name))


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def gpus() -> list[tuple[str, str]]:
    """Return the name and compute capability of each GPU; torch would take GPU memory to tell."""
    query = "--query-gpu=name,compute_cap"
    told = _output("nvidia-smi", query, "--format=csv,noheader", folder=HERE).decode()
    parts = [line.rpartition(",") for line in told.splitlines() if line.strip()]
    return [(name.strip(), capability.strip()) for name, _, capability in parts]


def _output(*command: str, folder: Path, env: Mapping[str, str] | None = None) -> bytes:
    """Return the output of a command, empty where the command is missing or fails."""
    try:
        done = subprocess.run(  # nosec B603  # words, no shell
            command, cwd=folder, env=env, capture_output=True, check=True, timeout=OUTPUT_S
        )
    except (OSError, subprocess.SubprocessError):
        return b""
    return done.stdout
