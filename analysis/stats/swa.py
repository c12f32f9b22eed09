"""The SWA study as a table: each rule, n and threshold over seeds, beside the raw weights."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from analysis.record.schema import RecordError
from analysis.stats.aggregation import one_per_seed, over_seeds
from analysis.stats.comparisons import Comparison
from analysis.stats.families import gains
from analysis.stats.intervals import Interval, mean_share

READOUT = ["swa_rule", "swa_n", "swa_threshold"]
METRIC = {"swa": "swa/miou"}


def swa_table(trials: pd.DataFrame) -> pd.DataFrame:
    """Return mIoU, as a fraction, over the seeds of each rule, n and threshold.

    Args:
        trials: A frame as `load_trials` returns it; only its finished trials count.

    Returns:
        Columns `swa_rule`, `swa_n`, `swa_threshold`, `n_seeds`, `mean`, `ci_low`, `ci_high`;
        `gain`, `gain_low`, `gain_high`, the mean over seeds of the averaged weights' mIoU less the
        raw weights' of the same training run, with intervals that hold for all readouts at once;
        and `start_share`, as of `start_share`.
        `attrs["n_missing"]` counts the values that were not finite.

    Raises:
        RecordError: A trial names no point or seed, two trials share both, or none has an mIoU.
    """
    kept = _kept(trials)
    table = over_seeds(kept, READOUT, METRIC).drop(columns="weights")
    gained = _gains(kept)
    for name, part in (("gain", "difference"), ("gain_low", "low"), ("gain_high", "high")):
        table[name] = [getattr(found, part) for found in gained]
    firsts = (group.iloc[0] for _, group in kept.groupby(READOUT))
    table["start_share"] = [start_share(first) for first in firsts]
    return table


def raw_level(trials: pd.DataFrame) -> Interval:
    """Return the raw weights' mIoU over the training runs, which the readouts share.

    Raises:
        RecordError: Training runs of one seed differ, so that there is no one level.
    """
    runs = _kept(trials).drop_duplicates("training_key")
    if runs["seed"].duplicated().any():
        raise RecordError(
            "the SWA study takes one training run per seed, but "
            f"{len(runs)} runs share {runs['seed'].nunique()} seeds"
        )
    return mean_share(runs["val/miou"])


def start_share(trial: Any) -> float:
    """Return the weight that the weights at the start of averaging keep to its end.

    With k averagings it is (n / (n + 1))^k under `eq7` and d^k under `ema`; `uniform` keeps none.

    Source: Eq. 7 and Algorithm 1.
    """
    if trial["swa_rule"] == "uniform":
        return 0.0
    since = trial["iterations"] - math.floor(trial["swa_threshold"] * trial["iterations"])
    averagings = math.ceil(since / trial["swa_n"])
    kept = {"eq7": trial["swa_n"] / (trial["swa_n"] + 1), "ema": trial["swa_decay"]}
    return float(kept[trial["swa_rule"]] ** averagings)


def _gains(kept: pd.DataFrame) -> list[Comparison]:
    """Return the gain of each readout over the raw weights, in their order."""
    averaged, raw = (
        {
            key: dict(zip(group["seed"].tolist(), group[metric].tolist(), strict=True))
            for key, group in kept.groupby(READOUT)
        }
        for metric in ("swa/miou", "val/miou")
    )
    return [*gains(averaged, raw).each.values()]


def _kept(trials: pd.DataFrame) -> pd.DataFrame:
    return one_per_seed(trials, READOUT, "the SWA study", numbers=READOUT[1:])
