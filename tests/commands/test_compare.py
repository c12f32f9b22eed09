"""Two sweeps of one question: shared settings seed by seed, and all else that differs."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from scipy import stats
from written_records import POINTS, RAW, SWA_GAIN, write_sweep

from analysis import compare, load_trials
from analysis.record.schema import RecordError
from analysis.record.trials import Record

pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")

DAY = 86_400_000  # milliseconds
AXES = {"axes": "lambda_adv"}
SHIFTED = {value: tuple(one + 0.02 for one in mious) for value, mious in RAW.items()}
OLD, NEW, PARTIAL, WIDE, OTHER, SEEDS = (letter * 16 for letter in "abcdef")


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> str:
    """A sweep, the same by newer code and 2 points higher, a partial one, and three others."""
    uri = f"sqlite:///{shutil.copy(empty_store, tmp_path_factory.mktemp('record'))}"
    write_sweep(uri, "mine", key=OLD, start=1 * DAY, asked=AXES)
    write_sweep(
        *(uri, "mine"),
        key=NEW,
        start=2 * DAY,
        asked=AXES | {"code_version": "c2"},
        values=SHIFTED,
        tags={point: {"code_version": "c2", "torch": "2.15.0"} for point in POINTS},
        fields={"batch_size": 8},
    )
    write_sweep(
        *(uri, "mine"),
        key=PARTIAL,
        start=3 * DAY,
        points=[*POINTS[:4], (0.1, 0)],
        states={(0.1, 0): "FAILED"},
        asked=AXES | {"state": "partial"},
    )
    write_sweep(uri, "wide", key=WIDE, start=1, asked={"axes": "lr"})
    write_sweep(uri, "mine", key=OTHER, start=1, asked=AXES | {"dataset": "voc2012"})
    write_sweep(
        *(uri, "late"),
        key=SEEDS,
        start=1,
        asked=AXES,
        points=[(value, seed + 7) for value, seed in POINTS],
        values={value: (*7 * (0.5,), *mious) for value, mious in SHIFTED.items()},
    )
    return uri


def told(record: str, capsys: pytest.CaptureFixture[str], *argv: str) -> Any:
    """What the command tells a program."""
    capsys.readouterr()
    assert compare.main(["--tracking-uri", record, "--json", *argv]) == 0
    return json.loads(capsys.readouterr().out)


def test_settings_are_compared_seed_by_seed_and_all_else_that_differs_is_named(
    record: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = told(record, capsys, "mine~1", "mine")
    assert (said["a"]["sweep_key"], said["b"]["sweep_key"]) == (OLD, NEW)
    assert {one["name"]: (one["a"], one["b"]) for one in said["differing"]} == {
        "code_version": ("c1", "c2"),
        "torch": ("—", "2.15.0"),
        "batch_size": ("—", "8"),
    }
    assert [one["point"] for one in said["settings"]] == [{"lambda_adv": value} for value in RAW]
    for one in (*said["settings"], said["overall"]):
        assert one["difference"] == pytest.approx(0.02)
        assert (one["seeds"], one["paired"], one["b_against_a"]) == (3, True, "higher")
        assert 0 < one["ci_low"] < 0.02 < one["ci_high"]
    assert said["finding"].startswith("On average over 3 shared settings, B is 2.0")
    assert said["finding"].endswith("Of the settings, 3 are higher in B and 0 lower")
    assert not said["same_numbers"]
    back = told(record, capsys, NEW, OLD, "--metric", "val/miou")
    assert back["settings"][0]["difference"] == pytest.approx(-0.02)
    assert back["settings"][0]["b_against_a"] == "lower"


def test_settings_of_one_sweep_alone_and_shared_seeds_are_said(
    record: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = told(record, capsys, OLD, PARTIAL)
    assert said["only_a"] == [{"lambda_adv": 0.1}]
    assert said["only_b"] == []
    assert said["same_numbers"]
    assert said["finding"] == "All 4 trials that A and B share have the same numbers"
    assert compare.main(["--tracking-uri", record, OLD, PARTIAL]) == 0
    shown = capsys.readouterr().out
    assert f"A: mine begun 1970-01-02 00:00 UTC, sweep key {OLD}, trials: 9 of 9" in shown
    assert "trials: 4 of 5" in shown
    assert "in A alone: lambda_adv=0.1" in shown
    assert "1 shared, 2 not" in shown


def test_without_shared_seeds_the_difference_is_unpaired_and_said_to_be(
    record: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = told(record, capsys, OLD, SEEDS)
    assert [one["paired"] for one in (*said["settings"], said["overall"])] == [False] * 4
    assert said["overall"]["difference"] == pytest.approx(0.02)
    # Unpaired, the seeds' own noise hides what pairs would show.
    assert said["settings"][0]["b_against_a"] == "not distinguishable"
    assert "unpaired" in said["finding"]
    assert compare.main(["--tracking-uri", record, OLD, SEEDS]) == 0
    assert "3 and 3, none shared" in capsys.readouterr().out


def test_files_have_the_numbers_and_the_same_bytes_twice(
    record: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        assert compare.main(["--tracking-uri", record, OLD, NEW, "--out", str(folder)]) == 0
    one, two = ({p.name: p.read_bytes() for p in folder.iterdir()} for folder in folders)
    assert one == two
    assert one.keys() == {f"compare.{kind}" for kind in ("csv", "parquet", "tex", "md")}
    rows = list(csv.DictReader(one["compare.csv"].decode().splitlines()))
    assert [float(row["lambda_adv"]) for row in rows] == [*RAW]
    averaged = [value + gain for value, gain in zip(RAW[0.0], SWA_GAIN, strict=True)]
    assert float(rows[0]["A [%]"]) == pytest.approx(100 * sum(averaged) / 3)
    half = stats.t.ppf(0.975, 2) * stats.sem(averaged)
    assert float(rows[0]["A [%] ci_low"]) == pytest.approx(100 * (sum(averaged) / 3 - half), 1e-4)
    assert float(rows[0]["B - A [points]"]) == pytest.approx(2)
    assert "- differs in code\\_version" in one["compare.md"].decode().replace("_", "\\_")
    assert str(folders[0] / "compare.md") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["mine", "nothing"], "no sweep 'nothing' in the record; it holds: late, mine, wide"),
        (["mine", NEW], f"but A and B are both {NEW}"),
        (["mine", "wide"], "vary the same fields, but A varies lambda_adv and B lr"),
        (["mine", OTHER], "on one data set, but A is on shapes and B on voc2012"),
        (["mine~2", "mine"], "holds 1 with numbers on shapes, but got ~2"),
        (["mine@1969-12-31", "mine"], "no sweep 'mine' began by 1969-12-31"),
        (["mine@1970-13-01", "mine"], "a day looks like 2026-11-30, but got '1970-13-01'"),
        (["mine"], "the following arguments are required: B"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_nothing_written(
    argv: Sequence[str],
    said: str,
    record: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    capsys.readouterr()
    try:
        code = compare.main([*argv, "--tracking-uri", record, "--out", str(out)])
    except SystemExit as end:
        code = int(str(end.code))
    assert code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not out.exists()


def test_two_sweeps_without_a_shared_setting_are_refused(
    uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(uri, "mine", key=OLD, start=1, points=POINTS[:3], asked=AXES)
    write_sweep(uri, "mine", key=NEW, start=2, points=POINTS[3:6], asked=AXES)
    assert compare.main(["--tracking-uri", uri, OLD, NEW]) == 2
    assert "but A has lambda_adv=0 and B has lambda_adv=0.01" in capsys.readouterr().err


def test_settings_of_which_no_seed_has_all_have_no_mean_difference(
    uri: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_sweep(uri, "mine", key=OLD, start=1, points=POINTS[:6], asked=AXES)
    scattered = [(0.0, 0), (0.01, 1)]
    write_sweep(uri, "mine", key=NEW, start=2, points=scattered, asked=AXES, values=SHIFTED)
    said = told(uri, capsys, OLD, NEW)
    assert said["finding"] == (
        "No seed has all of the 2 shared settings, so that they have no mean difference. Of the "
        "settings, 0 are higher in B and 0 lower"
    )
    assert said["overall"]["difference"] is None


def test_many_settings_are_cut_on_the_screen_alone(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = [(value / 100, 0) for value in range(45)]
    values = {value: (0.5 + value / 10,) for value, _ in many}
    for key, more in ((OLD, 0.0), (NEW, 0.1)):
        shifted = {value: (one + more * value,) for value, (one,) in values.items()}
        write_sweep(uri, "mine", key=key, start=1, points=many, asked=AXES, values=shifted)
    assert compare.main(["--tracking-uri", uri, OLD, NEW, "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "the 40 of 45 shared settings that differ most; --out has all" in shown
    assert len((tmp_path / "out" / "compare.csv").read_text().splitlines()) == 46
    assert "no interval" in shown


def test_a_name_means_what_is_drawn_and_what_came_before_or_stood_at_a_day(record: str) -> None:
    keys = {
        "mine": NEW,
        "mine~1": OLD,
        f"{NEW}~1": OLD,
        "mine@1970-01-02": OLD,
        "mine@1970-01-03": NEW,
        "mine@2026-11-30": NEW,
    }
    found = Record(record)
    assert {name: found.find(name).sweep_key for name in keys} == keys
    assert load_trials(record, "mine~1").attrs["sweep_key"] == OLD
    with pytest.raises(RecordError, match="no sweep 'mine~x'"):
        found.find("mine~x")
    assert math.isfinite(found.find("mine").start_time_s)
