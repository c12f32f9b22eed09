"""The screen, the record's parent and the report name the same best, whatever seeds are there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from record_helpers import fail, finish, grid, sweep_state
from store_helpers import parent_of, publish

from analysis.figures.fig4 import fig4_table
from analysis.record.schema import Race
from analysis.record.trials import load_trials
from analysis.report.best_card import OPTIMISTIC, best_card
from analysis.result_tables.summaries import TO_BEST, grid_summary
from analysis.stats.intervals import Interval, mean_share
from analysis.stats.rounding import describe_percent, fixed
from sweeps.driver.best_config import BestConfig
from sweeps.driver.summary import SweepSummary
from sweeps.driver.tables import format_best
from sweeps.execution.progress import ExecutionStats
from sweeps.planning import objectives
from sweeps.planning.state import SweepState
from sweeps.record.manifest import take_over_trials
from trainable.config.schema import Readout, TrialConfig
from trainable.runs.results import Result
from trainable.runs.results import summary as numbers_of

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

FAILED, NAN = "failed", math.nan
IS_NAN = -1.0  # what stands for NaN in a run folder, whose files hold none
Values = Sequence[float | str | None]  # by seed; None where the seed was not asked for

# By lambda. Each pattern has what only one reading of "best" would name.
PATTERNS: dict[str, Mapping[float, Values]] = {
    "all seeds": {0.0: (0.5, 0.6, 0.55), 0.1: (0.6, 0.7, 0.66), 0.2: (0.3, 0.31, 0.35)},
    "a lucky setting with one seed": {0.0: (0.9, None, None), 0.1: (0.6, 0.7, 0.65)},
    "a lucky setting that failed at most seeds": {
        **{0.0: (0.9, FAILED, FAILED), 0.1: (0.6, 0.7, 0.65), 0.2: (0.5, 0.6, 0.56)},
    },
    "a lucky setting whose other seeds are no numbers": {
        **{0.0: (NAN, NAN, 0.9), 0.1: (0.6, 0.7, 0.65), 0.2: (0.1, 0.15, 0.12)},
    },
    "most settings lack a seed": {
        **{0.0: (0.5, 0.6, 0.1), 0.1: (0.4, 0.65, None), 0.2: (0.3, 0.3, FAILED)},
        **{0.3: (0.2, 0.5, NAN)},
    },
    "most settings lack a seed, and the best by all its seeds is another": {
        **{0.0: (0.61, 0.60, 0.2), 0.1: (0.55, 0.54, 0.99), 0.2: (0.5, 0.51, None)},
        **{0.3: (0.1, 0.11, None), 0.4: (0.2, 0.22, FAILED)},
    },
    "no seed in common": {0.0: (0.5, 0.6, None, None), 0.1: (FAILED, None, 0.7, 0.75)},
    "no seed in common, and most lack some": {
        **{0.0: (0.5, None, None), 0.1: (None, 0.7, None), 0.2: (None, None, 0.6)},
    },
    "ties": {0.2: (0.6, 0.7), 0.1: (0.6, 0.7), 0.3: (0.7, 0.6), 0.0: (0.5, 0.8)},
    "ties of sums that depend on their order": {
        **{0.2: (0.3, 0.2, 0.1), 0.1: (0.1, 0.2, 0.3), 0.3: (0.2, 0.1, 0.3)},
    },
    "zeros of both signs": {0.1: (0.0, -0.0), 0.2: (-0.0, 0.0), 0.0: (-0.0, -0.0)},
    "one seed": {0.0: (0.5,), 0.1: (0.7,), 0.2: (0.6,)},
    "one setting": {0.1: (0.5, FAILED, 0.6)},
    "told apart, but not in a race": {
        **{0.0: (0.5, 0.62, 0.55), 0.1: (0.55, 0.682, 0.59), 0.2: (0.54, 0.67, 0.61)},
    },
    "above the best where both have seeds": {
        **{0.0: (0.5, 0.5001, 0.5, 0.9), 0.1: (0.55, 0.55, 0.55, FAILED)},
    },
}


def swept(storage: Path, pattern: Mapping[float, Values], race: Race | None = None) -> SweepState:
    """A sweep over lambda, or a race of its settings, that has ended with these values."""
    values = {
        (lambda_adv, seed): value
        for lambda_adv, by_seed in pattern.items()
        for seed, value in enumerate(by_seed)
        if value is not None
    }
    configs = [grid([lambda_adv], [seed])[0] for lambda_adv, seed in values]
    state = sweep_state(storage, configs)
    state.hold_race(race)

    def miou(config: TrialConfig, _: object) -> tuple[float, float]:
        value = float(values[config.lambda_adv, config.seed])
        return (0.5, IS_NAN) if math.isnan(value) else (0.75 - value, value)

    for run in state.runs:
        if values[run.spec.config.lambda_adv, run.spec.config.seed] == FAILED:
            fail(state, run, "loss_mce is nan")
        else:
            finish(state, run, miou)
    return state


def asked_in_two(state: SweepState, uri: str) -> SweepState:
    """What the second of two commands knows of a sweep whose folders hold all numbers.

    The first asks for all but the last lambda, the second for that one and every first seed.
    """
    plan, configs = state.plan, [trial.config for trial in state.trials]
    last = max(config.lambda_adv for config in configs)
    lambdas = {config.lambda_adv for config in configs}
    first = [one for one in configs if one.lambda_adv < last or len(lambdas) == 1]
    second = [one for one in configs if one.lambda_adv == last or one.seed == 0]
    publish(sweep_state(plan.storage, first), uri)
    known = sweep_state(plan.storage, second)
    take_over_trials(known)
    assert len(known.known_trials) == len(state.trials)
    return known


def with_nan(result: Result, readout: Readout) -> dict[str, float]:
    """What a result says of a trial, as a version that let NaN pass would have told it."""
    numbers = numbers_of(result, readout)
    return {name: NAN if value == IS_NAN else value for name, value in numbers.items()}


def ends(numbers: Mapping[str, Any], metric: str) -> list[float]:
    """Mean and interval as the record spells them; what is absent is NaN."""
    found = (numbers.get(f"{end}/{metric}") for end in ("mean", "ci_low", "ci_high"))
    return [math.nan if value is None else value for value in found]


def alike(value: Sequence[float]) -> Any:
    return pytest.approx(value, rel=1e-12, abs=1e-15, nan_ok=True)


@pytest.mark.parametrize("way", ["", "race", "two commands"])
@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_driver_record_and_report_name_the_same_best(
    pattern: Mapping[float, Values],
    way: str,
    tmp_path: Path,
    uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(objectives, "summary", with_nan)
    state = swept(tmp_path / "runs", pattern, Race(first=2, limit=10) if way == "race" else None)
    state = asked_in_two(state, uri) if way == "two commands" else state
    publish(state, uri)
    summary = SweepSummary.of(state, ExecutionStats())
    told: Any = summary.as_primitives()
    best, listed = told["best"], told["settings"]
    lines = [line for line in summary.lines() if isinstance(line, str)]
    parent = parent_of(uri).data.metrics
    trials = load_trials(uri, cache=False)
    table = grid_summary(trials, ["lambda_adv"])
    finding = table.attrs["finding"]

    # The best point.
    assert parent["best/lambda_adv"] == (lambda_adv := best["point"]["lambda_adv"])
    assert [*table["lambda_adv"]][[*table[TO_BEST]].index("best")] == lambda_adv
    assert f"lambda_adv={lambda_adv:.6g} " in finding
    assert [line for line in lines if line.startswith(f"best point: lambda_adv={lambda_adv} with")]

    written = BestConfig.read(uri, "lambda_grid")
    assert written.config.lambda_adv == lambda_adv
    assert format_best(written.best) in lines

    # Its mean, interval and seeds, as a sentence says them.
    assert ends(parent, "swa/miou") == alike(ends(best, "swa/miou"))
    assert ends(parent, "val/miou") == alike(ends(best, "val/miou"))
    mean, low, high = ends(best, "swa/miou")
    found = Interval(n=best["best/seeds"], missing=0, mean=mean, low=low, high=high)
    assert f": {describe_percent(found)}" in finding
    assert parent["best/seeds"] == best["best/seeds"]

    card = best_card(trials, ["lambda_adv"])
    assert card is not None
    assert card.setting == [("lambda_adv", f"{lambda_adv:g}")]
    assert card.score.removesuffix(OPTIMISTIC) == describe_percent(found)

    # How many others may be as good.
    counts = best["best/not_distinguishable"], best["best/others"]
    assert (parent["best/not_distinguishable"], parent["best/others"]) == counts
    if counts[1]:
        assert f"; {counts[0]} of {counts[1]} other" in finding
        assert f"; {counts[0]} of {counts[1]} other settings" in lines[-1]
    words = [row["against_best"] for row in listed]
    lower = words.count("lower")
    assert f"from {lower or 'none'} of" in card.standing or not counts[1]
    assert words.count("not distinguishable") == counts[0]
    gains = [cell for cell in table[TO_BEST] if cell not in ("best", None)]
    assert words.count("lower") == sum(g.distinguishable and g.difference < 0 for g in gains)

    # Every setting over all of its seeds, and the order in which they stand.
    order = [row["point"]["lambda_adv"] for row in listed]
    assert [*table["lambda_adv"]][: len(order)] == order
    drawn = fig4_table(trials).set_index(["lambda_adv", "weights"])
    for row, cell in zip(listed, table["averaged weights [%]"], strict=False):
        values = [float(v) for v in pattern[row["point"]["lambda_adv"]] if isinstance(v, float)]
        own = mean_share(values)
        assert ends(row, "swa/miou") == alike([own.mean, own.low, own.high])
        assert [cell.mean, cell.low, cell.high] == alike([own.mean, own.low, own.high])
        point = drawn.loc[row["point"]["lambda_adv"], "swa"]
        assert [*point[["mean", "ci_low", "ci_high"]]] == alike([own.mean, own.low, own.high])


@pytest.mark.parametrize("race", [None, Race(first=2, limit=10)], ids=["", "race"])
@pytest.mark.parametrize(
    "name", ["all seeds", "most settings lack a seed", "one seed", "one setting"]
)
def test_all_say_what_the_seeds_could_have_shown_and_whether_a_race_gave_them(
    name: str, race: Race | None, tmp_path: Path, uri: str
) -> None:
    pattern = {k: [v for v in by_seed if v is not NAN] for k, by_seed in PATTERNS[name].items()}
    state = swept(tmp_path / "runs", pattern, race)
    publish(state, uri)
    summary = SweepSummary.of(state, ExecutionStats())
    told: Any = summary.as_primitives()
    smallest = told["best"]["best/smallest_found"]
    assert parent_of(uri).data.metrics.get("best/smallest_found") == smallest
    caption = grid_summary(load_trials(uri, cache=False), ["lambda_adv"]).attrs["caption"]
    lines = [line for line in summary.lines() if isinstance(line, str)]
    said = [line for line in lines if line.startswith("the smallest difference to the best that")]
    assert (len(said) == 1) == ("These seeds would show" in caption) == (smallest is not None)
    if smallest is not None:
        points = f"{fixed(100 * smallest, 1)} points"
        assert f"with a power of 0.8: {points}" in said[0]
        assert f"a difference of {points} with a power of 0.8" in caption
        assert ("the looks of a race to 10 seeds" in caption) == (race is not None)
