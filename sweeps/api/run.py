"""Run a sweep of one's own from a script, a notebook or a test."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from sweeps.api.options import keyword_parser, options_of, script_of
from sweeps.driver.console import open_console
from sweeps.storage.mirror import absolute
from trainable.cli.parser import command_line, program
from trainable.config.schema import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sweeps.api.answer import Answer
    from sweeps.api.description import Sweep
    from sweeps.driver.sweep import Ended
    from sweeps.planning.state import SweepState


def run(sweep: Sweep, *, quiet: bool = False, **options: object) -> Answer:
    """Plan a sweep, train what is missing, record and draw it, and return what came out.

    Folders, keys and record are those of `python -m sweeps.from_file`: what one has begun, the
    other goes on with. No signals are heeded, so that it may be called in a notebook and in any
    thread; one sweep runs at a time in a process. That process is ended only where Ray has died and
    its main thread hangs in a call to it that nothing interrupts.

    Args:
        sweep: The description of the sweep.
        quiet: Whether nothing is printed while it runs.
        options: The options of the command, by their long names with `_` for `-`, such as
            `seeds=5`, `storage="runs/"`, `set={"device": "cuda"}`, `time_budget=3600` or
            `plan=True`, which trains nothing; of a search `sampler="gp"`, `asks=40`,
            `point={"lambda_adv": 0.05}`. `python -m sweeps.from_file --help-all` tells of all.

    Raises:
        ConfigError: A value, an option or the data is not usable; nothing was trained.
        SweepError: Trials have no numbers, a budget ended it, or the machine or Ray failed; it has
            the answer so far.
        KeyboardInterrupt: It was interrupted; what was trained is kept.
    """
    parser = keyword_parser()
    words = parser.words(options)
    given, own = options_of(sweep, parser.parse_args(words), f"sweep {sweep.name}")
    # MLflow keeps what it has opened by its URI, and a program may change its folder.
    given = dataclasses.replace(given, tracking_uri=absolute(given.tracking_uri))
    file = f"{sweep.name}.yaml"
    attempt = [f"--no-reuse={given.no_reuse}"] if given.no_reuse else []
    command = command_line(*program("sweeps.from_file"), file, *words, *attempt)
    resumption = (
        "what was trained is kept, and the answer so far is this error's `answer`; resume with the "
        f"same call, or after to_yaml({file!r}) with: {command}"
    )
    from sweeps.driver.sweep import carry_out

    def work(planned: Callable[[SweepState], object]) -> Ended:
        return carry_out(script_of(sweep), given, own, open_console(quiet=quiet), command, planned)

    return _answer(work, resumption)


def _answer(work: Callable[[Callable[[SweepState], object]], Ended], resumption: str) -> Answer:
    """Return what came out of the work on a sweep, or raise an error that has it.

    Args:
        work: Does the work, and calls what it is given with the state of the sweep.
        resumption: How to go on, for the message of an error.
    """
    from sweeps.api.answer import Answer, SweepError
    from sweeps.driver.summary import Drawn, SweepSummary
    from sweeps.driver.sweep import fault_of
    from sweeps.execution.lifeline import RayGoneError
    from sweeps.execution.progress import ExecutionStats
    from sweeps.execution.resources import ExecutorError

    states: list[SweepState] = []
    try:
        ended = work(states.append)
    except ExecutorError as error:
        raise ConfigError(str(error)) from error
    except Exception as error:
        fault = str(error) if isinstance(error, RayGoneError) else fault_of(error)
        if fault is None:
            raise
        so_far = None
        if states:
            so_far = Answer.of(SweepSummary.of(states[-1], ExecutionStats()), Drawn())
        raise SweepError(f"{fault}; {resumption}", so_far) from error
    answer = Answer.of(ended.summary, ended.drawn)
    if ended.problem:
        raise SweepError(f"{ended.problem}; {resumption}", answer)
    return answer
