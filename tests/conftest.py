"""One thread, as a slot of a sweep has it, heeded signals, and a cache that dies with the session.

The golden numbers are those of one thread. Processes that tests start inherit the environment.
An empty MLflow store is made once, too.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from analysis.record.tracking_uri import EXPERIMENT_VARIABLE, URI_VARIABLE

torch.set_num_threads(1)

# Ray reads it when it is imported, and some tests import Ray before a sweep would set it.
os.environ["RAY_AUTH_MODE"] = "token"

# Ray is courteous: its workers run at niceness 15, and beside other tests for seconds not at all.
os.environ.setdefault("RAY_worker_niceness", "0")

# In the background of a script and under nohup these are ignored, and what tests start inherits it.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

CACHE = tempfile.TemporaryDirectory(prefix="pixelwise-tests-")
# matplotlib keeps its list of fonts, seconds of work, in the same place: that stays where it was.
caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
os.environ.setdefault("MPLCONFIGDIR", str(caches / "matplotlib"))
os.environ["XDG_CACHE_HOME"] = CACHE.name


def pytest_unconfigure(config: pytest.Config) -> None:
    CACHE.cleanup()


@pytest.fixture(autouse=True)
def _no_store_of_the_environment() -> Iterator[None]:
    """Whoever runs the tests may have a store; and mlflow notes there which one it was told of."""
    forget_store()
    yield
    forget_store()


def forget_store() -> None:
    for name in (URI_VARIABLE, EXPERIMENT_VARIABLE):
        os.environ.pop(name, None)


forget_store()  # what modules and sessions share is made before any test


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with tables and nothing in them: to make one takes seconds, to copy it none."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="session")
def long_uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole sweep of `LONG`: run once, for all processes of pytest-xdist."""
    from whole_sweeps import undisturbed

    own = tmp_path_factory.getbasetemp()
    return undisturbed(own.parent if "PYTEST_XDIST_WORKER" in os.environ else own)


@pytest.fixture
def uri(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)  # mlflow writes artifacts here
    return f"sqlite:///{shutil.copy(empty_store, tmp_path / 'mlflow.db')}"


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, no GPUs and no Ray; inputs may lie beside the directory."""

    from sweeps.execution import executor

    def start_ray(*_: object) -> None:
        pytest.fail("Ray was started: the input was not refused")

    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(executor, "start_ray", start_ray)
    monkeypatch.setattr(executor, "_join", start_ray)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return folder


@pytest.fixture
def _nothing_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave a search's study out: SQLite takes most of the time, and nothing reads it back."""
    from sweeps.search.optuna_db import OptunaDatabase

    monkeypatch.setattr(OptunaDatabase, "add", lambda self, asks: None)


@pytest.fixture
def _early_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let models, not chance, suggest from the fourth ask of a search on."""
    from sweeps.search import samplers

    monkeypatch.setattr(samplers, "STARTUP", 3)
