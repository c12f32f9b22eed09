"""JSON files that a test changes and that carry their checksum all the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from trainable.storage import json_files


def sealed(text: str) -> bytes:
    """Return a JSON object, which may hold what no program of ours writes, with a checksum."""
    body = text.rstrip().removesuffix("}").rstrip()
    head = f'{body}{"" if body.endswith("{") else ","} "sha256": "'.encode()
    return head + hashlib.sha256(head).hexdigest().encode() + b'"}'


def change(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Edit what a JSON file holds, and write it with a checksum that holds."""
    content = json_files.loads(path.read_bytes())
    edit(content)
    path.write_bytes(sealed(json.dumps(content)))


def write_log(path: Path, events: Iterable[Any]) -> None:
    """Write a log of these events."""
    written = hashlib.sha256()
    lines = []
    for event in events:
        lines.append(json_files.dumps(event, before=written) + b"\n")
        written.update(lines[-1])
    path.write_bytes(b"".join(lines))
