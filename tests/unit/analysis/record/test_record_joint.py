"""Writer and reader of the record agree: what the driver publishes is what the analysis reads."""

import json
from pathlib import Path

import pytest
from record_helpers import fail, finish, grid, miou_of, sweep_state

from analysis.record.artifacts import load_curves, load_details, load_environment
from analysis.record.schema import Sweep
from analysis.record.trials import load_trials
from sweeps.planning.state import SweepState
from sweeps.record.publisher import Publisher

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

SWEEP = "Which lambda, which n?"


@pytest.fixture
def state(tmp_path: Path) -> SweepState:
    """Two suggestions of two readouts each, one that failed, one pruned, and one confirmed."""
    asked = [*grid(swa_n=4), *grid(swa_n=8), *grid([0.1, 0.2]), *grid([0.01], seeds=[1], swa_n=8)]
    state = sweep_state(tmp_path / "runs", asked, axes=("lambda_adv", "swa_n"), question=SWEEP)
    state.end_early("time budget of 60 s")
    for ask, run in enumerate(state.runs):
        value = run.spec.config.lambda_adv
        tags = {
            "ask": str(ask),
            "search_state": {0.1: "FAIL", 0.2: "PRUNED"}.get(value, "COMPLETE"),
            "phase": "confirm" if run.spec.config.seed == 1 else "search",
        }
        for trial in run.trials:
            state.tag(trial.trial_key, **tags)
    return state


def publish(state: SweepState, uri: str) -> None:
    with Publisher(state, uri, pytest.fail) as publisher:
        for run in state.runs:
            if run.spec.config.lambda_adv == 0.1:
                fail(state, run, "loss_mce is nan")
            elif run.spec.config.lambda_adv == 0.2:
                state.stop(run.spec.training_key, "pruned at iteration 60")
            else:
                finish(state, run)
            publisher.publish(run)


def test_a_search_is_read_as_its_driver_wrote_it(state: SweepState, uri: str) -> None:
    publish(state, uri)
    trials = load_trials(uri)
    sweep = Sweep.of(trials)
    assert (sweep.sweep_key, sweep.trials_total) == (state.plan.sweep_key, len(state.trials))
    assert (sweep.question, sweep.axes) == (SWEEP, state.plan.axes)
    assert (sweep.state, sweep.why_partial) == ("partial", "time budget of 60 s")
    assert (sweep.training_runs, sweep.naive_runs) == (len(state.runs), len(state.trials))
    assert sweep.training_s > 0

    rows = {row["trial_key"]: row for _, row in trials.iterrows()}
    assert rows.keys() == {trial.trial_key for trial in state.trials}
    statuses = {"COMPLETE": "FINISHED", "FAIL": "FAILED", "PRUNED": "KILLED"}
    for trial in state.trials:
        row, tags = rows[trial.trial_key], state.tags[trial.trial_key]
        assert row["training_key"] == trial.training_key
        assert (str(int(row["ask"])), row["phase"], row["search_state"]) == (
            tags["ask"],
            tags["phase"],
            tags["search_state"],
        )
        assert row["status"] == statuses[tags["search_state"]]
        assert bool(row["cause"]) == (row["status"] != "FINISHED")
        for name in ("lambda_adv", "swa_n", "swa_threshold", "swa_rule", "seed"):
            assert row[name] == getattr(trial.config, name)
        if row["status"] == "FINISHED":
            expected = miou_of(trial.config, trial.config.readout)
            assert (row["val/miou"], row["swa/miou"]) == pytest.approx(expected)


def test_artifacts_are_found_where_the_driver_put_them(state: SweepState, uri: str) -> None:
    publish(state, uri)
    trials = load_trials(uri)
    finished = trials[trials["status"] == "FINISHED"]
    details = load_details(trials)
    assert details.keys() == set(finished["run_id"])
    assert {tuple(detail["classes"]) for detail in details.values()} == {state.plan.data.classes}
    environment = load_environment(trials)
    assert {"python", "platform", "cpus", "packages", "command"} <= environment.keys()
    assert json.dumps(environment)
    measured = load_curves(trials)
    assert {"val/miou", "train/loss_mce"} <= set(measured["metric"])
    failed = trials.loc[trials["status"] == "FAILED", "run_id"]
    assert set(failed) <= set(measured["run_id"])
