"""Run a sweep of your own from a YAML file: a grid, a list of points or a search round a preset.

Command:   python sweeps/from_file.py FILE.yaml [--plan]
Cost:      one training run per point and seed, less what differs only in its readout

    name: width-and-rate               # a-z, 0-9, - and _
    question: Does a wider network want a smaller learning rate?
    preset: demo                       # and, below, what to change in it
    base: {iterations: 120}
    grid: {generator_width: [8, 12], lr_generator: [0.01, 0.02]}
    seeds: 3

`points: [{generator_width: 8, lr_generator: 0.02}, ...]` instead of `grid` names each point, and

    search:
      lr_generator: {low: 0.005, high: 0.08, log: true}
      swa_n: [2, 5, 10]

lets a sampler choose; the options of sweeps/joint_search.py say how. What the command line sets
overrides the file.
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
from typing import TYPE_CHECKING, Any

from sweeps.driver.options import SweepOptions, sweep_parser
from sweeps.driver.script import Sweep
from sweeps.driver.search_options import OPTIONS_OF_A_SEARCH, add_search_options, search_source
from sweeps.driver.start import start
from sweeps.search.space import Axis, Choice, Range, Space, with_values
from trainable.cli.parsed_options import split_options
from trainable.cli.parser import Parser, refuse
from trainable.config.loading import presets, read_yaml
from trainable.config.places import Override, Placed, located, places_of
from trainable.config.schema import (
    DATA_FIELDS,
    DEFAULTS,
    EXECUTION_FIELDS,
    ConfigError,
    TrialConfig,
    coerce,
    kind_of,
    suggest,
)

if TYPE_CHECKING:
    from sweeps.planning.state import SweepState
    from sweeps.search.source import RunSource

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
TAKEN = ("ablation", "joint_search", "lambda_grid", "swa_grid")
WAYS = ("grid", "points", "search")
KEYS = ("name", "question", "preset", "base", *WAYS, "seeds")
OF_A_SEARCH = ("sampler", "scheduler")
RANGE_KEYS = ("low", "high", "log")
MAX_POINTS = 10_000
MAX_TRIALS = 100_000  # points times seeds

KINDS = {field.name: str(field.type) for field in dataclasses.fields(TrialConfig)}

Fields = Mapping[str, object]  # of a config, with values as YAML reads them


@dataclass(frozen=True, kw_only=True)
class OwnSweep:
    """The sweep that a file describes.

    Attributes:
        name: The name of the sweep.
        question: The question that the sweep answers, in one sentence.
        preset: The preset that the sweep starts from, empty if the file names none.
        base: The fields of the preset that are changed for all trials.
        points: The fields of each point, on some or all axes; empty for a search.
        space: The axes of a search, by field; empty where the points are named.
        seeds: How many seeds each point has, None if the file does not say.
    """

    name: str
    question: str
    preset: str
    base: Fields
    points: tuple[Fields, ...]
    space: Mapping[str, Axis]
    seeds: int | None

    @property
    def axes(self) -> tuple[str, ...]:
        """The fields that the points or the search vary."""
        return tuple(dict.fromkeys(itertools.chain(self.space, *self.points)))

    def source(
        self, state: SweepState, options: SweepOptions, own: argparse.Namespace
    ) -> RunSource:
        """Return the source of the training runs of a search."""
        space = Space(axes=self.space, readouts=own.readouts)
        try:
            return search_source(state, options, own, space)
        except ConfigError as error:
            raise located(error, places_of(self.space)) from error

    def trials(
        self, base: TrialConfig, seeds: Iterable[int], options: argparse.Namespace
    ) -> list[TrialConfig]:
        """Return the trials: every point with each seed.

        Raises:
            ConfigError: There are too many trials, or a point breaks a rule of the config.
        """
        every = list(seeds)
        if len(every) * len(self.points) > MAX_TRIALS:
            raise ConfigError(
                f"a sweep must have at most {MAX_TRIALS} trials, but {len(self.points)} points "
                f"with {len(every)} seeds are more; name fewer"
            )
        return [_trial(base, point, seed) for seed in every for point in self.points]


def _trial(base: TrialConfig, point: Fields, seed: int) -> TrialConfig:
    try:
        return with_values(base, {**point, "seed": seed})
    except ConfigError as error:
        raise located(error, places_of(point)) from error


def read_sweep(path: Path) -> OwnSweep:
    """Read a sweep from a YAML file.

    Raises:
        ConfigError: The file cannot be read, or breaks a rule, which the message names.
    """
    values = read_yaml(path)
    try:
        return _sweep(values)
    except ConfigError as error:
        raise located(error, places_of(values), otherwise=str(path)) from error


def _sweep(values: Fields) -> OwnSweep:
    for key in values:
        if key in OF_A_SEARCH and ("grid" in values or "points" in values):
            raise ConfigError(
                f"a grid names its points and takes no {key}; take `{key}` out, or give `search` "
                "instead"
            )
        if key in OF_A_SEARCH:
            raise ConfigError(f"a file says what is searched, not how: give `--{key}` instead")
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
        preset=_preset(values["preset"]) if "preset" in values else "",
        base=base,
        points=_points(values),
        space=_space(values["search"]) if "search" in values else {},
        seeds=seeds,
    )


def _name(value: object) -> str:
    name = _text("name", value)
    if not NAME.fullmatch(name):
        raise ConfigError(f"name must match {NAME.pattern}, but got {name!r}")
    if name in TAKEN:
        raise ConfigError(f"name must not be that of a sweep that ships, but got {name!r}")
    return name


def _preset(value: object) -> str:
    preset = _text("preset", value)
    if preset not in presets():
        raise ConfigError(f"unknown preset {preset!r}; {suggest(preset, presets())}")
    return preset


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{key} must be text, but got {value!r} ({kind_of(value)})")
    return " ".join(value.split())


def _points(values: Fields) -> tuple[Fields, ...]:
    found = [way for way in WAYS if way in values]
    if len(found) != 1:
        got = " and ".join(found) or "none"
        raise ConfigError(f"one of grid, points and search must be there, but got {got}")
    if "search" in values:
        return ()
    points = _grid(values["grid"]) if "grid" in values else _listed(values["points"])
    for point in points:
        _check_fields("an axis", point)
        for field in point:
            _check_axis(field)
    return points


def _space(value: object) -> dict[str, Axis]:
    """Return the axes of a search; `Space.check` tells later whether they fit the config."""
    space = _mapping("search", value)
    if not space:
        raise ConfigError("search must have at least one axis, but has none")
    _check_fields("an axis", space)
    return Placed({field: _axis(field, axis) for field, axis in space.items()}, places_of(space))


def _axis(field: str, value: object) -> Axis:
    if isinstance(value, list):
        # As a config holds them: 1e-3 is text in YAML 1.1, and no value of a float field.
        return Choice(tuple(coerce(field, KINDS[field], one) for one in value))
    axis: Mapping[str, Any] = _mapping(field, value)
    for key in axis:
        if key not in RANGE_KEYS:
            raise ConfigError(f"unknown key {key!r} of {field}; {suggest(str(key), RANGE_KEYS)}")
    try:
        low, high = float(axis["low"]), float(axis["high"])
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(
            f"`{field}: {{low: number, high: number}}` must hold, but got {dict(axis)}"
        ) from error
    if not isinstance(axis.get("log", False), bool):
        raise ConfigError(f"log of {field} must be true or false, but got {axis['log']!r}")
    whole = isinstance(DEFAULTS[field], int)
    return Range(low, high, log=axis.get("log", False), whole=whole)


def _grid(value: object) -> tuple[Fields, ...]:
    grid: dict[str, list[object]] = {}
    for field, choices in _mapping("grid", value).items():
        if not isinstance(choices, list) or not choices:
            raise ConfigError(
                f"`{field}: [value, ...]` must hold at least one value in a grid, but got "
                f"{choices!r} ({kind_of(choices)})"
            )
        grid[field] = choices
    size = math.prod(len(choices) for choices in grid.values())
    if not grid or size > MAX_POINTS:
        raise ConfigError(
            f"a grid must have from 1 to {MAX_POINTS} points, but has {size if grid else 0}"
        )
    places = places_of(value)
    return tuple(
        Placed(zip(grid, point, strict=True), places) for point in itertools.product(*grid.values())
    )


def _listed(value: object) -> tuple[Fields, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_POINTS:
        raise ConfigError(
            f"points must be a list of 1 to {MAX_POINTS} points, but got {kind_of(value)}"
            + (f" of {len(value)}" if isinstance(value, list) else "")
        )
    points = tuple(_mapping("a point", point) for point in value)
    if not all(points):
        raise ConfigError("a point must have at least one field, but one is empty")
    return points


def _mapping(what: str, value: object) -> Fields:
    if not isinstance(value, dict):
        raise ConfigError(f"{what} must hold `field: value`, but got {value!r} ({kind_of(value)})")
    return value


def _check_fields(what: str, values: Fields) -> None:
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


def parser() -> Parser:
    """Return the options of this sweep; those that the file may set have no default here."""
    options = sweep_parser(str(__doc__), "examples/my_sweep.yaml --plan", seeds=None)
    add_search_options(options)
    options.add_argument("file", metavar="FILE.yaml", help="the question; see above")
    options.set_defaults(preset=None, **dict.fromkeys(OPTIONS_OF_A_SEARCH))
    return options


def with_file(parsed: argparse.Namespace, asked: OwnSweep) -> argparse.Namespace:
    """Return the options, where those not given are as the file says, or have their default.

    Raises:
        ConfigError: An option of a search was given with a file that has none.
    """
    given = vars(parsed)
    of_a_search = [name for name in OPTIONS_OF_A_SEARCH if given[name] is not None]
    if of_a_search and not asked.space:
        name = of_a_search[0]
        option = "point" if name == "points" else name.replace("_", "-")
        raise ConfigError(
            f"{parsed.file}: a grid names its points and takes no --{option}; leave it out, "
            "or give `search` instead"
        )
    defaults = OPTIONS_OF_A_SEARCH.items()
    search = {name: value for name, value in defaults if name not in of_a_search}
    places = places_of(asked.base)
    in_base = [
        Override(f"{field}={json.dumps(value)}", by=places.get(field, parsed.file))
        for field, value in asked.base.items()
    ]
    of_the_file = {
        "preset": parsed.preset or asked.preset or "demo",
        "seeds": parsed.seeds or asked.seeds or 3,
        "overrides": [*in_base, *parsed.overrides],
    }
    return argparse.Namespace(**given | search | of_the_file)


def main() -> int:
    """Run the sweep that the file describes and return its exit code."""
    parsed = parser().parse_args()
    try:
        asked = read_sweep(Path(parsed.file))
        options, own = split_options(SweepOptions, with_file(parsed, asked))
    except ConfigError as error:
        refuse(str(error))
    sweep = Sweep(
        name=asked.name,
        question=asked.question,
        axes=asked.axes,
        trials=asked.trials,
        source=asked.source if asked.space else None,
    )
    return start(sweep, options, own)


if __name__ == "__main__":
    sys.exit(main())
