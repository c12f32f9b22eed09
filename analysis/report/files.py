"""Turn figures and tables into bytes that repeat, and write them all or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from analysis.figures.appearance import current_style
from analysis.record.schema import finished
from analysis.result_tables.cells import inert
from analysis.result_tables.latex_text import latex_text

PNG_DPI = 200
PACKAGES = ("matplotlib", "mlflow", "numpy", "pandas", "scipy")
PNG_COMPRESSION = 3  # of 0 to 9: as small as 6, in two thirds of the time
# matplotlib stamps a PDF and an SVG with the time unless told not to.
METADATA: dict[str, dict[str, str | None]] = {
    "pdf": {"CreationDate": None},
    "png": {},
    "svg": {"Date": None},
}


def render(figure: Figure, file_format: str) -> bytes:
    """Return the figure as the content of a `pdf`, `png` or `svg` file, the same at every call."""
    buffer = io.BytesIO()
    more: dict[str, Any] = {}
    if file_format == "png":
        more["pil_kwargs"] = {"compress_level": PNG_COMPRESSION}
    with matplotlib.rc_context(current_style().rc):  # for a figure that has no style
        figure.savefig(
            buffer, format=file_format, dpi=PNG_DPI, metadata=METADATA[file_format], **more
        )
    return buffer.getvalue()


def render_float(name: str, caption: str) -> bytes:
    """Return a figure with its caption and label as LaTeX, for `input` into a paper.

    Args:
        name: Stem of the figure's files; its PDF lies beside.
        caption: Words, with formulas between dollars, which stay as they are.
    """
    parts = " ".join(caption.split()).split("$")  # every second one is a formula
    words = "$".join(part if i % 2 else latex_text(part) for i, part in enumerate(parts))
    lines = [
        r"\begin{figure}",
        r"  \centering",
        rf"  \includegraphics{{{name}.pdf}}",
        rf"  \caption{{{words}}}",
        rf"  \label{{fig:{name}}}",
        r"\end{figure}",
    ]
    return ("\n".join(lines) + "\n").encode()


def render_csv(table: pd.DataFrame, *, digits: int | None = 6) -> bytes:
    """Return the table as CSV; an absent number is an empty field.

    Args:
        table: Any frame; texts that a spreadsheet would take for formulas get a `'`.
        digits: How many each fraction has at most; None for all that it has.
    """
    table = table.rename(columns=lambda name: inert(str(name)))
    table = table.assign(**{str(name): _inert(column) for name, column in table.items()})
    form = None if digits is None else f"%.{digits}g"
    return str(table.to_csv(index=False, float_format=form, lineterminator="\n")).encode()


def _inert(column: pd.Series) -> pd.Series:
    """Return the column without formulas; few words are told apart sooner than many cells."""
    if pd.api.types.is_numeric_dtype(column):
        return column
    words = {word: inert(word) for word in column.unique() if isinstance(word, str)}
    formulas = {word: safe for word, safe in words.items() if safe != word}
    return column.map(lambda cell: formulas.get(cell, cell)) if formulas else column


def describe_sweep(trials: pd.DataFrame) -> dict[str, object]:
    """Return which runs a sweep's figures were drawn from."""
    drawn = finished(trials)
    names = ("sweep", "sweep_key", "dataset", "parent_run_id", "trials_total")
    return {
        **{name: trials.attrs[name] for name in names},
        "run_ids": sorted(drawn["run_id"]),
        "code_versions": sorted(drawn["code_version"].dropna().unique()),
        "data_fingerprints": sorted(drawn["data_fingerprint"].dropna().unique()),
    }


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """Return the SHA-256 of each file."""
    return {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}


def versions() -> dict[str, str]:
    """Return the versions of the packages that read and draw."""
    return {name: version(name) for name in PACKAGES}


def render_manifest(content: Mapping[str, object]) -> bytes:
    """Return the manifest as a JSON file."""
    return (json.dumps(content, indent=2, sort_keys=True) + "\n").encode()


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write each file whole or not at all, in the order given.

    Raises:
        OSError: The folder or a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        temporary = folder / f".{name}.{os.getpid()}.tmp"
        try:
            temporary.write_bytes(content)
            os.replace(temporary, folder / name)
        finally:
            temporary.unlink(missing_ok=True)
