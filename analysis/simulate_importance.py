"""Measure how often the importance of settings errs, and how often it finds what is there.

Simulates searches of four settings whose truth is known: of noise alone, and of one setting with an
effect, a hill or a slope, that explains at least three quarters of the variance. Prints a JSON
list: of each kind of search, how often a setting without effect was called above chance (`false`,
at most 0.05 by design) and how often the one with an effect was (`found`). Of readouts alike within
a run, the same with noise alone. Run as `python -m analysis.simulate_importance`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.record.schema import OBJECTIVE
from analysis.stats.importance import ABOVE, importance_table
from trainable.cli.parser import Parser
from trainable.cli.streams import ended_by_closed_output

SETTINGS = ("a", "b", "c", "d")  # `a` has the effect, where there is one
TRUTHS: dict[str, Callable[[NDArray[np.float64]], float]] = {
    "noise": lambda at: 0.0,
    "hill": lambda at: -15 * (at[0] - 0.4) ** 2,
    "slope": lambda at: 3.8 * at[0],
}
SAMPLERS = ("random", "tpe")
SUGGESTIONS = (12, 30, 100)
STARTUP = 10  # suggestions of TPE at random, as in the sweeps
LEVELS = 6  # of each of a run's two settings of the readout
SMOOTH = 2.0  # levels over which a run's readouts are alike


def parser() -> Parser:
    """Return the options of this command."""
    options = Parser(
        description=__doc__, module="analysis.simulate_importance", example="--repeats 100"
    )
    options.add_argument(
        "--repeats", type=int, default=400, metavar="N", help="searches of each kind (default: 400)"
    )
    return options


@ended_by_closed_output()
def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    repeats = max(1, parser().parse_args(argv).repeats)
    found = [
        _simulated(
            f"{sampler}, {truth}", n, [_search(sampler, truth, n, r) for r in range(repeats)]
        )
        for sampler in SAMPLERS
        for truth in TRUTHS
        for n in SUGGESTIONS
    ]
    found += [
        _simulated("readouts, noise", n, [readouts(n, r) for r in range(repeats)])
        for n in SUGGESTIONS[:2]
    ]
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return 0


def _simulated(kind: str, suggestions: int, searches: list[pd.DataFrame]) -> dict[str, object]:
    false, found = 0, 0
    for trials in searches:
        table = importance_table(trials)
        above = set(table.loc[table["verdict"] == ABOVE, "parameter"])
        acts = set() if "noise" in kind else {SETTINGS[0]}
        false += bool(above - acts)
        found += bool(above & acts)
    rates: dict[str, object] = {"false": round(false / len(searches), 3)}
    if "noise" not in kind:
        rates["found"] = round(found / len(searches), 3)
    return {"search": kind, "suggestions": suggestions, "repeats": len(searches)} | rates


def _search(sampler: str, truth: str, suggestions: int, seed: int) -> pd.DataFrame:
    """Return a search whose settings lie between 0 and 1, with noise of standard deviation 0.6."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    random = np.random.default_rng([seed, suggestions])
    space: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.FloatDistribution(0, 1) for name in SETTINGS
    }
    samplers = optuna.samplers
    tpe = samplers.TPESampler(
        seed=seed, multivariate=True, constant_liar=True, n_startup_trials=STARTUP
    )
    study = optuna.create_study(
        direction="maximize",
        sampler=tpe if sampler == "tpe" else samplers.RandomSampler(seed=seed),
    )
    rows = []
    for ask in range(suggestions):
        trial = study.ask(space)
        at = np.array([trial.params[name] for name in SETTINGS])
        value = TRUTHS[truth](at) + random.normal(0, 0.6)
        study.tell(trial, value)
        rows.append(trial.params | {"ask": float(ask), OBJECTIVE: value})
    return _frame(rows, SETTINGS)


def readouts(runs: int, seed: int) -> pd.DataFrame:
    """Return runs whose readouts, all those of two settings, differ by smooth noise alone."""
    random = np.random.default_rng([seed, runs])
    places = np.arange(LEVELS)
    alike = np.exp(-(((places[:, None] - places) / SMOOTH) ** 2) / 2)
    rows = []
    for ask in range(runs):
        noise = alike @ random.normal(size=(LEVELS, LEVELS)) @ alike
        rows += [
            {"ask": float(ask), "a": float(i), "b": float(k), OBJECTIVE: noise[i, k]}
            for i in range(LEVELS)
            for k in range(LEVELS)
        ]
    return _frame(rows, SETTINGS[:2])


def _frame(rows: Sequence[dict[str, float]], axes: tuple[str, ...]) -> pd.DataFrame:
    trials = pd.DataFrame(rows).assign(
        phase="search", status="FINISHED", search_state="COMPLETE", seed=0
    )
    trials["trial_key"] = [f"{number:016x}" for number in range(len(trials))]
    trials.attrs = {"sweep": "simulated", "axes": axes}
    return trials


if __name__ == "__main__":
    sys.exit(main())
