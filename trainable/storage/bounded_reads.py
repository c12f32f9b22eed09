"""Read what a person names: a file of a bounded size, whatever stands under that name."""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

MB = 2**20
MOST_IMAGE = 256 * MB  # bytes of an image or a mask; a PNG of 8,000 x 8,000 pixels has fewer
MOST_LIST = 64 * MB  # bytes of a list of images: a million lines


def open_file(path: Path) -> BufferedReader:
    """Open a regular file to be read.

    A device that never ends and a pipe without a writer would hang the reader, so they are refused.

    Raises:
        OSError: The path cannot be read or is no regular file; `strerror` says so.
    """
    # Without O_NONBLOCK opening a pipe waits for a writer.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    mode = os.fstat(file).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(file, "rb")
    os.close(file)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise OSError(errno.EINVAL, "it is a device or a pipe, no file")


def read_bounded(path: Path, most: int) -> bytes:
    """Return the content of a file of at most `most` bytes.

    Raises:
        OSError: The path cannot be read, is no regular file, or the file is larger than `most`.
    """
    with open_file(path) as file:
        expected = os.fstat(file.fileno()).st_size or most  # some of /proc say 0
        content = file.read(expected + 1) if expected <= most else b""
    if expected > most or len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes")
    return content
