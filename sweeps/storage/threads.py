"""The threads of a driver: none ends unseen, and what ends one ends the sweep."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec

from trainable.config.schema import ConfigError

Arguments = ParamSpec("Arguments")


class ThreadEndedError(RuntimeError):
    """A thread of the driver ended of an error; the message says which, of what and where."""


class RayGoneError(RuntimeError):
    """What Ray runs on is gone, and is not started again."""


class Threads:
    """Runs what happens beside training.

    Attributes:
        error: What ended the first thread that ended of an error, None if none did. An execution
            looks at it and ends; who waits for the thread raises it.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def start(self, name: str, work: Callable[[], None]) -> Future[None]:
        """Do a piece of work in a thread of its own, for `wait` to wait for."""
        executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        done = executor.submit(self.seen(work))
        executor.shutdown(wait=False)
        return done

    def seen(self, work: Callable[Arguments, None]) -> Callable[Arguments, None]:
        """Return the same work, whose error is seen at once; for a pool's own thread."""

        def watched(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
            try:
                work(*args, **kwargs)
            except BaseException as error:
                self.error = self.error or error
                raise

        return watched


def wait(name: str, done: Future[None]) -> None:
    """Wait for the end of a thread.

    Raises:
        ConfigError: It met bad input.
        ThreadEndedError: It ended of another error.
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
