# PYTHON_ARGCOMPLETE_OK
"""All commands as one: `pwa lambda_grid`, `pwa train`, and so on.

    pwa --help
    pwa lambda_grid --lambdas 0 0.01 0.1 --seeds 4
    eval "$(register-python-argcomplete pwa)"

The last line lets the Tab key of bash and zsh complete commands, options, presets, and the fields
of a config and their values after `--set`. Whatever a command imports is imported when that command
is run.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from importlib.metadata import version
from typing import Any

from trainable.cli.parser import CONSOLE, refuse
from trainable.config.schema import suggest

DISTRIBUTION = "pixelwise-adversarial-sweeps"
# By heading, the name of each command, its module and what it does.
COMMANDS = {
    "sweeps": {
        "lambda_grid": ("sweeps.lambda_grid", "Fig. 4: the weight of the adversarial loss"),
        "swa_grid": ("sweeps.swa_grid", "section 4.3: rule, interval, threshold of averaging"),
        "ablation": ("sweeps.ablation", "Tables 1-4: losses and networks"),
        "joint_search": ("sweeps.joint_search", "search lambda, rates and averaging together"),
        "from_file": ("sweeps.from_file", "a sweep of your own, from a YAML file"),
    },
    "record": {
        "make_figures": ("analysis.make_figures", "draw figures, tables and the report"),
        "compare": ("analysis.compare", "compare two sweeps of one question"),
        "best": ("sweeps.best", "write the best setting of a sweep as a config"),
        "publish": ("sweeps.publish", "bring the record up to date from run folders"),
        "repeat": ("sweeps.repeat", "train a recorded trial again and compare the digits"),
        "log_model": ("sweeps.log_model", "log the network of a recorded trial as a model"),
    },
    "one training run": {
        "train": ("trainable.train", "train one trial, or list the fields of a config"),
        "predict": ("trainable.predict", "masks and overlays from a trained network"),
        "prepare": ("trainable.prepare", "build train_aug, or look a data set over"),
    },
    "this machine": {
        "doctor": ("sweeps.doctor", "say what is wrong here, and what mends it"),
        "benchmark": ("trainable.benchmark", "time training steps"),
        "benchmark_sweeps": ("sweeps.benchmark", "time the platform beside its stock parts"),
        "benchmark_analysis": ("analysis.benchmark", "time figures, simulate statistics"),
    },
}
MODULES = {name: module for group in COMMANDS.values() for name, (module, _) in group.items()}


def main() -> int:
    """Run the command that the command line names, and return its exit code."""
    if "_ARGCOMPLETE" in os.environ:
        complete()  # ends the process
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help", "--help-all"):
        sys.stdout.write("\n".join([*help_lines(), ""]))
        return 0
    if name == "--version":
        sys.stdout.write(f"{CONSOLE} {version(DISTRIBUTION)}\n")
        return 0
    if name not in MODULES:
        refuse(f"unknown command {name!r}; {suggest(name, MODULES)}; see `{CONSOLE} --help`")
    sys.argv = [f"{CONSOLE} {name}", *sys.argv[2:]]  # as `program` reads it
    run = import_module(MODULES[name]).main
    return int(run())


def help_lines() -> Iterator[str]:
    """Yield what `pwa --help` prints: a line for each command."""
    yield f"usage: {CONSOLE} COMMAND [options]"
    for heading, commands in COMMANDS.items():
        yield f"{heading}:"
        yield from (f"  {name:20}{does}" for name, (_, does) in commands.items())
    yield ""
    yield f"example: {CONSOLE} lambda_grid --lambdas 0 0.01 0.1 --seeds 4 --plan"
    yield f"`{CONSOLE} COMMAND --help` tells of one; --version of the package"


def complete() -> None:
    """Tell the shell, as argcomplete's protocol says, what may stand where the cursor is."""
    import argcomplete

    line = os.environ["COMP_LINE"].encode()[: int(os.environ["COMP_POINT"])].decode()
    words = line.split()
    if len(words) > 2 or (len(words) == 2 and line[-1].isspace()):
        # The command's own parser completes what follows; the number is that of the first word.
        os.environ["_ARGCOMPLETE"] = str(int(os.environ["_ARGCOMPLETE"]) + 1)
        parser = import_module(MODULES[words[1]]).parser() if words[1] in MODULES else None
    else:
        parser = argparse.ArgumentParser(prog=CONSOLE)
        parser.add_argument("command", choices=MODULES)
        parser.add_argument("--version", action="store_true")
    if parser is not None:
        completer: Any = _values
        argcomplete.autocomplete(parser, default_completer=completer, exit_method=sys.exit)
    sys.exit(1)


def _values(*, prefix: str, action: argparse.Action, **_: Any) -> Iterable[str]:
    """Return what may stand for an option's value, or as a positional argument."""
    from argcomplete.completers import FilesCompleter

    if "--preset" in action.option_strings:
        from trainable.config.loading import presets

        return presets()
    if str(action.metavar).startswith("KEY=VALUE"):
        return _assignments(prefix)
    files: Iterable[str] = FilesCompleter()(prefix)
    return files


def _assignments(prefix: str) -> list[str]:
    """Return `field=` for every field of a config, or `field=value` once the field is there."""
    from trainable.config.schema import CHOICES, DEFAULTS

    field, equals, _ = prefix.partition("=")
    if not equals:
        return [f"{name}=" for name in DEFAULTS]
    default = DEFAULTS.get(field, "")
    known = ("true", "false") if isinstance(default, bool) else CHOICES.get(field, ())
    return [f"{field}={value}" for value in known or (default,)]


if __name__ == "__main__":
    sys.exit(main())
