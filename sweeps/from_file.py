"""A question of your own, as a YAML file: a grid or a list of points round a preset.

Command:   python sweeps/from_file.py FILE.yaml [--plan]
Cost:      one training run per point and seed, less what differs only in its readout

    name: width-and-rate               # a-z, 0-9, - and _
    question: Does a wider network want a smaller learning rate?
    preset: demo                       # and, below, what to change in it
    base: {iterations: 120}
    grid: {generator_width: [8, 12], lr_generator: [0.01, 0.02]}
    seeds: 3

`points: [{generator_width: 8, lr_generator: 0.02}, ...]` instead of `grid` names each point.
What the command line sets stands above the file.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import math
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweeps._cli import sweep_parser
from sweeps._sweep import Question, answer
from trainable.command_line import refuse
from trainable.config import (
    DATA_FIELDS,
    DEFAULTS,
    EXECUTION_FIELDS,
    ConfigError,
    TrialConfig,
    kind_of,
    suggest,
)
from trainable.config_files import read_yaml

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
TAKEN = ("ablation", "joint_search", "lambda_grid", "swa_grid")
KEYS = ("name", "question", "preset", "base", "grid", "points", "seeds")
OF_A_SEARCH = ("sampler", "scheduler", "search", "space")
MAX_POINTS = 10_000

Point = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class OwnSweep:
    """What a file asks.

    Attributes:
        name: Of the sweep.
        question: In one sentence.
        preset: That the points change, empty if the file names none.
        base: What they have in common, besides.
        points: The values of each, on some or all axes.
        seeds: Per point, None if the file does not say.
    """

    name: str
    question: str
    preset: str
    base: Point
    points: tuple[Point, ...]
    seeds: int | None

    @property
    def axes(self) -> tuple[str, ...]:
        """The fields that the points name."""
        return tuple(dict.fromkeys(itertools.chain.from_iterable(self.points)))

    def trials(
        self, base: TrialConfig, seeds: Iterable[int], options: argparse.Namespace
    ) -> list[TrialConfig]:
        """Return every point with each seed."""
        return [
            dataclasses.replace(base, **point, seed=seed) for seed in seeds for point in self.points
        ]


def read_sweep(path: Path) -> OwnSweep:
    """Read a sweep from a YAML file.

    Raises:
        ConfigError: It cannot be read, or what it asks cannot be answered.
    """
    values = read_yaml(path)
    try:
        return _sweep(values)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _sweep(values: Mapping[str, Any]) -> OwnSweep:
    for key in values:
        if key in OF_A_SEARCH and ("grid" in values or "points" in values):
            raise ConfigError(
                f"a grid names its points and takes no {key}; take `{key}` out, or search with "
                "sweeps/joint_search.py"
            )
        if key in OF_A_SEARCH:
            raise ConfigError(
                f"a file holds `grid` or `points`, and no {key}; search with sweeps/joint_search.py"
            )
        if key not in KEYS:
            raise ConfigError(f"unknown key {key!r}; {suggest(str(key), KEYS)}")
    base = _mapping("base", values.get("base", {}))
    _check_fields("base", base)
    for field, value in base.items():
        if not isinstance(value, str | int | float):
            raise ConfigError(f"{field} must be one value, but got {value!r} ({kind_of(value)})")
    seeds = values.get("seeds")
    if seeds is not None and not (type(seeds) is int and 1 <= seeds <= 10_000):
        raise ConfigError(f"seeds must be a whole number from 1 to 10000, but got {seeds!r}")
    return OwnSweep(
        name=_name(values.get("name")),
        question=_text("question", values.get("question")),
        preset=_text("preset", values["preset"]) if "preset" in values else "",
        base=base,
        points=_points(values),
        seeds=seeds,
    )


def _name(value: Any) -> str:
    name = _text("name", value)
    if not NAME.fullmatch(name):
        raise ConfigError(f"name must match {NAME.pattern}, but got {name!r}")
    if name in TAKEN:
        raise ConfigError(f"name must not be that of a sweep that ships, but got {name!r}")
    return name


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key} must be text, but got {value!r} ({kind_of(value)})")
    return " ".join(value.split())


def _points(values: Mapping[str, Any]) -> tuple[Point, ...]:
    if ("grid" in values) == ("points" in values):
        found = "both" if "grid" in values else "neither"
        raise ConfigError(f"one of `grid` and `points` must be there, but got {found}")
    points = _grid(values["grid"]) if "grid" in values else _listed(values["points"])
    for point in points:
        _check_fields("an axis", point)
        for field in point:
            _check_axis(field)
    return points


def _grid(value: Any) -> tuple[Point, ...]:
    grid = _mapping("grid", value)
    for field, choices in grid.items():
        if not isinstance(choices, list) or not choices:
            raise ConfigError(
                f"`{field}: [value, ...]` must hold at least one value in a grid, but got "
                f"{choices!r} ({kind_of(choices)})"
            )
    size = math.prod(len(choices) for choices in grid.values())
    if not grid or size > MAX_POINTS:
        raise ConfigError(
            f"a grid must have from 1 to {MAX_POINTS} points, but has {size if grid else 0}"
        )
    return tuple(dict(zip(grid, point, strict=True)) for point in itertools.product(*grid.values()))


def _listed(value: Any) -> tuple[Point, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_POINTS:
        raise ConfigError(
            f"points must be a list of 1 to {MAX_POINTS} points, but got {kind_of(value)}"
            + (f" of {len(value)}" if isinstance(value, list) else "")
        )
    points = tuple(_mapping("a point", point) for point in value)
    if not all(points):
        raise ConfigError("a point must name at least one field, but one is empty")
    return points


def _mapping(what: str, value: Any) -> Point:
    if not isinstance(value, dict):
        raise ConfigError(f"{what} must hold `field: value`, but got {value!r} ({kind_of(value)})")
    return value


def _check_fields(what: str, values: Point) -> None:
    for field in values:
        if field not in DEFAULTS:
            raise ConfigError(f"unknown field {field!r}; {suggest(str(field), DEFAULTS)}")
        if field == "seed" and what != "base":
            raise ConfigError(
                "seed is no axis: every point has every seed; say how many in `seeds`"
            )


def _check_axis(field: str) -> None:
    if field in DATA_FIELDS:
        raise ConfigError(f"a sweep has one data set, so {field} is no axis; set it in `base`")
    if field in (*EXECUTION_FIELDS, "weights_sha256"):
        raise ConfigError(
            f"an axis must decide the numbers, but {field} does not; set it in `base`"
        )


def parser() -> argparse.ArgumentParser:
    """Return the options of this sweep; what the file may say has no default here."""
    options = sweep_parser(str(__doc__))
    options.add_argument("file", metavar="FILE.yaml", help="the question; see above")
    options.set_defaults(preset=None, seeds=None)
    return options


def main() -> int:
    """Run the sweep that the file asks and return its exit code."""
    options = parser().parse_args()
    try:
        own = read_sweep(Path(options.file))
    except ConfigError as error:
        refuse(str(error))
    options.preset = options.preset or own.preset or "demo"
    options.seeds = options.seeds or own.seeds or 3
    in_base = [f"{field}={json.dumps(value)}" for field, value in own.base.items()]
    options.overrides = [*in_base, *options.overrides]
    question = Question(name=own.name, question=own.question, axes=own.axes, trials=own.trials)
    return answer(question, options)


if __name__ == "__main__":
    sys.exit(main())
