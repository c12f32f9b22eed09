"""A store that will not take a record is refused before training; one that is away is waited for.

What is refused leaves the store as it was, above all its schema.
"""

from __future__ import annotations

import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fake_tracking import Tracking, tracking
from record_helpers import finish, grid, sweep_state
from refusals import one_line, refused
from servers import POSTGRES, Postgres
from store_helpers import change, files_of, publish

from analysis import compare, make_figures
from analysis.record import mlflow_database
from analysis.record.mlflow_database import database_fault, newest_schema
from sweeps import best, log_model, repeat
from sweeps import publish as publish_command
from sweeps.record.publisher import Publisher
from sweeps.record.store_check import check_usable, lasting_fault
from trainable.config.schema import ConfigError

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

UPGRADE = "`mlflow db upgrade sqlite:///mlflow.db`"


def of_older_schema(database: Path, empty_store: Path) -> None:
    """As an MLflow left it that had fewer tables: which this one adds when it opens it."""
    shutil.copy(empty_store, database)
    before = mlflow_database._revisions()[newest_schema()]
    change(
        database,
        f"UPDATE alembic_version SET version_num = '{before}'",
        "DROP TABLE webhook_events",
    )


def of_newer_schema(database: Path, empty_store: Path) -> None:
    shutil.copy(empty_store, database)
    change(database, "UPDATE alembic_version SET version_num = 'ffffffffffff'")


def with_experiment(database: Path, empty_store: Path, stage: str = "deleted") -> None:
    shutil.copy(empty_store, database)
    change(
        database,
        "INSERT INTO experiments (name, artifact_location, lifecycle_stage) "
        f"VALUES ('pixelwise-adversarial', '{database.parent}/mlruns/1', '{stage}')",
    )


def of_something_else(database: Path, empty_store: Path) -> None:
    change(database, "CREATE TABLE photos (id)")


def as_text(database: Path, empty_store: Path) -> None:
    database.write_text("not a database, but long enough to hold a header of a hundred bytes" * 9)


def damaged(database: Path, empty_store: Path) -> None:
    content = bytearray(empty_store.read_bytes())
    content[100:4096] = b"\xff" * 3996  # the page that lists the tables
    database.write_bytes(content)


def as_pipe(database: Path, empty_store: Path) -> None:
    subprocess.run(["mkfifo", str(database)], check=True)


MENDING = "`MLFLOW_TRACKING_URI=sqlite:///mlflow.db mlflow experiments restore -x 1`"
FAULTS: dict[Callable[[Path, Path], None], tuple[str, ...]] = {
    of_older_schema: ("older one", "backup", UPGRADE),
    of_newer_schema: ("newer one (ffffffffffff)", "pip install --upgrade mlflow"),
    with_experiment: ("is deleted", MENDING),
    of_something_else: ("other tables (photos)",),
    as_text: ("must be a file of SQLite, but is none",),
    damaged: ("must be a whole file of SQLite", "malformed", "python -m sweeps.publish"),
    as_pipe: ("must be a file of SQLite, but is none",),
}


