"""The one border to MLflow: every call has a limit, and every odd answer is one kind of error.

Light to import, since `sweeps` passes it, too: mlflow is imported when something is asked.
"""

from __future__ import annotations

import contextvars
import logging
import math
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

P = ParamSpec("P")
T = TypeVar("T")

# Limits of a request as a whole: mlflow's own one begins anew with every byte that arrives.
SMALL_S = 30.0
SEARCH_S = 120.0
ARTIFACT_S = 300.0
MODEL_S = 600.0  # to export and send a model: far more than it takes
LIMITS = {
    "search_runs": SEARCH_S,
    "get_metric_history": SEARCH_S,
    **dict.fromkeys(("download_artifacts", "log_artifact", "log_dict", "log_text"), ARTIFACT_S),
}
LOOK_S = 1.0  # between two looks at whether patience has ended meanwhile
MOST_BYTES = 256 * 2**20  # of one answer; real ones, masks among them, take a few MB
MOST_RUNS = 1_000_000  # of one search
PAGE_SIZE = 1000  # runs of one answer
ID = re.compile(r"[\w-]{1,256}")
STATES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")
# Read by mlflow when it is imported or asked: a server that is gone must not hold up anyone. A
# request is not sent twice: what a slow server did after all would stand there twice.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "GIT_PYTHON_REFRESH": "quiet",
}
# Of an answer that is none of MLflow's, and of a name or an address that stands for nothing.
LASTING_WORDS = (
    "not in a valid JSON format",
    "Name or service not known",
    "CERTIFICATE_VERIFY_FAILED",
    "WRONG_VERSION_NUMBER",
    "Invalid url",
    "Invalid URL",
    "failed to parse",
    "redirects",
)
# A proxy or a server that is starting says these, too.
PASSING_CODES = (408, 425, 429)


class StoreError(Exception):
    """An MLflow store did not do what it was asked.

    Attributes:
        lasting: Whether waiting does not mend it.
        code: MLflow's name of the error, empty where it gave none.
    """

    def __init__(self, message: str, *, lasting: bool = False, code: str = "") -> None:
        super().__init__(message)
        self.lasting = lasting
        self.code = code


class Patience:
    """How long a store is waited for in all its calls together: for ever, until `end_in`.

    Attributes:
        until: When waiting ends, in seconds of the monotonic clock.
    """

    def __init__(self) -> None:
        self.until = math.inf

    def end_in(self, seconds: float) -> None:
        """Stop waiting so many seconds from now, also for a call that is under way."""
        self.until = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left, none or more."""
        return max(0.0, self.until - time.monotonic())


def set_up_mlflow() -> None:
    """Import mlflow with what it reads then, where the user has not set it.

    It comes before any of its parts: a thread that begins with a part, while another (Ray imports
    mlflow, too) begins with the whole, has each wait for the other, and both fail.

    Raises:
        ImportError: It cannot be imported.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # it raises what it logs


def open_client(tracking_uri: str, patience: Patience | None = None) -> MlflowClient:
    """Return a client whose every call has a limit and whose answers are looked at.

    Args:
        tracking_uri: The store to ask; nothing is asked yet.
        patience: How long the client's calls are waited for, all together.

    Raises:
        StoreError: mlflow cannot be imported, or does not know such a store.
    """

    def make() -> MlflowClient:
        set_up_mlflow()
        from mlflow import MlflowClient

        bound_answers()
        return MlflowClient(tracking_uri)

    client = call_within(SEARCH_S, make)  # the import takes its time
    return cast("MlflowClient", _BoundedClient(client, patience or Patience()))


class _BoundedClient:
    """A client of MLflow each of whose calls goes through `call_within`."""

    def __init__(self, client: MlflowClient, patience: Patience) -> None:
        self._client = client
        self._patience = patience

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if not callable(found):
            return found

        def bounded(*args: Any, **kwargs: Any) -> Any:
            answer = _call_within(self._patience, LIMITS.get(name, SMALL_S), found, *args, **kwargs)
            for one in answer if isinstance(answer, list) else [answer]:
                _check(one)
            return answer

        return bounded


