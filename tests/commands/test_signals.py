"""SIGTERM and SIGHUP end a command as Ctrl-C does, once, whatever becomes of the terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from paths import ROOT

from trainable.cli.options import INTERRUPTED, ended_by_signals, signals_handled


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_an_interrupt_and_one_that_nobody_catches_exits_with_130(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with ended_by_signals(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    with pytest.raises(SystemExit) as ended, ended_by_signals():
        signal.raise_signal(number)
    assert ended.value.code == INTERRUPTED
    assert capsys.readouterr().err == "interrupted\n"
    assert signal.getsignal(number) == before


def test_a_second_signal_of_another_kind_does_not_disturb_the_end() -> None:
    """As of systemd, which sends SIGTERM and SIGHUP together."""
    with ended_by_signals():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGHUP)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_by_signals():
            signal.raise_signal(signal.SIGHUP)
        with signals_handled(lambda number: pytest.fail(str(number)), signal.SIGHUP):
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


PROGRAM = """
import sys, time
from pathlib import Path
from trainable.cli.options import ended_by_signals
with ended_by_signals():
    try:
        Path("ready").touch()
        time.sleep(60)
    except KeyboardInterrupt:
        print("a last word", flush=True)
        print("and another", file=sys.stderr, flush=True)
        Path("ended").touch()
"""


def test_a_terminal_that_is_closed_lets_the_command_end_in_order(tmp_path: Path) -> None:
    terminal, its_end = pty.openpty()
    root = str(ROOT)
    child = subprocess.Popen(
        ["setsid", "--ctty", sys.executable, "-c", PROGRAM],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": root},
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
    )
    os.close(its_end)
    deadline = time.monotonic() + 60
    while not (tmp_path / "ready").exists():
        assert child.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.close(terminal)
    assert child.wait(60) == 0
    assert (tmp_path / "ended").exists()
