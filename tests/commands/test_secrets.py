"""A secret planted in every place of a URI is in no file, message, argument or tag."""

from __future__ import annotations

import base64
import importlib
import io
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from record_helpers import fail, finish, grid, sweep_state
from servers import POSTGRES, Postgres
from small import small_config, spec_of
from training_helpers import tune_config
from whole_sweeps import DEADLINE_S, command

from sweeps.driver import summary
from sweeps.record import publisher as publisher_module
from sweeps.record.manifest import begin, diff_path
from sweeps.record.publisher import Publisher
from trainable.cli.options import resume_command
from trainable.ray_trainable import SegmentationTrainable
from trainable.runs.folder import CRASH_LOG

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy is deprecated",
    "ignore:Query string argument:sqlalchemy.exc.SAWarning",
)

SECRET = "Zq9/huNter-7w"
QUOTED = "Zq9%2FhuNter-7w"
PIECES = ("Zq9", "huNter")  # neither may be anywhere
# None of them has a store behind it, or one that answers.
URIS = (
    f"http://me:{SECRET}@127.0.0.1:1",
    f"http://me:{QUOTED}@127.0.0.1:1/p",
    "http://Zq9huNter@127.0.0.1:1",
    f"http://127.0.0.1:1/?token={SECRET}",
    f"http://127.0.0.1:1/?a=b&x-api-key={SECRET}",
    f"http://me:{SECRET}",
    f"postgresql+nosuch://me:{SECRET}@h/db",
    f"postgresql+nosuch://me:a@{SECRET}@h/db",
    f"postgresql://me:{SECRET}@127.0.0.1:1/db",
    f"postgresql://127.0.0.1:1/db?user=me&password={SECRET}",
    f"postgresql://127.0.0.1:1/db?user=me&passwd={SECRET}",
    f"postgresql://me:{SECRET}",
    f"me:{SECRET}@h/db",
    f"ftp://me:{SECRET}@h/db",
    f"sqlite:///mlflow.db?passwd={SECRET}",
    f"sqlite:///mlflow.db?passwd={QUOTED}",
)
STORES = (
    f"s3://KEY:{SECRET}@bucket/runs",
    f"s3://KEY:{QUOTED}@127.0.0.1:x/runs",
    f"nosuch://KEY:{SECRET}@bucket/runs",
    f"nosuch://bucket/runs?secret_key={SECRET}",
    f"file:///proc/nosuch/runs?access_key={SECRET}",
)
TRAIN = ("--set", "iterations=1", "--seeds", "1")
COMMANDS: dict[str, tuple[str, ...]] = {
    "sweeps.lambda_grid": ("--plan", *TRAIN),
    "sweeps.publish": (),
    "sweeps.repeat": ("0" * 32,),
    "sweeps.log_model": ("0" * 32,),
    "sweeps.best": ("lambda_grid",),
    "analysis.make_figures": (),
    "analysis.compare": ("lambda_grid~1", "lambda_grid"),
}


def leaks(text: str) -> list[str]:
    return [line for line in text.splitlines() if any(piece in line for piece in PIECES)]


def opened(kept: Any) -> Iterator[bytes]:
    """Every text of what is kept of drawings, and its files as they are."""
    if isinstance(kept, dict):
        for name, value in kept.items():
            yield name.encode()
            files = value if name == "files" and isinstance(value, dict) else {}
            yield from (base64.b64decode(file) for file in files.values())
            yield from opened([*files] or value)
    elif isinstance(kept, list):
        for one in kept:
            yield from opened(one)
    else:
        yield str(kept).encode()


