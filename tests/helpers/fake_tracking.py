"""MLflow's own server in this process, whose answers a test may spoil on their way out."""

from __future__ import annotations

import json
import logging
import shutil
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

Spoil = Callable[[Any], Any]


@dataclass
class Tracking:
    """A server that answers as MLflow does, but where it was told otherwise.

    Attributes:
        uri: Where it listens.
        database: Its URI.
        status: Of every answer whose address holds `where`; 0 where it is MLflow's.
        content: Of these answers; None where it is MLflow's.
        spoil: Changes the JSON of these answers.
        drip_s: Seconds between two bytes of these answers.
        headers: Of these answers, besides MLflow's.
        where: Part of an address; empty for all.
        asked: Addresses that were asked for.
    """

    uri: str
    database: str
    status: int = 0
    content: bytes | None = None
    spoil: Spoil | None = None
    drip_s: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    where: str = ""
    asked: list[str] = field(default_factory=list)

    def answer(self, status: str, content: bytes) -> tuple[str, bytes]:
        """Return what is sent in place of an answer of MLflow's."""
        if self.spoil is not None and status.startswith("200"):
            content = json.dumps(self.spoil(json.loads(content))).encode()
        if self.content is not None:
            content = self.content
        return (f"{self.status} Odd" if self.status else status), content


@contextmanager
def tracking(
    folder: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Tracking]:
    """Run a server on loopback whose database and artifacts lie in a folder."""
    with warnings.catch_warnings(action="ignore"):  # what mlflow imports is deprecated
        from mlflow.server import app, fastapi_app, handlers  # noqa: F401
    from werkzeug.serving import make_server

    database = f"sqlite:///{shutil.copy(empty_store, folder / 'server.db')}"
    for name, value in {
        "_MLFLOW_SERVER_FILE_STORE": database,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(folder / "server-artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }.items():
        monkeypatch.setenv(name, value)
    for name in ("_tracking_store", "_artifact_repo", "_model_registry_store"):
        monkeypatch.setattr(handlers, name, None)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)

    def odd(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        address = environ["PATH_INFO"]
        state.asked.append(address)
        if state.where not in address:
            return app.wsgi_app(environ, start_response)
        told: list[Any] = []
        parts = app.wsgi_app(environ, cast(Any, lambda *given: told.append(given)))
        with closing(cast(Any, parts)):
            status, content = state.answer(told[0][0], b"".join(parts))
        headers = [one for one in told[0][1] if one[0].lower() != "content-length"]
        length = [] if "Transfer-Encoding" in state.headers else [str(len(content))]
        headers += [("Content-Length", one) for one in length]
        start_response(status, [*headers, *state.headers.items()])
        return [content] if not state.drip_s else dripping(content)

    def dripping(content: bytes) -> Iterator[bytes]:
        for byte in content:
            if ended.wait(state.drip_s):
                return
            yield bytes([byte])

    ended = threading.Event()
    server = make_server("127.0.0.1", 0, odd, threaded=True)
    state = Tracking(uri=f"http://127.0.0.1:{server.server_port}", database=database)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
