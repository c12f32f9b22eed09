"""One sweep's data: what is dear to compute is computed once, and anew for other trials."""

import pandas as pd

from analysis.record.sweep_data import SweepData


def test_a_table_is_computed_once_and_anew_for_other_trials() -> None:
    counted: list[int] = []

    def count(trials: pd.DataFrame) -> pd.DataFrame:
        counted.append(len(trials))
        return trials

    trials = pd.DataFrame({"seed": [0, 1]})
    data = SweepData(trials=trials, paper={})
    assert data.computed(count) is data.computed(count) is trials
    assert len(data.narrow(trials[:1]).computed(count)) == 1
    assert counted == [2, 1]
