"""Reading the record: its schema, and what lies in artifacts."""

import io
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from written_records import POINTS, write_sweep

from analysis.record.artifacts import load_curves, load_details, load_environment, load_masks
from analysis.record.schema import COLUMNS, METRICS, RecordError, Sweep
from analysis.record.trials import list_sweeps, load_trials
from trainable.storage import json_files

HISTORY = [
    {"iteration": 10, "time": 1.0, "train/loss_mce": 0.5, "train/d_real": 0.75},
    {"iteration": 20, "time": 2.0, "train/loss_mce": None, "val/miou": 0.25},
]
DETAIL = {"classes": ["a", "b"], "val/iou": [0.5, None], "history": HISTORY}


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> str:
    folder = tmp_path_factory.mktemp("record")
    uri = f"sqlite:///{shutil.copy(empty_store, folder)}"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # artifacts of a SQLite record lie beside the process
        write_sweep(
            uri,
            "lambda_grid",
            key="a" * 16,
            start=1000,
            points=POINTS[:4],
            states={POINTS[1]: "FAILED", POINTS[2]: "KILLED", POINTS[3]: "RUNNING"},
            tags={
                POINTS[0]: {"ask": "7", "phase": "search", "search_state": "COMPLETE"},
                POINTS[1]: {"cause": "diverged"},
            },
            asked={"question": "Why?", "axes": "lambda_adv,swa_n", "state": "partial"},
            costs={"cost/training_runs": 2, "cost/naive_runs": 4, "cost/training_s": 1.5},
            details={POINTS[0]: DETAIL},
        )
        write_sweep(uri, "own", key="b" * 16, start=2000, points=POINTS[:1])
    return uri


@pytest.fixture
def trials(uri: str) -> pd.DataFrame:
    return load_trials(uri, "lambda_grid")


def test_sweeps_are_listed_the_newest_first(uri: str) -> None:
    sweeps = list_sweeps(uri)
    assert sweeps["sweep"].tolist() == ["own", "lambda_grid"]
    assert sweeps["trials_total"].tolist() == [1, 4]
    assert sweeps["axes"].tolist() == [(), ("lambda_adv", "swa_n")]


def test_a_sweep_is_found_by_name_key_and_run_id(uri: str, trials: pd.DataFrame) -> None:
    for name in ("a" * 16, trials.attrs["parent_run_id"]):
        pd.testing.assert_frame_equal(load_trials(uri, name), trials)


def test_the_frame_says_what_was_asked_and_what_it_cost(trials: pd.DataFrame) -> None:
    sweep = Sweep.of(trials)
    assert (sweep.question, sweep.axes) == ("Why?", ("lambda_adv", "swa_n"))
    assert (sweep.state, sweep.why_partial) == ("partial", "")
    assert (sweep.training_runs, sweep.naive_runs, sweep.training_s) == (2, 4, 1.5)
    assert sweep.start_time_s == 1.0


def test_every_trial_stays_with_its_status_and_cause(trials: pd.DataFrame) -> None:
    assert trials["status"].tolist() == ["FINISHED", "FAILED", "KILLED", "RUNNING"]
    assert trials["cause"].tolist() == ["", "diverged", "", ""]
    assert trials["ask"].tolist()[0] == 7
    assert trials["ask"].isna().tolist() == [False, True, True, True]
    assert trials.loc[3, list(METRICS)].isna().all()


def test_every_column_of_the_schema_is_there_with_its_type(trials: pd.DataFrame) -> None:
    assert list(trials)[: len(COLUMNS)] == list(COLUMNS)
    assert {name: str(trials[name].dtype) for name in COLUMNS} == COLUMNS


def test_a_sweep_without_any_finished_trial_is_a_frame(uri: str) -> None:
    write_sweep(
        uri, "failed", key="c" * 16, start=500, points=POINTS[:1], states={POINTS[0]: "FAILED"}
    )
    assert load_trials(uri, "failed")["status"].tolist() == ["FAILED"]


@pytest.fixture
def beside(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(uri.removeprefix("sqlite:///")).parent)


@pytest.mark.usefixtures("beside")
def test_details_are_of_the_trials_that_have_some(trials: pd.DataFrame) -> None:
    run = trials["run_id"][0]
    assert load_details(trials) == {run: DETAIL}
    assert load_details(trials.iloc[1:]) == {}
    assert load_masks(trials) == {}
    assert load_environment(trials) == {}


