"""One driver of a sweep at a time: a second would train and record everything once more.

    <storage>/sweeps/.<sweep_key>.lock   held by the driver, or by who publishes by hand

Sweeps that differ may run side by side: those that share a training run wait for each other. A
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

FOLDER = "sweeps"  # of a storage: manifests, locks
LOOK_AGAIN_S = 1.0  # who only looks holds it for an instant, and who was killed for a little more
RECORD_WAIT_S = 600.0  # another driver may be sending a model


def check_no_driver(storage: Path, name: str, sweep_key: str) -> None:
    """Refuse early, before Ray starts; nothing is written.

    Raises:
        ConfigError: Another process drives the sweep.
    """
    try:
        FileLock(_path(storage, sweep_key), LOOK_AGAIN_S).check_free()
    except LockHeldError as error:
        raise _driven(storage, name, error) from error


@contextmanager
def only_driver(storage: Path, name: str, sweep_key: str) -> Iterator[None]:
    """Be the one driver of a sweep.

    Args:
        storage: Folder of run folders, which is there.
        name: Of the sweep.
        sweep_key: Its key.

    Raises:
        ConfigError: Another process drives it.
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
    """Write to the record of a sweep while no other process of this machine and user does.

    Drivers of one sweep whose storages differ share the record: without turns, two that finish a
    trial at once would both create it, and the record would lose one again. Where no lock can be
    kept, it has to.

    Args:
        tracking_uri: Of the store.
        sweep_key: Of the sweep.
        patience_s: How long another process is waited for, at most.

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
