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


# A kill at any time is, in a run as short as these, a kill at one of the places that others name.
AT_RANDOM = ("driver-at-random", "worker-killed")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder: Path = tmp_path_factory.mktemp("faults")
    return Bench(folder=folder, kills=2, seed=0, short=True)


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name not in AT_RANDOM])
def test_a_fault_loses_doubles_and_changes_nothing(scenario: str, bench: Bench) -> None:
    try:
        verdict = SCENARIOS[scenario](bench)
    except NotHereError as error:
        pytest.skip(str(error))
    assert verdict.holds, verdict.describe()
