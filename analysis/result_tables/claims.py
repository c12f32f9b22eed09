"""The paper's claims one by one: what tests each, our number with its interval, and a verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.record.schema import RecordError
from analysis.record.sweep_data import SweepData
from analysis.result_tables.beside_paper import Paper, sentences
from analysis.result_tables.cells import Cell, PaperNumber, Spanned, table
from analysis.result_tables.claim_contrasts import CONTRASTS, Contrast, Evidence
from analysis.stats.comparisons import Comparison
from analysis.stats.datasets import dataset_name
from analysis.stats.rounding import count

PAPER_DATA = ("voc2012", "segtrackv2")
SUPPORTED, CONTRADICTED = "supported", "contradicted"
UNDECIDED, NOT_TRIED = "not distinguishable", "not tried"
OURS, VERDICT = "ours (95 %) [points]", "verdict"
Claim = Mapping[str, Any]


def claims(sweeps: Sequence[SweepData], paper: Paper) -> pd.DataFrame:
    """Return the paper's claims with what the sweeps say of each.

    A claim is tried on its own data set, or else on data that the paper does not use.

    Args:
        sweeps: Those that are drawn, and those on other data sets beside them.
        paper: The paper's printed numbers and claims.

    Returns:
        Columns: the claim, the verdict, our difference with the ends of its interval, the paper's
        number, what is compared, with the data where there are several, and where the paper makes
        the claim.
    """
    rows: list[dict[str, Cell]] = []
    evidence = [Evidence(data=data) for data in sweeps]
    for key, claim in paper["claims"].items():
        tested = [_row(one, claim, evidence) for one in CONTRASTS if one.claim == key]
        rows += [row for row in tested if row[VERDICT] != NOT_TRIED] or tested[:1]
    data = [row.pop("data") for row in rows]
    used = [*dict.fromkeys(str(name) for name in data if name is not None)]
    for row, name in zip(rows, data, strict=True):
        if name is not None and len(used) > 1:
            row["compared"] = f"{row['compared']}, {name}"
    own = [name for name in used if name not in map(dataset_name, PAPER_DATA)]
    verdicts = Counter(row[VERDICT] for row in rows)
    told = [f"{verdicts[v]} {v}" for v in (SUPPORTED, CONTRADICTED, UNDECIDED, NOT_TRIED)]
    finding = f"Of {count(len(rows), 'test')} of the paper's claims: {', '.join(told)}"
    return table(
        rows,
        title=f"The paper's claims, tried on {' and '.join(used) or 'no data yet'}",
        finding=finding,
        measured=[OURS],
        caption=sentences(
            [
                "Supported: the 95 % interval of our difference lies wholly on the claim's side of "
                "0, or of 0.3 points for n",
                "Contradicted: it lies wholly on the other side",
                "A verdict is on the side, not on the size that the paper prints",
                "Each row holds with 95 % by itself; on the best, least or largest of several it "
                "holds for all of them at once",
                "Averaging is tried with the n nearest to the paper's, 1/200 of the training, and "
                "with both readings of its rule",
                *(f"{name} is not the paper's data: sizes do not compare" for name in own),
            ]
        ),
    )


def is_tried(table: pd.DataFrame) -> bool:
    """Return whether any of the claims of this table was tried."""
    return bool((table[VERDICT] != NOT_TRIED).any())


def _row(contrast: Contrast, claim: Claim, sweeps: Sequence[Evidence]) -> dict[str, Cell]:
    reading = f" ({contrast.reading})" if contrast.reading else ""
    row: dict[str, Cell] = {
        "claim": f"{claim['says']}{reading}",
        VERDICT: NOT_TRIED,
        OURS: None,
        "paper [points]": PaperNumber(text=claim["points"]) if claim["points"] else None,
        "compared": contrast.words,
        "data": None,
        "where": claim["where"],
    }
    sweep = _sweep_for(contrast, claim, sweeps)
    found = None if sweep is None else _measured(contrast, sweep)
    if sweep is None or found is None or not found.n:
        return row
    return row | {
        "data": dataset_name(sweep.data.trials.attrs["dataset"]),
        OURS: Spanned(found=found),
        VERDICT: verdict(found, claim),
    }


def _measured(contrast: Contrast, sweep: Evidence) -> Comparison | None:
    try:
        return contrast.measure(sweep)
    except RecordError:  # of which the tables of the sweep itself tell
        return None


def _sweep_for(contrast: Contrast, claim: Claim, sweeps: Sequence[Evidence]) -> Evidence | None:
    """Return the first sweep on the claim's data set, or else on data of one's own."""

    def on(sweep: Evidence) -> object:
        return sweep.data.trials.attrs["dataset"]

    of_name = [one for one in sweeps if one.data.trials.attrs["sweep"] == contrast.sweep]
    fitting = [one for one in of_name if on(one) == claim["dataset"]]
    if not claim.get("there_alone"):
        fitting += [one for one in of_name if on(one) not in PAPER_DATA]
    return next(iter(fitting), None)


def verdict(found: Comparison, claim: Claim) -> str:
    """Return what a difference with its interval says of a claim.

    Args:
        found: The difference that the claim is about; without an interval it says nothing.
        claim: With its bound in points, `above` or `below`.
    """
    side = 1 if "above" in claim else -1
    bound = float(claim["above" if side > 0 else "below"]) / 100
    ends = sorted(side * (end - bound) for end in (found.low, found.high))
    if ends[0] > 0:
        return SUPPORTED
    return CONTRADICTED if ends[1] < 0 else UNDECIDED