@pytest.mark.parametrize("more", [[], ["--plan"]], ids=["sweep", "plan"])
@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__)
def test_a_database_that_takes_no_record_is_refused_and_left_as_it_is(
    spoil: Callable[[Path, Path], None],
    more: list[str],
    empty: Path,
    empty_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(empty / "mlflow.db", empty_store)
    before = files_of(empty)
    said = refused(more, monkeypatch, capsys)
    assert [word for word in FAULTS[spoil] if word not in said] == []
    assert files_of(empty) == before


COMMANDS: dict[str, Callable[[], int | None]] = {
    "sweeps.repeat": repeat.main,
    "sweeps.log_model": log_model.main,
    "sweeps.best": best.main,
    "analysis.make_figures": make_figures.main,
    "analysis.compare": compare.main,
}
SUBJECTS = {"analysis.make_figures": 0, "analysis.compare": 2}  # what is named, else one trial


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("spoil", FAULTS, ids=lambda spoil: spoil.__name__)
def test_who_reads_a_record_refuses_it_and_migrates_nothing(
    spoil: Callable[[Path, Path], None],
    name: str,
    empty: Path,
    empty_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(empty / "mlflow.db", empty_store)
    before = files_of(empty)
    monkeypatch.setattr(sys, "argv", [name, *["0" * 32] * SUBJECTS.get(name, 1)])
    try:
        code = COMMANDS[name]()
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == 2
    said = one_line(capsys.readouterr().err)
    if spoil in (of_older_schema, of_newer_schema, with_experiment):
        assert [word for word in FAULTS[spoil] if word not in said] == []
    assert files_of(empty) == before


def test_publishing_by_hand_refuses_it_too(
    empty: Path,
    empty_store: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    state = sweep_state(empty / "runs", grid([0.01]))
    finish(state, state.runs[0])
    uri = f"sqlite:///{empty / 'mlflow.db'}"
    shutil.copy(empty_store, empty / "mlflow.db")
    assert publish(state, uri) == []
    change(empty / "mlflow.db", "UPDATE experiments SET lifecycle_stage = 'deleted'")
    before = files_of(empty)
    monkeypatch.setattr(sys, "argv", ["publish"])
    with pytest.raises(SystemExit) as ended:
        publish_command.main()
    assert ended.value.code == 2
    assert "mlflow experiments restore -x 1" in one_line(capsys.readouterr().err)
    assert files_of(empty) == before


def test_a_sweep_whose_experiment_is_deleted_meanwhile_says_what_restores_it(
    tmp_path: Path, uri: str
) -> None:
    state = sweep_state(tmp_path / "runs", grid([0.01]))
    finish(state, state.runs[0])
    warnings: list[str] = []
    change(
        tmp_path / "mlflow.db",
        "INSERT INTO experiments (name, artifact_location, lifecycle_stage) "
        "VALUES ('pixelwise-adversarial', '/x', 'deleted')",
    )
    with Publisher(state, uri, warnings.append) as publisher:
        publisher.publish(state.runs[0])
    assert "mlflow experiments restore -x 1" in warnings[-1]
    assert "\n" not in warnings[-1]


@pytest.mark.parametrize("rule", ["R_OK", "W_OK"])
def test_a_file_without_rights_is_refused_with_the_command_that_gives_them(
    rule: str, tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    # The one who runs the tests may be root, who may do everything.
    denied = getattr(os, rule)
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & denied)
    with pytest.raises(ConfigError, match="`chmod u"):
        check_usable(uri)
    if rule == "W_OK":
        assert lasting_fault(uri, writing=False) is None


def test_the_head_is_that_of_mlflow() -> None:
    from mlflow.store.db.utils import _get_latest_schema_revision

    assert newest_schema() == _get_latest_schema_revision()


# What is no reason to refuse


def test_a_database_that_is_not_there_or_empty_or_good_is_let_pass(
    tmp_path: Path, empty_store: Path
) -> None:
    assert lasting_fault(f"sqlite:///{tmp_path}/none.db") is None
    (tmp_path / "empty.db").touch()
    assert lasting_fault(f"sqlite:///{tmp_path}/empty.db") is None
    with_experiment(tmp_path / "good.db", empty_store, "active")
    assert lasting_fault(f"sqlite:///{tmp_path}/good.db") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.db", "good.db"]


def test_a_locked_database_is_let_pass(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_database, "LOCK_S", 0.1)
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert lasting_fault(uri) is None


def test_what_a_killed_process_left_half_written_hides_no_fault(
    tmp_path: Path, empty_store: Path
) -> None:
    """Its journal is beside the file, and only one who may write can roll it back."""
    database = tmp_path / "mlflow.db"
    with_experiment(database, empty_store)
    program = (
        "import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA "
        "cache_size = 1'); c.execute('CREATE TABLE more(i)'); c.execute('INSERT INTO more WITH "
        "RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n WHERE i < 20000) SELECT i FROM n'); "
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(database)], capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "mlflow.db-journal").stat().st_size > 0
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in tmp_path.glob("mlflow.db*"):
        shutil.copy(path, copy)
    assert "is deleted" in (lasting_fault(f"sqlite:///{database}") or "")
    from analysis.record.mlflow_store import check_uri

    check_uri(f"sqlite:///{copy / 'mlflow.db'}")


# A server


@pytest.fixture
def server(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Tracking]:
    with tracking(tmp_path, empty_store, monkeypatch) as found:
        yield found


PAGE = b"<html><body>Please sign in</body></html>"


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (401, PAGE),
        (403, PAGE),
        (404, PAGE),
        (0, PAGE),
        (403, b'{"error_code": "PERMISSION_DENIED"}'),
    ],
)
def test_a_server_that_will_not_take_a_record_is_refused(
    status: int, content: bytes, server: Tracking
) -> None:
    server.status, server.content = status, content
    with pytest.raises(ConfigError, match=r"\(--tracking-uri\) must name a store") as raised:
        check_usable(server.uri)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_that_is_not_well_is_let_pass(status: int, server: Tracking) -> None:
    server.status, server.content = status, PAGE
    assert lasting_fault(server.uri) is None


