"""Run a sweep of your own from a YAML file: a grid, a list of points or a search round a preset.

Command:   python sweeps/from_file.py FILE.yaml [--plan]
Cost:      one training run per point and seed, less what differs only in its readout

    name: width-and-rate               # a-z, 0-9, - and _
    question: Does a wider network want a smaller learning rate?
    preset: demo                       # and, below, what to change in it
    base: {iterations: 120}
    axes: {generator_width: [8, 12], lr_generator: [0.01, 0.02]}
    seeds: 3

`points: [{generator_width: 8, lr_generator: 0.02}, ...]` instead of `axes` names each point, and

    search:
      lr_generator: {low: 0.005, high: 0.08, log: true}
      generator_width: {low: 4, high: 16, step: 4}
      swa_n: [2, 5, 10]

lets a sampler choose; the options of sweeps/joint_search.py say how. `objective: val/miou` ranks
by another metric than the mIoU of the averaged weights. What the command line sets overrides the
file. `sweeps.Sweep` describes the same in Python.
"""

from __future__ import annotations

import sys

from sweeps.api.description import Sweep
from sweeps.api.options import add_own_options, options_of, script_of
from sweeps.driver.options import sweep_parser
from sweeps.driver.start import start
from trainable.cli.parser import Parser, refuse
from trainable.config.schema import ConfigError


def parser() -> Parser:
    """Return the options of this sweep; those that the file may set have no default here."""
    options = add_own_options(
        sweep_parser(str(__doc__), "examples/my_sweep.yaml --plan", seeds=None)
    )
    options.add_argument("file", metavar="FILE.yaml", help="the question; see above")
    return options


def main() -> int:
    """Run the sweep that the file describes and return its exit code."""
    parsed = parser().parse_args()
    try:
        sweep = Sweep.from_yaml(parsed.file)
        options, own = options_of(sweep, parsed, parsed.file)
    except ConfigError as error:
        refuse(str(error))
    return start(script_of(sweep), options, own)


if __name__ == "__main__":
    sys.exit(main())
