"""The options that every search has, and the source of runs that they describe."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sweeps.driver.options import SweepOptions, number
from sweeps.search.method import SAMPLERS, SCHEDULERS, Enough, Method
from sweeps.search.spaces.space import READOUTS, Space
from trainable.cli.options import whole
from trainable.cli.parsed_options import split_options
from trainable.cli.parser import Parser
from trainable.config.places import place_of
from trainable.config.schema import ConfigError

if TYPE_CHECKING:
    from sweeps.planning.state import SweepState
    from sweeps.search.optuna_source import SearchSource

# On two cores the demo takes 20 s for a run with 36 readouts and 10 s for one of the 3 x 3 that
# confirm: together about 4 minutes.
ASKS = 20
CONFIRM = 3
OPTIONS_OF_A_SEARCH = {
    "sampler": "tpe",
    "scheduler": "none",
    "readouts": "exhaustive",
    "asks": ASKS,
    "confirm": CONFIRM,
    "patience": None,
    "terminator": None,
    "points": [],
    "warm_start": None,
}


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """The options of `add_search_options`.

    Attributes:
        sampler: The sampler that suggests settings, one of SAMPLERS.
        scheduler: The scheduler that stops training runs that lag behind, one of SCHEDULERS.
        readouts: How readouts are treated, one of READOUTS.
        asks: How many settings are suggested.
        confirm: How many of the best settings are trained again with other seeds.
        patience: After how many settings in a row that improved nothing no more are asked for.
        terminator: Below how many points that Optuna leaves to be gained no more are asked for.
        points: The settings that come first, each as text `key=value,...`.
        warm_start: The storages whose finished runs the sampler learns from; empty is the storage
            of the sweep, None is none.
    """

    sampler: str
    scheduler: str
    readouts: str
    asks: int
    confirm: int
    patience: int | None
    terminator: float | None
    points: tuple[str, ...]
    warm_start: tuple[str, ...] | None


def add_search_options(parser: Parser) -> None:
    """Add the options that `search_source` reads."""
    group = parser.group("search", "--sampler gp --asks 40 --point lambda_adv=0.05")
    group.add_argument(
        "--sampler",
        choices=SAMPLERS,
        metavar="NAME",
        help=f"{', '.join(SAMPLERS)} (default: tpe)",
    )
    group.add_argument(
        "--scheduler",
        choices=SCHEDULERS,
        metavar="NAME",
        help=f"stops what lags behind: {', '.join(SCHEDULERS)} (default: none)",
    )
    group.add_argument(
        "--readouts",
        choices=READOUTS,
        metavar="WAY",
        help="of valuing a training run: by its best readout, exhaustive, or by one that is "
        "suggested, sampled (default: exhaustive)",
    )
    group.add_argument(
        "--asks",
        type=whole(),
        metavar="N",
        help=f"settings to ask for (default: {ASKS})",
    )
    group.add_argument(
        "--patience",
        type=whole(),
        metavar="N",
        help="ask for no more when N settings in a row have improved nothing",
    )
    group.add_argument(
        "--terminator",
        type=number(positive=True),
        metavar="POINTS",
        help="ask for no more when Optuna's terminator leaves less than this to be gained",
    )
    group.add_argument(
        "--confirm",
        type=_count,
        metavar="K",
        help=f"settings, the best, to train again with --seeds other seeds (default: {CONFIRM})",
    )
    group.add_argument(
        "--point",
        dest="points",
        action="append",
        metavar="KEY=VALUE,...",
        help="a setting to ask for first; may stand several times",
    )
    group.add_argument(
        "--warm-start",
        nargs="*",
        metavar="DIR",
        help="tell the sampler of finished runs in these storages (without one: in --storage)",
    )
    parser.rarely("--race", "--readouts", "--confirm", "--warm-start", "--patience")
    parser.rarely("--terminator")
    parser.set_defaults(**OPTIONS_OF_A_SEARCH)


def search_source(
    state: SweepState, options: SweepOptions, own: argparse.Namespace, space: Space
) -> SearchSource:
    """Return the source of a search; with `--plan`, the state has the runs still to come.

    Args:
        state: The state of the sweep, which has no trials yet.
        options: The options that every sweep has.
        own: The options of the script, with those of `add_search_options` among them.
        space: The space of the search.

    Raises:
        ConfigError: The space, a point, the sampler or the scheduler cannot be used.
    """
    from sweeps.search.optuna_source import SearchSource
    from sweeps.search.suggestions import Search
    from sweeps.search.warm_start import read_point

    asked, _ = split_options(SearchOptions, own)
    space.check(state.plan.base)
    _refuse_fixed(space, options.overrides)
    storages, points = asked.warm_start, list(dict.fromkeys(asked.points))
    if len(points) > asked.asks:
        raise ConfigError(
            f"`points <= --asks` must hold, but got {len(points)} points and --asks {asked.asks}"
        )
    search = Search(
        space=space,
        method=Method(sampler=asked.sampler, scheduler=asked.scheduler, seed=state.plan.base.seed),
        asks=asked.asks,
        confirm=asked.confirm,
        seeds=options.seeds,
        enough=Enough(patience=asked.patience, room=asked.terminator),
        points=tuple(read_point(text, space, state.plan.base) for text in points),
        warm_start=() if storages is None else _folders(storages or [str(state.plan.storage)]),
    )
    source = SearchSource(state, search)
    if options.plan:
        source.outline()
    return source


def _refuse_fixed(space: Space, overrides: Sequence[str]) -> None:
    """Refuse an axis to which `--set` gives one value."""
    for text in overrides:
        name = text.partition("=")[0].strip()
        if name in space.axes:
            raise ConfigError(
                f"{name} is searched, {space.axes[name].describe()}, but `{place_of(text)}` gives "
                f"it one value; leave that out, or begin with `--point {text}`"
            )


def _folders(storages: Sequence[str]) -> tuple[str, ...]:
    for storage in storages:
        if not Path(storage).is_dir():
            raise ConfigError(f"--warm-start must name folders of run folders, but got {storage!r}")
    return tuple(str(Path(storage).resolve()) for storage in storages)


def _count(text: str) -> int:
    return 0 if text == "0" else whole()(text)
