"""From trials to means over seeds: which trials count, and what stands beside each other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from analysis.record.schema import COLUMNS, RecordError, finished
from analysis.record.version_mix import HASHES
from analysis.stats.intervals import mean_share
from analysis.stats.rounding import format_value

OWN = (*COLUMNS, "seed")  # columns in which two trials of one setting differ by nature
INTERVAL = ("n_seeds", "mean", "ci_low", "ci_high")
LOG_DECADES = 1.5  # a positive axis that spans more than this is logarithmic,
RATES = ("lambda_adv", "lr_generator", "lr_discriminator", "weight_decay")  # or, of these, more
LEAST_RATIO = 3.0  # than this between largest and smallest: they matter by their magnitude,
SHARES = ("swa_threshold", "swa_decay", "momentum")  # but for what lies between 0 and 1


def require_finished(trials: pd.DataFrame) -> pd.DataFrame:
    """Return the trials that ended well.

    Raises:
        RecordError: There are none.
    """
    kept = finished(trials)
    if kept.empty:
        raise RecordError(f"none of the {len(trials)} trials has finished; resume the sweep")
    return kept


def one_per_seed(
    trials: pd.DataFrame, point: Sequence[str], figure: str, *, numbers: Iterable[str] = ()
) -> pd.DataFrame:
    """Return the finished trials, of which no two are the same point with the same seed.

    Args:
        trials: A frame as `load_trials` returns it.
        point: Columns that name a point of the figure.
        figure: Name of the figure, for messages.
        numbers: Those of the columns that must be numbers.

    Raises:
        RecordError: No trial finished, one names no point or seed, or two share both.
    """
    kept = require_finished(trials)
    columns = [*point, "seed"]
    for name in [*numbers, "seed"]:
        if name not in kept or not pd.api.types.is_numeric_dtype(kept[name]):
            raise RecordError(f"every trial must have a number as param {name}")
    if any(name not in kept for name in columns) or kept[columns].isna().any(axis=None):
        raise RecordError(f"every trial must have the params {' and '.join(columns)}")
    refuse_twins(kept, columns, f"{figure} takes one trial per {' and '.join(columns)}")
    return kept


def refuse_twins(rows: pd.DataFrame, columns: Sequence[str], rule: str, of: str = "") -> None:
    """Refuse two trials of one seed at one setting: their mean would hide what they differ in.

    Args:
        rows: Finished trials.
        columns: Those that tell settings and seeds apart.
        rule: What is broken by two, for the message.
        of: What the trials are called in the message, where they are not all of the sweep's.

    Raises:
        RecordError: There are two.
    """
    twice = rows[rows.duplicated(columns, keep=False)]
    if twice.empty:
        return
    first = twice.iloc[0][columns]
    same = twice[(twice[columns] == first).all(axis=1)]
    names = [name for name in same.columns if name not in OWN or name in HASHES]
    differing = sorted(name for name in names if same[name].nunique() > 1)
    raise RecordError(
        f"{rule}, but {len(same)}{f' of {of}' if of else ''} share "
        f"{', '.join(f'{name}={format_value(value)}' for name, value in first.items())}; "
        f"they differ in {', '.join(differing) or 'nothing that is recorded'}"
    )


def over_seeds(
    kept: pd.DataFrame, point: Sequence[str], metrics: Mapping[str, str]
) -> pd.DataFrame:
    """Return mean and interval over the seeds of each point.

    Args:
        kept: Trials, no two of the same point and seed.
        point: Columns that name a point.
        metrics: The column of each kind of value, by what it is called in the table.

    Returns:
        Columns `*point`, `weights` (a key of `metrics`), `n_seeds`, `mean`, `ci_low`, `ci_high`,
        sorted by the first ones. `attrs["n_missing"]` counts the values that were not finite.

    Raises:
        RecordError: No value is finite.
    """
    rows: list[dict[str, object]] = []
    missing = 0
    for at, group in kept.groupby([*point]):
        for name, column in metrics.items():
            found = mean_share(group[column])
            missing += found.missing
            interval = (found.n, found.mean, found.low, found.high)
            rows.append(
                dict(zip(point, at, strict=True))
                | {"weights": name}
                | dict(zip(INTERVAL, interval, strict=True))
            )
    table = pd.DataFrame(rows, columns=[*point, "weights", *INTERVAL])
    if table["mean"].isna().all():
        raise RecordError(f"none of the {len(kept)} finished trials has a finite mIoU")
    table = table.sort_values([*point, "weights"], ignore_index=True)
    table.attrs["n_missing"] = missing
    return table


def varying(trials: pd.DataFrame) -> list[str]:
    """Return the settings that were varied: the sweep's axes, or what differs between trials."""
    axes = trials.attrs.get("axes") or [name for name in trials.columns if name not in OWN]
    names = axes.split(",") if isinstance(axes, str) else axes
    return [n for n in names if n in trials and n not in OWN and trials[n].nunique() > 1]


def is_logarithmic(name: str, values: Iterable[float]) -> bool:
    """Return whether an axis over these values of a setting should be logarithmic."""
    found = [float(value) for value in values]
    if name in SHARES or min(found) <= 0:
        return False
    ratio = max(found) / min(found)
    return ratio > LEAST_RATIO if name in RATES else math.log10(ratio) > LOG_DECADES
