"""What every Python process of a sweep under test does first, and what it is made to suffer.

Python imports a module of this name at its start from the folder that PYTHONPATH names, so that
the product has no hooks. The environment says what happens:

    FAULTS_FOLDER  where iterations trained are counted, and strikes noted
    FAULTS_START   the number of this start of the sweep's command
    FAULTS_POINT   MODULE:FUNCTION:before|after:N, the N-th call at which a process is killed
    FAULTS_VICTIM  which: `driver` (default), or `self`, the one that makes the call
    FAULTS_CLOCK   seconds by which the wall clock is set back when the folder has a file `clock`
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

FOLDER = Path(os.environ["FAULTS_FOLDER"])
DRIVER = int(os.environ.setdefault("FAULTS_DRIVER", str(os.getpid())))
Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


def note(file: str, line: str) -> None:
    """Append a line in one write, which no other process's comes between."""
    with (FOLDER / file).open("ab", buffering=0) as log:
        log.write(f"{line}\n".encode())


def counted(step: Callable[..., Any]) -> Callable[..., Any]:
    """Note each iteration that `Trainer.step` has done."""

    @functools.wraps(step)
    def wrapped(self: Any) -> Any:
        losses = step(self)
        note("trained", str(self.iteration))
        return losses

    return wrapped


def struck(name: str, when: str, number: int) -> Wrap:
    """Kill the victim at the n-th call of any process, once for a start of the command."""
    calls = 0

    def strike() -> None:
        nonlocal calls
        calls += 1
        if calls != number:
            return
        with suppress(FileExistsError, ProcessLookupError):
            (FOLDER / f"struck-{os.environ['FAULTS_START']}").touch(exist_ok=False)
            note("strikes", name)
            own = os.environ.get("FAULTS_VICTIM", "driver") == "self"
            os.kill(os.getpid() if own else DRIVER, signal.SIGKILL)

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if when == "before":
                strike()
            given = function(*args, **kwargs)
            if when == "after":
                strike()
            return given

        return wrapped

    return wrap


def set_clock_back(by: float) -> None:
    """Have this process's wall clock jump back when the fault program says so."""
    right, right_ns, said = time.time, time.time_ns, FOLDER / "clock"

    def shift() -> float:
        return by if said.exists() else 0.0

    time.time = lambda: right() - shift()
    time.time_ns = lambda: right_ns() - round(shift() * 1e9)


class Wrapper(importlib.abc.MetaPathFinder):
    """Wraps functions of a module at its import, before another imports them from it."""

    def __init__(self, wraps: dict[str, list[tuple[str, Wrap]]]) -> None:
        self.wraps = wraps

    def find_spec(
        self, name: str, path: Any = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in self.wraps:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            for function, wrap in self.wraps[name]:
                *owners, last = function.split(".")
                owner = functools.reduce(getattr, owners, module)
                setattr(owner, last, wrap(getattr(owner, last)))

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


wraps: dict[str, list[tuple[str, Wrap]]] = {
    "trainable.training.trainer": [("Trainer.step", counted)]
}
if os.environ.get("FAULTS_POINT"):
    module, function, when, number = os.environ["FAULTS_POINT"].split(":")
    wrap = struck(os.environ["FAULTS_POINT"], when, int(number))
    wraps.setdefault(module, []).append((function, wrap))
if os.environ.get("FAULTS_CLOCK"):
    set_clock_back(float(os.environ["FAULTS_CLOCK"]))
sys.meta_path.insert(0, Wrapper(wraps))
