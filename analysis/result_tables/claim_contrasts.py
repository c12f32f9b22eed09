"""What tests each of the paper's claims: a difference, or the least or largest of several.

Where the intervals of several differences hold at once, the least of their lower and the least of
their upper ends enclose the least of the true differences; so with every other place in the order.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from analysis.record.schema import finished
from analysis.record.sweep_data import SweepData
from analysis.result_tables.beside_paper import PAIR, gain_of
from analysis.result_tables.effects import AVERAGED, RAW, Effects, effects_of
from analysis.result_tables.paper import class_gains
from analysis.stats.aggregation import one_per_seed
from analysis.stats.arms import acting_loss, sides
from analysis.stats.comparisons import Comparison
from analysis.stats.families import Values, against, gains, in_pairs
from analysis.stats.swa import READOUT

LAMBDA = 0.01  # the paper's
AVERAGINGS = 200  # of the paper's training: n = 100 of 20,000 iterations (Algorithm 1)
CLASSES = 18 / 21  # gain in the paper's Table 1, which it calls almost all
RULES = {"eq7": "Eq. 7", "uniform": "uniform"}  # the two readings of section 3.4


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """A sweep that tests claims, with what several of them need."""

    data: SweepData

    @cached_property
    def effects(self) -> Effects:
        """Loss and averaging in its trials, where it is an ablation."""
        return effects_of(self.data.trials)

    @cached_property
    def study(self) -> pd.DataFrame:
        """Its finished trials without the discriminator, where it is a study of averaging."""
        numbers = (*READOUT[1:], "iterations", "lambda_adv")
        rule = "the claim on averaging"
        kept = one_per_seed(self.data.trials, READOUT, rule, numbers=numbers)
        return kept[acting_loss(kept) == "none"]


Measure = Callable[[Evidence], Comparison | None]


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """How a claim is tested.

    Attributes:
        claim: Its key in `paper.yaml`.
        sweep: Name of the sweep that tests it.
        words: What is compared.
        reading: Which of several readings of the paper's method this is of; empty where it has one.
        measure: Returns the difference that the claim is about; None where the sweep has it not,
            and a `RecordError` where its trials cannot be compared.
    """

    claim: str
    sweep: str
    words: str
    measure: Measure
    reading: str = ""


def at_place(found: Iterable[Comparison], place: int) -> Comparison | None:
    """Return the difference at a place in their order, with what their intervals say of it.

    Args:
        found: Comparisons whose intervals hold at once; those without seeds are left out, and
            those without an interval where others have one.
        place: 0 for the least, -1 for the largest.
    """
    known = [one for one in found if one.n]
    tested = [one for one in known if not math.isnan(one.half)] or known
    if not tested:
        return None
    difference, low, high = (
        sorted(getattr(one, name) for one in tested)[place]
        for name in ("difference", "low", "high")
    )
    return dataclasses.replace(
        tested[0],
        difference=difference,
        low=low,
        high=high,
        p_corrected=tested[0].p_corrected if len(tested) == 1 else math.nan,
        n=min(one.n for one in tested),
        missing=max(one.missing for one in tested),
    )


def _over_others(named: float, settings: Mapping[float, Values]) -> Comparison | None:
    """Return what a setting that was named before exceeds the best of the others by."""
    reference = next((value for value in settings if math.isclose(value, named)), None)
    if reference is None:
        return None
    return at_place(map(_negated, against(reference, settings).values()), 0)


def _negated(found: Comparison) -> Comparison:
    return dataclasses.replace(
        found, difference=-found.difference, low=-found.high, high=-found.low
    )


def _size(found: Comparison) -> Comparison:
    """Return a difference without its sign."""
    low, high = sorted(map(abs, (found.low, found.high)))
    holds_zero = found.low <= 0 <= found.high
    return dataclasses.replace(
        found, difference=abs(found.difference), low=0.0 if holds_zero else low, high=high
    )


def _by_setting(rows: pd.DataFrame, axis: str, metric: str) -> dict[float, dict[int, float]]:
    found: dict[float, dict[int, float]] = {}
    columns = (rows[name].tolist() for name in (axis, "seed", metric))
    for setting, seed, value in zip(*columns, strict=True):
        found.setdefault(float(setting), {})[int(seed)] = float(value)
    return found


def _peak(weights: str) -> Measure:
    def measure(sweep: Evidence) -> Comparison | None:
        point = ["lambda_adv"]
        kept = one_per_seed(sweep.data.trials, point, "the claim on lambda", numbers=point)
        return _over_others(LAMBDA, _by_setting(kept, "lambda_adv", f"{weights}/miou"))

    return measure


def _study(sweep: Evidence, rule: str) -> pd.DataFrame:
    """Return the trials that section 4.3 is about, of one of its readings."""
    return sweep.study[sweep.study["swa_rule"] == rule]


def _at_paper_n(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the trials with the n that is nearest to the paper's share of the training."""
    away = (AVERAGINGS * rows["swa_n"] / rows["iterations"]).map(math.log).abs()
    return rows[rows["swa_n"] == rows.loc[away.idxmin(), "swa_n"]] if len(rows) else rows


