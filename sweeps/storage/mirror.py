"""The storage of run folders: a folder, or an object store and this machine's mirror of it.

Workers send their runs to a store (`trainable.runs.remote_folder`). The driver always reads a local
folder: a mirror of the store's small files, brought up to date when a sweep begins and when a run
ends. Manifests and logs of searches, which the driver writes, are sent to the store.

An object store has no locks: two drivers at once are not kept apart, and the later writer of a
manifest or of a search's log wins. Drive one sweep of a store at a time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from sweeps.storage.threads import Threads, wait
from trainable.config.schema import ConfigError
from trainable.runs.folder import CRASH_LOG, SAMPLES_FILE
from trainable.runs.remote_folder import MODEL, OUTCOMES
from trainable.storage import json_files
from trainable.storage.files import write_atomically
from trainable.storage.redaction import HIDDEN, UNQUOTED, first_line, is_unclear, redact_uri
from trainable.storage.remote import Stamp, Store, is_uri, local_folder, stamp_of

SMALL = ("config.json", "metrics.json", CRASH_LOG, *OUTCOMES)
OURS = ("sweeps", "searches")  # folders that the driver writes
INDEX = ".in_step.json"
PUSH_S = 10.0  # between two looks at what the driver wrote
AT_A_TIME = 16  # requests, each of which mostly waits for the store


class Mirror:
    """A local copy of the small files of an object store.

    Args:
        uri: The URI of the store.
        store: The store.
        folder: The local folder.
        with_samples: Whether to copy predicted masks, too.
    """

    def __init__(self, uri: str, store: Store, folder: Path, *, with_samples: bool) -> None:
        self.uri = uri
        self.folder = folder
        self._store = store
        self._wanted = (*SMALL, SAMPLES_FILE) if with_samples else SMALL
        # Stamps there and here, by name, of when the two were in step.
        self._there: dict[str, Stamp] = {}
        self._here: dict[str, Stamp] = {}
        self._changing = threading.Lock()

    def update(self) -> None:
        """Fetch files that are new or changed in the store, and delete those that it no longer has.

        Files that a killed driver wrote and did not send stay.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._changing:
            self._read_index()
            found = self._store.list("")
            for name in self._there.keys() - found.keys():
                (self.folder / name).unlink(missing_ok=True)
                del self._there[name], self._here[name]
            changed = {
                name: stamp
                for name, stamp in found.items()
                if self._mirrored(name)
                and (self._there.get(name) != stamp or not (self.folder / name).exists())
            }
            self._get(changed)

    def fetch(self, training_key: str) -> None:
        """Fetch the small files of a run, whether or not they are here already."""
        self._fetch(training_key, self._wanted)

    def fetch_model(self, training_key: str) -> None:
        """Fetch the trained model of a run that has ended."""
        self._fetch(training_key, MODEL)

    @contextmanager
    def kept_in_step(
        self, warn: Callable[[str], None], threads: Threads | None = None
    ) -> Iterator[None]:
        """While entered, send what the driver writes every PUSH_S seconds, and at the end.

        Args:
            warn: Called with a line if the last files cannot be sent.
            threads: The driver's threads, where an error of this one is noted.
        """
        ended = threading.Event()

        def work() -> None:
            while not ended.wait(PUSH_S):
                with suppress(OSError):  # the next time, or the last, tells
                    self.push()

        done = (threads or Threads()).start("mirror", work)
        try:
            yield
        finally:
            ended.set()
            wait("mirror", done)
            try:
                self.push()
            except OSError as error:
                warn(
                    f"warning: {redact_uri(self.uri)} lacks what this sweep wrote of itself "
                    f"({first_line(error, self.uri)}); the same command on this machine sends it"
                )

    def push(self) -> None:
        """Send the files that the driver wrote since the last time."""
        with self._changing:
            for folder in OURS:
                files = [path for path in (self.folder / folder).glob("[!.]*") if path.is_file()]
                stamps = {f"{folder}/{path.name}": stamp_of(path) for path in files}
                changed = [name for name, one in stamps.items() if self._here.get(name) != one]
                for name in changed:
                    self._store.put(self.folder / name, name)
                there = self._store.list(folder) if changed else {}
                for name in changed:
                    self._here[name], self._there[name] = stamps[name], there[name]
            self._write_index()

    def _fetch(self, training_key: str, files: Iterable[str]) -> None:
        names = {f"{training_key}/{file}" for file in files}
        with self._changing:
            found = self._store.list(training_key)
            self._get({name: stamp for name, stamp in found.items() if name in names})

    def _get(self, stamps: Mapping[str, Stamp]) -> None:
        def get(name: str) -> None:
            self._store.get(name, self.folder / name)

        with ThreadPoolExecutor(AT_A_TIME) as pool:
            list(pool.map(get, stamps))  # raises what one of them raised
        self._there |= stamps
        self._here |= {name: stamp_of(self.folder / name) for name in stamps}
        self._write_index()

    def _mirrored(self, name: str) -> bool:
        folder, _, file = name.partition("/")
        return file in self._wanted or (folder in OURS and "/" not in file)

    def _read_index(self) -> None:
        try:
            known = json_files.loads((self.folder / INDEX).read_bytes())["files"]
        except FileNotFoundError:
            return
        except json_files.ChecksumError as error:
            raise ConfigError(
                f"{self.folder / INDEX} must be what a sweep wrote, but {error}; move its folder "
                "away, and the same command fetches all of it from the store"
            ) from error
        for name, (size, time, size_here, time_here) in known.items():
            self._there[name], self._here[name] = (size, time), (size_here, time_here)

    def _write_index(self) -> None:
        known = {name: [*stamp, *self._here[name]] for name, stamp in self._there.items()}
        write_atomically(self.folder / INDEX, json_files.dumps({"files": known}))


def open_storage(storage: str, *, with_samples: bool = True) -> tuple[Path, Mirror | None]:
    """Return the folder that the driver reads, and its mirror if the storage is an object store.

    Args:
        storage: A folder, or the URI of an object store.
        with_samples: Whether the mirror is to have predicted masks, too.

    Raises:
        ConfigError: The store cannot be written, or pyarrow knows none of this kind.
    """
    if not is_uri(storage):
        return Path(storage).resolve(), None
    from trainable.storage.object_store import ObjectStore

    # The same store has the same mirror, whoever is let in.
    shown = redact_uri(storage)
    if is_unclear(storage):
        raise ConfigError(
            f"the storage (--storage) must be a URI, but of {shown} it is unclear: {UNQUOTED}"
        )
    folder = local_folder(shown.replace(f"{HIDDEN}@", "", 1), "mirror")
    try:
        store = ObjectStore(storage)
        store.try_out()
        mirror = Mirror(storage, store, folder, with_samples=with_samples)
        mirror.update()
    except ConfigError:
        raise
    except (OSError, ValueError, ImportError, NotImplementedError) as error:
        raise ConfigError(
            "the storage (--storage) must be a folder or an object store that pyarrow knows and "
            f"that can be written, but of {shown} it says: {first_line(error, storage)}; "
            "mend the name, or what gives access to it"
        ) from error
    return folder, mirror


def absolute(tracking_uri: str) -> str:
    """Return a tracking URI whose path to a SQLite file, if it names one, is absolute."""
    head, prefix, path = tracking_uri.partition("sqlite:///")
    return tracking_uri if head or not path else f"{prefix}{Path(path).resolve()}"
