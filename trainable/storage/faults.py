"""What the machine refuses, told apart from faults of ours: no room, no right, too few open files.

Nothing is wrong with what was asked; the same command resumes when the machine gives what it
refused. So such an error ends in one line that says what is full, and none is taken for damage.
"""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NO_FILES = (errno.EMFILE, errno.ENFILE)
# What else a file system says of itself, not of the file that was asked for.
OTHER = {
    errno.EROFS: "is on a file system that is read-only",
    errno.EACCES: "may not be used by this user",
    errno.EPERM: "may not be used by this user",
    errno.EIO: "is on a disk that fails",
    errno.ESTALE: "is on a network file system that was lost",
    errno.ENOTCONN: "is on a network file system that was lost",
    errno.ENODEV: "is on a disk that is gone",
    errno.ENXIO: "is on a disk that is gone",
    errno.ENOMEM: "needs memory that the machine does not have",
    errno.ENOLCK: "is on a file system that gives no locks",
    errno.EOPNOTSUPP: "is on a file system that gives no locks",
}
# SQLite's own words, which MLflow and SQLAlchemy pass on as text, and what they mean.
SQLITE = {
    "database or disk is full": "has no room to be written",
    "readonly database": "may not be written",
    "unable to open database file": "cannot be opened or written",
    "disk I/O error": "is on a disk that is full or fails",
}


def machine_fault(error: BaseException) -> str | None:
    """Return in words what the machine refused, None if an error tells of something else.

    Args:
        error: Any exception; the exceptions that caused it are looked through, too.
    """
    for one in _chain(error):
        found = _of_system(one) if isinstance(one, OSError) else _of_sqlite(str(one))
        if found is not None:
            return found
    return None


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an OSError name the file that is being worked on: those of `write` and `fsync` do not."""
    try:
        yield
    except Exception as error:  # torch has its own in front of it
        for one in _chain(error):
            if isinstance(one, OSError) and one.errno is not None:
                one.filename = os.fspath(path)
        raise


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the errors that caused it."""
    seen: list[BaseException] = []
    one: BaseException | None = error
    while one is not None and one not in seen:
        seen.append(one)
        yield one
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _of_system(error: OSError) -> str | None:
    name = error.filename
    path = os.fsdecode(name) if isinstance(name, str | bytes) else None
    where = path or "a file"
    if error.errno in NO_ROOM:
        return f"{where} has no room: {_why_no_room(error.errno, path)}"
    if error.errno in NO_FILES:
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return f"{where} cannot be opened: {limit} open files are allowed; raise `ulimit -n`"
    if error.errno == errno.ENOENT and path is not None and not Path(path).parent.is_dir():
        return f"{where} cannot be written or read: its folder is gone"
    why = OTHER.get(error.errno or 0)
    return None if why is None else f"{where} {why}"


def _why_no_room(number: int | None, path: str | None) -> str:
    if number == errno.EDQUOT:
        return "the quota of this user is used up"
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if number == errno.EFBIG:
        return f"a file may have {limit} bytes; raise `ulimit -f`"
    if path is None:
        return "the disk is full"
    there = next((one for one in Path(path).absolute().parents if one.is_dir()), Path("/"))
    try:
        of = os.statvfs(there)
    except OSError:
        return "the disk is full"
    free, files = of.f_bavail * of.f_frsize, of.f_favail
    left = f"{free:,} bytes" if files else "no further file"
    return f"the disk of {there} is full or nearly so, with {left} free"


def _of_sqlite(text: str) -> str | None:
    for words, meaning in SQLITE.items():
        if words in text:
            return f"the SQLite file {meaning} ({words})"
    return None
