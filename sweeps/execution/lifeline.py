"""The Ray that a driver depends on: watched while it is needed, started anew where it dies.

Nothing tells a driver that its raylet or GCS is gone: Tune's loop waits for ever for workers that
are not there, and Ray itself ends the process a minute after the GCS.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from sweeps.execution.cluster import Door, answers
from trainable.cli.options import SOME_FAILED, signals_handled

PROBE_S = 2.0
ANSWER_S = 5.0
# Unanswered probes in a row, 42 s: what Ray takes to call a node dead. They are counted, and no
# clock is asked, which would run while this process, too, was stopped.
MOST_SILENT = 6
STUCK_S = 30.0  # for the driver's thread to leave what waits for a Ray that is gone
START_S = 300.0  # for what is left of it to end and another to start, tried thrice
RESTARTS = 2


class RayGoneError(RuntimeError):
    """Ray is gone and is not started again."""


class RayLost(BaseException):
    """A program of Ray is gone; no Exception, so that Tune takes it for no fault of a trial.

    Args:
        program: The name of the program.
        how: How it is gone, such as "does not answer".
    """

    def __init__(self, program: str, how: str) -> None:
        super().__init__(f"its {program} {how}")
        self.program = program


class Lifeline:
    """The programs of Ray that a driver needs, and how to start them anew.

    Args:
        doors: The address where each program listens, by the program's name.
        start: Ends what is left of Ray, starts it anew and returns the new doors; None for a
            cluster, which others start.
        end: Kills the program of this name, which may be stopped, so that Ray would wait for it.
        say: Called with a line at each new start.
    """

    def __init__(
        self,
        doors: Mapping[str, Door],
        start: Callable[[], Mapping[str, Door]] | None = None,
        end: Callable[[str], object] = str,
        say: Callable[[str], None] = print,
    ) -> None:
        self.doors = doors
        self._start = start
        self._end = end
        self._say = say
        self._restarts = 0

    def watch(self) -> Watch:
        """Return a context manager that watches the programs while it is entered."""
        return Watch(self.doors)

    def restart(self, lost: RayLost) -> None:
        """Start Ray anew.

        Args:
            lost: What says which program is gone.

        Raises:
            RayGoneError: Ray is a cluster, was started anew too often, or does not start.
        """
        if self._start is None:
            raise RayGoneError(f"the Ray cluster is lost: {lost}") from lost
        self._end(lost.program)
        if self._restarts == RESTARTS:
            raise RayGoneError(
                f"Ray's local node died once more: {lost}; it was started anew {RESTARTS} times"
            ) from lost
        self._restarts += 1
        self._say(
            f"Ray's local node died ({lost}); starting it anew, {self._restarts} of {RESTARTS}"
        )
        hung = threading.Timer(START_S, end_at_once, ("Ray hangs while it is started anew",))
        hung.daemon = True
        hung.start()
        try:
            self.doors = self._start()
        except RuntimeError as error:
            raise RayGoneError(str(error)) from error
        finally:
            hung.cancel()


class Watch:
    """A context manager that probes every few seconds whether each program of Ray answers.

    Where the driver's thread does not call `check` in time, as it hangs in a call to Ray, it is
    interrupted; where that does not help, the process ends. A thread beside the main one cannot be
    interrupted, and the process is not its own to end: it hangs on.

    Args:
        doors: The address where each program listens, by the program's name.

    Attributes:
        lost: The program that is gone and how, None while all answer.

    Raises:
        RayLost: At the exit, in place of its own interrupt.
    """

    def __init__(self, doors: Mapping[str, Door]) -> None:
        self.doors = doors
        self.lost: tuple[str, str] | None = None
        self._interrupted = self._in_main = False
        self._over = threading.Event()
        self._interrupts = signals_handled(_interrupt, signal.SIGUSR2)
        self._silent = dict.fromkeys(doors, 0)

    def check(self) -> None:
        """Raise an error if a program is gone.

        Raises:
            RayLost: A program is gone.
        """
        if self.lost:
            raise RayLost(*self.lost)

    def __enter__(self) -> Self:
        self._interrupts.__enter__()
        self._in_main = threading.current_thread() is threading.main_thread()
        if self.doors:
            threading.Thread(target=self._look, name="watch", daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._interrupts.__exit__(None, None, None)
        if self.lost and self._interrupted and kind is KeyboardInterrupt:
            raise RayLost(*self.lost) from None

    def _look(self) -> None:
        while not self.lost:
            if self._over.wait(PROBE_S):
                return
            faults = ((name, self._fault(name)) for name in self.doors)
            self.lost = next((fault for fault in faults if fault[1]), None)
        if not self._over.wait(STUCK_S) and self._in_main:
            self._interrupted = True
            # SIGINT is ignored in what a script has in the background.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)
            if not self._over.wait(STUCK_S):
                lost = " ".join(self.lost)
                end_at_once(f"Ray is gone (its {lost}), and the driver hangs in a call to it")

    def _fault(self, name: str) -> str:
        """Return why a program is taken for gone, empty where it is not."""
        try:
            silent = not answers(self.doors[name], ANSWER_S)
        except ConnectionRefusedError:
            return "is gone"
        self._silent[name] = self._silent[name] + 1 if silent else 0
        if self._silent[name] < MOST_SILENT:
            return ""
        return "does not answer"


def _interrupt(number: int) -> None:
    raise KeyboardInterrupt


def end_at_once(why: str) -> None:
    """End the process, whose thread hangs in Ray; what was trained is in the run folders."""
    print(f"error: {why}; the same command resumes", file=sys.stderr, flush=True)
    os._exit(SOME_FAILED)
