"""Does averaging help more without the adversary? Run: python examples/my_sweep.py [--plan]."""

from dataclasses import replace
from itertools import product

from sweeps import SweepScript, run_sweep, sweep_parser


def trials(base, seeds, options):
    """Return the trials: two lambdas and three thresholds, each with every seed."""
    grid = product(seeds, (0.0, 0.05), (0.0, 0.5, 0.9))
    return [replace(base, seed=s, lambda_adv=x, swa_threshold=t) for s, x, t in grid]


SWEEP = SweepScript(name="my-sweep", axes=("lambda_adv", "swa_threshold"), trials=trials)

if __name__ == "__main__":
    raise SystemExit(run_sweep(SWEEP, sweep_parser(__doc__)))
