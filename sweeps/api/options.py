"""The options with which a sweep of one's own is run: words of a shell, or keywords of Python."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, NoReturn

from sweeps.api.description import Sweep
from sweeps.driver.options import SweepOptions, sweep_parser
from sweeps.driver.script import SweepScript
from sweeps.driver.search_options import OPTIONS_OF_A_SEARCH, add_search_options, search_source
from sweeps.search.spaces.space import Space, with_values
from trainable.cli.parsed_options import split_options
from trainable.cli.parser import Parser
from trainable.config.places import Override, located, places_of
from trainable.config.schema import ConfigError, TrialConfig, suggest

if TYPE_CHECKING:
    from sweeps.planning.state import SweepState
    from sweeps.search.source import RunSource

MAX_TRIALS = 100_000  # points times seeds
OF_A_SHELL = ("help", "help_all", "json")  # options that a program has no use for


class KeywordParser(Parser):
    """The parser of a program's keywords: it takes them as words of a shell, and never exits."""

    def error(self, message: str) -> NoReturn:
        """Refuse an option.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(message.removeprefix("argument "))

    def words(self, keywords: Mapping[str, object]) -> list[str]:
        """Return keywords as the words of a command line, which mean the same.

        Args:
            keywords: Values by the long names of options, with `_` for `-`. None and False are not
                given; `set` is a mapping of fields to values, and so is each `point`.

        Raises:
            ConfigError: There is no such option, or it takes no such value.
        """
        named = {action.option_strings[-1]: action for action in self._actions}
        actions = {name.lstrip("-").replace("-", "_"): one for name, one in named.items()}
        known = [name for name in actions if name not in OF_A_SHELL]
        words: list[str] = []
        for name, value in keywords.items():
            if name not in known:
                raise ConfigError(f"unknown option {name!r}; {suggest(name, known)}")
            if value is not None and value is not False:
                words += _words(actions[name], value)
        return words


def _words(action: argparse.Action, value: object) -> Iterable[str]:
    option = action.option_strings[-1]
    if value is True:
        if action.nargs not in (0, "?", "*"):
            raise ConfigError(f"{option} must have a value, but got True")
        return [option]
    if action.nargs == 0:
        raise ConfigError(f"{option} must be True or False, but got {value!r}")
    if action.dest == "overrides":
        return [f"{option}={text}" for text in _settings(option, value, json.dumps)]
    if action.dest == "objectives":
        given = value if isinstance(value, list | tuple) else [value]
        return [f"{option}={one}" for one in given]
    if action.dest == "points":
        given = value if isinstance(value, list | tuple) else [value]
        return [f"{option}={','.join(_settings(option, one, str))}" for one in given]
    if action.nargs in ("*", "+"):
        return [option, *map(str, value if isinstance(value, list | tuple) else [value])]
    if option == "--tracking-uri" and value == "-":
        raise ConfigError(f"{option} must be a URI, but got '-', which reads standard input")
    return [f"{option}={value}"]


def _settings(option: str, values: object, as_text: Callable[[object], str]) -> Iterator[str]:
    """Yield the texts `key=value` of a mapping; a text is taken as it is."""
    if isinstance(values, str):
        yield values
    elif isinstance(values, Mapping):
        yield from (f"{field}={as_text(value)}" for field, value in values.items())
    else:
        raise ConfigError(f"{option} must be a mapping of fields to values, but got {values!r}")


def add_own_options(parser: Parser) -> Parser:
    """Return a parser of `sweep_parser` with those of a search; what a file may say has no default.

    Args:
        parser: The parser, without a default number of seeds.
    """
    add_search_options(parser)
    parser.set_defaults(preset=None, **dict.fromkeys(OPTIONS_OF_A_SEARCH))
    return parser


def keyword_parser() -> KeywordParser:
    """Return the parser of the keywords of `run`."""
    parser = sweep_parser("", seeds=None, kind=KeywordParser)
    assert isinstance(parser, KeywordParser)  # nosec B101  # as asked
    add_own_options(parser)
    return parser


def options_of(
    sweep: Sweep, parsed: argparse.Namespace, place: str
) -> tuple[SweepOptions, argparse.Namespace]:
    """Return the options of a sweep and those of its search.

    Those not given are as the sweep says, or have their default.

    Args:
        sweep: The description of the sweep.
        parsed: What `add_own_options` reads.
        place: Where the sweep is described, for a message.

    Raises:
        ConfigError: An option of a search was given with a sweep that is none.
    """
    given = vars(parsed)
    of_a_search = [name for name in OPTIONS_OF_A_SEARCH if given[name] is not None]
    if of_a_search and not sweep.space:
        name = of_a_search[0]
        option = "point" if name == "points" else name.replace("_", "-")
        raise ConfigError(
            f"{place}: a grid names its points and takes no --{option}; leave it out, "
            "or give `search` instead"
        )
    defaults = OPTIONS_OF_A_SEARCH.items()
    search = {name: value for name, value in defaults if name not in of_a_search}
    base = sweep.base or {}
    places = places_of(base)
    in_base = [
        Override(f"{field}={json.dumps(value)}", by=places.get(field, place))
        for field, value in base.items()
    ]
    described = {
        "preset": parsed.preset or sweep.preset or "demo",
        "seeds": parsed.seeds or sweep.seeds or 3,
        "objectives": parsed.objectives or sweep.objective or [],
        "overrides": [*in_base, *parsed.overrides],
    }
    return split_options(SweepOptions, argparse.Namespace(**given | search | described))


def script_of(sweep: Sweep) -> SweepScript:
    """Return what the driver is told of a sweep."""
    axes, named = ", ".join(sweep.varied), sweep.objective or ["the mIoU"]
    change = f"{'does' if len(named) == 1 else 'do'} {' and '.join(named)} change"
    return SweepScript(
        name=sweep.name,
        question=sweep.question or f"How {change} with {axes}?",
        axes=sweep.varied,
        trials=partial(trials, sweep),
        source=partial(source, sweep) if sweep.space else None,
    )


def trials(
    sweep: Sweep, base: TrialConfig, seeds: Iterable[int], options: argparse.Namespace
) -> list[TrialConfig]:
    """Return the trials of a sweep: every point with each seed.

    Raises:
        ConfigError: There are too many trials, or a point breaks a rule of the config.
    """
    every, points = list(seeds), sweep.settings
    if len(every) * len(points) > MAX_TRIALS:
        raise ConfigError(
            f"a sweep must have at most {MAX_TRIALS} trials, but {len(points)} points "
            f"with {len(every)} seeds are more; name fewer"
        )
    return [_trial(base, point, seed) for seed in every for point in points]


def _trial(base: TrialConfig, point: Mapping[str, object], seed: int) -> TrialConfig:
    try:
        return with_values(base, {**point, "seed": seed})
    except ConfigError as error:
        raise located(error, places_of(point)) from error


def source(
    sweep: Sweep, state: SweepState, options: SweepOptions, own: argparse.Namespace
) -> RunSource:
    """Return the source of the training runs of a search.

    Raises:
        ConfigError: The space, a point, the sampler or the scheduler cannot be used.
    """
    try:
        return search_source(state, options, own, Space(axes=sweep.space, readouts=own.readouts))
    except ConfigError as error:
        raise located(error, places_of(sweep.space)) from error
