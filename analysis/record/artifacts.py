"""Fetch and read the artifacts of trials: numbers per class, curves and predicted masks.

A trial costs a request here, unlike in `load_trials`: give the trials that are to be drawn only.
What a server holds is not trusted: sizes are bounded and nothing is unpickled.
"""

from __future__ import annotations

import io
import math
import re
import tempfile
import zipfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.record.cache import cache_folder, load_cached, read_file, save_cached
from analysis.record.mlflow_calls import ARTIFACT_S, StoreError, bound_answers, call_within
from analysis.record.mlflow_store import Store, one_line_errors
from analysis.record.schema import (
    CURVES,
    DETAIL_FILE,
    ENVIRONMENT_FILE,
    EXPERIMENT,
    MASKS_FILE,
    RecordError,
)
from analysis.record.tracking_uri import artifacts_folder
from trainable.storage.json_files import ChecksumError, JsonObject, loads, read_seal

FETCHERS = 8  # requests under way at once
NOT_FOUND = re.compile(r"404 Client Error|\(404\)")  # words of an HTTP server, and of S3
MOST_UNPACKED = 512 * 2**20  # bytes of all masks of a trial; real ones take a few MB

Detail = JsonObject  # of `result.json`
Masks = dict[str, NDArray[np.uint8]]


def load_details(trials: pd.DataFrame) -> dict[str, Detail]:
    """Read `result.json` of these trials.

    Args:
        trials: A frame as `load_trials` returns it, or some rows of one.

    Returns:
        By run id, for the trials that have one (finished ones): `classes`, `val/iou` and `swa/iou`
        per class (None where the class is absent), `val/miou_per_image`, `swa/miou_per_image`,
        `averaged` and `history`.

    Raises:
        RecordError: The artifacts cannot be read, or are none of ours.
    """
    keys = dict(zip(trials["run_id"], trials["trial_key"], strict=True))
    return {run: _detail(run, content, keys[run]) for run, content in _fetch(trials, DETAIL_FILE)}


def load_curves(trials: pd.DataFrame, details: Mapping[str, Detail] | None = None) -> pd.DataFrame:
    """Read what was measured along the training of these trials.

    Args:
        trials: A frame as `load_trials` returns it, or some rows of one.
        details: What `load_details` returned for the trials, where it is at hand.

    Returns:
        One row per trial, metric and iteration, sorted by these: `run_id`, `trial_key`, `seed`,
        the sweep's axes, `iteration`, `metric` and `value`. Finished trials have `train/d_real`
        and `train/d_fake` beside the losses and `val/miou`, others what was logged of `CURVES`.

    Raises:
        RecordError: The artifacts cannot be read, or are none of ours.
    """
    details = load_details(trials) if details is None else details
    parts = [
        _of_history(run, details[run]["history"]) for run in trials["run_id"] if run in details
    ]
    without = [run for run in trials["run_id"] if run not in details]
    if without:
        parts += _logged(
            Store(trials.attrs["tracking_uri"], trials.attrs.get("experiment", EXPERIMENT)), without
        )
    columns = {"run_id": "str", "metric": "str", "iteration": "int64", "value": "float64"}
    empty = pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
    curves = pd.concat([empty, *parts], ignore_index=True).astype(columns)
    shown = ["run_id", "trial_key", "seed", *trials.attrs.get("axes", ())]
    known = trials[[name for name in dict.fromkeys(shown) if name in trials]]
    curves = known.merge(curves, on="run_id").sort_values(["trial_key", "metric", "iteration"])
    ordered = [*known.columns, "iteration", "metric", "value"]
    return curves[ordered].reset_index(drop=True)


def load_masks(trials: pd.DataFrame) -> dict[str, Masks]:
    """Read `samples.npz` of these trials: validation images and their masks along the training.

    Args:
        trials: A frame as `load_trials` returns it, or some rows of one.

    Returns:
        By run id, for the trials that have some: for image k = 0, 1, ... `image-<k>` [H, W, 3] RGB
        and, each [H, W], `truth-<k>` (255 void), `raw-<iteration>-<k>` and `swa-<k>`.

    Raises:
        RecordError: The artifacts cannot be read, or are none of ours.
    """
    keys = dict(zip(trials["run_id"], trials["trial_key"], strict=True))
    return {run: _arrays(run, content, keys[run]) for run, content in _fetch(trials, MASKS_FILE)}


def load_environment(trials: pd.DataFrame) -> JsonObject:
    """Read on what hardware and with which versions the sweep ran; empty where not recorded."""
    run, place = (trials.attrs[name] for name in ("parent_run_id", "artifact_uri"))
    frame = pd.DataFrame([{"run_id": run, "artifact_uri": place, "record_hash": ""}])
    frame.attrs = dict(trials.attrs)
    for run, content in _fetch(frame, ENVIRONMENT_FILE):
        return _object(run, ENVIRONMENT_FILE, content)
    return {}


