"""Whether the finished trials of a sweep are of one code, one data set and one kind of machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.record.schema import finished

if TYPE_CHECKING:
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

    what: str  # "2 code versions"
    consequence: str  # what follows
    counts: Mapping[str, int]  # trials of each value, in order; a hash by its first digits

    @property
    def counted(self) -> str:
        """What is not shared, with the number of trials of each value."""
        counts = ", ".join(f"{name}: {count}" for name, count in self.counts.items())
        return f"{self.what} ({counts})"

    @property
    def sentence(self) -> str:
        """What is not shared and what follows, without a full stop."""
        return f"the trials come from {self.what} ({', '.join(self.counts)}) and {self.consequence}"


def mixtures(values: Mapping[str, Iterable[object]]) -> Iterator[VersionMix]:
    """Yield what finished trials do not share.

    Args:
        values: The value of each trial, by the names that `SHARED` lists; an empty one, or None,
            counts for nothing.
    """
    for name, (plural, consequence) in SHARED.items():
        counts = Counter(str(value) for value in values.get(name, ()) if value)
        if len(counts) > 1:
            yield VersionMix(
                what=f"{len(counts)} {plural}",
                consequence=consequence,
                counts={
                    value[:HASH_DIGITS] if name in HASHES else value: counts[value]
                    for value in sorted(counts)
                },
            )


def mixtures_of(trials: pd.DataFrame) -> list[VersionMix]:
    """Return what the finished ones of these trials do not share."""
    ended = finished(trials)
    return [*mixtures({name: ended[name].dropna() for name in SHARED if name in ended})]


def describe_mixtures(trials: pd.DataFrame) -> list[str]:
    """Return what finished trials do not share as sentences without a full stop."""
    return [mix.sentence for mix in mixtures_of(trials)]
