"""MLflow servers of a test's own, on SQLite and on PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

POSTGRES = Path("/usr/lib/postgresql/15/bin")  # Debian's


class Postgres:
    """A PostgreSQL of our own on a unix socket, as a context manager.

    It refuses to run as root, so its folder is the user's that Debian's package makes for it.
    """

    def __init__(self) -> None:
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        self._user = user if os.geteuid() == 0 else []
        self._place = tempfile.TemporaryDirectory(
            prefix="pg-", dir="/tmp", ignore_cleanup_errors=True
        )
        self._folder = Path(self._place.name)
        self.uri = f"postgresql+psycopg2://sweeps@/postgres?host={self._folder}"

    def __enter__(self) -> Self:
        if self._user:
            shutil.chown(self._folder, "postgres", "postgres")
        self._run("initdb", "-A", "trust", "-U", "sweeps", "--no-sync", "--no-locale", "-E", "UTF8")
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._place:
            self.kill()

    def start(self) -> None:
        settings = f"-k {self._folder} -c listen_addresses= -c fsync=off"
        self._run("pg_ctl", "-w", "-l", str(self._folder / "log"), "-o", settings, "start")

    def kill(self) -> None:
        """End it without a word to its clients."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *options: str) -> None:
        data = str(self._folder / "data")
        command = [*self._user, str(POSTGRES / program), "-D", data, *options]
        subprocess.run(command, cwd="/", check=True, stdout=subprocess.DEVNULL)