def read_artifact(
    tracking_uri: str, name: str, artifact_uri: str, run_id: str, record_hash: str
) -> bytes | None:
    """Return the content of an artifact, None where the run has none of that name.

    What a server sent is kept in the user's cache.

    Args:
        tracking_uri: The store that the run is in.
        name: The file's name, at the top of the run's artifacts.
        artifact_uri: Where the run's artifacts lie.
        run_id: The run's id.
        record_hash: The hash of what was published of the run; where empty, nothing is kept.

    Raises:
        RecordError: The store does not answer, or the file is too large.
    """
    folder = artifacts_folder(tracking_uri, artifact_uri)
    if folder is not None:
        return read_file(folder / name)
    key = f"{run_id}-{record_hash}"
    if not re.fullmatch(r"[0-9a-f]+-[0-9a-f]*", key):  # it names a file here
        raise RecordError(f"run id and record_hash are hexadecimal, but got {key!r}")
    place = cache_folder() / "artifacts" / f"{key}-{name}"
    if record_hash and (content := load_cached(place)) is not None:
        return content
    content = _download(tracking_uri, f"{artifact_uri}/{name}", name)
    if content is not None and record_hash:
        save_cached(place, content)
    return content


def _fetch(trials: pd.DataFrame, name: str) -> list[tuple[str, bytes]]:
    """Return run id and content of an artifact, for the trials that have it, in their order.

    A list: a generator that its reader gives up would end its threads whenever Python collects it.
    """
    uri = trials.attrs["tracking_uri"]
    places = zip(trials["artifact_uri"], trials["run_id"], trials["record_hash"], strict=True)
    with ThreadPoolExecutor(FETCHERS, thread_name_prefix="fetch") as pool:
        contents = list(pool.map(lambda place: read_artifact(uri, name, *place), places))
    found = zip(trials["run_id"], contents, strict=True)
    return [(run, content) for run, content in found if content is not None]


def _download(tracking_uri: str, uri: str, name: str) -> bytes | None:
    with one_line_errors(tracking_uri), tempfile.TemporaryDirectory() as folder:
        try:
            call_within(ARTIFACT_S, _download_into, folder, tracking_uri, uri)
        except StoreError as error:
            if NOT_FOUND.search(str(error)):
                return None
            raise
        return read_file(Path(folder) / name)


def _download_into(folder: str, tracking_uri: str, uri: str) -> None:
    bound_answers()
    from mlflow.artifacts import download_artifacts

    download_artifacts(artifact_uri=uri, dst_path=folder, tracking_uri=tracking_uri)


def _object(run: str, name: str, content: bytes) -> JsonObject:
    try:
        return loads(content)
    except ChecksumError as error:
        raise RecordError(
            f"{name} of run {run} must be as it was published, but {error}; "
            "delete the run, and `python -m sweeps.publish` writes it anew"
        ) from error


def _detail(run: str, content: bytes, trial_key: str) -> Detail:
    found = _object(run, DETAIL_FILE, content)
    if (of := found.pop("trial_key", None)) != trial_key:
        raise RecordError(
            f"{DETAIL_FILE} of run {run} must be of trial {trial_key}, but is of {of}"
        )
    history = found.setdefault("history", [])
    if not isinstance(history, list) or not all(isinstance(row, dict) for row in history):
        raise RecordError(f"history in {DETAIL_FILE} of run {run} must be a list of objects")
    return found


def _of_history(run: str, history: list[JsonObject]) -> pd.DataFrame:
    if not all(isinstance(row.get("iteration"), int) for row in history):
        raise RecordError(f"every row of the history of run {run} must have its iteration")
    rows = [
        (name, row["iteration"], math.nan if value is None else value)
        for row in history
        for name, value in row.items()
        if name not in ("iteration", "time")
    ]
    return pd.DataFrame(rows, columns=["metric", "iteration", "value"]).assign(run_id=run)


def _logged(store: Store, runs: list[str]) -> list[pd.DataFrame]:
    rows = [
        (run, name, point.step, point.value)
        for run in runs
        for name in CURVES
        for point in store.curve(run, name)
    ]
    return [pd.DataFrame(rows, columns=["run_id", "metric", "iteration", "value"])]


def _arrays(run: str, content: bytes, trial_key: str) -> Masks:
    try:
        of = read_seal(content).get("trial_key")
        if of != trial_key:
            raise ValueError(f"it is of trial {of}, not {trial_key}")
        found = _unpack(content)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RecordError(f"{MASKS_FILE} of run {run} cannot be read: {error}") from error
    for name, array in found.items():
        if array.dtype != np.uint8 or array.ndim not in (2, 3):
            raise RecordError(
                f"{MASKS_FILE} of run {run}: {name} must be uint8 [H, W] or [H, W, 3]"
            )
    return found


def _unpack(content: bytes) -> Masks:
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        size = sum(entry.file_size for entry in packed.infolist())
    if size > MOST_UNPACKED:
        raise ValueError(f"it unpacks to {size} bytes, and at most {MOST_UNPACKED} are read")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: np.asarray(arrays[name]) for name in arrays.files}