def search_pages(
    client: MlflowClient, experiment_id: str, condition: str, *, order: str
) -> Iterator[list[Run]]:
    """Yield the runs that fulfil a condition, page by page.

    Raises:
        StoreError: The store fails, or has no last page.
    """
    token, before, count = None, set(), 0
    while True:
        page = client.search_runs(
            [experiment_id], condition, max_results=PAGE_SIZE, order_by=[order], page_token=token
        )
        yield list(page)
        token, count = page.token, count + len(page)
        if not token:
            return
        if token in before or count > MOST_RUNS:
            raise StoreError("its search has no last page")
        before.add(token)


def call_within(limit_s: float, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what a call of MLflow returns.

    It is made in a thread of its own, which is left behind when the limit is reached: a server
    that sends a byte a second ends no request by itself.

    Raises:
        StoreError: It failed, its answer makes no sense, or it took longer than the limit.
    """
    return _call_within(Patience(), limit_s, call, *args, **kwargs)


def _call_within(
    patience: Patience, limit_s: float, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> T:
    if not patience.left():
        raise StoreError("it was waited for long enough")
    done: Future[T] = Future()

    def work() -> None:
        try:
            done.set_result(call(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001  whoever asked raises it
            done.set_exception(error)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name="mlflow", daemon=True).start()
    end = time.monotonic() + limit_s
    while not done.done():
        left = min(end - time.monotonic(), patience.left())
        if left <= 0:
            raise StoreError(f"no whole answer within {limit_s:g} s")
        with suppress(NotYet):
            done.exception(min(left, LOOK_S))
    try:
        return done.result()
    except StoreError:
        raise
    except Exception as error:
        raise _store_error(error) from error


def _store_error(error: Exception) -> StoreError:
    """Return the store's error for what mlflow, its database or a library below them raised."""
    if isinstance(error, ImportError):
        return StoreError(str(error), lasting=True)
    set_up_mlflow()
    from mlflow.exceptions import MlflowException
    from requests.exceptions import RequestException
    from sqlalchemy.exc import SQLAlchemyError

    text = str(error) or type(error).__name__
    if isinstance(error, MlflowException):
        status = error.get_http_status_code()
        refused = 400 <= status < 500 and status not in PASSING_CODES
        lasting = refused or any(words in text for words in LASTING_WORDS)
        return StoreError(text, lasting=lasting, code=error.error_code)
    if isinstance(error, RequestException):
        answer = error.response
        refused = answer is not None and 400 <= answer.status_code < 500
        return StoreError(text, lasting=refused or any(words in text for words in LASTING_WORDS))
    if isinstance(error, OSError | SQLAlchemyError):
        return StoreError(text)
    # What an answer without a field, or with one of another type, makes mlflow stumble over.
    return StoreError(f"mlflow cannot read its answer ({type(error).__name__}: {text})")


def _check(answer: object) -> None:
    """Refuse an entity without what every one of its kind has.

    Raises:
        StoreError: It lacks its id, or has a state that there is not.
    """
    kind = type(answer).__name__
    info: Any = getattr(answer, "info", None) if kind == "Run" else answer
    names = {"Run": ("run_id", "experiment_id"), "Experiment": ("experiment_id",)}.get(kind, ())
    for name in names:
        found = getattr(info, name, None)
        if not isinstance(found, str) or not ID.fullmatch(found):
            raise StoreError(f"it gives a {kind.lower()} whose {name} is {str(found)[:50]!r}")
    if kind == "Run" and info.status not in STATES:
        raise StoreError(f"it gives a run whose status is {info.status!r}")


@cache
def bound_answers() -> None:
    """Let no answer of a server take more memory, or disk, than there is.

    mlflow has no place for this of its own; a test tells when it no longer asks so.
    """
    set_up_mlflow()
    from mlflow.utils import request_utils

    unbounded: Any = request_utils._get_request_session

    def bounded(*args: Any, **kwargs: Any) -> Any:
        session = unbounded(*args, **kwargs)
        if _bound not in session.hooks["response"]:
            session.hooks["response"].append(_bound)
        return session

    vars(request_utils)["_get_request_session"] = bounded


def _bound(response: Any, *_: Any, **__: Any) -> None:
    """Have an answer end with an error where it is longer than any of ours."""
    read = response.iter_content

    def iter_content(*args: Any, **kwargs: Any) -> Iterator[bytes]:
        size = 0
        for chunk in read(*args, **kwargs):
            size += len(chunk)
            if size > MOST_BYTES:
                response.close()
                raise OSError(f"an answer of more than {MOST_BYTES} bytes")
            yield chunk

    response.iter_content = iter_content
