"""Means over seeds, their intervals, comparisons between settings, and what came out best.

What a notebook needs is named here; each name is imported when it is asked for.

    from analysis import load_trials, stats

    means = stats.over_seeds(load_trials(), ["lambda_adv"], {"raw": "val/miou"})
    told = stats.compare({0: 0.61, 1: 0.62, 2: 0.60}, {0: 0.63, 1: 0.64, 2: 0.65})

- `over_seeds` gives means over seeds with their intervals, `student_t` a single `Interval`.
- `compare` tests two settings against each other, by seed, as a `Comparison`; `against` each of
  several with one of them, `gains` what changes within each run, as
  `Gains`; `rank` puts settings in order,
  as a `Ranking`.
- `swa_table`, `search_table` and `importance_table` are the numbers behind the figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainable.storage.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from analysis.stats.aggregation import over_seeds
    from analysis.stats.comparisons import Comparison
    from analysis.stats.families import Gains, against, compare, gains
    from analysis.stats.importance import importance_table
    from analysis.stats.intervals import Interval, student_t
    from analysis.stats.ranking import Ranking, rank
    from analysis.stats.search import search_table
    from analysis.stats.swa import swa_table
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "Comparison": "analysis.stats.comparisons",
            "Interval": "analysis.stats.intervals",
            "Ranking": "analysis.stats.ranking",
            "Gains": "analysis.stats.families",
            "against": "analysis.stats.families",
            "compare": "analysis.stats.families",
            "gains": "analysis.stats.families",
            "importance_table": "analysis.stats.importance",
            "over_seeds": "analysis.stats.aggregation",
            "rank": "analysis.stats.ranking",
            "search_table": "analysis.stats.search",
            "student_t": "analysis.stats.intervals",
            "swa_table": "analysis.stats.swa",
        },
    )

__all__ = [
    "Comparison",
    "Gains",
    "Interval",
    "Ranking",
    "against",
    "compare",
    "gains",
    "importance_table",
    "over_seeds",
    "rank",
    "search_table",
    "student_t",
    "swa_table",
]