def _averaging(rule: str) -> Measure:
    def measure(sweep: Evidence) -> Comparison | None:
        rows = _at_paper_n(_study(sweep, rule))
        rows = rows[rows["swa_threshold"] == 0]
        averaged, raw = (_by_setting(rows, "swa_n", f"{w}/miou") for w in ("swa", "val"))
        return gains(averaged, raw).overall if averaged else None

    return measure


def _from_the_beginning(rule: str) -> Measure:
    def measure(sweep: Evidence) -> Comparison | None:
        rows = _at_paper_n(_study(sweep, rule))
        return _over_others(0.0, _by_setting(rows, "swa_threshold", "swa/miou"))

    return measure


def _over_n(rule: str) -> Measure:
    def measure(sweep: Evidence) -> Comparison | None:
        rows = _study(sweep, rule)
        by_n = _by_setting(rows[rows["swa_threshold"] == 0], "swa_n", "swa/miou")
        return at_place(map(_size, in_pairs(by_n).values()), -1)

    return measure


def _together(sweep: Evidence) -> Comparison | None:
    return gain_of(sides(sweep.data.trials, PAIR, dataset=""))


def _between(one: str, other: str) -> Measure:
    return lambda sweep: sweep.effects.averaged.get((one, other))


def _both_over_each(sweep: Evidence) -> Comparison | None:
    values = sweep.effects.values
    if not {"pixel-wise", "baseline"} <= values[RAW].keys():
        return None
    alone = {"loss": values[RAW]["pixel-wise"], "averaging": values[AVERAGED]["baseline"]}
    both = dict.fromkeys(alone, values[AVERAGED]["pixel-wise"])
    return at_place(gains(both, alone).each.values(), 0)


def _almost_all_classes(sweep: Evidence) -> Comparison | None:
    """Return the gain that as large a share of the classes reaches as in the paper."""
    found = [gain for gain in class_gains(sweep.data.trials, sweep.data.details).values() if gain.n]
    return at_place(found, len(found) - math.ceil(CLASSES * len(found) - 1e-9)) if found else None


def _every_generator(sweep: Evidence) -> Comparison | None:
    """Return the least gain of the loss over the generators, of which there must be two."""
    trials = sweep.data.trials
    names = sorted(finished(trials)["generator"].unique())
    if len(names) < 2:
        return None
    values = {name: effects_of(trials, generator=name).values[AVERAGED] for name in names}
    whole = {k: v for k, v in values.items() if {"pixel-wise", "baseline"} <= v.keys()}
    if len(whole) < 2:
        return None
    with_loss, without = (
        {name: by_loss[loss] for name, by_loss in whole.items()}
        for loss in ("pixel-wise", "baseline")
    )
    return at_place(gains(with_loss, without).each.values(), 0)


def _of_lambda(claim: str, words: str, measure: Measure) -> Contrast:
    return Contrast(claim=claim, sweep="lambda_grid", words=words, measure=measure)


def _of_both_rules(claim: str, words: str, measure: Callable[[str], Measure]) -> list[Contrast]:
    return [
        Contrast(claim=claim, sweep="swa_grid", words=words, measure=measure(rule), reading=reading)
        for rule, reading in RULES.items()
    ]


def _of_ablation(claim: str, words: str, measure: Measure) -> Contrast:
    return Contrast(claim=claim, sweep="ablation", words=words, measure=measure)


PROPOSED, ALONE = "averaged pixel-wise less raw baseline", "averaged pixel-wise less averaged"
CONTRASTS = (
    _of_lambda("lambda_averaged", "lambda 0.01 less the best other, averaged", _peak("swa")),
    _of_lambda("lambda_raw", "lambda 0.01 less the best other, raw", _peak("val")),
    *_of_both_rules("swa_gain", "averaged less raw at threshold 0", _averaging),
    *_of_both_rules("swa_threshold", "threshold 0 less the best other", _from_the_beginning),
    *_of_both_rules("swa_n", "largest difference of two n", _over_n),
    _of_ablation("together", PROPOSED, _together),
    _of_ablation("together_segtrack", PROPOSED, _together),
    _of_ablation("loss_alone", f"{ALONE} baseline", _between("pixel-wise", "baseline")),
    _of_ablation("both_over_each", "averaged pixel-wise less either alone", _both_over_each),
    _of_ablation("pixelwise_standard", f"{ALONE} standard", _between("pixel-wise", "standard")),
    _of_ablation(
        "standard_fails",
        "averaged standard less averaged baseline",
        _between("standard", "baseline"),
    ),
    _of_ablation("classes", "the gain that 6 of 7 classes reach", _almost_all_classes),
    _of_ablation("generators", "the loss's least gain, averaged weights", _every_generator),
)
