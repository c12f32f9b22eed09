"""What a search begins with: points that a person gives, and training runs that have finished."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sweeps.planning.objectives import scores_of
from sweeps.planning.state import SweepState
from sweeps.search.spaces.space import Space, with_values
from trainable.config.schema import READOUT_FIELDS, ConfigError, TrialConfig, Value, suggest
from trainable.runs.folder import RunFolder
from trainable.runs.keys import readout_key, training_key
from trainable.runs.results import Result, read_description, read_result


@dataclass(frozen=True, kw_only=True)
class WarmStartTrial:
    """A finished training run from which a sampler learns before its first suggestion.

    Attributes:
        training_key: The key of the training run.
        values: The value of each field that the sampler would have drawn.
        scores: The value of each objective, of the readout that is best in the first.
    """

    training_key: str
    values: dict[str, Value]
    scores: tuple[float, ...]


def read_point(text: str, space: Space, base: TrialConfig) -> dict[str, Value]:
    """Return the setting that `key=value,key=value` names.

    Args:
        text: What `--point` was given.
        space: The space of the search.
        base: The config that has the values of the fields left out.

    Raises:
        ConfigError: A key is not a field that a sampler draws, or a value lies outside the space.
    """
    axes = space.suggested
    given: dict[str, Value] = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ConfigError(f"`--point key=value,key=value` must hold, but got {text!r}")
        if key in space.axes and key not in axes:
            raise ConfigError(
                f"--point {text}: {key} is read in all its values from every run; leave it out, or "
                "search with --readouts sampled"
            )
        if key not in axes:
            raise ConfigError(f"--point {text}: unknown axis {key!r}; {suggest(key, axes)}")
        if key in given:
            raise ConfigError(f"--point {text}: {key} must stand once; leave one out")
        given[key] = value
    config = with_values(base, given)
    values = space.active({name: getattr(config, name) for name in axes})
    for name in given:
        if name not in values:
            raise ConfigError(
                f"--point {text}: {name} is there only when {axes[name].condition}; leave it out"
            )
    for name, chosen in values.items():
        if not axes[name].contains(chosen):
            raise ConfigError(
                f"--point {text}: {name} must be {axes[name].describe()}, but is {chosen}"
            )
    return values


def earlier_trials(
    state: SweepState, space: Space, storages: Iterable[str]
) -> list[WarmStartTrial]:
    """Return the finished runs in some storages that belong to a setting of the space.

    A run counts if this code trained it on this data and it equals the base config in every field
    that the space does not vary, the seed too, so that each setting comes once. A run that carried
    only some of the readouts is valued by the best of those. The state notes how many run folders
    cannot be read.

    Args:
        state: The state of the sweep.
        space: The space of the search.
        storages: The folders of run folders to look through.
    """
    found: dict[str, WarmStartTrial] = {}
    damaged: list[str] = []
    for storage in storages:
        for key, config, result in _finished(Path(storage), damaged):
            if training_key(config, state.plan.data.fingerprint) == key:
                earlier = _as_earlier(key, config, result, state, space)
                if earlier is not None:
                    found.setdefault(key, earlier)
    if damaged:
        state.note(f"the warm start left out run folders ({len(damaged)}): {damaged[0]}")
    return list(found.values())


def _finished(storage: Path, damaged: list[str]) -> Iterator[tuple[str, TrialConfig, Result]]:
    for path in sorted(storage.glob("*/result.json")):
        folder = RunFolder(storage, path.parent.name)
        try:
            config = TrialConfig(**read_description(folder)["config"])
            result = read_result(folder)
        except (TypeError, ValueError, KeyError) as error:
            # Of another version, or damaged: it has nothing to say here.
            if isinstance(error, ConfigError):
                damaged.append(str(error))
            continue
        if result is not None:
            yield path.parent.name, config, result


def _as_earlier(
    key: str, config: TrialConfig, result: Result, state: SweepState, space: Space
) -> WarmStartTrial | None:
    values = space.active({name: getattr(config, name) for name in space.training})
    if not all(space.axes[name].contains(value) for name, value in values.items()):
        return None
    siblings = space.siblings(state.plan.base, values)
    if siblings[0].training_identity() != config.training_identity():
        return None
    objectives = state.plan.objectives
    read = [one for one in siblings if readout_key(one.readout) in result.readouts]
    found = ((scores_of(result, one.readout, objectives), one) for one in read)
    known = [(scores, sibling) for scores, sibling in found if scores is not None]
    best = max(known, key=lambda pair: pair[0][0], default=None)
    if best is None:
        return None
    scores, sibling = best
    readout = {k: getattr(sibling, k) for k in space.suggested if k in READOUT_FIELDS}
    return WarmStartTrial(training_key=key, values=space.active(values | readout), scores=scores)
