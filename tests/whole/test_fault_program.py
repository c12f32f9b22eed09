"""The short form of the fault program's scenarios: nothing lost, doubled or different."""

from __future__ import annotations

from pathlib import Path

import pytest
from faults.__main__ import SCENARIOS
from faults.bench import Bench
from faults.sweep import NotHereError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated"),
]


# What these do to a sweep, others do, too: `python -m faults` runs all of them.
ELSEWHERE = {
    "driver-at-random": "driver-at-points: in a run as short as these, one of the places it names",
    "worker-killed": "worker-at-points, likewise",
    "worker-stopped": "test_executor: a worker that hangs",
    "raylet-killed": "test_sweep: a dead raylet",
    "two-drivers": "test_sweep: of two drivers of a sweep",
    "disk-full": "test_faults: a sweep on a full disk",
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder: Path = tmp_path_factory.mktemp("faults")
    return Bench(folder=folder, kills=2, seed=0, short=True)


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name not in ELSEWHERE])
def test_a_fault_loses_doubles_and_changes_nothing(scenario: str, bench: Bench) -> None:
    try:
        verdict = SCENARIOS[scenario](bench)
    except NotHereError as error:
        pytest.skip(str(error))
    assert verdict.holds, verdict.describe()
