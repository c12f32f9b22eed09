"""How often a race errs, what it finds and what it costs, by simulated sweeps.

A value is setting + seed + noise, in points of mIoU. An error is one false verdict on any pair at
any look of a race.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.benchmarking.statistics import CURVE, is_wrong
from analysis.inference.planning import smallest_found
from analysis.inference.sequential import looks_of
from analysis.record.schema import Race
from analysis.stats.ranking import Ranking, rank

Floats = NDArray[np.float64]
Row = dict[str, object]

RACE = Race(first=3, limit=10)
SEED_SD, NOISE_SD = 1.5, 0.7
EQUAL = (0.0,) * 7
PLANNED = (3, 5, 10)  # seeds
FALL, FALLS = 40.0, 0.1  # points that a collapsed run loses, and the share of these


@dataclass(frozen=True, kw_only=True)
class Sweeps:
    """Simulated sweeps.

    Attributes:
        truth: Points of each setting, [S].
        values: As fractions, [sweeps, S, seeds].
    """

    truth: Floats
    values: Floats


def simulate(
    truth: Sequence[float] | Floats,
    seeds: int,
    repeats: int,
    *,
    noisy: float = 1.0,
    falls: float = 0.0,
) -> Sweeps:
    """Return simulated sweeps.

    Args:
        truth: Points of each setting.
        seeds: Of each setting.
        repeats: How many sweeps.
        noisy: How many times noisier the first setting is.
        falls: Share of runs that collapse.
    """
    rng = np.random.default_rng(0)
    shape = repeats, len(truth), seeds
    noise = rng.normal(0, NOISE_SD, shape)
    noise[:, 0] *= noisy
    values = 70 + np.array(truth)[:, None] + rng.normal(0, SEED_SD, (repeats, 1, seeds)) + noise
    values -= FALL * (rng.random(shape) < falls)
    return Sweeps(truth=np.array(truth), values=values / 100)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a race.

    Attributes:
        erred: Whether one of its looks did.
        found: Share of the truly lower settings that the last look calls lower.
        seeds: Mean number over the settings.
    """

    erred: bool
    found: float
    seeds: float


def run_race(values: Floats, truth: Floats, race: Race, *, corrected: bool = True) -> Outcome:
    """Run a race over the seeds of a sweep that are all known.

    Args:
        values: Of each setting and seed, [S, seeds].
        truth: Of each setting, [S].
        race: How it looks.
        corrected: Whether its looks have levels of a race, and not of a single look.
    """
    have = np.full(len(truth), race.first)
    erred, looks = False, looks_of(race)
    for then in (*looks[1:], None):
        ranking = _rank(values, have, race if corrected else None)
        erred = erred or _errs(ranking, truth)
        contenders = list(ranking.contenders)
        if len(contenders) < 2 or then is None:
            break
        have[contenders] = then
    return Outcome(erred=erred, found=_found(ranking, truth), seeds=float(have.mean()))


def _rank(values: Floats, have: NDArray[np.int64], race: Race | None = None) -> Ranking[int]:
    settings = {
        i: dict(enumerate(row[:seeds].tolist()))
        for i, (row, seeds) in enumerate(zip(values, have, strict=True))
    }
    found = rank(settings, race=race)
    if found is None:
        raise ValueError("no value is finite")
    return found


def _errs(ranking: Ranking[int], truth: Floats) -> bool:
    best = truth[ranking.best]
    return any(is_wrong(gain, truth[i] - best) for i, gain in ranking.gains.items())


def _found(ranking: Ranking[int], truth: Floats) -> float:
    lower = np.flatnonzero(truth < truth.max())
    called = [ranking.against_best(int(i)) == "lower" for i in lower]
    return float(np.mean(called)) if called else 0.0


def family_errors(repeats: int) -> list[Row]:
    """Return the share of races that err, of settings that are all equal."""
    rows: list[Row] = []
    cases: Mapping[str, Mapping[str, float]] = {
        "equal settings": {},
        "one setting 6x noisier": {"noisy": 6.0},
        "10 % of runs collapse": {"falls": FALLS},
    }
    for name, changes in cases.items():
        sweeps = simulate(EQUAL, RACE.limit, repeats, **changes)
        for corrected in (True, False):
            erred = [
                run_race(values, sweeps.truth, RACE, corrected=corrected).erred
                for values in sweeps.values
            ]
            looks = "levels of a race" if corrected else "5 % at each look"
            rows.append({"case": name, "looks": looks, "family error": _rounded(np.mean(erred))})
    return rows


def savings(repeats: int) -> list[Row]:
    """Return what a race finds and costs, beside fixed numbers of seeds."""
    rows: list[Row] = []
    for name, truth in (("as in Fig. 4", CURVE), ("twice as far apart", 2 * CURVE)):
        sweeps = simulate(truth, RACE.limit, repeats)
        races = [run_race(values, sweeps.truth, RACE) for values in sweeps.values]
        power = float(np.mean([one.found for one in races]))
        seeds = float(np.mean([one.seeds for one in races]))
        fixed = {n: _power_of(sweeps, n) for n in range(RACE.first, RACE.limit + 1)}
        alike = float(np.interp(power, [*fixed.values()], [*fixed]))
        rows.append(
            {
                "differences": name,
                "power": _rounded(power),
                "seeds a setting": _rounded(seeds),
                "fixed seeds of that power": _rounded(alike),
                "saved": _rounded(1 - seeds / alike),
            }
        )
    return rows


def _rounded(value: float | np.floating) -> float:
    return round(float(value), 3)


def _power_of(sweeps: Sweeps, seeds: int) -> float:
    have = np.full(len(sweeps.truth), seeds)
    return float(np.mean([_found(_rank(v, have), sweeps.truth) for v in sweeps.values]))


def planned_power(repeats: int) -> list[Row]:
    """Return how often the difference that a plan names is found, of a power of 0.8.

    The best is the first setting, the second lower by that difference, the others by half of it.
    """
    rows: list[Row] = []
    for seeds in PLANNED:
        difference = smallest_found(len(EQUAL), seeds, NOISE_SD)
        truth = (0.0, -difference, *[-difference / 2] * (len(EQUAL) - 2))
        sweeps = simulate(truth, seeds, repeats)
        have = np.full(len(truth), seeds)
        found = [_rank(values, have).against_best(1) == "lower" for values in sweeps.values]
        rows.append(
            {
                "seeds": seeds,
                "difference named, points": _rounded(difference),
                "power (0.8)": _rounded(np.mean(found)),
            }
        )
    return rows


def simulate_races(repeats: int) -> list[list[Row]]:
    """Return the tables of this program.

    Args:
        repeats: How many races give a family error; half and a quarter of them give the rest.
    """
    return [
        family_errors(repeats),
        savings(max(repeats // 4, 1)),
        planned_power(max(repeats // 2, 1)),
    ]
