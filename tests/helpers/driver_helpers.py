"""What a sweep asks of a script, without a Ray that trains."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from small import SMALL

from sweeps.driver.options import SweepOptions, sweep_parser
from sweeps.driver.script import SweepScript
from trainable.cli.parsed_options import split_options
from trainable.config.schema import TrialConfig

SETS = [part for setting in SMALL for part in ("--set", setting)]


def question(changes: list[dict[str, Any]], axes: tuple[str, ...] = ("lambda_adv",)) -> SweepScript:
    def trials(
        base: TrialConfig, seeds: Iterable[int], options: argparse.Namespace
    ) -> list[TrialConfig]:
        return [dataclasses.replace(base, **change) for change in changes]

    return SweepScript(name="mine", axes=axes, trials=trials)


Asked = tuple[SweepOptions, argparse.Namespace]


def options(folder: Path, *argv: str) -> Asked:
    paths = ["--storage", str(folder / "runs"), "--tracking-uri", f"sqlite:///{folder}/m.db"]
    return read(sweep_parser("What?"), *SETS, *paths, *argv)


def read(parser: argparse.ArgumentParser, *argv: str) -> Asked:
    """The options that every sweep has, and the script's own."""
    return split_options(SweepOptions, parser.parse_args(argv))
