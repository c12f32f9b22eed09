"""Who reads what a command says: a person at a terminal who waits, or a pipe that may be closed."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

STDOUT, STDERR = 1, 2


class OutputClosed(KeyboardInterrupt):
    """Nobody reads on, as after `| head`: it ends a command as an interrupt does."""


def tell_who_waits(text: str, *, anyone: bool = False) -> None:
    """Say on standard error what takes a while: on a terminal, or to `anyone` who reads it."""
    if anyone or sys.stderr.isatty():
        print(text, file=sys.stderr, flush=True)


@contextmanager
def ended_by_closed_output() -> Iterator[None]:
    """Let a standard stream whose reader has gone end the process as SIGPIPE does: without a word.

    Python ignores that signal, and so a write fails at any place. It is not let through while the
    command works: what it began is ended in order first. A shell says 141.
    """
    try:
        yield
        _flush()
    except OutputClosed:
        _end_by_sigpipe()
    except BrokenPipeError:
        if not _reader_gone():
            raise
        _end_by_sigpipe()
    except SystemExit as end:
        # rich has a way of its own to end of it, and argparse ends without a flush.
        if isinstance(end.__context__, BrokenPipeError):
            _end_by_sigpipe()
        try:
            _flush()
        except BrokenPipeError:
            _end_by_sigpipe()
        raise


def silence(stream: int) -> None:
    """Let what is written to a stream go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream)
    os.close(nowhere)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError):  # it is closed
            stream.flush()


def _reader_gone() -> bool:
    """Return whether standard output or error is a pipe that nobody reads."""
    poll = select.poll()
    for stream in (STDOUT, STDERR):
        poll.register(stream, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def _end_by_sigpipe() -> NoReturn:
    for stream in (STDOUT, STDERR):
        silence(stream)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGPIPE)
    os._exit(128 + signal.SIGPIPE)  # process 1 of a container is not ended by it
