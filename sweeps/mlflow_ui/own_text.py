"""Texts of ours in the store that a person may have changed: what was changed stays."""

from __future__ import annotations

import json
from collections.abc import Mapping

from trainable.runs.keys import key_of

NOTE = "mlflow.note.content"  # tag of an experiment and of a run that the pages show as markdown
# The hash of the note that was last written; the pages show no tag that begins so.
WRITTEN = "mlflow.pixelwise.note"


def hash_of(text: str) -> str:
    """Return the hash of a text, 16 hexadecimal digits."""
    return key_of({"text": text})


def note_tags(note: str, tags: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that write a note; none where it is there, or one of another hand is.

    Args:
        note: The note to write.
        tags: The tags of the experiment or run.
    """
    found = tags.get(NOTE, "")
    if found == note or (found and tags.get(WRITTEN) != hash_of(found)):
        return {}
    # The hash first: a note without it would be taken for another's ever after.
    return {WRITTEN: hash_of(note), NOTE: note}


def is_changed_view(text: str) -> bool:
    """Return whether a saved view was written over in MLflow's pages, which note when."""
    try:
        content = json.loads(text)
        return bool(content["updatedAt"] != content["createdAt"])
    except (ValueError, TypeError, KeyError):
        return False
