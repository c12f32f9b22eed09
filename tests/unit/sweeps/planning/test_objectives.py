"""Objectives by their names: what they measure, and that driver, record and report follow them."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from record_helpers import DATA, finish, grid, sweep_state
from store_helpers import children_of, parent_of, publish

from analysis.record.schema import RecordError
from analysis.record.sweep_data import SweepData
from analysis.record.trials import load_trials
from analysis.report.best_card import best_card
from analysis.report.catalogue import TableSpec, specs_of
from analysis.result_tables.summaries import FRONT, TO_BEST, grid_summary
from sweeps.driver.best_config import BestConfig
from sweeps.driver.summary import SweepSummary
from sweeps.execution.progress import ExecutionStats
from sweeps.mlflow_ui.saved_views import trials_view
from sweeps.planning.objectives import measure, read_objectives
from sweeps.planning.state import SweepState
from trainable.config.schema import ConfigError, Readout, TrialConfig
from trainable.runs.results import Result

CLASSES = ("background", "car", "a/b (c)")
LAMBDAS = (0.0, 0.1, 0.2)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ([], ("swa/miou",)),
        (["val/miou"], ("val/miou",)),
        (["miou_per_image"], ("swa/miou_per_image",)),
        (["iou/car"], ("swa/iou/car",)),
        (["val/iou/car", "cost/train_s"], ("val/iou/car", "cost/train_s")),
        (["fwiou", "swa/miou"], ("swa/fwiou", "swa/miou")),
    ],
)
def test_an_objective_is_named_as_the_record_does_or_without_the_weights(
    given: list[str], found: tuple[str, ...]
) -> None:
    assert read_objectives(given, CLASSES) == found


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["muou"], "unknown objective 'muou'; did you mean"),
        (["iou/cat"], "unknown objective 'iou/cat'; did you mean"),
        (["miou", "swa/miou"], "each objective must stand once, but got swa/miou, swa/miou"),
        (["cost/train_s"], "must be a quality, but got cost/train_s; name one before it"),
        (["iou/a/b (c)"], r"letters, digits .* but got 'iou/a/b \(c\)'; take another, or rename"),
    ],
)
def test_what_is_no_objective_is_refused_in_a_line(given: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as refused:
        read_objectives(given, CLASSES)
    assert "\n" not in str(refused.value)


def test_each_name_measures_what_it_says(tmp_path: Path) -> None:
    state = ended(tmp_path, ("swa/miou",))
    run = state.runs[0]
    result = state.outcome(run)
    assert isinstance(result, Result)
    name = result.classes[1]
    wanted = (f"swa/iou/{name}", "val/miou_per_image", "cost/train_s", f"val/iou/{DATA.classes[2]}")
    found = measure(result, run.trials[0].config.readout, wanted)
    # As `record_helpers` writes them.
    assert found[wanted[0]] == found["swa/miou"] - 0.1
    assert found["val/miou_per_image"] == found["val/miou"] - 0.05
    assert found["cost/train_s"] == result.train_s
    assert math.isnan(found[wanted[3]])  # no pixel is of this class


def miou(config: TrialConfig, readout: Readout) -> tuple[float, float]:
    """val/miou falls with lambda and swa/miou rises."""
    noise = 0.001 * config.seed
    return 0.6 - config.lambda_adv + noise, 0.4 + config.lambda_adv + noise


def ended(storage: Path, objectives: tuple[str, ...]) -> SweepState:
    """A sweep over lambda, whose runs with a larger one took longer."""
    state = sweep_state(storage, grid(LAMBDAS, range(3)), objectives=objectives)
    for run in state.runs:
        finish(state, run, miou, images_per_s=10 / (1 + run.spec.config.lambda_adv))
    return state


@pytest.mark.parametrize(("objective", "best"), [("swa/miou", 0.2), ("val/miou", 0.0)])
def test_driver_record_and_report_rank_by_the_objective(
    tmp_path: Path, uri: str, objective: str, best: float
) -> None:
    state = ended(tmp_path, (objective,))
    publish(state, uri)
    summary = SweepSummary.of(state, ExecutionStats())
    assert summary.best is not None
    assert summary.best.point == {"lambda_adv": best}
    told = [line for line in summary.lines() if isinstance(line, str)]
    assert any(f"best point: lambda_adv={best} with {objective} " in line for line in told)
    parent = parent_of(uri)
    assert parent.data.tags.get("objectives") == (None if objective == "swa/miou" else objective)
    recorded = BestConfig.read(uri, state.plan.sweep_key)
    assert recorded.config.lambda_adv == best
    trials = load_trials(uri, state.plan.sweep_key)
    summary_table = grid_summary(trials, ["lambda_adv"])
    assert list(summary_table[summary_table[TO_BEST] == "best"]["lambda_adv"]) == [best]
    card = best_card(trials, ["lambda_adv"])
    assert card is not None
    assert [part for _, part in card.setting] == [f"{best:g}"]
    assert card.measured == ("mIoU, averaged weights" if objective == "swa/miou" else objective)


def test_the_front_is_told_by_driver_record_and_report(tmp_path: Path, uri: str) -> None:
    objectives = ("swa/miou", "cost/train_s")
    state = ended(tmp_path, objectives)
    publish(state, uri)
    told = SweepSummary.of(state, ExecutionStats()).as_primitives()
    # Each larger lambda is better and takes longer: none beats another.
    assert [row["point"] for row in told["front"]] == [{"lambda_adv": x} for x in (0.2, 0.1, 0.0)]
    assert told["objectives"] == [*objectives]
    (first, *_) = told["front"]
    assert (
        first["ci_low/cost/train_s"] <= first["mean/cost/train_s"] <= first["ci_high/cost/train_s"]
    )
    for child in children_of(uri):
        assert child.data.metrics["cost/train_s"] > 0
    trials = load_trials(uri, state.plan.sweep_key)
    table = grid_summary(trials, ["lambda_adv"])
    assert list(table[FRONT]) == ["yes"] * 3
    assert "no other setting is as good in swa/miou and cost/train_s at once" in str(
        table.attrs["caption"]
    )
    views = [trials_view(parent_id="p", title="t", created=1, axes=["lambda_adv"], objectives=o)
             for o in (objectives, objectives[:1])]  # fmt: skip
    assert [len(view.cards["compareRunCharts"]) for view in views] == [5, 4]  # type: ignore[arg-type]


def test_a_setting_that_another_beats_is_not_in_front(tmp_path: Path) -> None:
    state = ended(tmp_path, ("val/miou", "cost/train_s"))  # the smallest lambda is best in both
    told = SweepSummary.of(state, ExecutionStats()).as_primitives()
    assert [row["point"] for row in told["front"]] == [{"lambda_adv": 0.0}]


def test_a_record_without_the_objective_says_so(tmp_path: Path, uri: str) -> None:
    state = ended(tmp_path, ("val/miou",))
    publish(state, uri)
    trials = load_trials(uri, state.plan.sweep_key).drop(columns="val/miou")
    with pytest.raises(RecordError, match="no trial has the objective val/miou"):
        grid_summary(trials, ["lambda_adv"])


def test_a_search_of_ones_own_is_drawn_as_one_and_summed_up_by_its_fresh_seeds(
    tmp_path: Path, uri: str
) -> None:
    state = ended(tmp_path, ("swa/miou",))
    for trial in state.trials:
        phase = "search" if trial.config.seed == 0 else "confirm"
        state.tag(trial.trial_key, phase=phase, ask="0", search_state="COMPLETE")
    publish(state, uri)
    trials = load_trials(uri, state.plan.sweep_key)
    trials.attrs["sweep"] = "mine"
    drawn = specs_of(trials)
    figures = ("history", "importance", "slices", "contour", "parallel")
    assert [*drawn] == [f"mine_{name}" for name in (*figures, "summary")]
    spec = drawn["mine_summary"]
    assert isinstance(spec, TableSpec)
    made = spec.build(SweepData(trials=trials, paper={}))
    assert set(made["fresh seeds"]) == {2}