def leaks_below(folder: Path) -> list[str]:
    """Every file below a folder that has a piece of the secret in its name or content."""
    found = []
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        if path.parent.name == "drawn":  # letters of base64 make up any short piece
            content = b"\n".join(opened(json.loads(content.partition(b"\n")[2])))
        if leaks(path.name) or leaks(content.decode("latin-1")):
            found.append(str(path))
    return found


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(name: str, argv: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a command in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", [f"{name.replace('.', '/')}.py", *argv])
    try:
        code = importlib.import_module(name).main()
    except SystemExit as ended:
        code = ended.code
    return int(code)


@pytest.mark.parametrize("uri", URIS)
@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_tells_of_its_store(
    name: str,
    uri: str,
    empty: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if name == "sweeps.publish":
        state = sweep_state(empty / "runs", grid())
        finish(state, state.runs[0])
        begin(state, uri)
    code = run(name, [*COMMANDS[name], "--tracking-uri", uri], monkeypatch)
    said = capfd.readouterr()
    assert leaks(said.out + said.err) == []
    assert leaks_below(empty) == []
    assert "Traceback" not in said.err
    assert code in (0, 1, 2)


@pytest.mark.parametrize("uri", STORES)
@pytest.mark.parametrize("name", ["sweeps.lambda_grid", "sweeps.publish"])
def test_no_command_tells_of_its_storage(
    name: str,
    uri: str,
    empty: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    code = run(name, [*COMMANDS[name], "--storage", uri], monkeypatch)
    said = capfd.readouterr()
    assert leaks(said.out + said.err) == []
    assert leaks_below(empty) == []
    assert code == 2


def test_a_record_and_all_beside_it_lacks_the_secret(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{empty}/mlflow.db?passwd={QUOTED}"
    argv = ["lambda_grid.py", "--tracking-uri", uri, "--storage", STORES[0], f"--token={SECRET}"]
    monkeypatch.setattr("sys.argv", argv)
    state = sweep_state(empty / "runs", grid())
    finish(state, state.runs[0])
    fail(state, state.runs[1], "it diverged")
    warnings: list[str] = []
    with Publisher(state, uri, warnings.append) as publisher:
        for one in state.runs:
            publisher.publish(one)
    diff_path(state.plan.storage, state.plan.sweep_key).unlink(missing_ok=True)  # of this very text
    told = resume_command("x", "sweeps/lambda_grid.py")
    assert leaks(told + summary.record_line(uri) + str(warnings)) == []
    assert [path for path in leaks_below(empty) if not path.endswith("git.diff")] == []
    assert run("analysis.make_figures", ["--tracking-uri", uri], monkeypatch) == 0
    assert leaks_below(empty / "figures") == []


class Kept(io.StringIO):
    """What is written to a pipe, kept after it is closed."""

    def close(self) -> None:
        pass


def test_processes_get_the_store_by_standard_input(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[str], dict[str, Any]]] = []
    state = sweep_state(empty / "runs", grid())
    warnings: list[str] = []
    with Publisher(
        state, f"sqlite:///{empty}/mlflow.db", warnings.append, with_model=False
    ) as made:
        for one in state.runs:
            finish(state, one)
            (state.plan.storage / one.spec.training_key / "model.pt").touch()
            made.publish(one)
    record = made._record
    assert record is not None
    trial = state.trials[0]
    for uri in URIS:

        def noted(
            words: list[str], about: str = uri, **options: Any
        ) -> subprocess.CompletedProcess[str]:
            asked.append((words, options))
            cut_out = SECRET if f":{SECRET}" in about else ""
            return subprocess.CompletedProcess(words, 2, "", f"no {about}: {cut_out}")

        class Drawing:
            """The process that draws, which refuses its store."""

            returncode = 2

            def __init__(self, words: list[str], about: str = uri, **options: Any) -> None:
                self.words, self.options = words, options
                self.stdin, self.stdout = Kept(), io.StringIO()
                self.stderr = io.StringIO(noted(words, about, **options).stderr)

            def __enter__(self) -> Self:
                return self

            def __exit__(self, *_: object) -> None:
                asked[-1][1]["input"] = self.stdin.getvalue()

        monkeypatch.setattr(subprocess, "run", noted)
        monkeypatch.setattr(subprocess, "Popen", Drawing)
        child = record.children[trial.trial_key]
        publisher_module._log_model(record, trial, child, uri, warnings.append)
        warnings += summary.draw(state.plan.sweep_key, uri, "figures", warnings.append).lines()
    assert [options["input"] for _, options in asked] == [uri for uri in URIS for _ in "ab"]
    assert leaks("\n".join(warnings)) == []
    for words, options in asked:
        assert leaks(" ".join(words) + str(options.get("env"))) == []


@pytest.mark.parametrize("uri", STORES[1:4])
def test_a_worker_whose_store_fails_writes_no_secret(
    uri: str, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tune_config(spec_of(small_config()), empty) | {"storage": "nosuch://***@bucket/runs"}
    actor = SegmentationTrainable(config)
    actor.setup(config, uri=uri)
    with pytest.raises((OSError, ValueError, RuntimeError)) as raised:
        actor.step()
    (log,) = empty.rglob(CRASH_LOG)
    assert "Traceback" in log.read_text()
    assert leaks_below(empty) == []
    assert leaks(str(raised.value)) == []


@pytest.mark.slow
@pytest.mark.skipif(not POSTGRES.is_dir(), reason="needs Debian's postgresql-15")
def test_a_whole_sweep_leaves_its_secrets_nowhere(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = Path(tempfile.mkdtemp(prefix="r-", dir="/tmp"))  # a short path, for its sockets
    monkeypatch.setenv("RAY_TMPDIR", str(ray))
    seen: set[str] = set()
    seen_of_ray: set[str] = set()
    ended = threading.Event()

    def watch() -> None:
        """Note the arguments of all processes, but those that a user gave the driver."""
        while not ended.wait(0.05):
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    words = path.read_bytes().decode("latin-1").replace("\0", " ")
                except OSError:
                    continue
                if words.strip() != " ".join(begun):  # the driver's, or of its child before exec
                    seen.update(leaks(words))
            seen.update(leaks_below_of_now(empty / "runs") + leaks_below_of_now(ray))
            seen_of_ray.update(path.name for path in ray.rglob("gcs_server*"))

    with Postgres() as server:
        store = server.uri
        uri = store.replace("sweeps@", f"sweeps:{SECRET}@") + f"&sslpassword={SECRET}"
        storage = f"file://{empty}/runs?secret_key={SECRET}"
        begun = command("--json", "--tracking-uri", uri, "--storage", storage, with_model=True)
        driver = subprocess.Popen(
            begun, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=empty
        )
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            out, err = driver.communicate(timeout=DEADLINE_S)
        finally:
            driver.kill()
            ended.set()
            watcher.join()
        dump = subprocess.run(
            [str(POSTGRES / "pg_dump"), store.replace("+psycopg2", "")],
            capture_output=True,
            text=True,
            check=True,
        )
    assert driver.returncode == 0, err
    assert json.loads(out)["figure"] == "figures/fig4.png"
    assert leaks(out + err + dump.stdout) == []
    assert seen == set()
    assert leaks_below(empty) == []
    assert "best_model" in dump.stdout
    assert seen_of_ray
    shutil.rmtree(ray)


def leaks_below_of_now(folder: Path) -> list[str]:
    """As `leaks_below`, of files that come and go."""
    try:
        return leaks_below(folder)
    except OSError:
        return []
