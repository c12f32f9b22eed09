"""A folder of an object store, through pyarrow's file systems. The only module here with pyarrow.

`s3://`, `gs://`, `abfs://` and whatever else pyarrow knows; `file://` goes the same way.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from pyarrow import fs

from trainable.storage.remote import Stamp

WHOLE = ("abfs", "gcs", "s3")  # these show an object whole or not at all
CHUNK = 2**22  # bytes


class ObjectStore:
    """A folder of an object store, by its URI.

    Args:
        uri: A URI such as `s3://bucket/runs`; the credentials come from the environment.

    Raises:
        OSError: The store does not answer.
        ValueError: pyarrow knows no such store.
    """

    def __init__(self, uri: str) -> None:
        self._files, root = fs.FileSystem.from_uri(uri)
        self._root = root.rstrip("/")
        self._made: set[str] = set()

    def list(self, folder: str = "") -> dict[str, Stamp]:
        """Return the size and the time of writing of all files in and below a folder, by name."""
        below = posixpath.join(self._root, folder).rstrip("/")
        found = self._files.get_file_info(
            fs.FileSelector(below, allow_not_found=True, recursive=True)
        )
        return {
            info.path[len(self._root) + 1 :]: (info.size, info.mtime_ns)
            for info in found
            if info.is_file and info.extension != "tmp"
        }

    def get(self, name: str, path: Path) -> None:
        """Fetch a file; the local copy is written atomically."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        try:
            there = self._files.open_input_stream(self._at(name), compression=None)
            with there, temporary.open("wb") as file:
                shutil.copyfileobj(there, file, CHUNK)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)

    def put(self, path: Path, name: str) -> None:
        """Send a file; a reader sees it whole or not at all."""
        target = self._at(name)
        folder = posixpath.dirname(target)
        if folder not in self._made:
            self._files.create_dir(folder, recursive=True)
            self._made.add(folder)
        whole = self._files.type_name in WHOLE
        written = target if whole else f"{target}.{uuid.uuid4().hex}.tmp"
        with path.open("rb") as file:
            there = self._files.open_output_stream(written, compression=None)
            with there:
                shutil.copyfileobj(file, there, CHUNK)
        if not whole:
            self._files.move(written, target)

    def drop(self, name: str) -> None:
        """Delete a file, if it is there."""
        with suppress(FileNotFoundError):
            self._files.delete_file(self._at(name))

    def try_out(self) -> None:
        """Write an empty object and delete it, to see whether the store may be written.

        Raises:
            OSError: The store refuses one of the two.
        """
        name = f".tried-{uuid.uuid4().hex}"
        self.put(Path(os.devnull), name)
        self._files.delete_file(self._at(name))

    def _at(self, name: str) -> str:
        return posixpath.join(self._root, name)
