"""The command over whole records: every sweep is drawn, and what cannot be is named."""

import json
from pathlib import Path

import pytest
from written_records import POINTS, write_sweep

from analysis import make_figures
from analysis.benchmarking.synthetic_record import make_record
from analysis.report.catalogue import CATALOGUE


@pytest.mark.slow
def test_a_record_of_all_sweeps_gives_all_figures_and_tables_twice_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "record").mkdir()
    uri = make_record(tmp_path / "record", 200)
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        assert make_figures.main(["--tracking-uri", uri, "--out", str(folder)]) == 0
    one, two = ({p.name: p.read_bytes() for p in folder.iterdir()} for folder in folders)
    assert one == two
    manifest = json.loads(one["manifest.json"])
    asked = {entry.name for entries in CATALOGUE.values() for entry in entries}
    assert manifest["figures"].keys() | manifest["left_out"].keys() == asked
    assert set(manifest["left_out"]) == set()
    assert capsys.readouterr().out.splitlines()[0].endswith("report.html")


def test_a_users_own_sweep_has_a_figure_per_axis_and_a_summary(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"axes": "lambda_adv"}
    write_sweep(uri, "mine", key="a" * 16, start=1, asked=asked)
    write_sweep(uri, "bad", key="b" * 16, start=1, states=dict.fromkeys(POINTS, "FAILED"))
    write_sweep(uri, "../up", key="c" * 16, start=1, points=POINTS[:1])
    out = tmp_path / "out"
    assert make_figures.main(["--tracking-uri", uri, "--sweep", "mine", "--out", str(out)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed == [str(out / "report.html"), str(out / "mine_lambda_adv.png")]
    assert {"mine_summary.tex", "mine_trials.csv"} <= {path.name for path in out.iterdir()}
    for sweep, said in (("bad", "9 failed"), ("../up", "letters, digits")):
        asked_for = ["--tracking-uri", uri, "--sweep", sweep, "--out", str(tmp_path / "no")]
        assert make_figures.main(asked_for) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
        assert not (tmp_path / "no").exists()
