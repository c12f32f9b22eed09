"""What a sweep script says of its question, and how it starts.

Torch, Ray and MLflow take seconds to load. So what a script imports needs none of them: `--help`
and a mistyped option are answered at once, and a sweep says what it does before it loads the rest.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeps.driver.console import open_console, say
from sweeps.driver.options import SweepOptions
from trainable.cli.options import ended_by_signals
from trainable.cli.parsed_options import split_options
from trainable.config.schema import TrialConfig

if TYPE_CHECKING:
    from sweeps.planning.state import SweepState
    from sweeps.search.source import RunSource

Trials = Callable[[TrialConfig, Iterable[int], argparse.Namespace], list[TrialConfig]]
Sources = Callable[["SweepState", SweepOptions, argparse.Namespace], "RunSource"]


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The sweep that a script runs.

    Attributes:
        name: The name of the sweep, also in the record.
        axes: The config fields that the sweep varies, besides the seed.
        trials: A function that returns the trials, given the base config, the seeds and the
            script's own options.
        source: A function that returns the source of the training runs where they are not known
            beforehand, given the state of the sweep, the options that every sweep has and the
            script's own. It is called for `--plan`, too. A source that is a context manager writes
            nothing before it is entered, which happens when Ray runs and the storage exists.
        question: The question that the sweep answers, in one sentence.
        settings: Texts `key=value` that the sweep changes in a preset; `--set` overrides them.
        with_samples: Whether the record takes the predicted masks, too.
    """

    name: str
    axes: tuple[str, ...]
    trials: Trials
    source: Sources | None = None
    question: str = ""
    settings: tuple[str, ...] = ()
    with_samples: bool = False


@ended_by_signals()
def run_sweep(question: Sweep, parser: argparse.ArgumentParser) -> int:
    """Answer the question as the command line says, and return the exit code.

    A question that says nothing of itself is the first line of the parser's description. What the
    script has added to `sweep_parser` is given to its `trials` and `source`.
    """
    asked = question.question or (parser.description or "").partition("\n")[0]
    options, own = split_options(SweepOptions, parser.parse_args())
    return start(dataclasses.replace(question, question=asked), options, own)


@ended_by_signals()
def start(question: Sweep, options: SweepOptions, own: argparse.Namespace) -> int:
    """Say what begins, load what it needs, answer the question and return the exit code.

    Args:
        question: The sweep to run.
        options: The options of `sweep_parser`.
        own: The options that the script added.
    """
    given = f"preset {options.preset}" if options.config is None else options.config
    say(open_console(stderr=options.json), f"{question.name} with {given}: loading PyTorch")
    from sweeps.driver.sweep import answer

    return answer(question, options, own)
