"""The analysis: a record becomes a frame, a table, a figure and files, or one clear line."""

import dataclasses
import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats
from written_records import POINTS, RAW, SWA_GAIN, write_sweep

from analysis import load_paper, make_figures
from analysis.figures.axes import LambdaAxis
from analysis.figures.fig4 import fig4, fig4_table
from analysis.record import mlflow_calls, schema, trials
from analysis.record.schema import RecordError, Sweep
from analysis.record.trials import load_trials
from analysis.stats.intervals import student_t

# mlflow 3.17 asks SQLAlchemy 2.1 for it, at the first use of a database in a process.
NOLOAD = "ignore:The ``noload`` loader strategy is deprecated"
pytestmark = pytest.mark.filterwarnings(NOLOAD)

SCRIPT = Path(make_figures.__file__)
PAPER = load_paper()


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> str:
    """One database with a finished sweep, an older unfinished one, and three of no use."""
    uri = f"sqlite:///{shutil.copy(empty_store, tmp_path_factory.mktemp('record'))}"
    write_sweep(uri, "lambda_grid", key="a" * 16, start=1, states={(0.1, 2): "FAILED"}, double=True)
    write_sweep(uri, "lambda_grid", key="b" * 16, start=2)
    write_sweep(uri, "swa_grid", key="c" * 16, start=3, points=POINTS[:1])
    write_sweep(uri, "ablation", key="d" * 16, start=4, states=dict.fromkeys(POINTS, "RUNNING"))
    write_sweep(uri, "joint_search", key="e" * 16, start=5, schema="3", points=POINTS[:1])
    return uri


def frame_of(
    raw: Mapping[float, Sequence[float]] = RAW, *, dataset: str = "shapes", asked: int | None = None
) -> pd.DataFrame:
    rows = [
        {"lambda_adv": value, "seed": seed, "val/miou": miou, "swa/miou": miou + 0.01}
        for value, mious in raw.items()
        for seed, miou in enumerate(mious)
    ]
    frame = pd.DataFrame(rows).assign(status="FINISHED", code_version="c1", data_fingerprint="d1")
    frame.attrs = {"dataset": dataset, "trials_total": asked or len(rows)}
    return frame


def texts(figure: Figure) -> str:
    """All words on the figure outside its ticks."""
    axes = figure.axes[0]
    legend = axes.get_legend()
    assert legend is not None
    found = [*figure.texts, *axes.texts, *legend.get_texts()]
    return " | ".join(
        [figure.get_suptitle(), figure.get_supxlabel(), *(t.get_text() for t in found)]
    )


def data(line: Line2D) -> tuple[list[float], list[float]]:
    """The x and y values of a line."""
    xs, ys = np.asarray(line.get_data(), dtype=float).tolist()
    return xs, ys


