"""Sources that do what a test says, and doors of a Ray that is not there."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager

from sweeps.execution.cluster import Door
from sweeps.planning.plan import PlannedRun


class Scripted:
    """Gives runs while it has some; stops those below a bar; keeps what it is told."""

    def __init__(
        self, runs: Iterable[PlannedRun], *, bar: float = 0.0, exhausted: bool = True
    ) -> None:
        self.runs = deque(runs)
        self.bar = bar
        self.will_be_exhausted = exhausted
        self.told: list[tuple[int, int, float]] = []
        self.ends: list[tuple[int, str | None]] = []

    @property
    def exhausted(self) -> bool:
        return self.will_be_exhausted and not self.runs

    def suggest(self) -> PlannedRun | None:
        return self.runs.popleft() if self.runs else None

    def on_result(self, run: PlannedRun, iteration: int, miou: float) -> bool:
        self.told.append((run.spec.config.seed, iteration, miou))
        return miou < self.bar

    def on_complete(self, run: PlannedRun, cause: str | None) -> None:
        self.ends.append((run.spec.config.seed, cause))


class Named:
    """A Tune trial, as far as the scheduler looks at one."""

    def __init__(self, run: PlannedRun) -> None:
        self.key = run.spec.training_key

    def __str__(self) -> str:
        return self.key


@contextmanager
def greeter() -> Iterator[Door]:
    """Open a door where a server greets those that greet it as HTTP/2 does."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    with closing(server.accept()[0]) as connection:
                        if connection.recv(14) == b"PRI * HTTP/2.0":
                            connection.sendall(b"\0")
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()
        server.shutdown(socket.SHUT_RDWR)
