"""When a search has found enough: also after a kill, and with what it says then."""

from __future__ import annotations

from pathlib import Path

import pytest
from kills import goes_on_as_if_never_killed, searched
from search_helpers import search_of

from sweeps.search import stopping
from sweeps.search.method import Enough
from sweeps.search.stopping import Progress
from trainable.config.schema import ConfigError

pytestmark = [pytest.mark.trains, pytest.mark.usefixtures("_nothing_stored")]


def test_patience_ends_a_search_where_nothing_has_improved_also_after_a_kill(
    tmp_path: Path,
) -> None:
    search = search_of(sampler="random", asks=40, confirm=1, enough=Enough(patience=4))
    at = goes_on_as_if_never_killed(tmp_path, search, first=20, step=15, distinct=False)
    assert at > 20
    source = searched(tmp_path / "straight", search)
    assert 4 < len(source.asks) < 40
    (note,) = [note for note in source.state.notes if "ended after" in note]
    asked = len(source.asks)
    assert note.startswith(f"the search ended after {asked} of 40 settings: the last ")
    # Each slot may have begun one more before the last of four ended.
    assert "4 settings to end" in note or "5 settings to end" in note
    phases = [source.state.tags[t.trial_key]["phase"] for t in source.state.trials]
    assert phases.count("confirm") == 2  # it is confirmed as any other


def test_more_patience_goes_on_with_the_same_search(tmp_path: Path) -> None:
    def asks(patience: int | None, folder: str) -> list[object]:
        search = search_of(sampler="random", asks=14, enough=Enough(patience=patience))
        return [ask.values for ask in searched(tmp_path / folder, search, slots=1).asks]

    few, all_of_them = asks(2, "one"), asks(None, "other")
    assert len(few) < len(all_of_them) == 14
    assert asks(None, "one") == all_of_them
    assert few == all_of_them[: len(few)]


def test_a_front_that_grows_is_progress_and_a_crash_is_no_sign_of_its_end() -> None:
    progress = Progress(("swa/miou", "cost/train_s"))
    ended: list[tuple[str, tuple[float, ...] | None, int]] = [
        ("COMPLETE", (0.5, 10.0), 0),
        ("COMPLETE", (0.6, 20.0), 0),  # better and dearer
        ("COMPLETE", (0.4, 15.0), 1),  # beaten by the first
        ("PRUNED", None, 2),
        ("FAIL", None, 2),
        ("COMPLETE", (0.5, 10.0), 3),  # the first again
        ("COMPLETE", (0.5, 9.0), 0),
    ]
    for state, values, stagnant in ended:
        progress.end(state, values)
        assert progress.stagnant == stagnant
    assert progress.front == [(0.6, 20.0), (0.5, 9.0)]


def test_the_terminator_ends_a_search_that_has_little_left_to_gain_also_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "LEAST_TRIALS", 6)
    search = search_of(sampler="random", asks=40, enough=Enough(room=6.0))
    at = goes_on_as_if_never_killed(tmp_path, search, first=30, step=40, distinct=False)
    assert at > 30
    source = searched(tmp_path / "straight", search)
    assert 6 <= len(source.asks) < 40
    (note,) = [note for note in source.state.notes if "terminator" in note]
    left = float(note.split("leaves ")[1].split()[0])
    assert 0 <= left < 6


def test_the_terminator_has_one_objective(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one objective, but got 2; take --patience"):
        searched(
            tmp_path,
            search_of(sampler="random", enough=Enough(room=1.0)),
            objectives=("swa/miou", "cost/train_s"),
        )
