"""The command over whole records: every sweep is drawn, and what cannot be is named."""

import html
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from written_records import POINTS, write_sweep

from analysis import load_trials, make_figures
from analysis.benchmarking.synthetic_record import make_record
from analysis.figures import FIGURES, FigureSpec
from analysis.figures.style import add_caption, drawing
from analysis.report import draw as draw_module
from analysis.report.catalogue import TABLES
from analysis.report.files import render


@pytest.mark.slow
def test_a_record_of_all_sweeps_gives_all_figures_and_tables_twice_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "record").mkdir()
    uri = make_record(tmp_path / "record", 200)
    folders = {"one": [], "again": [], "anew": ["--no-cache"]}
    for folder, more in folders.items():
        assert (
            make_figures.main(["--tracking-uri", uri, "--out", str(tmp_path / folder), *more]) == 0
        )
    one, again, anew = ({p.name: p.read_bytes() for p in (tmp_path / f).iterdir()} for f in folders)
    assert one == again == anew
    manifest = json.loads(one["manifest.json"])
    assert FIGURES.keys() & TABLES.keys() == set()  # each names files of its own
    asked = FIGURES.keys() | TABLES.keys() | {"claims"}
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
    assert {"mine_summary.tex", "mine_trials.parquet"} <= {path.name for path in out.iterdir()}
    for sweep, said in (("bad", "9 failed"), ("../up", "letters, digits")):
        asked_for = ["--tracking-uri", uri, "--sweep", sweep, "--out", str(tmp_path / "no")]
        assert make_figures.main(asked_for) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line
        assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("font", ["serif", "sans"])
def test_a_paper_has_its_own_figures_whose_words_are_a_float(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], font: str
) -> None:
    write_sweep(uri, "lambda_grid", key="a" * 16, start=1, asked={"axes": "lambda_adv"})
    asked = ["--tracking-uri", uri, "--font", font, "--out", str(tmp_path / "out")]
    assert make_figures.main(asked) == 2
    assert capsys.readouterr().err == (
        "error: --font is of --style paper, but got --style screen\n"
    )
    assert not (tmp_path / "out").exists()
    assert make_figures.main([*asked, "--style", "paper"]) == 0
    with Image.open(tmp_path / "out" / "fig4.png") as image:
        assert image.width == pytest.approx(3.3 * image.info["dpi"][0], abs=1)
    float_of = (tmp_path / "out" / "fig4.tex").read_text()
    assert r"\includegraphics{fig4.pdf}" in float_of
    assert "Fig. 4 on shapes (generated, not the paper's data). Mean over 3 seeds" in float_of
    letters = {"serif": b"STIXGeneral", "sans": b"DejaVuSans"}
    assert letters[font] in (tmp_path / "out" / "fig4.pdf").read_bytes()
    report = (tmp_path / "out" / "report.html").read_text()
    assert report.count("Mean over 3 seeds; bars:") == 1  # of a picture that has it nowhere
    assert "<source" not in report  # a column is narrow enough for a phone


@pytest.fixture
def _sketched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave pages for papers empty, half the work, where a test asks which files there are."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # nobody else takes them

    def sketch(figure: Figure, kind: str) -> bytes:
        return render(figure, kind) if kind == "svg" else b""

    monkeypatch.setattr(draw_module, "render", sketch)


def drawn(uri: str, out: Path, *options: str) -> set[str]:
    """The names of the files that the command writes."""
    assert make_figures.main(["--tracking-uri", uri, "--out", str(out), *options]) == 0
    return {path.name for path in out.iterdir()}


def lines_of(page: str) -> list[str]:
    """The notes of a page, in which commands stand as they do on a screen."""
    found = re.findall(r'(?m)^<p class="note">(.*)</p>$', page)
    return [re.sub("</?code>", "`", line) for line in found]


