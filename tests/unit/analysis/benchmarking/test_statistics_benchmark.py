"""The simulations of verdicts: they count errors as errors, and print what they counted."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from analysis import benchmark
from analysis.benchmarking import statistics
from analysis.benchmarking.statistics import CURVED, Case, cases, simulate
from analysis.stats import families
from analysis.stats.comparisons import Comparison


def case(name: str, settings: int = 7) -> Case:
    return next(c for c in cases() if (c.name, c.settings, c.seeds) == (name, settings, 3))


def test_without_differences_a_wrong_verdict_is_rare_and_with_them_most_are_found() -> None:
    found = simulate(case("null"), 60)
    assert found["power"] is None
    assert float(str(found["best error"])) <= 0.15
    assert float(str(simulate(case(CURVED), 60)["power"])) > 0.45


def test_a_verdict_that_is_always_given_is_counted_as_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = families.against

    def sure(*given: Any) -> Any:
        return {key: lowered(found) for key, found in real(*given).items()}

    def lowered(found: Comparison) -> Comparison:
        return dataclasses.replace(found, low=-0.02, high=-0.01)

    monkeypatch.setattr(statistics, "against", sure)
    found = simulate(case("null"), 5)
    assert (found["reference error"], found["reference cover"]) == (1.0, 0.0)


def test_disturbed_sweeps_have_what_their_name_says() -> None:
    rng = np.random.default_rng(0)
    missing = [len(runs) for runs in case("15% of runs missing").draw(rng).values()]
    assert min(missing) >= 1
    fallen = [case("10% of runs collapse").draw(rng) for _ in range(20)]
    share = np.mean([v < 0.4 for sweep in fallen for runs in sweep.values() for v in runs.values()])
    assert 0.05 < share < 0.16


def test_the_command_prints_tables_and_one_json_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["statistics", "--repeats", "1"]) == 0
    out, err = capsys.readouterr()
    verdicts, changes, former = json.loads(out)
    assert len(verdicts) == 15
    assert changes[0].keys() >= {"each error", "overall cover"}
    assert former[0]["power, Tukey with one error"] >= 0
    assert "15% of" in err
    with pytest.raises(SystemExit) as caught:
        benchmark.main(["statistics", "--repeats", "0"])
    assert caught.value.code == 2
    assert "`--repeats >= 1` must hold" in capsys.readouterr().err
