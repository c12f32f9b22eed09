"""How a sweep script starts.

Torch, Ray and MLflow take seconds to load. So what a script imports needs none of them: `--help`
and a mistyped option are answered at once, and a sweep says what it does before it loads the rest.
"""

from __future__ import annotations

import argparse
import dataclasses

from sweeps.driver.console import open_console, say
from sweeps.driver.options import SweepOptions
from sweeps.driver.script import SweepScript
from trainable.cli.options import ended_by_signals
from trainable.cli.parsed_options import split_options


@ended_by_signals()
def run_sweep(question: SweepScript, parser: argparse.ArgumentParser) -> int:
    """Answer the question as the command line says, and return the exit code.

    A question that says nothing of itself is the first line of the parser's description. What the
    script has added to `sweep_parser` is given to its `trials` and `source`.
    """
    asked = question.question or (parser.description or "").partition("\n")[0]
    options, own = split_options(SweepOptions, parser.parse_args())
    return start(dataclasses.replace(question, question=asked), options, own)


@ended_by_signals()
def start(question: SweepScript, options: SweepOptions, own: argparse.Namespace) -> int:
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
