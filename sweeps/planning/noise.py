"""What a sweep's seeds will be able to show, by the noise of runs that are there or an assumption.

The noise is that of a run's value round its setting and its seed: a difference between settings
that share their seeds has no other.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from analysis.inference.blocks import fit_blocks
from analysis.inference.planning import POWER, smallest_found
from analysis.stats.rounding import count, fixed
from sweeps.planning.objectives import measure
from sweeps.planning.plan import Plan
from sweeps.planning.ranking import setting_key
from sweeps.planning.state import SweepState
from trainable.config.schema import ConfigError, Readout, TrialConfig
from trainable.runs.folder import RunFolder
from trainable.runs.results import Result, read_description, read_result

# Where no run tells: by so much differed two runs of one network with one seed on a GPU.
# Source: github.com/open-mmlab/mmsegmentation, issue 255.
ASSUMED = 0.007
LEAST_FREEDOM = 4  # degrees of freedom below which a variance tells too little
Earlier = tuple[TrialConfig, Result]  # config and numbers of a run
MORE_SEEDS = (5, 10, 20, 50)
SHOWN = 3  # numbers of seeds: what is asked for, and two that are more


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Standard deviation of a run's value from its setting and its seed.

    Attributes:
        deviation: As a fraction.
        runs: Runs that it was measured with; 0 where it is assumed.
    """

    deviation: float
    runs: int


def results_in_storage_of(state: SweepState) -> Iterator[Earlier]:
    """Yield config and numbers of the finished runs in the storage of a sweep, its own first."""
    own: dict[str, Earlier] = {}
    for run in state.known_runs:
        found = state.outcome(run)
        if isinstance(found, Result):
            own.setdefault(run.spec.training_key, (run.spec.config, found))
    yield from own.values()
    planned = {run.spec.training_key for run in state.known_runs}
    for path in sorted(state.plan.storage.glob("*/result.json")):
        if path.parent.name in planned:
            continue
        folder = RunFolder(state.plan.storage, path.parent.name)
        try:
            config = TrialConfig(**read_description(folder)["config"])
            result = read_result(folder)
        except (ValueError, TypeError, KeyError):
            continue  # of another version, or damaged: it has nothing to say here
        if result is not None:
            yield config, result


def noise_of(plan: Plan, results: Iterable[Earlier]) -> Noise:
    """Return the noise of runs that differ from the sweep's base on its axes and in seed alone.

    Args:
        plan: The plan of the sweep.
        results: Runs as `results_in_storage_of` yields them.
    """
    values: dict[str, dict[int, float]] = {}
    for config, result in results:
        for one in _settings_of(config, result):
            if _is_of(plan, one):
                found = measure(result, one.readout, plan.objectives)[plan.objectives[0]]
                values.setdefault(setting_key(one), {})[one.seed] = found
    repeated = {key: by_seed for key, by_seed in values.items() if len(by_seed) > 1}
    variances = fit_blocks(repeated).variances if repeated else None
    if variances is None or variances.common_freedom < LEAST_FREEDOM:
        return Noise(deviation=ASSUMED, runs=0)
    return Noise(deviation=math.sqrt(variances.common), runs=sum(map(len, repeated.values())))


def power_lines(state: SweepState, noise: Noise, *, searching: bool) -> list[str]:
    """Return in words which difference to the best the seeds asked for would show.

    What earlier commands have numbers of is compared, too.

    Args:
        state: The state of the sweep, with the trials that it begins with.
        noise: The noise of its runs.
        searching: Whether settings are searched: those that confirm it, with other seeds, count.
    """
    seeds: dict[str, set[int]] = {}
    finished = [run for run in state.earlier.runs if isinstance(state.outcome(run), Result)]
    for trial in itertools.chain(state.trials, *(run.trials for run in finished)):
        if not searching or trial.config.seed != state.plan.base.seed:
            seeds.setdefault(setting_key(trial.config), set()).add(trial.config.seed)
    counts = sorted(map(len, seeds.values()))
    asked = counts[(len(counts) - 1) // 2] if counts else 0  # settings of before may have others
    if len(seeds) < 2 or asked < 2:
        return ["power:           none: a difference needs two settings with two seeds each"]
    numbers = [asked, *(number for number in MORE_SEEDS if number > asked)][:SHOWN]
    found = [100 * smallest_found(len(seeds), number, noise.deviation) for number in numbers]
    first, *rest = (_points(points) for points in found)
    more = [f"{number} seeds {points}" for number, points in zip(numbers[1:], rest, strict=True)]
    return [
        f"power:           {asked} seeds per setting would show a difference to the best of about "
        f"{first} points with a power of {POWER:g}" + "".join(f"; {words}" for words in more),
        f"noise:           {100 * noise.deviation:.2g} points between runs of a seed, "
        + _source(state, noise),
    ]


def _points(points: float) -> str:
    return fixed(points, 1 if points < 10 else 0)


def _source(state: SweepState, noise: Noise) -> str:
    if noise.runs:
        return f"by {count(noise.runs, 'earlier run')} in {state.plan.storage}"
    return (
        "assumed, as between two equal runs on a GPU: too few runs in "
        f"{state.plan.storage} repeat such settings with other seeds"
    )


def _settings_of(config: TrialConfig, result: Result) -> Sequence[TrialConfig]:
    """Return the settings that a run has numbers of: one for each readout that is known."""
    found = []
    for entry in result.readouts.values():
        try:
            readout = Readout(**entry["readout"])
        except (TypeError, ValueError):
            continue  # of another version
        found.append(dataclasses.replace(config, **dataclasses.asdict(readout)))
    return found


def _is_of(plan: Plan, config: TrialConfig) -> bool:
    """Return whether a config is what the sweep's base becomes at its values of the axes."""
    values = {name: getattr(config, name) for name in (*plan.axes, "seed")}
    try:
        asked = dataclasses.replace(plan.base, **values)
    except ConfigError:
        return False  # values that the base cannot have
    return setting_key(asked.canonical()) == setting_key(config.canonical())
