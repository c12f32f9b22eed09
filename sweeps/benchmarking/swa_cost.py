"""Measure what the SWA grid costs beside one training per trial: `python -m sweeps.benchmark swa`.

Both sides train in one process and in turn, with one thread, and without Ray: whole runs with
their checkpoints, validations and results, of the demo preset as `swa_grid` asks for it. One naive
run is measured and multiplied by the number of trials, since they differ in their readout alone.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sweeps import swa_grid
from sweeps.planning.plan import make_plan
from sweeps.planning.state import SweepState
from trainable.cli.options import add_set
from trainable.config.loading import load_config
from trainable.config.schema import TrialConfig
from trainable.data import datasets
from trainable.runs.folder import RunFolder
from trainable.runs.keys import RunSpec, readout_key
from trainable.runs.results import read_result
from trainable.runs.training_run import TrainingRun
from trainable.storage.tensors import load_tensors

SAMPLE = 3  # readouts of the first seed that are trained for themselves and compared


@dataclass(frozen=True, kw_only=True)
class SwaCostOptions:
    """The options of `swa`.

    Attributes:
        benchmark: The name of the benchmark.
        overrides: Texts `key=value` that change fields of the demo preset.
        seeds: How many seeds the grid has.
    """

    benchmark: str
    overrides: tuple[str, ...]
    seeds: int


def add_swa(subparsers: Any) -> None:
    """Add the subcommand to those of `sweeps.benchmark`."""
    parser = subparsers.add_parser("swa", help="cost of the SWA grid beside one run per trial")
    add_set(parser, "set a field of the demo preset")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="default: 3")


def swa_cost(options: SwaCostOptions) -> dict[str, Any]:
    """Return seconds of both sides, their ratio, and how much of a sample has the same bits."""
    torch.set_num_threads(1)
    base = load_config(overrides=[*swa_grid.SWEEP.settings, *options.overrides])
    trials = swa_grid.trials(base, range(options.seeds), swa_grid.parser().parse_args([]))
    with tempfile.TemporaryDirectory() as folder:
        merged = _plan(base, trials, Path(folder) / "merged")
        grid_s = sum(_train(run.spec, merged.plan.storage) for run in merged.runs)
        sample = trials[:: len(trials) // options.seeds // SAMPLE][:SAMPLE]
        naive_s, same = [], 0
        for place, trial in enumerate(sample):
            alone = _plan(base, [trial], Path(folder) / f"alone-{place}")
            naive_s.append(_train(alone.runs[0].spec, alone.plan.storage))
            same += _bits(alone, trial) == _bits(merged, trial)
    return {
        "trials": len(trials),
        "training_runs": len(merged.runs),
        "grid_s": grid_s,
        "naive_run_s": naive_s[0],
        "naive_s": naive_s[0] * len(trials),
        "ratio": naive_s[0] * len(trials) / grid_s,
        "sample": len(sample),
        "sample_with_the_same_bits": same,
    }


def _plan(base: TrialConfig, trials: Sequence[TrialConfig], storage: Path) -> SweepState:
    asked = make_plan(
        swa_grid.SWEEP.name,
        base=base,
        axes=swa_grid.SWEEP.axes,
        data=datasets.inspect(base),
        storage=storage,
    )
    return SweepState.of(asked, trials)


def _train(spec: RunSpec, storage: Path) -> float:
    """Train to the end and return the seconds that it took."""
    began = time.perf_counter()
    run = TrainingRun(spec, storage)
    while not run.complete:
        run.advance()
    run.close()
    return time.perf_counter() - began


def _bits(state: SweepState, trial: TrialConfig) -> tuple[Any, dict[str, bytes]]:
    """Return the numbers of a trial, and the bytes of the raw and the averaged weights."""
    (run,) = (run for run in state.runs if run.spec.config.seed == trial.seed)
    folder = RunFolder(state.plan.storage, run.spec.training_key)
    result = read_result(folder)
    assert result is not None  # nosec B101  # it was trained to its end
    model = load_tensors(folder.path / "model.pt")
    key = readout_key(trial.readout)
    states = {"raw": model["generator"], "swa": model["averages"][key]["state"]}
    tensors = {
        f"{kind}/{name}": tensor.numpy().tobytes()
        for kind, state in states.items()
        for name, tensor in state.items()
    }
    return (result.val, result.readouts[key]), tensors