@pytest.mark.usefixtures("beside")
def test_curves_come_from_details_or_from_what_was_logged(trials: pd.DataFrame) -> None:
    curves = load_curves(trials)
    assert list(curves) == [
        "run_id",
        "trial_key",
        "seed",
        "lambda_adv",
        "iteration",
        "metric",
        "value",
    ]
    first = curves[curves["run_id"] == trials["run_id"][0]]
    assert first[["metric", "iteration"]].to_numpy().tolist() == [
        ["train/d_real", 10],
        ["train/loss_mce", 10],
        ["train/loss_mce", 20],
        ["val/miou", 20],
    ]
    assert first["value"].isna().tolist() == [False, False, True, False]
    failed = curves[curves["run_id"] == trials["run_id"][1]]
    assert failed[["metric", "value"]].to_numpy().tolist() == [["val/miou", 0.62]]
    assert load_curves(trials.iloc[3:]).empty


def place(trials: pd.DataFrame, tmp_path: Path, name: str, content: bytes) -> pd.DataFrame:
    """Return the first trial with one artifact of this content."""
    (tmp_path / name).write_bytes(content)
    return trials.iloc[:1].assign(artifact_uri=str(tmp_path))


def packed(arrays: Mapping[str, Any], trial_key: str = "0" * 16) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    return json_files.seal_zip(out.getvalue(), {"trial_key": trial_key})


def test_masks_are_read_by_name(trials: pd.DataFrame, tmp_path: Path) -> None:
    content = packed(
        {"truth-0": np.ones((2, 3), np.uint8), "image-0": np.ones((2, 3, 3), np.uint8)}
    )
    (masks,) = load_masks(place(trials, tmp_path, "samples.npz", content)).values()
    assert {name: array.shape for name, array in masks.items()} == {
        "truth-0": (2, 3),
        "image-0": (2, 3, 3),
    }


MASK = np.arange(6, dtype=np.uint8).reshape(2, 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"no zip", "cannot be read: it has no checksum"),
        (
            packed({"a": MASK}).replace(MASK.tobytes()[:2], b"\1\1"),
            "cannot be read: it was changed",
        ),
        (packed({"a": MASK}, "another"), "cannot be read: it is of trial another, not 0000"),
        (packed({"a": np.array([object()], dtype=object)}), "cannot be read"),
        (packed({"a": np.ones((2, 2))}), "a must be uint8"),
    ],
    ids=["no zip", "changed", "another", "pickle", "floats"],
)
def test_masks_that_are_none_are_refused_in_one_line(
    content: bytes, said: str, trials: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(RecordError, match=said) as raised:
        load_masks(place(trials, tmp_path, "samples.npz", content))
    assert "\n" not in str(raised.value)


def test_masks_that_unpack_to_a_bomb_are_refused(trials: pd.DataFrame, tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for k in range(9):
            archive.writestr(f"{k}.npy", bytes(64 * 2**20))
    content = json_files.seal_zip(out.getvalue(), {"trial_key": "0" * 16})
    with pytest.raises(RecordError, match="at most 536870912 are read"):
        load_masks(place(trials, tmp_path, "samples.npz", content))


def detail_of(trials: pd.DataFrame, **content: Any) -> bytes:
    return json_files.dumps({"trial_key": trials["trial_key"][0], **content})


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"history": 3}', b"[" * 100_000])
def test_details_that_are_none_are_refused(
    content: bytes, trials: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(RecordError, match=r"result\.json of run"):
        load_details(place(trials, tmp_path, "result.json", content))
    with pytest.raises(RecordError, match=r"history in result\.json of run"):
        load_details(place(trials, tmp_path, "result.json", detail_of(trials, history=3)))


def test_details_with_a_changed_digit_or_of_another_trial_are_refused(
    trials: pd.DataFrame, tmp_path: Path
) -> None:
    whole = detail_of(trials, **{"val/iou": [0.2644]})
    assert load_details(place(trials, tmp_path, "result.json", whole))
    changed = whole.replace(b"0.2644", b"0.2674")
    with pytest.raises(
        RecordError, match=r"result\.json of run .* was changed after it was"
    ) as one:
        load_details(place(trials, tmp_path, "result.json", changed))
    assert "\n" not in str(one.value)
    other = json_files.dumps({"trial_key": "another"})
    with pytest.raises(RecordError, match=r"must be of trial .*, but is of another"):
        load_details(place(trials, tmp_path, "result.json", other))


def test_no_iteration_in_a_history_is_refused(trials: pd.DataFrame, tmp_path: Path) -> None:
    content = detail_of(trials, history=[{"val/miou": 0.5}])
    with pytest.raises(RecordError, match="iteration"):
        load_curves(place(trials, tmp_path, "result.json", content))
