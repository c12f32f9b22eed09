"""A finished training run done once more, and every number held beside the first one's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from trainable.cli.progress import train_to_end
from trainable.config.loading import config_from
from trainable.config.schema import ConfigError, TrialConfig
from trainable.networks.custom_code import check_trusted
from trainable.runs.keys import RunSpec
from trainable.runs.machine import CPU
from trainable.runs.results import Result, read_result
from trainable.runs.training_run import TrainingRun
from trainable.storage import json_files

# What digits follow from, in words, and a difference of it in few.
DECIDING = {
    "code_version": ("the code that trains", "other code"),
    "torch": ("torch", "another torch"),
    "device": ("the device", "another device"),
    "cpu": ("the kind of CPU", "another kind of CPU"),
}


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """What a run folder says of its training.

    Attributes:
        spec: The training run.
        setting: The code that trained it and what it ran on: see DECIDING, and `threads`.
        result: The numbers that came out.
    """

    spec: RunSpec
    setting: Mapping[str, Any]
    result: Result


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """How a repetition compares.

    Attributes:
        numbers: How many numbers were compared.
        differ: What is not the same to the last digit, each in words.
        doubts: Why digits may differ though the training is the same: in few words, and told.
    """

    numbers: int
    differ: list[str]
    doubts: dict[str, str]

    def describe(self) -> str:
        """Return the verdict. Digits that differ on another kind of CPU prove no other training."""
        if not self.differ:
            return f"the same digits: {self.numbers} numbers"
        said = f"{len(self.differ)} of {self.numbers} numbers differ"
        if not self.doubts:
            return said
        why = " and ".join(self.doubts)
        return (
            f"{said}, as they may with {why}: that proves nothing; repeat it where it was trained"
        )


def repeat(
    folder: Path,
    execution: Mapping[str, Any],
    say: Callable[[str], None],
    networks: Collection[str] = (),
) -> Repetition:
    """Train again, from the beginning and in a temporary folder, what a run folder holds.

    Args:
        folder: The run folder of a finished run.
        execution: Fields of the config to change, none of which decides a number.
        say: Called, before training, with each reason why the digits may differ.
        networks: The networks of one's own that the folder may name.

    Raises:
        ConfigError: The folder holds no result, or the data is not what it was.
        KeyboardInterrupt: SIGINT or SIGTERM came.
        NonFiniteLossError: The repetition diverged.
    """
    past = read_run(folder)
    # What a file says decides no path: the key is made anew, for the code at hand.
    config = dataclasses.replace(past.spec.config, **execution)
    check_trusted(config, folder, networks)
    spec = RunSpec.of(config, past.spec.readouts, past.spec.data_fingerprint)
    torch.set_num_threads(int(past.setting["threads"]))
    with TemporaryDirectory() as storage, closing(TrainingRun(spec, Path(storage))) as run:
        why = doubts(past.setting, run.folder.read("config") or {}, config)
        for doubt in why.values():
            say(f"the digits may differ: {doubt}")
        train_to_end(run, where=f"repeating {folder}")
        now = read_result(run.folder)
        assert now is not None  # nosec B101  # it was trained to its end
        count, differ = differences(past.result, now)
        return Repetition(numbers=count, differ=differ, doubts=why)


def doubts(
    was: Mapping[str, object], now: Mapping[str, object], config: TrialConfig
) -> dict[str, str]:
    """Return why the digits of a repetition may differ, in few words and told.

    Args:
        was: The values of DECIDING, as far as they are known, of the first training.
        now: Those of the repetition.
        config: What is trained.
    """
    changed = {
        few: f"{words} was {was[name]}, is {now[name]}"
        for name, (words, few) in DECIDING.items()
        if name in was and str(was[name]) != str(now[name])
    }
    if CPU not in (was.get("device"), now["device"]):
        changed.pop("another kind of CPU", None)  # a GPU trained
    if now["device"] != CPU and not config.deterministic:
        few = "a GPU that is not deterministic"
        changed[few] = "a GPU repeats its digits only where deterministic is true"
    return changed


def read_run(folder: Path) -> PastRun:
    """Return what a run folder holds, which may be a copy of another name.

    Raises:
        ConfigError: The folder holds no result, or its files are not of this version.
    """
    try:
        config, content = (
            json_files.loads((folder / name).read_bytes(), name=name)
            for name in ("config.json", "result.json")
        )
        if config["training_key"] != content["training_key"]:
            raise ValueError(
                f"config.json is of run {config['training_key']} and result.json of "
                f"{content['training_key']}"
            )
        result = Result.from_primitives(content)
        primitives = {field.name: config[field.name] for field in dataclasses.fields(RunSpec)}
        # A later attempt that never ended may have asked for others.
        primitives["readouts"] = [one["readout"] for one in result.readouts.values()]
        config_from(primitives["config"])  # refuses what `from_primitives` does not
        return PastRun(
            spec=RunSpec.from_primitives(primitives),
            setting={"code_version": result.code_version, **result.setting},
            result=result,
        )
    except FileNotFoundError as error:
        raise _refused(folder, f"{Path(error.filename).name} is missing") from error
    except KeyError as error:
        raise _refused(folder, f"there is no {error}") from error
    except (OSError, TypeError, ValueError) as error:
        raise _refused(folder, str(error)) from error


def differences(past: Result, now: Result) -> tuple[int, list[str]]:
    """Compare every number of two results.

    Returns:
        How many numbers there are, and in words each that is not the same to the last digit.
    """
    return compare(*(dict(numbers("", _compared(result))) for result in (past, now)))


def compare(one: Mapping[str, float], two: Mapping[str, float]) -> tuple[int, list[str]]:
    """Compare numbers by name.

    Returns:
        As `differences`.
    """
    names = list(dict.fromkeys([*one, *two]))
    differ = []
    for name in names:
        was, is_now = one.get(name), two.get(name)
        if was != is_now:
            by = "" if was is None or is_now is None else f", {is_now - was:+.3g}"
            differ.append(f"{name} was {was}, is {is_now}{by}")
    return len(names), differ


def _compared(result: Result) -> dict[str, object]:
    """Return what of a result follows from the training; the rest is clocks, memory and names."""
    readouts = {
        key: {"averaged": one["averaged"], "swa": one["swa"]}
        for key, one in result.readouts.items()
    }
    return {"val": result.val, "readouts": readouts, "train": result.train}


def numbers(name: str, value: object) -> Iterator[tuple[str, float]]:
    """Yield the numbers at the ends of nested mappings and lists, each with its path."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from numbers(f"{name}.{key}".removeprefix("."), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from numbers(f"{name}.{index}", inner)
    elif isinstance(value, float | int):
        yield name, value


def _refused(folder: Path, cause: str) -> ConfigError:
    return ConfigError(
        f"{folder}: a run folder must hold what a finished training run of this version wrote, but "
        f"{' '.join(cause.split())}; train it to its end, or name another"
    )
