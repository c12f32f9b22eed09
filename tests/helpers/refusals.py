"""What a command refuses: one line, and nothing written."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from types import ModuleType

import pytest

from sweeps import lambda_grid


def refused(
    argv: Sequence[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """Run `lambda_grid` in this process, which must refuse, and return its one line."""
    return refusal_of(lambda_grid, argv, monkeypatch, capsys)


def refusal_of(
    script: ModuleType,
    argv: Sequence[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> str:
    """Run a script in this process, which must refuse, and return its one line."""
    monkeypatch.setattr(sys, "argv", [str(script.__file__), *argv])
    with pytest.raises(SystemExit) as ended:
        script.main()
    assert ended.value.code == 2
    return one_line(capsys.readouterr().err)


def one_line(stderr: str) -> str:
    assert re.fullmatch(r"error: \S[^\n]*\n", stderr), stderr
    return stderr
