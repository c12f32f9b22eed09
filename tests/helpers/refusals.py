"""What a command refuses: one line, and nothing written."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from sweeps import lambda_grid

SCRIPT = Path(lambda_grid.__file__)


def refused(
    argv: Sequence[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """Run the script in this process, which must refuse, and return its one line."""
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *argv])
    with pytest.raises(SystemExit) as ended:
        lambda_grid.main()
    assert ended.value.code == 2
    return one_line(capsys.readouterr().err)


def one_line(stderr: str) -> str:
    assert re.fullmatch(r"error: \S[^\n]*\n", stderr), stderr
    return stderr
