"""A private folder for the files of a local Ray: its path is short, and it is removed at the end.

Ray's default is one folder for all users, in TMPDIR whatever its length, and a token in HOME.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

# A folder of mode 0700 is made in one of them.
TMP, VAR_TMP, SHM = "/tmp", "/var/tmp", "/dev/shm"  # nosec B108
PLACES = ("RAY_TMPDIR", "TMPDIR", TMP, "XDG_RUNTIME_DIR", VAR_TMP, SHM)
# The path of a socket has at most 107 bytes, and Ray puts a name of this length below the folder.
MOST_BYTES = 107 - len("/session_2026-11-29_20-06-13_123456_4194304/sockets/plasma_store")
PLAIN = re.compile(r"[\w./-]+", re.ASCII)  # Ray passes paths on in command lines that it splits
LEAST_FREE_BYTES = 64_000_000
ENDING_S = 10.0  # for killed processes to be gone
TRIES = 100
LOCK = "lock"


class RayFolderError(RuntimeError):
    """No folder on this machine can take Ray's files; the message says why."""


@contextmanager
def ray_folder() -> Iterator[Path]:
    """Make a folder with a token for Ray, and set the variables that tell Ray of both.

    At the end, processes that still use the folder are killed and the folder is removed. A driver
    that was killed could not do so: the folders of such drivers are removed first.

    Raises:
        RayFolderError: No folder has a path that is short enough, is writable and has room.
    """
    places = list(dict.fromkeys(_places()))
    for place in places:
        _clear_what_was_left(place)
    folder, lock = _make(places)
    token = folder / "token"
    token.touch(0o600)
    token.write_text(secrets.token_hex(32))
    known = {"RAY_TMPDIR": str(folder), "RAY_AUTH_TOKEN_PATH": str(token)}
    try:
        with environment(known):
            _forget_token()
            yield folder
    finally:
        _forget_token()
        _clear(folder)
        os.close(lock)


@contextmanager
def environment(known: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables while it is entered, and put the former values back at the end."""
    before = {name: os.environ.get(name) for name in known}
    os.environ.update(known)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def end_processes(folder: Path, program: str | None = None) -> None:
    """Kill the user's other processes that have files below a folder open.

    The folder's lock is no such file: other drivers open it, to see whether it is held.

    Args:
        folder: The folder.
        program: The name of the program to kill; None kills any.
    """
    deadline = time.monotonic() + ENDING_S
    while (running := list(_holders(folder, program))) and time.monotonic() < deadline:
        for pid in running:
            with suppress(OSError):  # it has just ended
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _places() -> Iterator[Path]:
    for name in PLACES:
        given = name if name.startswith("/") else os.environ.get(name)
        if given:
            yield Path(given).resolve()


def _make(places: list[Path]) -> tuple[Path, int]:
    """Return a new folder in the first place that can take it, and the open file of its lock.

    Raises:
        RayFolderError: No place can take it.
    """
    faults = []
    for place in places:
        try:
            if fault := _fault(place):
                faults.append(f"{place} {fault}")
                continue
            for _ in range(TRIES):  # another start may clear it before it is locked
                folder = Path(tempfile.mkdtemp("", _prefix(), place))
                if (lock := _lock(folder)) is not None:
                    return folder, lock
            faults.append(f"{place} takes no locks")
        except OSError as error:
            faults.append(f"{place} says: {error.strerror}")
    raise RayFolderError(
        f"Ray's files need a folder whose path has at most {MOST_BYTES} plain characters and "
        f"{LEAST_FREE_BYTES / 1e6:g} MB of room, but {'; '.join(faults)}; name one with RAY_TMPDIR"
    )


def _fault(place: Path) -> str | None:
    """Return why a place cannot take Ray's files, None if it can."""
    name = str(place / f"{_prefix()}12345678")
    if not PLAIN.fullmatch(name):
        return "has characters other than letters, digits, '.', '_' and '-'"
    if len(name) > MOST_BYTES:
        return f"has {len(str(place))} characters"
    room = os.statvfs(place)
    free = room.f_bavail * room.f_frsize
    return f"has {free / 1e6:.0f} MB" if free < LEAST_FREE_BYTES else None


def _prefix() -> str:
    return f"pwa-{os.getuid()}-"


def _lock(folder: Path) -> int | None:
    """Return the open file of a folder's lock, None if another process holds or removed it."""
    path = folder / LOCK
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), path.stat()):
            return lock
    except OSError:
        pass
    os.close(lock)
    return None


def _clear_what_was_left(place: Path) -> None:
    """Remove the folders in a place whose drivers no longer run."""
    with suppress(OSError):  # not there, or not to be looked into
        for folder in place.glob(f"{_prefix()}????????"):
            there = folder.lstat()
            if there.st_uid != os.getuid() or not folder.is_dir() or folder.is_symlink():
                continue
            if (lock := _lock(folder)) is not None:
                _clear(folder)
                os.close(lock)


def _clear(folder: Path) -> None:
    end_processes(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _holders(folder: Path, program: str | None = None) -> Iterator[int]:
    """Yield the PIDs of the user's other processes that hold files of Ray below a folder."""
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        with suppress(OSError):  # it has ended, or is not to be looked into
            if process.stat().st_uid != os.getuid():
                continue
            if program is not None and (process / "comm").read_text().strip() != program:
                continue
            opened = (os.readlink(file) for file in (process / "fd").iterdir())
            if any(_is_of_ray(path, folder) for path in opened):
                yield int(process.name)


def _is_of_ray(path: str, folder: Path) -> bool:
    name = path.removesuffix(" (deleted)")
    return name.startswith(f"{folder}/") and name != str(folder / LOCK)


def _forget_token() -> None:
    """Make Ray read its token anew."""
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    AuthenticationTokenLoader.instance().reset_cache()
