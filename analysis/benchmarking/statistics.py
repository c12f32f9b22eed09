"""Simulated sweeps whose truth is known: how often verdicts err, find what is there, and cover it.

A run is the setting's true mean, plus what its seed gives to all settings, plus noise of its own.
The truth "as Fig. 4" is a curve through the paper's 2.3 points between lambda 0 and 0.01, which
falls to -3.3 at lambda 1; with 72 settings it is the same curve at 72 places.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.stats.comparisons import Comparison
from analysis.stats.families import against, gains
from analysis.stats.intervals import mean_share
from analysis.stats.ranking import rank

Floats = NDArray[np.float64]
Settings = dict[int, dict[int, float]]  # by setting and seed, as fractions
Row = dict[str, str | int | float | None]

SEED_SD, RUN_SD = 2.5, 0.5  # points; of a seed, and of a run beside its setting and seed
CURVE = np.array([-2.3, -1.8, -1.0, 0.0, -1.0, -2.2, -3.3])  # points, lambda 0 to 1
LEVEL_OF_MIOU = 0.7
NOISIER, COLLAPSES, MISSING = 6, 0.1, 0.15
CURVED = "as Fig. 4"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A kind of sweep that is simulated.

    Attributes:
        name: What is true of it.
        settings: How many settings it has.
        seeds: How many seeds each has.
        truth: True means of the settings, in points from `LEVEL_OF_MIOU`.
        disturb: Changes the noise and values of a sweep, [settings, seeds], in points.
    """

    name: str
    settings: int
    seeds: int
    truth: Floats
    disturb: Callable[[Floats, np.random.Generator], Floats]

    def draw(self, rng: np.random.Generator) -> Settings:
        """Return one sweep; runs that are missing are not in it."""
        shape = (self.settings, self.seeds)
        seeds = rng.normal(0, SEED_SD, self.seeds)
        values = self.disturb(rng.normal(0, RUN_SD, shape), rng) + self.truth[:, None] + seeds
        rows = np.clip(LEVEL_OF_MIOU + values / 100, 0, 1)
        return {
            key: {seed: float(v) for seed, v in enumerate(row) if math.isfinite(v)}
            for key, row in enumerate(rows)
        }


def cases() -> Iterator[Case]:
    """Yield what is simulated: nothing to find under several troubles, and something to find."""
    for settings, seeds in ((7, 3), (7, 5), (72, 3)):
        curve = np.interp(np.linspace(0, 6, settings), np.arange(7), CURVE)
        for name, disturb in DISTURBANCES.items():
            yield Case(
                name=name,
                settings=settings,
                seeds=seeds,
                truth=np.zeros(settings),
                disturb=disturb,
            )
        yield Case(
            name=CURVED, settings=settings, seeds=seeds, truth=curve, disturb=DISTURBANCES["null"]
        )


def _noisier(noise: Floats, _: np.random.Generator) -> Floats:
    return noise * np.where(np.arange(len(noise)) == 1, NOISIER, 1)[:, None]


def _collapsing(noise: Floats, rng: np.random.Generator) -> Floats:
    fallen = rng.random(noise.shape) < COLLAPSES
    return np.where(fallen, rng.uniform(-65, -40, noise.shape), noise)


def _missing(noise: Floats, rng: np.random.Generator) -> Floats:
    gone = rng.random(noise.shape) < MISSING
    gone[:, 0] &= ~gone.all(axis=1)  # every setting has a run
    return np.where(gone, np.nan, noise)


DISTURBANCES: Mapping[str, Callable[[Floats, np.random.Generator], Floats]] = {
    "null": lambda noise, _: noise,
    f"one setting {NOISIER} x noisier": _noisier,
    f"{COLLAPSES:.0%} of runs collapse": _collapsing,
    f"{MISSING:.0%} of runs missing": _missing,
}


def simulate(case: Case, repeats: int) -> Row:
    """Return how often the verdicts on a case's sweeps err, find, and how often intervals cover.

    Args:
        case: What is simulated.
        repeats: How many sweeps.

    Returns:
        Shares of all sweeps: `best error` and `reference error` (any verdict of a family is wrong),
        `power` (truly worse settings that are called lower than the best, None without such),
        `best cover`, `reference cover` (all intervals of a family hold at once) and `mean cover`
        (of single means).
    """
    rng = np.random.default_rng(0)
    truth = case.truth / 100
    worse = {key for key in range(case.settings) if truth[key] < truth.max()}
    wrong, wrong_named, covered, covered_named, found, means = (np.zeros(repeats) for _ in range(6))
    for at in range(repeats):
        sweep = case.draw(rng)
        ranking = rank(sweep)
        if ranking is None:
            raise ValueError("a simulated sweep has no value")
        best = {key: truth[key] - truth[ranking.best] for key in ranking.gains}
        wrong[at] = any(is_wrong(ranking.gains[key], best[key]) for key in best)
        covered[at] = all(_holds(ranking.gains[key], best[key]) for key in best)
        found[at] = sum(ranking.gains[key].high < 0 for key in worse & best.keys())
        named = against(0, sweep)
        wrong_named[at] = any(is_wrong(c, truth[key] - truth[0]) for key, c in named.items())
        covered_named[at] = all(_holds(c, truth[key] - truth[0]) for key, c in named.items())
        own = mean_share(sweep[case.settings - 1].values())
        center = LEVEL_OF_MIOU + truth[case.settings - 1]
        means[at] = not (own.low > center or own.high < center)
    return {
        "settings": case.settings,
        "seeds": case.seeds,
        "truth": case.name,
        "best error": round(float(wrong.mean()), 4),
        "reference error": round(float(wrong_named.mean()), 4),
        "power": round(float(found.mean()) / len(worse), 3) if worse else None,
        "best cover": round(float(covered.mean()), 4),
        "reference cover": round(float(covered_named.mean()), 4),
        "mean cover": round(float(means.mean()), 4),
    }


