"""A search as a table: what each suggestion came to, and which settings were varied."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.record.schema import OBJECTIVE, RecordError
from analysis.stats.aggregation import is_logarithmic, over_seeds, varying

SEARCH, CONFIRM = "search", "confirm"
COMPLETE = "COMPLETE"


def search_trials(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials of the search phase, those that were pruned or failed among them.

    Raises:
        RecordError: The sweep is no search, or no suggestion was completed.
    """
    if "ask" not in trials or trials["ask"].isna().all():
        raise RecordError(f"sweep {trials.attrs['sweep']!r} is no search: no trial has an ask")
    kept = trials[(trials["phase"] == SEARCH) & trials["ask"].notna()]
    if not (_is_complete(kept) & kept[OBJECTIVE].notna()).any():
        asks = kept["ask"].nunique()
        raise RecordError(f"none of the search's {asks} suggestions has ended with an mIoU")
    return kept


def parameters(trials: pd.DataFrame) -> list[str]:
    """Return the settings that the search varied."""
    return varying(search_trials(trials))


def of_readout(trials: pd.DataFrame) -> list[str]:
    """Return those of the settings that differ within a suggestion: they cost no training."""
    kept = search_trials(trials)
    names = parameters(trials)
    within = kept.groupby("ask")[names].nunique().max()
    return [name for name in names if within[name] > 1]


def search_table(trials: pd.DataFrame) -> pd.DataFrame:
    """Return a row per suggestion: its best readout's mIoU, as a fraction, and settings.

    Args:
        trials: A frame of a search, with its `attrs`.

    Returns:
        Columns `ask`, `state` (`COMPLETE`, `PRUNED` or `FAIL`), `readouts` (how many of its
        training run stand in the record), the varied settings, `value`, NaN unless complete, and
        `best`, the highest value so far. Sorted by `ask`.

    Raises:
        RecordError: As `search_trials`.
    """
    kept = search_trials(trials)
    counted = kept["ask"].map(kept["ask"].value_counts())
    kept = kept.assign(value=kept[OBJECTIVE].where(_is_complete(kept)), readouts=counted)
    kept = kept.sort_values(["ask", "value", "trial_key"], ascending=[True, False, True])
    table = kept.drop_duplicates("ask").rename(columns={"search_state": "state"})
    table = table[["ask", "state", "readouts", *parameters(trials), "value"]]
    table = table.astype({"ask": int}).reset_index(drop=True)
    return table.assign(best=table["value"].cummax().ffill())


def completed(trials: pd.DataFrame, parameter: str | None = None) -> pd.DataFrame:
    """Return where and how well the completed suggestions stand, with `ask` and `value`.

    Args:
        trials: A frame of a search.
        parameter: The setting that is looked at. A setting of the readout has a row per readout;
            for others, and None, the best readout of a training run stands for it.
    """
    if parameter in of_readout(trials):
        kept = search_trials(trials)
        whole = kept.assign(value=kept[OBJECTIVE].where(_is_complete(kept)))
    else:
        whole = search_table(trials)
    return whole[whole["value"].notna()]


def unit_scaled(name: str, values: pd.Series) -> NDArray[np.float64]:
    """Return a setting's numbers scaled to 0 to 1, along their logarithm where its axis is."""
    numbers = values.to_numpy(float)
    along = np.log10(numbers) if is_logarithmic(name, values) else numbers
    return np.asarray((along - along.min()) / (np.ptp(along) or 1.0))


def confirmed(trials: pd.DataFrame) -> pd.DataFrame:
    """Return mean and interval over the fresh seeds of each setting that was trained again.

    Returns:
        Columns of the settings, `n_seeds`, `mean`, `ci_low` and `ci_high`, the best first; empty
        where none was.
    """
    again = trials[(trials["phase"] == CONFIRM) & (trials["status"] == "FINISHED")]
    names = parameters(trials)
    if again[OBJECTIVE].isna().all():
        return pd.DataFrame(columns=[*names, "n_seeds", "mean", "ci_low", "ci_high"])
    table = over_seeds(again, names, {"swa": OBJECTIVE}).drop(columns="weights")
    return table.sort_values("mean", ascending=False, ignore_index=True)


def _is_complete(kept: pd.DataFrame) -> pd.Series:
    return (kept["search_state"] == COMPLETE) & (kept["status"] == "FINISHED")
