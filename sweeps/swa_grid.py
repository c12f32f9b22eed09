"""Section 4.3: which rule, interval n and threshold of weight averaging gives the best mIoU?

Command:   python sweeps/swa_grid.py [--preset voc2012 --data-root DIR]
Cost:      one training run per seed, whatever the size of the grid: every readout of a seed is
           carried by the same run (demo: 216 trials from 3 runs, about a minute on two CPU cores)
Expected:  the paper gains 1.0 points at threshold 0, and its intervals n differ by 0.3 % at most.
           Eq. 7 read literally keeps much of the weights that a large n started from: there the
           two rules part, and only `uniform` fits the paper's 0.3 %.

As in the paper "the discriminator is not involved": a preset's lambda_adv is 0 here. `--set
lambda_adv=0.01` reads an adversarial run instead, and a `--config` file is taken as it is.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import sys
from collections.abc import Iterable

from sweeps import SweepScript, run_sweep, sweep_parser
from trainable import TrialConfig
from trainable.cli.options import whole
from trainable.cli.parser import Parser
from trainable.config.choices import SWA_RULES

# Times the preset's own n, which would average 48 times in all of the demo's training, 50 times on
# SegTrack-v2 and 200 times on VOC. Under eq7 the smallest forgets the start at once, the
# largest keeps 91 to 98 % of it (n = 20 to 1,000 for the paper's 100, 1 to 50 for the demo's 5).
FACTORS = (0.2, 0.4, 1, 2, 4, 10)
# Even steps from the paper's best, averaging from the beginning, to three quarters, from where
# Izmailov et al. average; later, the largest n would take in one set of weights or none.
THRESHOLDS = (0.0, 0.15, 0.3, 0.45, 0.6, 0.75)
# As printed, and as the paper's small effect of n suggests that it was computed.
RULES = ("eq7", "uniform")


def parser() -> Parser:
    """Return the options of this sweep."""
    options = sweep_parser(str(__doc__), "--n 2 5 10 --rules uniform --plan")
    options.add_argument(
        "--n",
        type=whole(),
        nargs="+",
        metavar="N",
        help=f"iterations between averagings (default: the preset's swa_n times {FACTORS})",
    )
    options.add_argument(
        "--thresholds",
        type=float,
        nargs="+",
        default=THRESHOLDS,
        metavar="SHARE",
        help=f"share of training before averaging (default: {' '.join(map(str, THRESHOLDS))})",
    )
    options.add_argument(
        "--rules",
        nargs="+",
        choices=SWA_RULES,
        default=RULES,
        metavar="RULE",
        help=f"of {', '.join(SWA_RULES)} (default: {' '.join(RULES)})",
    )
    return options


def intervals(base: TrialConfig) -> list[int]:
    """Return the default range of n: FACTORS times the base's own, within the training."""
    wanted = (round(factor * base.swa_n) for factor in FACTORS)
    return sorted({min(max(1, n), base.iterations) for n in wanted})


def trials(
    base: TrialConfig, seeds: Iterable[int], options: argparse.Namespace
) -> list[TrialConfig]:
    """Return the grid: rule x n x threshold, with every seed."""
    grid = itertools.product(options.rules, options.n or intervals(base), options.thresholds)
    readouts = [
        {"swa_rule": rule, "swa_n": n, "swa_threshold": threshold} for rule, n, threshold in grid
    ]
    return [
        dataclasses.replace(base, seed=seed, **readout) for seed in seeds for readout in readouts
    ]


SWEEP = SweepScript(
    name="swa_grid",
    question="Which rule, interval and threshold of weight averaging gives the best mIoU?",
    axes=("swa_rule", "swa_n", "swa_threshold"),
    trials=trials,
    settings=("lambda_adv=0",),
)


def main() -> int:
    """Run the sweep and return its exit code."""
    return run_sweep(SWEEP, parser())


if __name__ == "__main__":
    sys.exit(main())
