"""The threads of a driver: an error in one is noticed, and ends the sweep."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec

from trainable.config.schema import ConfigError

Arguments = ParamSpec("Arguments")


class ThreadEndedError(RuntimeError):
    """A thread of the driver ended with an error; the message says which error, and where."""


class Threads:
    """Starts the threads of a driver, which work while it trains.

    Attributes:
        error: The first error that ended a thread, None if none did. An execution looks at it and
            ends; `wait` raises it.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def start(self, name: str, work: Callable[[], None]) -> Future[None]:
        """Start a function in a thread of its own, and return the future that `wait` takes."""
        executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        done = executor.submit(self.seen(work))
        executor.shutdown(wait=False)
        return done

    def seen(self, work: Callable[Arguments, None]) -> Callable[Arguments, None]:
        """Return a function that does the same and notes its error at once, for a pool to run."""

        def watched(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
            try:
                work(*args, **kwargs)
            except BaseException as error:
                self.error = self.error or error
                raise

        return watched


def wait(name: str, done: Future[None]) -> None:
    """Wait until a thread has ended.

    Args:
        name: The name of the thread, for the message.
        done: The future of its work.

    Raises:
        ConfigError: The thread ended with bad input.
        ThreadEndedError: The thread ended with another error.
    """
    try:
        done.result()
    except ConfigError:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise ThreadEndedError(
            f"the {name} thread ended of {type(error).__name__}: {error} "
            f"({Path(where.filename).name}:{where.lineno})"
        ) from error
