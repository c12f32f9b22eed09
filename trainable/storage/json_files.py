"""JSON that carries its own checksum, so that no digit that was changed since is believed.

    {"miou": 0.2644, "sha256": "<64 hex digits>"}

The last key's value is the SHA-256 of every byte before it. Numbers come out as they went in. A zip
archive has such JSON for its comment, which is its end. Other packages read such files, too: this
module needs nothing but Python.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hashlib import _Hash

JsonObject = dict[str, Any]  # as it was read: what it must hold is for its reader to check

LAST_KEY = "sha256"
MARK = f'"{LAST_KEY}": "'.encode()  # in no text of a JSON file: there each quote has a backslash
ZIP_END, ZIP_END_BYTES = b"PK\5\6", 22  # what comes before the comment


class ChecksumError(ValueError):
    """A file does not hold what was written to it: its checksum is missing or does not match."""


def dumps(
    content: Mapping[str, object], *, indent: int | None = None, before: _Hash | None = None
) -> bytes:
    """Return the JSON of a mapping with its checksum.

    Args:
        content: A mapping of primitives, lists and mappings.
        indent: Spaces per level, as in `json.dumps`; None writes one line.
        before: SHA-256 of the bytes that stand before the JSON in its file, if the checksum is to
            cover them, too.

    Raises:
        ValueError: A number is not finite, or the checksum's key is taken.
    """
    if LAST_KEY in content:
        raise ValueError(f"the key {LAST_KEY} is the checksum's own")
    text = json.dumps({**content, LAST_KEY: ""}, indent=indent, allow_nan=False).encode()
    head, mark, end = text.rpartition(MARK)
    return head + mark + _digest(head + mark, before) + end


def loads(text: bytes, *, name: str = "it", before: _Hash | None = None) -> JsonObject:
    """Return the mapping that `dumps` gave this JSON for.

    Args:
        text: The JSON with its checksum.
        name: What an error message calls the file.
        before: SHA-256 of the bytes that stand before the JSON, as `dumps` was given it.

    Raises:
        ChecksumError: The checksum is missing or does not match.
    """
    head, mark, rest = text.rpartition(MARK)
    if not mark:
        raise ChecksumError(
            f"{name} has no checksum: another version wrote it, or it was cut short"
        )
    digest = _digest(head + mark, before)
    if rest not in (digest + b'"}', digest + b'"\n}'):
        raise ChecksumError(f"{name} was changed after it was written: its checksum does not hold")
    content: JsonObject = json.loads(text)
    del content[LAST_KEY]
    return content


def seal_zip(archive: bytes, content: Mapping[str, object]) -> bytes:
    """Return a zip archive with a mapping for its comment, whose checksum covers all of it.

    Args:
        archive: The zip archive, which must not have a comment.
        content: A mapping of primitives, lists and mappings.
    """
    length = len(dumps(content))
    head = archive[:-2] + struct.pack("<H", length)
    return head + dumps(content, before=hashlib.sha256(head))


def read_seal(archive: bytes, *, name: str = "it") -> JsonObject:
    """Return the mapping that `seal_zip` was given.

    Args:
        archive: The zip archive.
        name: What an error message calls the file.

    Raises:
        ChecksumError: The checksum is missing or does not match.
    """
    end = archive.rfind(ZIP_END) + ZIP_END_BYTES
    return loads(archive[end:], name=name, before=hashlib.sha256(archive[:end]))


def _digest(text: bytes, before: _Hash | None) -> bytes:
    digest = hashlib.sha256() if before is None else before.copy()
    digest.update(text)
    return digest.hexdigest().encode()
