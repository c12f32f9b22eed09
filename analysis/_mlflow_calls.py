"""The one border to MLflow: every call has a limit, and every odd answer is one kind of error.

Light to import, since `sweeps` passes it, too: mlflow is imported when something is asked.
"""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Limits of a request as a whole: mlflow's own one begins anew with every byte that arrives.
SMALL_S = 30.0
SEARCH_S = 120.0
ARTIFACT_S = 300.0
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


def set_up_mlflow() -> None:
    """Set what mlflow reads at its import, where the user has not."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


def ask(limit_s: float, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Return what a call of MLflow returns.

    It is made in a thread of its own, which is left behind when the limit is reached: a server
    that sends a byte a second ends no request by itself.

    Raises:
        StoreError: It failed, its answer makes no sense, or it took longer than the limit.
    """
    done: Future[T] = Future()

    def work() -> None:
        try:
            done.set_result(call(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001  whoever asked raises it
            done.set_exception(error)

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name="mlflow", daemon=True).start()
    try:
        return done.result(limit_s)
    except NotYet as error:
        if not done.done():
            raise StoreError(f"no whole answer within {limit_s:g} s") from None
        raise _told(error) from error
    except StoreError:
        raise
    except Exception as error:
        raise _told(error) from error


def _told(error: Exception) -> StoreError:
    """Return what mlflow, its database or a library below them raised as an error of the store."""
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
    if isinstance(error, ImportError):
        return StoreError(text, lasting=True)
    if isinstance(error, OSError | SQLAlchemyError):
        return StoreError(text)
    # What an answer without a field, or with one of another type, makes mlflow stumble over.
    return StoreError(f"mlflow cannot read its answer ({type(error).__name__}: {text})")
