"""Whether the finished trials of a sweep are of one code, one data set and one kind of machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

# Columns, what several of their values are called, and what follows for the trials.
NOT_COMPARABLE = "may not compare"
OTHER_DIGITS = "may differ in digits for that alone"
SHARED = {
    "code_version": ("code versions", NOT_COMPARABLE),
    "data_fingerprint": ("data fingerprints", NOT_COMPARABLE),
    "torch": ("versions of torch", OTHER_DIGITS),
    "processor": ("kinds of processor", OTHER_DIGITS),
}
HASHES = ("code_version", "data_fingerprint")
HASH_DIGITS = 12  # enough to tell two apart


@dataclass(frozen=True, kw_only=True)
class VersionMix:
    """What the finished trials of one sweep do not share."""

    what: str  # such as "2 code versions"
    consequence: str  # what follows for the trials
    counts: dict[str, int]  # trials of each value, in order; a hash by its first digits


def mixtures(trials: pd.DataFrame) -> Iterator[VersionMix]:
    """Yield what the finished trials do not share; a value that is not recorded is passed over."""
    finished = trials[trials["status"] == "FINISHED"]
    for name, (plural, consequence) in SHARED.items():
        values = finished[name].dropna() if name in finished else ()
        counts = Counter(str(value) for value in values if value)
        if len(counts) > 1:
            yield VersionMix(
                what=f"{len(counts)} {plural}",
                consequence=consequence,
                counts={
                    value[:HASH_DIGITS] if name in HASHES else value: counts[value]
                    for value in sorted(counts)
                },
            )


def describe_mixtures(trials: pd.DataFrame) -> list[str]:
    """Return a sentence, without its full stop, for each mixture."""
    return [
        f"the trials come from {mix.what} ({', '.join(mix.counts)}) and {mix.consequence}"
        for mix in mixtures(trials)
    ]
