"""A server of MLflow's pages as a process of its own, with the settings that the docs name."""

from __future__ import annotations

import os
import signal
import socket
import subprocess  # nosec B404  # words, no shell
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

START_S = 180.0  # that it may take to answer: most of it are imports, on a busy machine
QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}


class MlflowServer:
    """`mlflow server` on the loopback interface, as a context manager.

    Args:
        store: The URI of its database.
        folder: Gets its log; relative paths of the store begin there.
        options: More options of it.

    Attributes:
        uri: The address that it answers at, which is the tracking URI of its clients.
    """

    def __init__(self, store: str, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store]
        self.command += ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        self.command += options

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            OSError: It has ended, or does not answer in START_S.
        """
        log = self.folder / "server.log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(  # nosec B603  # words, no shell
                self.command,
                cwd=self.folder,
                env=os.environ | QUIET,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            if time.monotonic() >= deadline or self.process.poll() is not None:
                self.kill()
                raise OSError(f"no MLflow server has started:\n{log.read_text(errors='replace')}")
            time.sleep(0.2)

    def kill(self) -> None:
        """End the server and its workers as a power cut would."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=2) as answer:  # nosec B310  # http
                return bool(answer.status == 200)
        except OSError:
            return False


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port
