"""Drawing whole sweeps: in one process or several the same comes out, and a lost one is told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import figure_data
import pytest

from analysis.figures.appearance import paper_style, styled
from analysis.record.schema import RecordError
from analysis.record.sweep_data import SweepData
from analysis.report import processes, reuse
from analysis.report.draw import RenderedSweep, draw
from analysis.report.processes import Drawing, draw_all


def drawing(name: str) -> Drawing:
    trials = figure_data.lambda_grid(seeds=2, lambdas=(0.0, 0.01)).assign(record_hash="ab")
    trials.attrs |= {"sweep": name, "axes": ("lambda_adv",), "tracking_uri": "sqlite:///m.db"}
    return Drawing(data=SweepData(trials=trials, paper={}), suffix="_too")


def test_several_processes_draw_what_one_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [drawing("first"), drawing("second"), drawing("third")]
    here: list[str] = []

    def noted(data: SweepData, *, suffix: str) -> RenderedSweep:
        here.append(data.trials.attrs["sweep"])
        return draw(data, suffix=suffix)

    monkeypatch.setattr(processes, "draw", noted)
    with styled(paper_style()):
        found = draw_all(asked, processes=2, reuse=False)
        assert 0 < len(here) < len(asked)
        for one, data in zip(found, asked, strict=True):
            alone = draw(data.data, suffix="_too")
            assert [dict(item.files) for item in one.items] == [dict(i.files) for i in alone.items]


class Killed:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (1,)


def test_a_process_that_is_killed_is_told_in_one_line() -> None:
    killed: Any = Killed()
    with pytest.raises(RecordError, match=r"was killed.*--sweep"):
        draw_all([Drawing(data=killed), drawing("last")], processes=2, reuse=False)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The names of the sweeps that were drawn, and not taken from the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names: list[str] = []

    def noted(data: SweepData, *, suffix: str) -> RenderedSweep:
        names.append(data.trials.attrs["sweep"])
        return draw(data, suffix=suffix)

    monkeypatch.setattr(processes, "draw", noted)
    return names


def words(rendered: RenderedSweep) -> list[object]:
    return [
        [item.name, item.title, item.sentence, item.caption, item.shows, item.in_picture]
        + [item.picture, item.narrow]
        + ([] if item.table is None else [*item.table.columns, *item.table.to_numpy().tolist()])
        for item in rendered.items
    ]


def test_what_has_not_changed_is_not_drawn_again_and_reads_the_same(drawn: list[str]) -> None:
    ((first,), (again,)) = (draw_all([drawing("mine")]) for _ in range(2))
    assert drawn == ["mine"]
    assert [dict(item.files) for item in first.items] == [dict(item.files) for item in again.items]
    assert words(first) == words(again)
    assert first.left_out == again.left_out
    draw_all([drawing("mine")], reuse=False)
    assert drawn == ["mine", "mine"]


def change_value(data: SweepData) -> None:
    data.trials.loc[0, "swa/miou"] += 1e-9


def change_hash(data: SweepData) -> None:
    data.trials.loc[0, "record_hash"] = "cd"


def change_total(data: SweepData) -> None:
    data.trials.attrs["trials_total"] += 1


def begin_a_trial(data: SweepData) -> None:
    data.trials.loc[0, "record_hash"] = ""


@pytest.mark.parametrize("change", [change_value, change_hash, change_total, begin_a_trial])
def test_what_has_changed_is_drawn_again(
    drawn: list[str], change: Callable[[SweepData], None]
) -> None:
    before, after = drawing("mine"), drawing("mine")
    change(after.data)
    draw_all([before])
    draw_all([after])
    assert len(drawn) == 2


def test_a_trial_under_way_is_drawn_anew_each_time(drawn: list[str]) -> None:
    for _ in range(2):
        one = drawing("mine")
        begin_a_trial(one.data)
        draw_all([one])
    assert len(drawn) == 2


def test_another_style_or_code_is_drawn_anew(
    drawn: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    draw_all([drawing("mine")])
    with styled(paper_style()):
        draw_all([drawing("mine")])
    assert len(drawn) == 2
    draw_all([drawing("mine")])
    assert len(drawn) == 2  # each style keeps its own
    monkeypatch.setattr(reuse, "code_digest", lambda: "other")
    draw_all([drawing("mine")])
    assert len(drawn) == 3
