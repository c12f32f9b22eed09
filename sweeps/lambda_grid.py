"""Fig. 4: how does the weight of the adversarial loss change the mIoU, with and without SWA?

Command:   python sweeps/lambda_grid.py [--preset voc2012 --data-root DIR]
Cost:      one training run per lambda and seed; raw and averaged weights come from the same run
           (demo: 36 runs, under 4 minutes on two CPU cores)
Expected:  the paper finds its peak at lambda = 0.01 on Pascal VOC 2012, in both curves. On the
           demo's generated data the averaged weights gain about 5 points at 0.2 and at 1, averaging
           helps the more the larger lambda is, and at 3 training fails (docs/demo.md).
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterable

from sweeps import SweepScript, run_sweep, sweep_parser
from trainable import TrialConfig
from trainable.cli.parser import Parser

# The baseline, and near even steps on a log scale from the paper's 0.01 to what is too much.
LAMBDAS = (0.0, 0.01, 0.05, 0.2, 1.0, 3.0)
# More than three: paired differences from lambda 0 vary by one to four points between seeds.
SEEDS = 6


def parser() -> Parser:
    """Return the options of this sweep."""
    options = sweep_parser(str(__doc__), "--lambdas 0 0.01 0.1 --seeds 4 --plan", seeds=SEEDS)
    options.add_argument(
        "--lambdas",
        type=float,
        nargs="+",
        default=LAMBDAS,
        metavar="LAMBDA",
        help=f"weights of the adversarial loss (default: {' '.join(map(str, LAMBDAS))})",
    )
    return options


def trials(
    base: TrialConfig, seeds: Iterable[int], options: argparse.Namespace
) -> list[TrialConfig]:
    """Return the grid: every lambda with every seed, paired over lambdas by the seed."""
    return [
        dataclasses.replace(base, lambda_adv=value, seed=seed)
        for seed in seeds
        for value in options.lambdas
    ]


SWEEP = SweepScript(
    name="lambda_grid",
    question="How does the weight of the adversarial loss change the mIoU, with and without SWA?",
    axes=("lambda_adv",),
    trials=trials,
)


def main() -> int:
    """Run the sweep and return its exit code."""
    return run_sweep(SWEEP, parser())


if __name__ == "__main__":
    sys.exit(main())
