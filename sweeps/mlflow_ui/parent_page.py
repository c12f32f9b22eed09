"""What a sweep's parent run shows and holds: its note, figures, tables, report and best config."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from sweeps.mlflow_ui.links import Place
from sweeps.mlflow_ui.notes import Answer, Attached, parent_note
from sweeps.mlflow_ui.own_text import note_tags
from trainable.runs.keys import key_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

FOLDER = "report"  # artifact folder of figures, tables and the report
BEST = "best.yaml"
REPORT = "report.html"
MANIFEST = "manifest.json"
MAIN = "fig4.png"  # the figure of the question that most sweeps ask
HEALTH = "_health.png"  # end of the name of the figure that answers none
# The hash of what is attached; the pages show no tag that begins so.
ATTACHED = "mlflow.pixelwise.attached"

# Frames for programs are left out: whoever reads numbers has the record.
SUFFIXES = (".html", ".png", ".pdf", ".svg", ".csv", ".md", ".tex", ".json")


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What `analysis/make_figures.py` has drawn of one sweep.

    Attributes:
        folder: Where the files lie.
        files: The SHA-256 of each file to attach, by its name.
        main: The name of the main figure, empty without one.
        run_ids: MLflow's ids of the trials that it was drawn from.
    """

    folder: Path
    files: Mapping[str, str]
    main: str
    run_ids: frozenset[str]

    @classmethod
    def read(cls, folder: Path, sweep_key: str, main: str = "") -> Drawn | None:
        """Return what a folder holds of a sweep; None where it is drawn of another or of several.

        Args:
            folder: The folder of figures.
            sweep_key: The key of the sweep.
            main: The name of the main figure, empty where it is not known.
        """
        try:
            manifest = json.loads((folder / MANIFEST).read_bytes())
            sweeps, files = manifest["sweeps"], manifest["files"]
            if [*sweeps] != [sweep_key]:
                return None
            run_ids = frozenset(map(str, sweeps[sweep_key]["run_ids"]))
            shown = {n: str(files[n]) for n in sorted(files) if n.endswith(SUFFIXES)}
        except (OSError, ValueError, TypeError, KeyError):
            return None
        if not all(_is_whole(folder / name, digest) for name, digest in shown.items()):
            return None
        return cls(folder=folder, files=shown, main=main or _main(shown), run_ids=run_ids)


@dataclass(frozen=True, kw_only=True)
class ParentPage:
    """What a person is to find at a sweep's parent run.

    Attributes:
        answer: What the sweep has found.
        drawn: Its figures, tables and report; None where there are none.
        best: The config that trains its best setting again, empty where there is none.
        command: The command that trains its best setting again, empty where there is none.
    """

    answer: Answer
    drawn: Drawn | None = None
    best: bytes = b""
    command: str = ""

    def write(self, client: MlflowClient, place: Place) -> bool:
        """Write what the parent run lacks of it, and return whether that was anything.

        Artifacts that are there already are not sent again. They come before the note, so that it
        never shows a figure which is not there.

        Raises:
            StoreError: The store fails.
            OSError: A file cannot be read.
        """
        tags = dict(client.get_run(place.parent_id).data.tags)
        wanted = self._hash()
        sent = bool(wanted) and tags.get(ATTACHED) != wanted
        if sent:
            self._send(client, place.parent_id)
            client.set_tag(place.parent_id, ATTACHED, wanted)
        written = note_tags(parent_note(place, self.answer, self._attached()), tags)
        for name, text in written.items():
            client.set_tag(place.parent_id, name, text)
        return sent or bool(written)

    def _hash(self) -> str:
        """Return the hash of all that is to be attached, empty where that is nothing."""
        files = {} if self.drawn is None else dict(self.drawn.files)
        if self.best:
            files[BEST] = hashlib.sha256(self.best).hexdigest()
        return key_of(files) if files else ""

    def _send(self, client: MlflowClient, run_id: str) -> None:
        if self.drawn is not None:
            for name in (*self.drawn.files, MANIFEST):
                client.log_artifact(run_id, str(self.drawn.folder / name), FOLDER)
        if self.best:
            with TemporaryDirectory() as folder:
                path = Path(folder) / BEST
                path.write_bytes(self.best)
                client.log_artifact(run_id, str(path))

    def _attached(self) -> Attached:
        """Return what the note can point to."""
        files = {} if self.drawn is None else self.drawn.files
        main = "" if self.drawn is None else self.drawn.main
        # An SVG says how wide it is, which a page shows no wider; a PNG is of twice the pixels.
        vector = str(Path(main).with_suffix(".svg")) if main else ""
        figure = next((name for name in (vector, main) if name in files), "")
        return Attached(
            figure=f"{FOLDER}/{figure}" if figure else "",
            report=f"{FOLDER}/{REPORT}" if REPORT in files else "",
            folder=FOLDER if files else "",
            best=BEST if self.best else "",
            command=self.command,
        )


def _is_whole(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


def _main(files: Mapping[str, str]) -> str:
    """Return the figure to show where it is not known which is the main one."""
    figures = [name for name in files if name.endswith(".png")]
    if MAIN in figures:
        return MAIN
    telling = [name for name in figures if not name.endswith(HEALTH)]
    return next(iter([*telling, *figures]), "")
