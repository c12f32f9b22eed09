"""Read what a person names: a file of a bounded size, whatever stands under that name."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MB = 2**20
MOST_IMAGE = 256 * MB  # bytes of an image or a mask; a PNG of 8,000 x 8,000 pixels has fewer
MOST_LIST = 64 * MB  # bytes of a list of images: a million lines


def read_bounded(path: Path, most: int) -> bytes:
    """Return the content of a file of at most `most` bytes.

    A device that never ends and a pipe that no one writes to are refused without being read.

    Raises:
        OSError: It cannot be read, is no file or is larger; `strerror` says so.
    """
    # Without O_NONBLOCK opening a pipe waits for a writer.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        state = os.fstat(file.fileno())
        if stat.S_ISDIR(state.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(state.st_mode):
            raise OSError(errno.EINVAL, "it is a device or a pipe, no file")
        expected = state.st_size or most  # some of /proc say 0
        content = file.read(expected + 1) if expected <= most else b""
    if expected > most or len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes")
    return content