def test_a_server_whose_experiment_is_deleted_is_refused(server: Tracking) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(server.uri)
    client.delete_experiment(client.create_experiment("pixelwise-adversarial"))
    fault = lasting_fault(server.uri)
    restore = f"`MLFLOW_TRACKING_URI={server.uri} mlflow experiments restore -x 1`"
    assert fault is not None
    assert restore in fault
    client.restore_experiment("1")
    assert lasting_fault(server.uri) is None


def test_a_server_that_is_away_is_let_pass() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    assert lasting_fault(f"http://127.0.0.1:{port}") is None


# PostgreSQL


@pytest.mark.slow
def test_what_postgresql_refuses_for_ever_is_refused_and_what_it_does_not_is_let_pass() -> None:
    if not POSTGRES.is_dir():
        pytest.skip("needs Debian's postgresql-15")
    from mlflow import MlflowClient
    from sqlalchemy import create_engine, text

    with Postgres() as server:
        uri = server.uri

        def run(*statements: str) -> None:
            engine = create_engine(uri)
            with engine.begin() as connection:
                for statement in statements:
                    connection.execute(text(statement))
            engine.dispose()

        def fault(of: str, *, writing: bool = True) -> str:
            return database_fault(of, writing=writing) or ""

        assert fault(uri) == ""
        assert "run a sweep first" in fault(uri, writing=False)
        run("CREATE ROLE guest LOGIN", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        guest = uri.replace("sweeps@", "guest@")
        assert "GRANT CREATE" in fault(guest)
        assert 'database "nosuch" does not exist' in fault(uri.replace("@/postgres", "@/nosuch"))
        assert 'role "***" does not exist' in fault(uri.replace("sweeps@", "nobody@"))
        assert fault(uri.replace("?host=", "?host=/nowhere")) == ""  # no server: it may come

        MlflowClient(uri).create_experiment("pixelwise-adversarial")
        assert fault(uri) == ""
        assert "permission denied" in fault(guest)
        run("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest")
        assert "permission denied" in fault(guest)
        assert fault(guest, writing=False) == ""
        run("GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO guest")
        assert fault(guest) == ""
        run("UPDATE experiments SET lifecycle_stage = 'deleted' WHERE experiment_id = 1")
        assert "mlflow experiments restore -x 1" in fault(uri)
        before = mlflow_database._revisions()[newest_schema()]
        run(f"UPDATE alembic_version SET version_num = '{before}'")
        assert "`mlflow db upgrade 'postgresql+psycopg2://***@" in fault(uri)
