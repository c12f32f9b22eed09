"""Keep what was drawn of a sweep, and use it again while all that it was drawn from is the same.

That is: every trial of the sweep and of those beside it, with the hash of what was published of
each; the analysis' own code; the versions of the packages; and the style of figures.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import hashlib
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.figures.appearance import current_style
from analysis.record.cache import cache_folder, load_cached, save_cached
from analysis.record.sweep_data import SweepData
from analysis.report.catalogue import specs_of
from analysis.report.draw import RenderedItem
from analysis.report.files import versions
from analysis.report.pictures import Picture
from trainable.storage.redaction import redact_uri

FORMAT = 2  # to be raised when what is kept has another form
CODE = Path(__file__).parents[1]

PICTURES = ("picture", "narrow")  # fields of an item

Drawn = tuple[Sequence[RenderedItem], dict[str, str]]  # the items of a sweep, and what it lacks


class KeptDrawing:
    """What was drawn last of a sweep, in the user's cache.

    Args:
        data: The sweep.
        suffix: What the names of its files end with.
    """

    def __init__(self, data: SweepData, suffix: str) -> None:
        frames = [data.trials, *(other.trials for other in data.others.values())]
        # Of a trial under way, curves grow without a mark in its row.
        self.is_lasting = all((frame["record_hash"] != "").all() for frame in frames)
        style = dataclasses.asdict(current_style())
        drawn_from = {
            "form": [FORMAT, sys.version, versions(), code_digest()],
            "trials": [_digest(frame) for frame in frames],
            "paper": data.paper,
            "style": {name: repr(value) for name, value in style.items()},
            "items": [*specs_of(data.trials, suffix)],
        }
        self.stamp = _hash(json.dumps(drawn_from, sort_keys=True).encode())
        attrs = data.trials.attrs
        uri = redact_uri(attrs["tracking_uri"])
        own = [uri, str(Path.cwd()), attrs["parent_run_id"], suffix, style["width_in"]]
        self.path = cache_folder() / "drawn" / f"{_hash(json.dumps(own).encode())}.json"

    def load(self) -> Drawn | None:
        """Return it, None where there is none or it was drawn from something else."""
        content = load_cached(self.path) if self.is_lasting else None
        if content is None:
            return None
        kept: dict[str, Any] = json.loads(content)
        if kept["stamp"] != self.stamp:
            return None
        return [_item(each) for each in kept["items"]], kept["left_out"]

    def save(self, drawn: Drawn) -> None:
        """Keep it in place of what was drawn before, unless a trial is under way."""
        if not self.is_lasting:
            return
        items, left_out = drawn
        kept = {"stamp": self.stamp, "items": [*map(_primitives, items)], "left_out": left_out}
        save_cached(self.path, json.dumps(kept).encode())


def _primitives(item: RenderedItem) -> dict[str, object]:
    table = item.table
    return {
        **{field.name: getattr(item, field.name) for field in dataclasses.fields(item)},
        "table": None if table is None else [[*table.columns], table.to_numpy().tolist()],
        "files": {name: _letters(file) for name, file in item.files.items()},
        **{name: _primitive_picture(getattr(item, name)) for name in PICTURES},
    }


def _primitive_picture(picture: Picture | None) -> dict[str, object] | None:
    if picture is None:
        return None
    return {**dataclasses.asdict(picture), "content": _letters(picture.content)}


def _letters(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _item(kept: dict[str, Any]) -> RenderedItem:
    table = None
    if kept["table"] is not None:
        columns, rows = kept["table"]
        table = pd.DataFrame(rows, columns=columns)
    files = {name: base64.b64decode(file) for name, file in kept["files"].items()}
    pictures = {
        name: Picture(**one | {"content": base64.b64decode(one["content"])})
        for name in PICTURES
        if (one := kept[name]) is not None
    }
    nothing = dict.fromkeys(PICTURES)
    return RenderedItem(**kept | {"table": table, "files": files} | nothing | pictures)


def _digest(frame: pd.DataFrame) -> str:
    content = io.BytesIO()
    # Without the tracking URI, which may hold a password.
    shared = {key: value for key, value in frame.attrs.items() if key != "tracking_uri"}
    copied = frame.copy(deep=False)
    copied.attrs = shared
    copied.to_parquet(content)
    return _hash(content.getvalue())


@functools.cache
def code_digest() -> str:
    """Return the hash of all files of the analysis."""
    files = [path for path in sorted(CODE.rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    return _hash(b"".join(_hash(path.read_bytes()).encode() for path in files))


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