@pytest.mark.usefixtures("_sketched")
def test_a_smaller_newer_sweep_hides_no_larger_one_and_is_named(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = {"axes": "lambda_adv", "code_version": "c1"}
    write_sweep(uri, "mine", key="a" * 16, start=60_000, asked=code)
    write_sweep(
        *(uri, "mine"),
        key="b" * 16,
        start=120_000,
        points=POINTS[:6],
        asked=code | {"code_version": "c2"},
    )
    write_sweep(
        *(uri, "mine"),
        key="c" * 16,
        start=180_000,
        states=dict.fromkeys(POINTS[2:], "RUNNING"),
        asked=code | {"state": "partial"},
    )
    names = drawn(uri, tmp_path / "all")
    said = [line for line in capsys.readouterr().err.splitlines() if "ewer" in line]
    assert said == [
        "Newer, and not drawn: mine of 1970-01-01 00:03 UTC, trials: 2 of 9; "
        f"`--sweep {'c' * 16}` draws it",
        "Newer, and not drawn: mine of 1970-01-01 00:02 UTC, with other code (c2), "
        f"trials: 6 of 6; `--sweep {'b' * 16}` draws it",
    ]
    report = (tmp_path / "all" / "report.html").read_text()
    assert lines_of(report) == [f"{line}." for line in said]
    manifest = json.loads((tmp_path / "all" / "manifest.json").read_text())
    assert [*manifest["sweeps"]] == ["a" * 16]
    drawn(uri, tmp_path / "day", "--sweep", "mine@1970-01-01", "mine~0")
    day = json.loads((tmp_path / "day" / "manifest.json").read_text())
    assert [*day["sweeps"]] == ["a" * 16]
    # A notebook reads what is drawn; what is asked for by its key is drawn, with its stamp.
    assert load_trials(uri, "mine").attrs["sweep_key"] == "a" * 16
    assert drawn(uri, tmp_path / "one", "--sweep", "c" * 16) == names
    (note,) = lines_of((tmp_path / "one" / "report.html").read_text())[1:]
    assert note.startswith("Older, and not drawn: mine of 1970-01-01 00:02 UTC, with other code")


@pytest.mark.usefixtures("_sketched")
def test_data_sets_and_sweeps_asked_for_stand_side_by_side(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"axes": "lambda_adv"}
    write_sweep(uri, "mine", key="a" * 16, start=1, asked=asked)
    write_sweep(uri, "mine", key="b" * 16, start=2, asked=asked | {"dataset": "voc2012"})
    write_sweep(uri, "mine", key="c" * 16, start=3, asked=asked)
    names = drawn(uri, tmp_path / "all")
    plain = {name for name in names if "voc2012" not in name} - {"manifest.json", "report.html"}
    stems = {name.rpartition(".")[::2] for name in plain}
    assert {f"{stem}_voc2012.{kind}" for stem, kind in stems} == names - plain - {
        *("manifest.json", "report.html")
    }
    assert capsys.readouterr().out.splitlines()[-1].endswith("mine_lambda_adv.png")
    manifest = json.loads((tmp_path / "all" / "manifest.json").read_text())
    assert manifest["figures"]["mine_lambda_adv"]["sweep_keys"] == ["c" * 16]
    assert manifest["figures"]["mine_lambda_adv_voc2012"]["sweep_keys"] == ["b" * 16]
    assert f"mine_trials_{'c' * 16}.csv" in drawn(
        *(uri, tmp_path / "two", "--sweep"), "a" * 16, "c" * 16, "b" * 16, "a" * 16
    )
    sections = re.findall(r"<h2 id=.s\d.*>(.*)</h2>", (tmp_path / "two/report.html").read_text())
    assert sections == [
        "mine on shapes",
        f"mine on shapes, {'c' * 16}",
        "mine on voc2012",
    ]


@pytest.mark.usefixtures("_sketched")
def test_the_papers_claims_are_tried_once_over_all_sweeps(uri: str, tmp_path: Path) -> None:
    asked = {"axes": "lambda_adv"}
    write_sweep(uri, "lambda_grid", key="a" * 16, start=1, asked=asked)
    write_sweep(uri, "mine", key="b" * 16, start=2, asked=asked)
    kinds = {f"claims.{kind}" for kind in ("csv", "parquet", "md", "tex")}
    assert kinds <= drawn(uri, tmp_path / "all")
    report = (tmp_path / "all" / "report.html").read_text()
    assert len(re.findall(r"<h2 id=.all-claims-title.>", report)) == 1
    assert "The paper's claims, tried on shapes (generated)" in html.unescape(report)
    manifest = json.loads((tmp_path / "all" / "manifest.json").read_text())
    assert set(manifest["figures"]["claims"]["sweep_keys"]) == {"a" * 16, "b" * 16}
    # A sweep that tries none of them has no such part.
    assert not kinds & drawn(uri, tmp_path / "one", "--sweep", "mine")


def test_linear_algebra_starts_no_threads_unless_they_are_asked_for() -> None:
    count = "import os, analysis.make_figures, numpy; print(len(os.listdir('/proc/self/task')))"
    bare = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    none, one, two = (
        subprocess.check_output([sys.executable, "-c", count], env=bare | asked)
        for asked in ({}, {"OPENBLAS_NUM_THREADS": "1"}, {"OPENBLAS_NUM_THREADS": "2"})
    )
    assert none == one
    assert two != one or len(os.sched_getaffinity(0)) == 1


def seed_means(trials: pd.DataFrame) -> pd.DataFrame:
    return trials.groupby("seed", as_index=False)["val/miou"].mean()


def by_seed(trials: pd.DataFrame) -> Figure:
    table = seed_means(trials)
    with drawing(trials, "mIoU of each seed") as figure:
        figure.subplots().plot(table["seed"], table["val/miou"])
        add_caption(figure, ["a mean over every lambda"])
    return figure


@pytest.mark.parametrize("sweep", ["lambda_grid", "mine"])
def test_a_figure_is_added_by_one_entry_of_the_registry(
    uri: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sweep: str,
) -> None:
    write_sweep(uri, sweep, key="a" * 16, start=1, asked={"axes": "lambda_adv"})
    spec = FigureSpec(
        sweep=sweep,
        draw=lambda data: by_seed(data.trials),
        numbers=lambda data: data.computed(seed_means),
    )
    monkeypatch.setitem(FIGURES, "by_seed", spec)
    out = tmp_path / "out"
    assert make_figures.main(["--tracking-uri", uri, "--out", str(out)]) == 0
    assert (out / "by_seed.csv").read_text().splitlines()[:2] == ["seed,val/miou", "0,0.593333"]
    manifest = json.loads((out / "manifest.json").read_text())
    kinds = ("pdf", "png", "svg", "csv", "parquet")
    assert manifest["figures"]["by_seed"]["files"].keys() == {f"by_seed.{kind}" for kind in kinds}
    report = (out / "report.html").read_text()
    for part in ("mIoU of each seed", "A mean over every lambda.", 'href="by_seed.csv"'):
        assert part in report
    assert f'href="{sweep}_summary.csv"' in report  # a table that the figure does not push out
    assert str(out / "by_seed.png") in capsys.readouterr().out.splitlines()
