"""What an MLflow tracking URI names, told without MLflow: a server, a database, its artifacts.

MLflow writes absolute paths into its database. A project's folder that was moved or copied has its
artifacts in the new place, and the old one is gone or somebody else's.
"""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

from trainable.storage.redaction import redact_uri

# The variables of the environment by which MLflow's own programs know store and experiment.
URI_VARIABLE, EXPERIMENT_VARIABLE = "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"
DEFAULT_URI, DEFAULT_EXPERIMENT = "sqlite:///mlflow.db", "pixelwise-adversarial"
MOST_OF_A_NAME = 200  # characters of an experiment's name
LEAST_PARTS = 2  # last parts of a run's folder that are its own: its id, and `artifacts`


def default_uri() -> str:
    """Return the store that is used where no option names one."""
    return os.environ.get(URI_VARIABLE) or DEFAULT_URI


def default_experiment() -> str:
    """Return the experiment that is used where no option names one."""
    return os.environ.get(EXPERIMENT_VARIABLE) or DEFAULT_EXPERIMENT


def named_by(variable: str, text: str) -> str:
    """Return in brackets that a variable of the environment gave a text, empty if it did not."""
    return f" (of {variable})" if text == os.environ.get(variable) else ""


def experiment_name(text: str) -> str:
    """Read the option that names an experiment of MLflow.

    Raises:
        ArgumentTypeError: The text is empty, long, or no plain line.
    """
    if not text.strip() or len(text) > MOST_OF_A_NAME or not text.isprintable():
        raise argparse.ArgumentTypeError(
            f"must be a line of 1 to {MOST_OF_A_NAME} characters, but got {text[:50]!r}"
            f"{named_by(EXPERIMENT_VARIABLE, text)}"
        )
    return text


def describe_choice(uri: str, experiment: str) -> str:
    """Return where the record goes, and by which variables of the environment where one says it.

    It is empty where all is as ever.
    """
    by = [
        name
        for name, value in ((URI_VARIABLE, uri), (EXPERIMENT_VARIABLE, experiment))
        if os.environ.get(name) == value
    ]
    if not by and experiment == DEFAULT_EXPERIMENT:
        return ""
    of = f" (as {' and '.join(by)} say{'s' if len(by) == 1 else ''})" if by else ""
    return f"experiment {experiment} in {redact_uri(uri)}{of}"


def is_server(uri: str) -> bool:
    """Return whether a URI names a tracking server, and no database."""
    return uri.startswith(("http://", "https://"))


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite URI, None for any other store."""
    scheme, _, rest = uri.partition("://")
    if not scheme.startswith("sqlite"):
        return None
    return Path(rest.partition("?")[0].removeprefix("/"))


def ui_command(uri: str) -> str:
    """Return the command that shows a database in a browser, without what gives access to it."""
    return f"mlflow ui --backend-store-uri {shlex.quote(redact_uri(uri))} --host 127.0.0.1"


def artifacts_folder(tracking_uri: str, artifact_uri: str) -> Path | None:
    """Return the folder of a run's artifacts, None where they are not on this machine.

    Args:
        tracking_uri: The store that holds the record.
        artifact_uri: Where the run's artifacts lie, as the record has it.
    """
    written, database = local_path(artifact_uri), sqlite_file(tracking_uri)
    if written is None or database is None:
        return written
    home = database.resolve().parent
    parts = written.parts[1:] if written.is_absolute() else written.parts
    beside = (home.joinpath(*parts[-count:]) for count in range(LEAST_PARTS, len(parts) + 1))
    return next((folder for folder in beside if folder.is_dir()), written)


def local_path(artifact_uri: str) -> Path | None:
    """Return the path that a `file:` URI or a plain path names, None for another machine's."""
    parts = urlsplit(artifact_uri)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(artifact_uri)
