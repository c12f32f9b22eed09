"""What `sweeps.benchmark mlflow-table` needs, and how it says so."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sweeps.benchmark import main
from sweeps.benchmarking import chromium, table_time


@pytest.mark.parametrize(
    ("missing", "remedy"), [("playwright", "'.[test]'"), ("Chromium", "chromium")]
)
def test_without_a_browser_it_is_refused_in_one_line_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    missing: str,
    remedy: str,
) -> None:
    monkeypatch.setattr(sys, "argv", ["benchmark", "mlflow-table"])
    monkeypatch.setattr(table_time, "make_record", pytest.fail)
    if missing == "playwright":
        monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    else:
        monkeypatch.setattr(chromium, "CHROMIUM", str(tmp_path / "chromium"))
    with pytest.raises(SystemExit) as refused:
        main()
    out, err = capsys.readouterr()
    assert (refused.value.code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: opening pages needs ")
    assert remedy in err
