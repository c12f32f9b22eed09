"""Artifacts of a server: what it lacks is absent, and what it fails at is one line, soon."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from analysis.record.artifacts import load_details
from analysis.record.cache import cache_folder
from analysis.record.schema import RecordError
from trainable.storage.json_files import dumps

RUN = "404" + "0" * 29  # which is no answer of a server
KEY = "0" * 16
CONTENT = dumps({"trial_key": KEY, "classes": ["a"], "history": []})


class Handler(BaseHTTPRequestHandler):
    """Answers every request with what the server was told."""

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Answering)
        server.asked += 1
        time.sleep(server.seconds)
        self.send_response(server.status)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Answering(ThreadingHTTPServer):
    status, seconds, asked = 200, 0.0, 0

    def handle_error(self, *_: object) -> None:
        """Bear clients that go away."""


@pytest.fixture
def server() -> Iterator[Answering]:
    server = Answering(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def trials(server: Answering, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    uri = f"http://127.0.0.1:{server.server_address[1]}"
    place = f"mlflow-artifacts:/1/{RUN}/artifacts"
    row = {"run_id": RUN, "trial_key": KEY, "artifact_uri": place, "record_hash": "ab"}
    frame = pd.DataFrame([row])
    frame.attrs = {"tracking_uri": uri}
    return frame


def test_what_a_server_sends_is_asked_for_once(trials: pd.DataFrame, server: Answering) -> None:
    found = load_details(trials)
    assert found == {RUN: {"classes": ["a"], "history": []}}
    asked = server.asked
    assert load_details(trials) == found
    assert server.asked == asked


def test_what_was_changed_since_it_was_kept_is_asked_for_again(
    trials: pd.DataFrame, server: Answering, capsys: pytest.CaptureFixture[str]
) -> None:
    found = load_details(trials)
    asked = server.asked
    (path,) = (cache_folder() / "artifacts").iterdir()
    path.write_bytes(path.read_bytes().replace(b'["a"]', b'["b"]'))
    assert load_details(trials) == found
    assert server.asked > asked
    said = f"{path} was changed after it was kept; the record is read anew\n"
    assert said in capsys.readouterr().err


def test_what_a_server_lacks_is_absent(trials: pd.DataFrame, server: Answering) -> None:
    server.status = 404
    assert load_details(trials) == {}


@pytest.mark.parametrize("status", [403, 500])
def test_a_server_that_refuses_is_one_line(
    trials: pd.DataFrame, server: Answering, status: int
) -> None:
    server.status = status
    with pytest.raises(RecordError, match="cannot read the record at http") as raised:
        load_details(trials)
    assert "\n" not in str(raised.value)


def test_a_server_that_does_not_answer_is_one_line_soon(
    trials: pd.DataFrame, server: Answering
) -> None:
    server.seconds = 3
    begun = time.monotonic()
    with pytest.raises(RecordError, match="cannot read the record at http"):
        load_details(trials)
    assert time.monotonic() - begun < 20
