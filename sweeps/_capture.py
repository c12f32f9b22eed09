"""What a sweep ran on and with: machine, packages, command, and the code as git knows it."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from trainable.redaction import redact_command

MAX_DIFF_BYTES = 1_000_000
HERE = Path(__file__).parent


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
    """Return the commit of the code, `-dirty` after it if changed since; `unknown` outside git."""
    described = _output(
        "git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude", "*", folder=HERE
    )
    return described.decode().strip() or "unknown"


def git_diff() -> str:
    """Return how the tracked files differ from the commit; cut, and said so, where it is long."""
    diff = _output("git", "diff", "HEAD", folder=HERE.parent)
    text = diff[:MAX_DIFF_BYTES].decode(errors="replace")
    if len(diff) > MAX_DIFF_BYTES:
        text += f"\n[cut: {MAX_DIFF_BYTES} of {len(diff)} bytes]\n"
    return text


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


def _output(*command: str, folder: Path) -> bytes:
    """Return what a command says, nothing where it is not there or fails."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return b""
    return done.stdout
