"""Check before anything is trained whether a store can take a record at all.

A fault that waiting mends, such as a server that is away or a locked database, is no reason to
refuse: the record catches up later. Any other would show only after hours of training.
"""

from __future__ import annotations

from analysis.record.mlflow_calls import SMALL_S, StoreError, call_within
from analysis.record.mlflow_database import database_fault, describe_deleted
from analysis.record.schema import EXPERIMENT
from analysis.record.tracking_uri import is_server
from sweeps.record.mlflow_store import STORE, open_store
from trainable.config.schema import ConfigError
from trainable.storage.redaction import first_line, redact_uri


def check_usable(tracking_uri: str, experiment: str = EXPERIMENT) -> None:
    """Refuse a store that will not take a record, however long one waits.

    Raises:
        ConfigError: The store is refused; the message names what mends it.
    """
    fault = lasting_fault(tracking_uri, experiment)
    if fault is not None:
        raise ConfigError(f"{STORE} must name a store that takes the record, but {fault}")


def lasting_fault(
    tracking_uri: str, experiment: str = EXPERIMENT, *, writing: bool = True
) -> str | None:
    """Return why a store will not take or give a record however long one waits, None if it may.

    Args:
        tracking_uri: The URI of the MLflow store, which `check_store` let pass.
        experiment: The name of the experiment of our sweeps.
        writing: Whether the record is to be written, not only read.
    """
    shown = redact_uri(tracking_uri)
    if not is_server(tracking_uri):
        return database_fault(tracking_uri, experiment, writing=writing)
    try:
        return call_within(SMALL_S, _server_fault, tracking_uri, experiment, shown)
    except StoreError as error:
        if not error.lasting:
            return None
        return (
            f"{shown} does not answer as an MLflow server that lets this user in does: "
            f"{first_line(error, tracking_uri)}; mend the address or what gives access, or name "
            "another"
        )


def _server_fault(tracking_uri: str, experiment: str, shown: str) -> str | None:
    client = open_store(tracking_uri)
    # A server that is none of MLflow's knows no such address; one experiment may well be unknown.
    client.search_experiments(max_results=1)
    found = client.get_experiment_by_name(experiment)  # of several of a name the one that is active
    if found is None or found.lifecycle_stage == "active":
        return None
    return describe_deleted(experiment, str(found.experiment_id), shown)
