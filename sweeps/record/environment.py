"""What a sweep ran on and with: machine, packages, command, and the code as git knows it."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess  # nosec B404  # words, no shell
import sys
from collections.abc import Mapping
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from trainable.storage.redaction import redact, redact_command

MOST_DIFF = 1_000_000  # characters
PACKAGES = ("trainable", "sweeps", "analysis")
OUTPUT_S = 120.0  # of git or nvidia-smi, on a machine that is busy or whose disk is slow
HERE = Path(__file__).parents[1]


def environment() -> dict[str, Any]:
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
        "command": shlex.join(redact_command([Path(sys.executable).name, *sys.argv])),
    }


def git_commit() -> str:
    """Return the commit of the code, `-dirty` after it if changed since.

    `unknown` where no repository tracks these files: what surrounds an installed package, such as
    its user's own project, has another history.
    """
    if not _tracked():
        return "unknown"
    commit = _git("rev-parse", "HEAD").decode().strip()
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", *PACKAGES)
    return f"{commit}-dirty" if changed else commit or "unknown"


def git_diff() -> str:
    """Return how this code differs from its commit, without secrets; cut where it is long.

    Empty where no repository tracks it, and without what else is in the repository.
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
    """Return whether a repository round the packages tracks them."""
    return bool(
        _git("ls-files", "--error-unmatch", "--", *(f"{one}/__init__.py" for one in PACKAGES))
    )


def _git(*words: str) -> bytes:
    """Return what git says of the folder that the packages lie in, and of no other.

    GIT_DIR and the like may name another repository; a monitor of files is a program, too.
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
    """Return the version of each installed package, read once: there are hundreds of files."""
    return dict(sorted((found.name, found.version) for found in distributions() if found.name))


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def gpus() -> list[tuple[str, str]]:
    """Return name and compute capability of the machine's GPUs; torch would take memory to tell."""
    query = "--query-gpu=name,compute_cap"
    told = _output("nvidia-smi", query, "--format=csv,noheader", folder=HERE).decode()
    parts = [line.rpartition(",") for line in told.splitlines() if line.strip()]
    return [(name.strip(), capability.strip()) for name, _, capability in parts]


def _output(*command: str, folder: Path, env: Mapping[str, str] | None = None) -> bytes:
    """Return what a command says, nothing where it is not there or fails."""
    try:
        done = subprocess.run(  # nosec B603  # words, no shell
            command, cwd=folder, env=env, capture_output=True, check=True, timeout=OUTPUT_S
        )
    except (OSError, subprocess.SubprocessError):
        return b""
    return done.stdout
