"""A tracking server that answers oddly, or a byte a second, is one line and never a traceback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_tracking import Spoil, Tracking, tracking
from record_helpers import finish, grid, sweep_state
from refusals import one_line

from analysis import make_figures
from analysis.record import mlflow_calls
from analysis.record.mlflow_calls import Patience, StoreError, call_within, open_client
from analysis.record.origin import TAG
from sweeps import log_model, publish, repeat
from sweeps.planning.state import SweepState
from sweeps.record import publisher as publisher_module
from sweeps.record.publisher import Publisher

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

PAGE = b"<html><body>Please sign in</body></html>"


@pytest.fixture
def server(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Tracking]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with tracking(tmp_path, empty_store, monkeypatch) as found:
        yield found


@pytest.fixture
def state(tmp_path: Path) -> SweepState:
    state = sweep_state(tmp_path / "runs", grid([0.01]))
    finish(state, state.runs[0])
    return state


def published(state: SweepState, uri: str) -> list[str]:
    """Publish all runs of a plan, and return the warnings."""
    warnings: list[str] = []
    with Publisher(state, uri, warnings.append, with_model=False) as publisher:
        for run in state.runs:
            publisher.publish(run)
    return warnings


def changed(path: str, value: Any) -> Spoil:
    """Change one field of an answer: `runs.0.info.run_id`, or `runs.*.…` of all runs."""

    def change(found: Any, parts: list[str]) -> None:
        first, *rest = parts
        if isinstance(found, list):
            for one in found if first == "*" else found[int(first) : int(first) + 1]:
                change(one, rest)
        elif rest and first in found:
            change(found[first], rest)
        elif not rest and value is GONE:
            found.pop(first, None)
        elif not rest:
            found[first] = value

    def spoil(answer: Any) -> Any:
        change(answer, path.split("."))
        return answer

    return spoil


def tags(name: str, value: str | None) -> Spoil:
    """Change a tag of every run, or take it away."""

    def spoil(answer: Any) -> Any:
        for run in answer.get("runs", [answer["run"]] if "run" in answer else []):
            others = [one for one in run["data"].get("tags", []) if one["key"] != name]
            new = [] if value is None else [{"key": name, "value": value}]
            run["data"]["tags"] = others + new
        return answer

    return spoil


def without_fact(name: str) -> Spoil:
    """Take away what every run says that it was made from."""

    def spoil(answer: Any) -> Any:
        for run in answer.get("runs", [answer["run"]] if "run" in answer else []):
            for tag in run["data"].get("tags", []):
                if tag["key"] == TAG:
                    facts = json.loads(tag["value"])
                    facts.pop(name, None)
                    tag["value"] = json.dumps(facts)
        return answer

    return spoil


GONE = object()
EXPERIMENT: dict[str, Spoil] = {
    "its id is a number": changed("experiment.experiment_id", 5),
    "it has no id": changed("experiment.experiment_id", GONE),
    "its id is a path": changed("experiment.experiment_id", "../../x"),
    "its id is a list": changed("experiment.experiment_id", []),
    "it is a text": changed("experiment", "x"),
    "the answer is empty": lambda answer: {},
    "the answer is a list": lambda answer: [answer],
    "the answer is null": lambda answer: None,
}
RUNS: dict[str, Spoil] = {
    "a run is a number": changed("runs", [5]),
    "runs are a text": changed("runs", "x"),
    "runs have no id": changed("runs.*.info.run_id", GONE),
    "the id of runs is a number": changed("runs.*.info.run_id", 7),
    "the id of runs is a path": changed("runs.*.info.run_id", "../x"),
    "runs have no info": changed("runs.*.info", GONE),
    "runs have no data": changed("runs.*.data", GONE),
    "their status is none": changed("runs.*.info.status", "WHAT"),
    "they have no status": changed("runs.*.info.status", GONE),
    "their start is a text": changed("runs.*.info.start_time", "soon"),
    "a metric is a text": changed("runs.*.data.metrics", [{"key": "swa/miou", "value": "high"}]),
    "a tag is a number": changed("runs.*.data.tags", [{"key": "kind", "value": 5}]),
    "a tag has no key": changed("runs.*.data.tags", [{"value": "x"}]),
    "they have no trial_key": tags("trial_key", None),
    "what they were made from is a word": tags(TAG, "word"),
    "what they were made from is a list": tags(TAG, "[]"),
    "they have no training_key": without_fact("training_key"),
    "they have no tags": changed("runs.*.data.tags", []),
    "the next page is this one": changed("next_page_token", "again"),
    "the next page is a number": changed("next_page_token", 5),
}


def is_one_line(text: str) -> bool:
    return bool(re.fullmatch(r"[^\n]+", text)) and "Traceback" not in text


# Who writes


@pytest.mark.parametrize("odd", EXPERIMENT)
def test_a_publisher_bears_an_odd_experiment(odd: str, state: SweepState, server: Tracking) -> None:
    assert published(state, server.uri) == []
    server.where, server.spoil = "experiments/get-by-name", EXPERIMENT[odd]
    (said,) = published(state, server.uri)
    assert "lags behind" in said
    assert is_one_line(said)


@pytest.mark.parametrize("odd", RUNS)
def test_a_publisher_bears_odd_runs(odd: str, state: SweepState, server: Tracking) -> None:
    assert published(state, server.uri) == []
    server.where, server.spoil = "runs/search", RUNS[odd]
    said = published(state, server.uri)
    assert said or odd in ("their status is none", "they have no status")  # the first there is
    assert all("lags behind" in one and is_one_line(one) for one in said)


def test_a_run_that_no_driver_wrote_is_named_with_what_takes_it_away(
    state: SweepState, server: Tracking
) -> None:
    from mlflow import MlflowClient

    assert published(state, server.uri) == []
    client = MlflowClient(server.uri)
    run = client.search_runs(["1"], "tags.kind = 'trial'")[0].info.run_id
    client.delete_tag(run, "trial_key")
    (said,) = published(state, server.uri)
    assert f"`mlflow runs delete --run-id {run}`" in said
    client.delete_run(run)
    assert published(state, server.uri) == []
    assert len(client.search_runs(["1"], "tags.kind = 'trial'")) == 1


ANSWERS: dict[str, tuple[int, bytes | None, dict[str, str]]] = {
    "html": (0, PAGE, {}),
    "empty": (0, b"", {}),
    "no json": (0, b"{", {}),
    "nested": (0, b"[" * 100_000, {}),
    "binary": (0, b"\x00\xff" * 99, {}),
    "no content": (204, b"", {}),
    "redirects for ever": (302, b"", {"Location": "/health"}),
    "redirects nowhere": (302, b"", {"Location": "http://127.0.0.1:1/"}),
    "redirects to a file": (302, b"", {"Location": "file:///etc/passwd"}),
    "unauthorised": (401, PAGE, {}),
    "not found": (404, PAGE, {}),
    "teapot": (418, PAGE, {}),
    "internal": (500, PAGE, {}),
    "unavailable": (503, b'{"error_code": 5, "message": []}', {}),
    "other json": (400, b'{"error_code": "NEW_ONE", "message": {"a": 1}}', {}),
    "no such status": (999, PAGE, {}),
    "bad gzip": (0, PAGE, {"Content-Encoding": "gzip"}),
    "bad chunks": (0, PAGE, {"Transfer-Encoding": "chunked"}),
}


@pytest.mark.parametrize("odd", ANSWERS)
def test_a_publisher_bears_any_answer(odd: str, state: SweepState, server: Tracking) -> None:
    server.status, server.content, server.headers = ANSWERS[odd]
    (said,) = published(state, server.uri)
    assert "lags behind" in said
    assert is_one_line(said)
    assert len(said) < 1000


# Commands


def run_command(program: Any, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    """Return the exit code of a command that is run in this process."""
    monkeypatch.setattr(sys, "argv", ["command", *options])
    try:
        return int(program.main() or 0)
    except SystemExit as ended:
        return int(ended.code or 0)


ODD: dict[str, Any] = {
    **{f"answer: {name}": ANSWERS[name] for name in ("html", "nested", "no content", "internal")},
    "an experiment's id is a number": ("experiments/get-by-name", EXPERIMENT["its id is a number"]),
    **{f"runs: {name}": ("runs/search", one) for name, one in RUNS.items()},
    "the count of trials is long": ("runs/search", tags("trials_total", "9" * 5000)),
    "the schema is long": ("runs/search", tags("schema", "9" * 5000)),
    "the suggestion's number is a word": ("runs/search", tags("ask", "x")),
}


@pytest.mark.slow
@pytest.mark.parametrize("odd", ODD)
def test_drawing_and_publishing_bear_odd_answers(
    odd: str,
    state: SweepState,
    server: Tracking,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert published(state, server.uri) == []
    if odd.startswith("answer"):
        server.status, server.content, server.headers = ODD[odd]
    else:
        server.where, server.spoil = ODD[odd]
    drawn = run_command(make_figures, monkeypatch, "--tracking-uri", server.uri)
    said = capsys.readouterr().err
    if drawn:
        assert drawn == 2
        one_line(said)
    assert run_command(publish, monkeypatch, "--tracking-uri", server.uri) in (0, 1, 2)
    said = capsys.readouterr().err
    assert said == "" or is_one_line(said.strip())


RUN: dict[str, Spoil] = {
    "it has no id": changed("run.info.run_id", GONE),
    "it is a number": changed("run", 5),
    "it has no info": changed("run.info", GONE),
    "it has no data": changed("run.data", GONE),
    "it has no training_key": without_fact("training_key"),
    "it has no code_version": without_fact("code_version"),
    "it has no data_fingerprint": without_fact("data_fingerprint"),
    "its params are numbers": changed("run.data.params", [{"key": "seed", "value": 5}]),
    "it has no params": changed("run.data.params", []),
    "its params are words": changed("run.data.params", [{"key": "swa_n", "value": "many"}]),
    "its metrics are none": changed("run.data.metrics", [{"key": "x", "value": None}]),
}


@pytest.mark.parametrize("odd", RUN)
@pytest.mark.parametrize("program", [repeat, log_model], ids=["repeat", "log_model"])
def test_who_asks_for_a_run_bears_an_odd_one(
    program: Any,
    odd: str,
    state: SweepState,
    server: Tracking,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert published(state, server.uri) == []
    client = open_client(server.uri)
    run = client.search_runs(["1"], "tags.kind = 'trial'")[0].info.run_id
    server.where, server.spoil = "runs/get", RUN[odd]
    assert run_command(program, monkeypatch, run, "--tracking-uri", server.uri) == 2
    one_line(capsys.readouterr().err)


# Time and size


def test_a_byte_a_second_ends_a_request_at_its_limit(
    state: SweepState, server: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_calls, "SMALL_S", 1.0)
    client = open_client(server.uri)
    server.drip_s = 0.2
    begun = time.monotonic()
    with pytest.raises(StoreError, match="no whole answer within 1 s"):
        client.get_experiment_by_name("pixelwise-adversarial")
    assert time.monotonic() - begun < 3


def test_a_byte_a_second_holds_a_sweeps_end_for_its_last_wait_alone(
    state: SweepState, server: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "LAST_S", 2.0)
    server.drip_s = 0.5
    begun = time.monotonic()
    (said,) = published(state, server.uri)
    assert time.monotonic() - begun < 8
    assert f"python -m sweeps.publish --storage {state.plan.storage}" in said
    assert is_one_line(said)


def test_patience_ends_a_call_that_is_under_way() -> None:
    patience = Patience()
    threading.Timer(0.2, patience.end_in, [0.0]).start()
    begun = time.monotonic()
    with pytest.raises(StoreError):
        mlflow_calls._call_within(patience, 60.0, time.sleep, 30)
    assert time.monotonic() - begun < 5
    with pytest.raises(StoreError, match="long enough"):
        mlflow_calls._call_within(patience, 60.0, time.sleep, 30)


def test_an_answer_that_is_too_long_is_not_read_to_its_end(
    server: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_client(server.uri)
    server.content = json.dumps({"experiment": "x" * 3_000_000}).encode()
    monkeypatch.setattr(mlflow_calls, "MOST_BYTES", 1_000_000)
    with pytest.raises(StoreError, match="more than 1000000 bytes"):
        client.get_experiment_by_name("pixelwise-adversarial")


def raising(error: Exception) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


@pytest.mark.parametrize(
    "error",
    [KeyError("info"), TypeError("x"), RecursionError(), TimeoutError("t"), OSError(28, "f")],
)
def test_whatever_mlflow_stumbles_over_is_an_error_of_the_store(error: Exception) -> None:
    with pytest.raises(StoreError) as raised:
        call_within(5.0, raising(error))
    assert raised.value.__cause__ is error


TWO_IMPORTS = """
import sys
import threading
from pathlib import Path

from sweeps.record.mlflow_store import open_store

half_way, begun = threading.Event(), threading.Event()

class HalfWay:
    def find_spec(self, name, *_):
        if name == "mlflow.artifacts":  # of the first that the whole imports
            half_way.set()
            begun.wait(1)

def whole():
    import mlflow
    print(mlflow.__version__)

sys.meta_path.insert(0, HalfWay())
other = threading.Thread(target=whole)
other.start()
half_way.wait()
open_store("sqlite:///mlflow.db")
other.join()
print("opened")
"""


def test_a_store_is_opened_while_another_thread_imports_mlflow(tmp_path: Path) -> None:
    words = [sys.executable, "-c", TWO_IMPORTS]
    ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.stdout.splitlines()[1:] == ["opened"], ran.stderr
