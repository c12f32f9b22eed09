"""The manifest of a sweep: all that was ever asked, beside the run folders that hold the answers.

    <storage>/sweeps/<sweep_key>.json   question, base config, trials, where and with what it ran
    <storage>/sweeps/<sweep_key>.diff   how the code differed from its commit, if it did

From it and the run folders alone the record can be brought up to date, and a later sweep of the
same name can say what has changed.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.record.schema import EXPERIMENT, OBJECTIVE, Race
from sweeps.planning.asked import given_of
from sweeps.planning.plan import EarlierRuns, Plan, PlannedRun, Trial
from sweeps.planning.state import SweepState
from sweeps.record.environment import environment, git_commit, git_diff, owner
from sweeps.storage.driver_lock import FOLDER
from sweeps.storage.mirror import Mirror, absolute
from trainable.config.loading import config_from
from trainable.config.schema import DEFAULTS, EXECUTION_FIELDS, ConfigError, TrialConfig, kind_of
from trainable.runs.folder import RunFolder
from trainable.runs.keys import RunSpec, readout_key
from trainable.runs.results import Result, distinct_readouts, read_result
from trainable.storage import json_files
from trainable.storage.faults import machine_fault
from trainable.storage.files import write_atomically
from trainable.storage.redaction import redact_uri

if TYPE_CHECKING:
    from trainable.data.datasets import DataFacts

VERSION = 2
OF_THE_SWEEP = ("axes:", "objectives:", "values of")  # differences that change no trial
FEW = 8  # values that are named one by one
FIELDS: dict[str, type] = {
    "name": str,
    "question": str,
    "sweep_key": str,
    "axes": list,
    "base": dict,
    "data": dict,
    "code_version": str,
    "with_samples": bool,
    "trials": dict,
    "tags": dict,
    "stopped": dict,
    "asked": dict,
    "created": float,
    "started": float,
    "tracking_uri": str,
    "password": bool,
    "environment": dict,
    "git_commit": str,
    "diff": bool,
}


def begin(state: SweepState, tracking_uri: str, experiment: str = EXPERIMENT) -> dict[str, Any]:
    """Write the manifest of a sweep that starts, and return it.

    What it runs on is noted when there is something to train: who only looks at what is done
    does not make it another machine's.
    """
    plan = state.plan
    known = _read(_path(plan.storage, plan.sweep_key)) or {}
    path = diff_path(plan.storage, plan.sweep_key)
    now = time.time()
    # Whoever goes on with a storage that was moved goes on with the sweep of who began it.
    content: dict[str, Any] = {"created": now, "owner": owner()} | known
    if not known or state.pending():
        diff = git_diff()
        content |= {"environment": environment(), "git_commit": git_commit(), "diff": bool(diff)}
        if diff:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, diff.encode())
    uri = redact_uri(tracking_uri)
    content |= {"tracking_uri": absolute(uri), "password": uri != tracking_uri, "started": now}
    content["experiment"] = experiment
    content["storage"] = str(plan.storage)  # in which the store may lie, too
    given = given_of(plan.base) if plan.given is None else plan.given
    content["given"] = known.get("given", {}) | dict(given)
    content["asked"] = {axis: _values(state, axis) for axis in plan.axes}
    written = write(state, content)
    if not written["diff"]:
        path.unlink(missing_ok=True)  # last: a manifest that tells of a diff always has one
    return written


def write(state: SweepState, content: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a manifest up to date with the sweep, which may have grown, and return it.

    What another command has added to it meanwhile stays.
    """
    plan = state.plan
    path = _path(plan.storage, plan.sweep_key)
    known = _read(path) or {"trials": {}, "tags": {}, "stopped": {}}
    runs = list(state.runs)
    base = dataclasses.asdict(plan.base)
    commands = _with(known.get("commands", []), plan.command)
    by = {"command": commands.index(plan.command)} if plan.command else {}
    trials = {trial.trial_key: _described(trial, base) | by for run in runs for trial in run.trials}
    asked = {run.spec.training_key for run in runs}
    written = {
        **content,
        "version": VERSION,
        "name": plan.name,
        "question": plan.question,
        "sweep_key": plan.sweep_key,
        "axes": list(plan.axes),
        "objectives": list(plan.objectives),
        "base": base,
        "data": dataclasses.asdict(plan.data),
        "code_version": plan.code_version,
        "with_samples": plan.with_samples,
        "commands": commands,
        "trials": _of_base(known, base) | trials,
        # What an earlier command said of what this one asks for is said anew.
        "tags": _less(known["tags"], trials) | dict(state.tags),
        "stopped": _less(known["stopped"], asked) | dict(state.stopped),
        "race": None if state.race is None else dataclasses.asdict(state.race),
        "updated": time.time(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json_files.dumps(written, indent=1))
    return written


def manifests(storage: Path) -> list[dict[str, Any]]:
    """Return all manifests of a storage, that of the newest start last.

    Raises:
        ConfigError: One is not what a sweep of this version wrote.
    """
    found = [_read(path) for path in sorted((storage / FOLDER).glob("*.json"))]
    return sorted((one for one in found if one), key=lambda one: one["started"])


def _with(commands: list[str], command: str) -> list[str]:
    return [*commands, command] if command and command not in commands else commands


def _less(known: Mapping[str, Any], asked: Container[str]) -> dict[str, Any]:
    return {key: one for key, one in known.items() if key not in asked}


def _of_base(known: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Return the trials of a manifest as they differ from a base, which may be another than its.

    A base of the same sweep may have another seed, and other values on the axes.
    """
    trials: dict[str, Any] = known["trials"]
    before = DEFAULTS | known.get("base", base)
    if before == base:
        return trials
    return {
        key: one | {"config": _differing(before | one["config"], base)}
        for key, one in trials.items()
    }


def sweep_state(
    content: Mapping[str, Any], storage: Path, *, mirror: Mirror | None = None
) -> SweepState:
    """Return the sweep that a manifest describes, with the keys that it had.

    Of a run that lacks a readout, the trials that have numbers stand apart from those that lack
    them.

    Args:
        content: The content of the manifest.
        storage: The folder of run folders.
        mirror: The mirror of the object store that has the run folders, if one does.

    Raises:
        ConfigError: The manifest's configs are not those of this version.
    """
    asked = Plan(
        name=content["name"],
        sweep_key=content["sweep_key"],
        axes=tuple(content["axes"]),
        base=_config(content, {}),
        data=_facts(content["data"]),
        storage=storage,
        mirror=mirror,
        question=content["question"],
        with_samples=content["with_samples"],
        given=content.get("given"),  # a manifest of before has none
        objectives=_objectives(content),
        code_version=content["code_version"],
    )
    found = SweepState(asked, stopped=content["stopped"], tags=content["tags"])
    found.hold_race(_race(content))
    found.add_runs(_runs_of(content, found, besides=()))
    return found


def _objectives(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the metrics that a sweep is judged by; a manifest of before names none."""
    return tuple(content.get("objectives", (OBJECTIVE,)))


def take_over_race(state: SweepState) -> None:
    """Let a sweep know of the race that an earlier execution of it held: its looks count, too.

    Raises:
        ConfigError: Its manifest is not what a sweep of this version wrote.
    """
    known = _read(_path(state.plan.storage, state.plan.sweep_key))
    state.hold_race(None if known is None else _race(known))


def take_over_trials(state: SweepState) -> None:
    """Let a sweep know of the trials that earlier commands asked for and this one does not.

    Raises:
        ConfigError: Its manifest is not what a sweep of this version wrote, or a run folder is
            damaged.
    """
    known = _read(_path(state.plan.storage, state.plan.sweep_key))
    if known is None:
        return
    commands, trials = known.get("commands", []), known["trials"]
    state.add_earlier(
        EarlierRuns.of(
            _runs_of(known, state, besides={trial.trial_key for trial in state.trials}),
            stopped=known["stopped"],
            tags=known["tags"],
            commands={
                key: commands[one["command"]] for key, one in trials.items() if "command" in one
            },
        )
    )


def diff_path(storage: Path, sweep_key: str) -> Path:
    """Return where the difference of the code from its commit lies."""
    return storage / FOLDER / f"{sweep_key}.diff"


def changes(state: SweepState, storage: Path) -> list[str]:
    """Return in lines how a sweep differs from the one of its name that started here last.

    Nothing is said of another data set's sweep, nor of more seeds.

    Raises:
        ConfigError: As `manifests`.
    """
    alike = [
        one
        for one in manifests(storage)
        if one["name"] == state.plan.name and one["base"]["dataset"] == state.plan.base.dataset
    ]
    if not alike:
        return []
    before = alike[-1]
    found = list(_differences(before, state))
    if not found:
        return []
    if before["sweep_key"] == state.plan.sweep_key:
        return [*found, "trials that are there stay, new ones join them"]
    stay = f"stay in the record under {before['sweep_key']}"
    if all(one.startswith(OF_THE_SWEEP) for one in found):
        return [*found, f"the same runs answer it; the trials of before {stay}"]
    return [*found, f"all trials get new keys; those of before {stay}"]


def _differences(before: Mapping[str, Any], state: SweepState) -> Iterator[str]:
    now = dataclasses.asdict(state.plan.base)
    if before["code_version"] != state.plan.code_version:
        yield f"code version: {before['code_version']} -> {state.plan.code_version}"
    if before["data"]["fingerprint"] != state.plan.data.fingerprint:
        yield f"data fingerprint: {before['data']['fingerprint']} -> {state.plan.data.fingerprint}"
    if before["axes"] != list(state.plan.axes):
        yield f"axes: {', '.join(before['axes'])} -> {', '.join(state.plan.axes)}"
    if (objectives := _objectives(before)) != state.plan.objectives:
        yield f"objectives: {', '.join(objectives)} -> {', '.join(state.plan.objectives)}"
    for name in dict.fromkeys([*before["base"], *now]):
        if name not in (*EXECUTION_FIELDS, *state.plan.axes, "seed"):
            was, becomes = before["base"].get(name, DEFAULTS.get(name)), now.get(name)
            if was != becomes:
                yield f"{name}: {was} -> {becomes}"
    for axis in state.plan.axes:
        values, earlier = _values(state, axis), before["asked"].get(axis, [])
        if values and earlier and values != earlier:
            yield f"values of {axis}: {_listed(earlier)} -> {_listed(values)}"


def _values(state: SweepState, axis: str) -> list[Any]:
    return sorted({getattr(trial.config, axis) for trial in state.trials})


def _listed(values: list[Any]) -> str:
    return ", ".join(map(str, values)) if len(values) <= FEW else f"{len(values)} values"


def _described(trial: Trial, base: Mapping[str, Any]) -> dict[str, Any]:
    config = _differing(dataclasses.asdict(trial.config), base)
    asked = dataclasses.asdict(trial.asked or trial.config)
    other = _differing(asked, dataclasses.asdict(trial.config))
    described = {"training_key": trial.training_key, "config": config}
    return described | ({"asked": other} if other else {})


def _differing(values: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value != base[name]}


def _runs_of(
    content: Mapping[str, Any], state: SweepState, *, besides: Container[str]
) -> Iterator[PlannedRun]:
    """Yield the runs of a manifest's trials, less some: up to two of each training run."""
    by_run: dict[str, list[Trial]] = {}
    for key, one in content["trials"].items():
        if key not in besides:
            config = _config(content, one["config"])
            trial = Trial(
                config=config,
                training_key=one["training_key"],
                trial_key=key,
                asked=dataclasses.replace(config, **one.get("asked", {})),
            )
            by_run.setdefault(trial.training_key, []).append(trial)
    for trials in by_run.values():
        yield from _parts(state, trials)


def _parts(state: SweepState, trials: list[Trial]) -> Iterator[PlannedRun]:
    """Yield a run for the trials that its folder answers, and one for those it does not."""
    whole = _run(state.plan, trials)
    if isinstance(state.outcome(whole), Result):
        yield whole
        return
    result = read_result(RunFolder(state.plan.storage, whole.spec.training_key))
    readouts = set() if result is None else result.readouts.keys()
    answered = [trial for trial in trials if readout_key(trial.config.readout) in readouts]
    for part in (answered, [trial for trial in trials if trial not in answered]):
        if part:
            yield _run(state.plan, part)


def _run(asked: Plan, trials: list[Trial]) -> PlannedRun:
    spec = RunSpec(
        config=trials[0].config,
        readouts=distinct_readouts(trial.config.readout for trial in trials),
        data_fingerprint=asked.data.fingerprint,
        training_key=trials[0].training_key,
        code_version=asked.code_version,
    )
    return PlannedRun(spec=spec, trials=tuple(trials))


def _race(content: Mapping[str, Any]) -> Race | None:
    found = content.get("race")  # a manifest of before has none
    return None if found is None else Race(first=found["first"], limit=found["limit"])


def _config(content: Mapping[str, Any], differing: Mapping[str, Any]) -> TrialConfig:
    try:
        return config_from({**content["base"], **differing})
    except ConfigError as error:
        raise ConfigError(
            f"the configs in the manifest of {content['name']} {content['sweep_key']} must be of "
            f"this version, but {error}; publish it with the version that trained it"
        ) from error


def _facts(data: Mapping[str, Any]) -> DataFacts:
    from trainable.data.datasets import DataFacts

    return DataFacts(
        fingerprint=data["fingerprint"],
        classes=tuple(data["classes"]),
        skipped=tuple(data["skipped"]),
        warnings=tuple(data["warnings"]),
    )


def _path(storage: Path, sweep_key: str) -> Path:
    return storage / FOLDER / f"{sweep_key}.json"


def _read(path: Path) -> dict[str, Any] | None:
    try:
        content = json_files.loads(path.read_bytes())
        if content["version"] == VERSION:
            _check(content)
            if content["sweep_key"] != path.stem:
                raise ValueError(f"it is of sweep {content['sweep_key']}")
            return content
        cause = f"is of version {content['version']}"
    except FileNotFoundError:
        return None
    except KeyError as error:
        cause = f"has no {error}"
    except OSError as error:
        if machine_fault(error) is not None:
            raise
        cause = f"cannot be read ({error.strerror})"
    except (ValueError, TypeError) as error:
        cause = " ".join(str(error).split())
    raise ConfigError(
        f"{path}: must be the manifest that a sweep of version {VERSION} wrote, but {cause}; "
        "move it away, and the sweep writes it anew"
    )


def _check(content: Mapping[str, Any]) -> None:
    for name, kind in FIELDS.items():
        if type(content[name]) is not kind:
            raise TypeError(f"{name} is {kind_of(content[name])}")
    for name in (*content["axes"], "dataset"):
        content["base"][name]
    _facts(content["data"])
    if not all(isinstance(name, str) for name in _objectives(content)) or not _objectives(content):
        raise TypeError("its objectives are no names")
    race = _race(content)
    if race is not None and not 2 <= race.first <= race.limit:
        raise ValueError("its race has no looks")
    for one in content["trials"].values():
        if not isinstance(one["training_key"], str) or not isinstance(one["config"], dict):
            raise TypeError("a trial lacks its key or its config")
        if not one.get("asked", {}).keys() <= DEFAULTS.keys():
            raise ValueError("a trial was asked for with unknown fields")
    _check_commands(content.get("commands", []), content["trials"])  # one of before has none
    for tags in content["tags"].values():
        if not isinstance(tags, dict):
            raise TypeError(f"the tags of a trial are {kind_of(tags)}")


def _check_commands(commands: object, trials: Mapping[str, Any]) -> None:
    if not isinstance(commands, list) or not all(isinstance(one, str) for one in commands):
        raise TypeError("its commands are no texts")
    known = range(len(commands))
    if not all(one["command"] in known for one in trials.values() if "command" in one):
        raise ValueError("a trial is of no command")
