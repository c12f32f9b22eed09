"""A finished training run done once more, and every number held beside the first one's."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from trainable.config import ConfigError
from trainable.config_files import config_from
from trainable.identity import RunSpec
from trainable.progress import train_to_end
from trainable.run_folder import RunFolder
from trainable.training_run import TrainingRun

SETTING = {"code_version": "the code that trains", "torch": "torch", "device": "the device"}


@dataclass(frozen=True, kw_only=True)
class PastRun:
    """What a run folder says of its training.

    Attributes:
        spec: What was trained.
        threads: Of torch on the CPU.
        setting: The values of SETTING that it was trained with.
        result: The numbers that came out.
    """

    spec: RunSpec
    threads: int
    setting: dict[str, str]
    result: dict[str, Any]

    def doubts(self, now: Mapping[str, Any]) -> list[str]:
        """Return in words why the digits may differ, from the config.json of the repetition."""
        changed = [
            f"{words} was {self.setting[name]}, is {now[name]}"
            for name, words in SETTING.items()
            if now[name] != self.setting[name]
        ]
        if now["device"] != "cpu" and not self.spec.config.deterministic:
            changed.append("a GPU repeats its digits only where deterministic is true")
        return changed


def repeat(
    folder: Path, execution: Mapping[str, Any], say: Callable[[str], None]
) -> tuple[int, list[str]]:
    """Train again, from the beginning and in a temporary folder, what a run folder holds.

    Args:
        folder: Of a finished run.
        execution: Fields of the config to change, none of which decides a number.
        say: Is told, before training, why the digits may differ.

    Returns:
        As `differences`.

    Raises:
        ConfigError: The folder holds no result, or the data is not what it was.
        KeyboardInterrupt: SIGINT or SIGTERM came.
        NonFiniteLossError: The repetition diverged.
    """
    past = read_run(folder)
    spec = dataclasses.replace(
        past.spec,
        config=dataclasses.replace(past.spec.config, **execution),
        training_key="repeated",  # what a file says decides no path
    )
    torch.set_num_threads(past.threads)
    with TemporaryDirectory() as storage, closing(TrainingRun(spec, Path(storage))) as run:
        for doubt in past.doubts(run.folder.read("config") or {}):
            say(f"the digits may differ: {doubt}")
        train_to_end(run, where=f"repeating {folder}")
        return differences(past.result, run.folder.read("result") or {})


def read_run(folder: Path) -> PastRun:
    """Return what a run folder holds.

    Raises:
        ConfigError: It holds no result, or its files are not those of this version.
    """
    files = RunFolder(folder.parent, folder.name)
    try:
        config, result = files.read("config"), files.read("result")
        if config is None or result is None:
            missing = "config" if config is None else "result"
            raise FileNotFoundError(f"{missing}.json is missing")
        primitives = {field.name: config[field.name] for field in dataclasses.fields(RunSpec)}
        # A later attempt that never ended may have asked for others.
        primitives["readouts"] = [one["readout"] for one in result["readouts"].values()]
        config_from(primitives["config"])  # refuses what `from_primitives` does not
        return PastRun(
            spec=RunSpec.from_primitives(primitives),
            threads=int(config["threads"]),
            setting={name: config[name] for name in SETTING},
            result=result,
        )
    except KeyError as error:
        raise _refused(folder, f"there is no {error}") from error
    except (OSError, TypeError, ValueError) as error:
        raise _refused(folder, str(error)) from error


def differences(past: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[int, list[str]]:
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


def _compared(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a result follows from the training; the rest is clocks, memory and names."""
    readouts = {
        key: {"averaged": one["averaged"], "swa": one["swa"]}
        for key, one in result["readouts"].items()
    }
    return {"val": result["val"], "readouts": readouts, "train": result["train"]}


def numbers(name: str, value: Any) -> Iterator[tuple[str, float]]:
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
