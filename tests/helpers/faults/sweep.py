"""The sweeps that suffer: small enough for forty kills, and run as a person runs them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from paths import ROOT
from small import SMALL, left_to_a_search

INSIDE = Path(__file__).parent / "inside"
DEADLINE_S = 900.0  # of any wait: many times what it takes, on a busy machine too
ITERATIONS = 60


class NotReachedError(RuntimeError):
    """What a scenario waits for did not come."""


class NotHereError(RuntimeError):
    """This machine lacks what a scenario needs."""


@dataclass(frozen=True)
class Question:
    """A sweep that is asked: its script, and the options that make it small."""

    script: str
    options: tuple[str, ...]
    overrides: tuple[str, ...]

    def command(self, *options: str) -> list[str]:
        sets = [part for setting in self.overrides for part in ("--set", setting)]
        script = str(ROOT / "sweeps" / self.script)
        return [sys.executable, script, *self.options, *sets, "--no-figures", *options]


TINY = (*SMALL, f"iterations={ITERATIONS}", "log_every=10", "eval_every=20", "checkpoint_every=10")
GRID = Question(
    script="lambda_grid.py",
    options=("--seeds", "3", "--lambdas", "0", "0.01", "0.1"),
    overrides=TINY,
)
# One at a time: what a sampler suggests follows from the order in which runs end. None is stopped
# half-way: a run of a second may be over before it hears of that.
SEARCH = Question(
    script="joint_search.py",
    options=(
        *("--asks", "5", "--confirm", "1", "--seeds", "2", "--sampler", "tpe"),
        *("--scheduler", "none", "--readouts", "sampled", "--max-concurrent", "1", "--no-model"),
    ),
    overrides=left_to_a_search(TINY),
)


class Sweep:
    """One question in a folder of its own, asked as often as it takes.

    Args:
        question: What is asked.
        folder: Must not be there. Notes of what is said and done lie beside it, where no fault
            fills the disk.
        options: Of every command.
        tracking_uri: Where the record is; None is the SQLite file of a person who says nothing.
        environment: Of every command, besides this process's.
    """

    def __init__(
        self,
        question: Question,
        folder: Path,
        *options: str,
        tracking_uri: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.question = question
        self.folder = folder
        self.notes = folder.with_name(f"{folder.name}-notes")
        self.options = options
        self.tracking_uri = tracking_uri or f"sqlite:///{folder}/mlflow.db"
        if tracking_uri:
            self.options += ("--tracking-uri", tracking_uri)
        self.environment = environment or {}
        self.kills = 0
        self._starts = 0
        folder.mkdir(parents=True)
        self.notes.mkdir()

    def start(self, *options: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start the command; what it says is kept in the notes."""
        self._starts += 1
        given = self.inside()
        with (self.notes / "said").open("ab") as said:
            return subprocess.Popen(
                self.question.command(*self.options, *options),
                cwd=self.folder,
                env={**os.environ, **given, **self.environment, **environment},
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def inside(self) -> dict[str, str]:
        """Return the environment that brings `sitecustomize` into the processes of a sweep."""
        path = os.pathsep.join([str(INSIDE), str(ROOT), os.environ.get("PYTHONPATH", "")])
        given = {"PYTHONPATH": path, "FAULTS_FOLDER": str(self.notes)}
        return given | {"FAULTS_START": str(self._starts)}

    def finish(self, *options: str, **environment: str) -> int:
        """Run the command to its end, and return its exit code."""
        return self.wait(self.start(*options, **environment))

    def wait(self, driver: subprocess.Popen[bytes]) -> int:
        """Wait for the end of a command, and return its exit code.

        Raises:
            NotReachedError: It does not end; it was killed.
        """
        try:
            return driver.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            kill_all(driver)
            raise NotReachedError(f"no end after {DEADLINE_S:g} s: {self.last_words()}") from None

    def said(self) -> str:
        """Return all that the commands wrote to their terminals."""
        return (self.notes / "said").read_text(errors="replace")

    def last_words(self) -> str:
        """Return the last line of that."""
        return (self.said().strip().splitlines() or ["nothing"])[-1]

    def trained(self) -> int:
        """Return how many iterations were done, those that a kill had done again twice."""
        path = self.notes / "trained"
        return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for(what: str, there: Callable[[], object], driver: subprocess.Popen[bytes]) -> None:
    """Wait until something is there while a driver works.

    Raises:
        NotReachedError: The driver ended before, or it took too long.
    """
    deadline = time.monotonic() + DEADLINE_S
    while not there():
        if driver.poll() is not None:
            raise NotReachedError(f"the driver ended with {driver.returncode} before {what}")
        if time.monotonic() > deadline:
            raise NotReachedError(f"{what} did not come in {DEADLINE_S:g} s")
        time.sleep(0.02)


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes that a process started, and those that they started."""
    for path in Path("/proc").glob(f"{pid}/task/*/children"):
        with suppress(OSError):
            for child in path.read_text().split():
                yield int(child)
                yield from descendants(int(child))


def title(pid: int) -> str:
    """Return the command line of a process; Ray writes into a worker's what it runs."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def kill_all(driver: subprocess.Popen[bytes]) -> None:
    """Kill a driver and all that it started, as the end of a container or of a machine does."""
    for pid in [driver.pid, *descendants(driver.pid)]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    driver.wait()