def refusal(argv: Sequence[str], out: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Run the command, which must refuse in one line and write nothing."""
    capsys.readouterr()  # what the record's own set-up said
    assert make_figures.main([*argv, "--out", str(out)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert printed.err.count("\n") == 1
    assert not out.exists()
    return printed.err


# Intervals and tables


def test_interval_equals_the_closed_form() -> None:
    found = student_t([0.60, 0.62, 0.61])
    # Mean 0.61, standard deviation 0.01, t(2 degrees, 97.5 %) = 4.302653.
    assert found.mean == pytest.approx(0.61)
    assert found.high - found.mean == pytest.approx(4.302653 * 0.01 / math.sqrt(3), rel=1e-6)
    assert found.mean - found.low == pytest.approx(found.high - found.mean)


def test_one_seed_has_a_mean_but_no_interval() -> None:
    found = student_t([0.5])
    assert (found.n, found.mean) == (1, 0.5)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_values_that_are_not_finite_are_left_out_and_counted() -> None:
    expected = dataclasses.replace(student_t([0.4, 0.6]), missing=1)
    assert student_t([0.4, math.nan, 0.6]) == expected
    assert math.isnan(student_t([math.nan]).mean)


def test_table_has_the_interval_of_each_lambda_with_and_without_swa(record: str) -> None:
    table = fig4_table(load_trials(record))
    assert list(table) == ["lambda_adv", "weights", "n_seeds", "mean", "ci_low", "ci_high"]
    assert [*zip(table["lambda_adv"], table["weights"], strict=True)] == [
        (value, weights) for value in RAW for weights in ("raw", "swa")
    ]
    for row in table.itertuples():
        gain = SWA_GAIN if row.weights == "swa" else (0, 0, 0)
        values = [miou + more for miou, more in zip(RAW[row.lambda_adv], gain, strict=True)]
        low, high = stats.t.interval(0.95, 2, loc=sum(values) / 3, scale=stats.sem(values))
        assert (row.n_seeds, row.mean) == (3, pytest.approx(sum(values) / 3))
        assert (row.ci_low, row.ci_high) == (pytest.approx(low), pytest.approx(high))


def test_table_counts_finished_trials_alone(record: str) -> None:
    table = fig4_table(load_trials(record, "a" * 16))
    assert table["n_seeds"].tolist() == [3, 3, 3, 3, 2, 2]


def test_two_trials_of_one_seed_are_refused_not_averaged() -> None:
    frame = frame_of().assign(swa_n=10)
    other = frame.assign(**{"swa_n": 20, "swa/miou": 0.5})
    twice = pd.concat([frame, other], ignore_index=True)
    with pytest.raises(RecordError, match=r"lambda_adv=0, seed=0; they differ in swa_n$"):
        fig4_table(twice)


def test_trials_without_any_miou_are_refused_not_drawn_as_nothing() -> None:
    with pytest.raises(RecordError, match="none of the 2 finished trials has a finite mIoU"):
        fig4_table(frame_of({0.0: [math.nan, math.nan]}))


@pytest.mark.parametrize("name", ["lambda_adv", "seed"])
def test_a_trial_without_its_point_is_refused_not_dropped(name: str) -> None:
    frame = frame_of()
    with pytest.raises(RecordError, match=name):
        fig4_table(frame.drop(columns=name))
    frame[name] = frame[name].astype(float)
    frame.loc[0, name] = math.nan
    with pytest.raises(RecordError, match=name):
        fig4_table(frame)


# Frames


def test_frame_is_typed_and_of_the_newest_sweep_of_that_name(record: str) -> None:
    frame = load_trials(record)
    sweep = Sweep.of(frame)
    assert len(sweep.parent_run_id) == 32
    assert (sweep.sweep, sweep.sweep_key) == ("lambda_grid", "b" * 16)
    assert (sweep.dataset, sweep.trials_total) == ("shapes", 9)
    assert frame.attrs["tracking_uri"] == record
    assert len(frame) == 9
    assert {name: frame[name].dtype.kind for name in ("lambda_adv", "lr", "seed")} == {
        "lambda_adv": "f",
        "lr": "f",
        "seed": "i",
    }
    assert frame["trial_key"].tolist() == [f"{i:016d}" for i in range(9)]
    assert set(frame["swa_rule"]) == {"eq7"}
    assert frame["train/loss_mce"].isna().all()


def test_frame_has_one_row_per_trial_and_keeps_the_finished_run(record: str) -> None:
    frame = load_trials(record, "a" * 16)
    assert frame["status"].tolist() == ["FINISHED"] * 8 + ["FAILED"]


def test_frame_is_the_same_however_small_the_pages(
    record: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_trials(record, cache=False)
    monkeypatch.setattr(mlflow_calls, "PAGE_SIZE", 2)
    pd.testing.assert_frame_equal(load_trials(record, cache=False), whole)


def test_empty_text_among_params_is_no_number() -> None:
    column = pd.Series(["", "1"])
    assert trials._as_number(column) is column


# Figures


def test_lambda_zero_has_a_place_left_of_the_smallest_lambda() -> None:
    axis = LambdaAxis.over([0.1, 0.0, 0.01])
    assert 0 < axis.place(0.0) < 0.01 / 1.5
    assert axis.place(0.0, -1) < axis.place(0.0) < axis.place(0.0, 1)
    *_, axes = fig4(frame_of(), PAPER).axes
    left, right = axes.get_xlim()
    ticks = dict(
        zip([t.get_text() for t in axes.get_xticklabels()], axes.get_xticks(), strict=True)
    )
    assert list(ticks) == ["0", "0.01", "0.1"]
    assert left < ticks["0"] == axis.place(0.0) < ticks["0.01"] < right


def test_no_line_crosses_the_break() -> None:
    axes = fig4(frame_of(), PAPER).axes[0]
    lines = [line for line in axes.lines if line.get_linestyle() in ("-", "--")]
    drawn = [x for line in lines for x in data(line)[0] if line.get_marker() == "None"]
    zero = LambdaAxis.over(RAW).place(0.0, 1)
    assert drawn
    assert min(drawn) > zero


@pytest.mark.parametrize("lambdas", [[0.0], [0.01], [0.0, 0.01], [0.01, 0.02]])
def test_any_set_of_lambdas_gives_an_axis(lambdas: list[float]) -> None:
    figure = fig4(frame_of(dict.fromkeys(lambdas, (0.5, 0.6))), PAPER)
    figure.draw_without_rendering()
    left, right = figure.axes[0].get_xlim()
    assert all(left < x < right for x in figure.axes[0].get_xticks())


def test_labels_that_would_overlap_are_left_out() -> None:
    lambdas = [0.0, 0.001, 0.0011, 0.0012, 1.0]
    *_, axes = fig4(frame_of(dict.fromkeys(lambdas, (0.5, 0.6))), PAPER).axes
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["0", "0.001", "1"]


@pytest.mark.parametrize(("dataset", "count"), [("voc2012", 3), ("shapes", 0), ("segtrackv2", 0)])
def test_the_papers_points_stand_on_its_own_data_set_only(dataset: str, count: int) -> None:
    figure = fig4(frame_of(dataset=dataset), PAPER)
    stars = [line for line in figure.axes[0].lines if line.get_marker() == "*"]
    printed = sorted(y for star in stars for y in data(star)[1])
    assert printed == [72.1, 73.1, 75.4][:count]
    assert ("paper" in texts(figure).split(" | ")) == (count > 0)


def test_title_says_when_the_data_are_not_the_papers() -> None:
    assert "Fig. 4 on shapes (generated, not the paper's data)" in texts(fig4(frame_of(), PAPER))
    assert "without SWA | with SWA" in texts(fig4(frame_of(), PAPER))
    assert "Fig. 4 on Pascal VOC 2012 |" in texts(fig4(frame_of(dataset="voc2012"), PAPER))


def test_a_partial_sweep_is_stamped_and_a_whole_one_is_not() -> None:
    assert "9 of 12 trials" in texts(fig4(frame_of(asked=12), PAPER))
    assert "trials" not in texts(fig4(frame_of(), PAPER))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {},
            "Mean over 3 seeds; bars: 95 % Student-t interval over seeds, of each mean alone; ",
        ),
        ({"val/miou": math.nan}, "2 to 3 seeds; bars: 95 % Student-t interval over seeds, of each"),
        ({"val/miou": math.nan}, "filled: without 0; 1 value not finite, left out"),
        ({"code_version": "c2"}, "2 code versions (c1, c2)"),
        ({"data_fingerprint": "d2"}, "2 data fingerprints (d1, d2)"),
    ],
)
def test_caption_says_what_the_bars_are_and_what_is_mixed(
    change: dict[str, Any], said: str
) -> None:
    frame = frame_of()
    for name, value in change.items():
        frame.loc[0, name] = value
    assert said in texts(fig4(frame, PAPER)).replace("\n", " ")


def test_caption_says_that_one_seed_has_no_interval() -> None:
    assert "no interval" in texts(fig4(frame_of({0.0: [0.5], 0.1: [0.6]}), PAPER))


# The command


def test_same_record_gives_same_bytes_and_a_manifest_of_its_runs(
    record: str, tmp_path: Path
) -> None:
    asked = ["--tracking-uri", record, "--sweep", "lambda_grid"]
    done = run_script([*asked, "--out", "one/"], tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["one/report.html", "one/fig4.png"]
    assert done.stderr.splitlines() == [
        "not drawn: lambda_grid_health: every trial must have the param adversarial"
    ]
    assert make_figures.main([*asked, "--no-cache", "--out", str(tmp_path / "two")]) == 0
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / f).iterdir()} for f in ("one", "two"))
    assert one == two
    figure = {f"fig4.{kind}" for kind in ("csv", "parquet", "pdf", "png", "svg")}
    table = {f"lambda_grid_summary.{kind}" for kind in ("csv", "md", "parquet", "tex")}
    kinds = ("csv", "md", "parquet", "tex")
    table |= {f"{name}.{kind}" for name in ("lambda_effects", "claims") for kind in kinds}
    exported = {f"lambda_grid_trials.{kind}" for kind in ("csv", "parquet")}
    assert one.keys() == figure | table | exported | {"manifest.json", "report.html"}

    manifest = json.loads(one["manifest.json"])
    frame = load_trials(record)
    (key,) = manifest["figures"]["fig4"]["sweep_keys"]
    sweep = manifest["sweeps"][key]
    assert sweep["run_ids"] == sorted(frame["run_id"])
    assert sweep["parent_run_id"] == frame.attrs["parent_run_id"]
    assert (sweep["code_versions"], sweep["data_fingerprints"]) == (["c1"], ["d1"])
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in one.items()}
    assert manifest["figures"]["fig4"]["files"] == {name: digests[name] for name in figure}
    assert manifest["files"] == {n: d for n, d in digests.items() if n != "manifest.json"}
    assert set(manifest["packages"]) >= {"matplotlib", "mlflow", "pandas", "scipy"}


def run_script(argv: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parents[1]), "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-W", "error", "-W", NOLOAD, str(SCRIPT), *argv]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def test_missing_database_is_refused_and_not_created(tmp_path: Path) -> None:
    done = run_script([], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no record at mlflow.db")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--sweep", "lamda"], "it holds: ablation, joint_search, lambda_grid, swa_grid"),
        (["--sweep", "ablation"], "no finished trials yet (0 of 9)"),
        (["--sweep", "joint_search"], "has schema 3, but this version reads up to 2"),
        ([], "has schema 3, but this version reads up to 2"),
    ],
)
def test_a_sweep_that_cannot_be_drawn_is_one_line(
    argv: list[str], said: str, record: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in refusal(["--tracking-uri", record, *argv], tmp_path / "out", capsys)


def empty(path: Path) -> str:
    path.touch()
    return f"sqlite:///{path}"


def junk(path: Path) -> str:
    path.write_text("not a database, whatever its name says")
    return f"sqlite:///{path}"


def without_experiment(path: Path) -> str:
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{path.with_name('empty.db')}"
    MlflowClient(uri).create_experiment("another")
    return uri


def with_deleted_experiment(path: Path) -> str:
    from mlflow.tracking import MlflowClient

    uri = f"sqlite:///{path.with_name('empty.db')}"
    client = MlflowClient(uri)
    client.delete_experiment(client.create_experiment(schema.EXPERIMENT))
    return uri


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        (empty, "is not an MLflow record"),
        (junk, "cannot read the record"),
        (without_experiment, "no experiment 'pixelwise-adversarial'"),
        (with_deleted_experiment, "mlflow experiments restore -x 1"),
        (str, "a tracking URI looks like sqlite:///mlflow.db"),
        (lambda path: "http://[half", "a tracking URI looks like"),
        (lambda path: "http://me:secret@127.0.0.1:1", "127.0.0.1:1: no server answers"),
        (lambda path: "gopher://host/store", "cannot read the record at gopher://host/store"),
    ],
)
def test_a_store_that_cannot_be_read_is_one_line(
    uri: Callable[[Path], str],
    said: str,
    empty_store: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copy(empty_store, tmp_path / "empty.db")
    line = refusal(["--tracking-uri", uri(tmp_path / "x.db")], tmp_path / "out", capsys)
    assert said in line
    assert "secret" not in line


def test_output_that_is_a_file_is_refused(
    record: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").touch()
    asked = ["--tracking-uri", record, "--sweep", "lambda_grid"]
    assert make_figures.main([*asked, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("error: cannot write to ")


def test_a_write_that_fails_leaves_the_old_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from analysis.report import files

    def full(self: Path, data: bytes) -> int:
        self.write_text("half")
        raise OSError(28, "No space left on device")

    files.write_files(tmp_path, {"fig4.csv": b"old"})
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        files.write_files(tmp_path, {"fig4.csv": b"new"})
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("fig4.csv", b"old")]


def test_wrong_usage_is_one_line_and_ends_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        make_figures.main(["--no-such-option"])
    assert raised.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: unrecognized arguments: --no-such-option")
