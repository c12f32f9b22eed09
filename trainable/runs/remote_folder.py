"""A run folder whose truth lies in an object store: fetched before a run is opened, sent after.

What a store holds at any time is a run folder as a kill would leave it: a checksum is sent before
its file, and a result when all else is there. No lock holds on a store: a run that two nodes train
at a time ends with the numbers of one of them, and both have the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from trainable.runs.folder import RunFolder
from trainable.storage.remote import Stamp, Store, stamp_of

OUTCOMES = ("result.json", "failure.json")
NOT_SENT = (".bad", ".tmp")
MODEL = ("model.sha256", "model.pt")


class RemoteFolder:
    """One run folder of a store and its copy on this node.

    Args:
        store: The object store, which holds the truth.
        scratch: The folder of this node's copies of run folders.
        training_key: The name of the run folder in both.
    """

    def __init__(self, store: Store, scratch: Path, training_key: str) -> None:
        self.store = store
        self.path = scratch / training_key
        self._sent: dict[str, Stamp] = {}

    def fetch(self, *, wait_s: float | None = None) -> None:
        """Replace the copy by what the store holds, without the model of an earlier end.

        Args:
            wait_s: Seconds to wait for another process of this node; see `RunFolder`.

        Raises:
            RunFolderLockedError: Another process of this node trains the run.
        """
        with RunFolder(self.path.parent, self.path.name, wait_s=wait_s):
            self.clear()
            for name in self.store.list(self.path.name):
                path = self.path / name.partition("/")[2]
                if path.name not in MODEL:
                    self.store.get(name, path)
            self._sent = self._here()

    def push(self) -> None:
        """Send what is new since the last time, then drop what is gone here."""
        here = self._here()
        for name in sorted(here, key=_turn):
            if self._sent.get(name) != here[name]:
                self.store.put(self.path / name, self._name(name))
                self._sent[name] = here[name]
        for name in sorted(self._sent.keys() - here.keys()):
            self.store.drop(self._name(name))
            del self._sent[name]

    def push_only(self, name: str) -> None:
        """Send one file alone, whatever state the other files are in."""
        self.store.put(self.path / name, self._name(name))

    def clear(self) -> None:
        """Delete the copy; its lock stays, for whoever waits for it."""
        for path in self._files():
            path.unlink()

    def _files(self) -> Iterator[Path]:
        return (path for path in self.path.iterdir() if path.is_file() and path.name != "lock")

    def _here(self) -> dict[str, Stamp]:
        files = [path for path in self._files() if path.suffix not in NOT_SENT]
        return {path.name: stamp_of(path) for path in files}

    def _name(self, name: str) -> str:
        return f"{self.path.name}/{name}"


def _turn(name: str) -> tuple[int, str]:
    """Return when a file is sent: no file before what a reader of it needs."""
    if name in OUTCOMES:
        return 3, name
    return {".sha256": 0, ".pt": 1}.get(Path(name).suffix, 2), name
