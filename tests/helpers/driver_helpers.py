"""What a sweep asks of a script, without a Ray that trains."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from small import SMALL

from sweeps.driver.options import sweep_parser
from sweeps.driver.sweep import Sweep
from trainable.config.schema import TrialConfig

SETS = [part for setting in SMALL for part in ("--set", setting)]


def question(changes: list[dict[str, Any]], axes: tuple[str, ...] = ("lambda_adv",)) -> Sweep:
    def trials(
        base: TrialConfig, seeds: Iterable[int], options: argparse.Namespace
    ) -> list[TrialConfig]:
        return [dataclasses.replace(base, **change) for change in changes]

    return Sweep(name="mine", axes=axes, trials=trials)


def options(folder: Path, *argv: str) -> argparse.Namespace:
    paths = ["--storage", str(folder / "runs"), "--tracking-uri", f"sqlite:///{folder}/m.db"]
    return sweep_parser("What?").parse_args([*SETS, *paths, *argv])
