"""Locks that let one driver at a time run a sweep: a second would train and record all again.

    <storage>/sweeps/.<sweep_key>.lock   held by the driver, or by `python -m sweeps.publish`

Different sweeps may run side by side; of a training run that they share, one waits for the other. A
store's mirror lies on one machine, so on an object store drivers of other machines, or of other
users, are not kept apart; nor are they where NFS is mounted without locks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sweeps.storage.mirror import absolute
from trainable.config.schema import ConfigError
from trainable.storage.files import drop_temporaries
from trainable.storage.locks import FileLock, LockHeldError
from trainable.storage.redaction import redact_uri
from trainable.storage.remote import local_folder

FOLDER = "sweeps"  # within a storage: manifests and locks
LOOK_AGAIN_S = 1.0  # a process that only checks holds the lock for an instant; a killed one longer
RECORD_WAIT_S = 600.0  # another driver may be sending a model


def check_no_driver(storage: Path, name: str, sweep_key: str) -> None:
    """Check, without writing anything, that no other process drives a sweep.

    Args:
        storage: The folder of run folders.
        name: The name of the sweep.
        sweep_key: The key of the sweep.

    Raises:
        ConfigError: Another process drives the sweep.
    """
    try:
        FileLock(_path(storage, sweep_key), LOOK_AGAIN_S).check_free()
    except LockHeldError as error:
        raise _driven(storage, name, error) from error


@contextmanager
def only_driver(storage: Path, name: str, sweep_key: str) -> Iterator[None]:
    """Be the only driver of a sweep while entered.

    Args:
        storage: The folder of run folders, which must exist.
        name: The name of the sweep.
        sweep_key: The key of the sweep.

    Raises:
        ConfigError: Another process drives the sweep.
    """
    path = _path(storage, sweep_key)
    path.parent.mkdir(exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(FileLock(path, LOOK_AGAIN_S))
        except LockHeldError as error:
            raise _driven(storage, name, error) from error
        stack.callback(path.unlink, missing_ok=True)
        drop_temporaries(path.parent, f"{sweep_key}.*")
        yield


@contextmanager
def only_writer(
    tracking_uri: str, sweep_key: str, patience_s: float = RECORD_WAIT_S
) -> Iterator[None]:
    """Be the only process of this machine and user that writes the record of a sweep.

    Drivers of one sweep whose storages differ share the record: without turns, two that finish a
    trial at once would both create it, and one of the two would be deleted again. Where no lock
    can be kept, that may happen.

    Args:
        tracking_uri: The URI of the MLflow store.
        sweep_key: The key of the sweep.
        patience_s: How many seconds to wait for another process, at most RECORD_WAIT_S.

    Raises:
        TimeoutError: Another process still writes.
    """
    wait_s = min(patience_s, RECORD_WAIT_S)
    with ExitStack() as stack:
        try:
            folder = local_folder(absolute(redact_uri(tracking_uri)), "record")
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(folder / f"{sweep_key}.lock", wait_s))
        except LockHeldError as error:
            raise TimeoutError(f"{error} has been writing for {wait_s:g} s") from error
        except (OSError, RuntimeError):  # no home, or one that cannot be written
            pass
        yield


def _path(storage: Path, sweep_key: str) -> Path:
    return storage / FOLDER / f".{sweep_key}.lock"  # of this machine: a mirror does not send it


def _driven(storage: Path, name: str, error: LockHeldError) -> ConfigError:
    return ConfigError(
        f"a sweep must have one driver, but {error} drives {name} in {storage}; "
        "wait for it or end it, or give another --storage"
    )