def simulate_gains(settings: int, seeds: int, shared_sd: float, repeats: int) -> Row:
    """Return error and coverage of changes within runs, as of averaged against raw weights.

    Args:
        settings: How many settings there are.
        seeds: How many seeds each has.
        shared_sd: Of what a seed gives to the changes of all settings, in points.
        repeats: How many sweeps.
    """
    rng = np.random.default_rng(1)
    nothing: Settings = {k: dict.fromkeys(range(seeds), LEVEL_OF_MIOU) for k in range(settings)}
    errors, overall = np.zeros(repeats), np.zeros(repeats)
    for at in range(repeats):
        change = rng.normal(0, shared_sd, seeds) + rng.normal(0, RUN_SD, (settings, seeds))
        after = {
            k: {s: LEVEL_OF_MIOU + float(v) / 100 for s, v in enumerate(row)}
            for k, row in enumerate(change)
        }
        told = gains(after, nothing)
        errors[at] = any(is_wrong(one, 0.0) for one in told.each.values())
        overall[at] = _holds(told.overall, 0.0)
    return {
        "settings": settings,
        "seeds": seeds,
        "truth": f"no gain, seeds' share {shared_sd:g} points",
        "each error": round(float(errors.mean()), 4),
        "overall cover": round(float(overall.mean()), 4),
    }


def simulate_former(settings: int, seeds: int, repeats: int) -> Row:
    """Return the power of two other ways on the truth as Fig. 4.

    One is a paired t-test for each setting, all pairs corrected after Holm; the other Tukey's
    range with one pooled error, which one noisy setting breaks.
    """
    from scipy.special import stdtr
    from scipy.stats import studentized_range

    rng = np.random.default_rng(0)
    truth = np.interp(np.linspace(0, 6, settings), np.arange(7), CURVE)
    pairs = settings * (settings - 1) // 2
    limit = studentized_range.ppf(0.95, settings, (settings - 1) * (seeds - 1))
    by_holm = by_pooled = 0.0
    for _ in range(repeats):
        values = truth[:, None] + rng.normal(0, RUN_SD, (settings, seeds))
        best = int(values.mean(1).argmax())
        difference = np.delete(values - values[best], best, axis=0)
        lower = difference.mean(1)
        error = difference.std(1, ddof=1) / math.sqrt(seeds)
        p = np.sort(2 * stdtr(seeds - 1, -np.abs(lower) / error))
        held = np.cumprod(p * (pairs - np.arange(len(p))) < 0.05)
        by_holm += held.sum() / (settings - 1) / repeats
        left = values - values.mean(0) - values.mean(1, keepdims=True) + values.mean()
        pooled = math.sqrt((left**2).sum() / (settings - 1) / (seeds - 1) / seeds)
        by_pooled += (lower < -limit * pooled).sum() / (settings - 1) / repeats
    return {
        "settings": settings,
        "seeds": seeds,
        "truth": CURVED,
        "power, Holm over all pairs": round(by_holm, 3),
        "power, Tukey with one error": round(by_pooled, 3),
    }


def simulate_all(repeats: int) -> list[list[Row]]:
    """Return all simulations as tables, each a list of rows with the same columns."""
    return [
        [simulate(case, repeats) for case in cases()],
        [simulate_gains(7, seeds, shared, repeats) for seeds in (3, 5) for shared in (0.0, 0.5)],
        [simulate_former(settings, 3, repeats) for settings in (7, 72)],
    ]


def is_wrong(found: Comparison, truth: float) -> bool:
    """Whether a verdict says what is not so."""
    return (found.low > 0 and truth <= 0) or (found.high < 0 and truth >= 0)


def _holds(found: Comparison, truth: float) -> bool:
    """Whether an interval holds the truth; one that is unknown says nothing wrong."""
    return not (found.low > truth + 1e-12 or found.high < truth - 1e-12)
