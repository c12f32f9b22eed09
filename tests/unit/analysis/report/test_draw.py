"""Drawing whole sweeps: in one process or several the same comes out, and a lost one is told."""

from __future__ import annotations

import os
from typing import Any

import figure_data
import pytest

from analysis.figures.appearance import paper_style, styled
from analysis.record.schema import RecordError
from analysis.record.sweep_data import SweepData
from analysis.report import processes
from analysis.report.draw import RenderedSweep, draw
from analysis.report.processes import Drawing, draw_all


def drawing(name: str) -> Drawing:
    trials = figure_data.lambda_grid(seeds=2, lambdas=(0.0, 0.01))
    trials.attrs |= {"sweep": name, "axes": ("lambda_adv",)}
    return Drawing(data=SweepData(trials=trials, paper={}), suffix="_too")


def test_several_processes_draw_what_one_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [drawing("first"), drawing("second"), drawing("third")]
    here: list[str] = []

    def noted(data: SweepData, *, suffix: str) -> RenderedSweep:
        here.append(data.trials.attrs["sweep"])
        return draw(data, suffix=suffix)

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(processes, "draw", noted)
    with styled(paper_style()):
        found = draw_all(asked)
        assert 0 < len(here) < len(asked)
        for one, data in zip(found, asked, strict=True):
            alone = draw(data.data, suffix="_too")
            assert [dict(item.files) for item in one.items] == [dict(i.files) for i in alone.items]


class Killed:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (1,)


def test_a_process_that_is_killed_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    killed: Any = Killed()
    with pytest.raises(RecordError, match=r"was killed.*--sweep"):
        draw_all([Drawing(data=killed), drawing("last")])
