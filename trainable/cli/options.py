"""What every command shares: the options that name a config, and the way bad input is refused."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from trainable.cli.parser import OptionGroup, Parser, command_line, program
from trainable.cli.streams import OutputClosed, ended_by_closed_output, silence
from trainable.config.loading import load_given, presets
from trainable.config.places import Override
from trainable.config.schema import EXECUTION_FIELDS, ConfigError, TrialConfig
from trainable.storage.faults import machine_fault
from trainable.storage.redaction import printable, redact

OK, SOME_FAILED, INTERRUPTED = 0, 1, 130  # and BAD_INPUT


def give_up(fault: str, remedy: str) -> int:
    """Say in one line what the machine refused, and return the exit code.

    Args:
        fault: What `machine_fault` says.
        remedy: The command that resumes, or what else is to be done.
    """
    said = " ".join(printable(redact(fault)).split())
    print(f"error: {said}; {remedy}", file=sys.stderr)
    return SOME_FAILED


def command(main: Callable[[], int]) -> Callable[[], int]:
    """Let what the machine refuses end a command in one line, with exit code 1."""

    @wraps(main)
    def run() -> int:
        try:
            return main()
        except Exception as error:
            fault = machine_fault(error)
            if fault is None:
                raise
            again = command_line(*program(_module()), *sys.argv[1:])
            return give_up(fault, f"mend that and run again: {again}")

    return run


def _module() -> str:
    """Return the module that `python -m` runs, empty for a script."""
    spec = sys.modules["__main__"].__spec__
    return "" if spec is None else spec.name


@dataclass(frozen=True, kw_only=True)
class ConfigOptions:
    """The options of `add_config_options`, from which `config_of` makes a config.

    Attributes:
        preset: Name of the preset; None stands for `demo`.
        config: Path of a YAML file instead of a preset, None for none.
        data_root: Folder of the real data set, None for the config's own.
        overrides: Texts `key=value`, later ones winning.
    """

    preset: str | None
    config: str | None
    data_root: str | None
    overrides: tuple[str, ...]


def add_config_options(parser: Parser, *, preset: str = "demo") -> None:
    """Add the options that `config_of` reads, with a preset by default."""
    group = parser.group("config", "--preset voc2012 --data-root data/ --set iterations=5000")
    source = group.add_mutually_exclusive_group()
    source.add_argument(
        "--preset",
        default=preset,
        metavar="NAME",
        help=f"{', '.join(presets())} (default: {preset})",
    )
    source.add_argument("--config", metavar="FILE", help="YAML file instead of a preset")
    group.add_argument("--data-root", metavar="DIR", help="folder that holds the real data set")
    add_set(group, "set a field of the config")


def add_set(parser: OptionGroup, does: str) -> None:
    """Add the option that changes fields of a config; `does` says of which and what for."""
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"{does}; may stand several times",
    )


def add_network(parser: OptionGroup) -> None:
    """Add the option that names the code which a file or a record may name, too."""
    parser.add_argument(
        "--network",
        action="append",
        default=[],
        metavar="MODULE:CALLABLE",
        help="a network of your own that was trained: none is imported unless you name it",
    )


def config_of(options: ConfigOptions) -> TrialConfig:
    """Return the config that the options name.

    Raises:
        ConfigError: As `load_config`.
    """
    config, _ = _load(options)
    # The folder that a worker runs in is another one.
    named = {name: str(getattr(config, name)) for name in ("data_root", "cache_dir")}
    folders: dict[str, Any] = {
        name: str(Path(folder).expanduser().resolve()) for name, folder in named.items() if folder
    }
    return dataclasses.replace(config, **folders)


def given_of(options: ConfigOptions) -> dict[str, Any]:
    """Return the fields that the options set, by preset, file or option, as they were set.

    Raises:
        ConfigError: As `load_config`.
    """
    config, names = _load(options)
    return {name: getattr(config, name) for name in names}


def _load(options: ConfigOptions) -> tuple[TrialConfig, tuple[str, ...]]:
    overrides = list(options.overrides)
    if options.data_root is not None:
        root = f"data_root={json.dumps(str(Path(options.data_root).resolve()))}"
        overrides.append(Override(root, by="--data-root"))
    preset = "demo" if options.preset is None else options.preset
    return load_given(preset=preset, file=options.config, overrides=overrides)


def execution_of(options: ConfigOptions, repetition: str) -> dict[str, Any]:
    """Return the fields that the options set for a repetition, none of which decides its numbers.

    Args:
        options: What the command line gives.
        repetition: What repeats, the beginning of a message that continues `takes --set for ...`.

    Raises:
        ConfigError: An option would train something else, or as `config_of`.
    """
    config = config_of(options)
    fields = [text.partition("=")[0].strip() for text in options.overrides]
    for field in fields:
        if field not in EXECUTION_FIELDS:
            raise ConfigError(
                f"{repetition} takes --set for {', '.join(EXECUTION_FIELDS)} alone, "
                f"but got {field!r}; leave it out"
            )
    if options.data_root is not None:
        fields.append("data_root")
    return {field: getattr(config, field) for field in fields}


def add_no_reuse(parser: OptionGroup) -> None:
    """Add the option that names an attempt: a new one where it stands without a name."""
    parser.add_argument(
        "--no-reuse",
        type=_attempt,
        nargs="?",
        const="",
        metavar="ATTEMPT",
        help="train again what run folders already hold; with a name, resume what was so begun",
    )


def _attempt(text: str) -> str:
    return text or uuid.uuid4().hex


def resume_command(attempt: str | None, module: str = "") -> str:
    """Return the command line that resumes what this process began, with secrets hidden.

    Args:
        attempt: What `--no-reuse` names, None where it is not given.
        module: The module that `python -m` runs, empty for a script.
    """
    given = [f"--no-reuse={attempt}"] if attempt else []
    return command_line(*program(module), *sys.argv[1:], *given)


def whole(most: int = 1_000_000) -> Callable[[str], int]:
    """Return the reader of an option that is a whole number from 1 to `most`."""

    def read(text: str) -> int:
        digits = text.isascii() and text.isdigit() and len(text) < 10
        if not digits or not 1 <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from 1 to {most}, but got {text!r}"
            )
        return int(text)

    return read


def check_writable(option: str, folder: Path) -> None:
    """Refuse a folder that is not there and cannot be made.

    Raises:
        ConfigError: What is there is a file, or may not be written.
    """
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not there.is_dir():
        raise ConfigError(f"{option} must lie in a folder, but {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ConfigError(f"{option} must be writable, but {there} is not; give another folder")


@contextmanager
def signals_handled(handle: Callable[[int], None], *numbers: int) -> Iterator[None]:
    """Handle signals for a while; one that is ignored, as SIGHUP under `nohup`, stays so.

    Python gives signals to its main thread alone: in another one this does nothing.

    Args:
        handle: Is given the number of each that comes.
        numbers: The signals.
    """
    terminals = [stream for stream in (1, 2) if os.isatty(stream)]

    def handle_one(number: int, frame: object) -> None:
        for stream in terminals:
            if number == signal.SIGHUP and not os.isatty(stream):
                silence(stream)  # to write to a terminal that was closed is an error
        handle(number)

    in_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in numbers if in_main}
    heeded = {number: old for number, old in before.items() if old != signal.SIG_IGN}
    for number in heeded:
        signal.signal(number, handle_one)
    try:
        yield
    finally:
        for number, old in heeded.items():
            signal.signal(number, old)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does; it ends here, with 130.

    What a closed standard output ends, ends here, too; see `ended_by_closed_output`. A service
    manager and a terminal that closes send one signal after another: what the first began, only
    the same one again cuts short.

    Raises:
        SystemExit: A KeyboardInterrupt was not caught inside.
    """
    first: list[int] = []

    def interrupt(number: int) -> None:
        if number in first or not first:
            first.append(number)
            raise KeyboardInterrupt

    with ended_by_closed_output(), signals_handled(interrupt, signal.SIGTERM, signal.SIGHUP):
        try:
            yield
        except OutputClosed:
            raise
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise SystemExit(INTERRUPTED) from None
