"""A command whose standard output nobody reads on ends as by SIGPIPE: at once, without a word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

BY_SIGPIPE = -signal.SIGPIPE  # a shell says 141

# Each writes more than a pipe holds, or to one that was closed before.
PRINTS = """
import sys
from trainable.cli.options import command, ended_by_signals

@ended_by_signals()
@command
def main():
    try:
        for n in range(100_000):
            print("line", n)
        return 0
    finally:
        print("cleared up", file=open("cleared", "w"))

sys.exit(main())
"""
RETURNS = """
import sys
from trainable.cli.streams import ended_by_closed_output

@ended_by_closed_output()
def main():
    print("one line that waits in a buffer")
    return 0

sys.exit(main())
"""
REFUSES = """
import sys
from trainable.cli.options import Parser, ended_by_signals

@ended_by_signals()
def main():
    Parser(prog="it").parse_args(["--help"])

sys.exit(main())
"""
RICH = """
import sys
from rich.console import Console
from trainable.cli.streams import ended_by_closed_output

@ended_by_closed_output()
def main():
    for n in range(100_000):
        Console().print("line", n)

sys.exit(main())
"""
SWEEPS = """
import sys
from sweeps.driver.console import open_console, say
from trainable.cli.options import ended_by_signals

@ended_by_signals()
def main():
    console = open_console(stderr=False)
    try:
        while True:
            say(console, "a run has ended")
    except KeyboardInterrupt:
        say(console, "the last word of one that is interrupted does not fail")
        print("cleared up", file=open("cleared", "w"))
        raise

sys.exit(main())
"""


def ended(program: str, folder: Path, *, closed: int) -> tuple[int, str]:
    """Run a program whose standard output (1) or error (2) nobody reads; return code and rest."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONUNBUFFERED", None)  # argparse passes over what it cannot write
    read_end, write_end = os.pipe()
    os.close(read_end)
    streams = {1: subprocess.PIPE, 2: subprocess.PIPE} | {closed: write_end}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        stdout=streams[1],
        stderr=streams[2],
        text=True,
        check=False,
    )
    os.close(write_end)
    return done.returncode, (done.stderr if closed == 1 else done.stdout) or ""


@pytest.mark.parametrize("program", [PRINTS, RETURNS, REFUSES, RICH, SWEEPS])
def test_a_closed_output_ends_a_command_without_a_word(program: str, tmp_path: Path) -> None:
    assert ended(program, tmp_path, closed=1) == (BY_SIGPIPE, "")
    if "cleared" in program:
        assert (tmp_path / "cleared").read_text() == "cleared up\n"


def test_a_closed_standard_error_does_so_too(tmp_path: Path) -> None:
    program = RETURNS.replace('buffer")', 'buffer", file=sys.stderr)')
    assert ended(program, tmp_path, closed=2) == (BY_SIGPIPE, "")


def test_a_pipe_of_the_commands_own_that_breaks_is_an_error_as_before(tmp_path: Path) -> None:
    program = RETURNS.replace('print("one', 'raise BrokenPipeError("of a server") or print("one')
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.endswith("BrokenPipeError: of a server\n")
