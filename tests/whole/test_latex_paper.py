"""Tables in a two-column paper, set by Debian's pdflatex; run with `-m latex`."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from figure_data import ablation, joint_search, lambda_grid, swa_grid

from analysis import load_paper, make_figures
from analysis.benchmarking.synthetic_record import make_record
from analysis.result_tables.latex import to_latex
from analysis.result_tables.paper import table1, table2_left, table2_right, table3, table4
from analysis.result_tables.summaries import grid_summary, search_summary

pytestmark = pytest.mark.latex

PAPER = load_paper()
SWA = ("swa_rule", "swa_n", "swa_threshold")
SEARCHED = ("lambda_adv", "swa_n", "swa_threshold", "lr_generator", "lr_discriminator")
OWN = "my_data_whose_name_is_longer_than_a_line_of_one_column_of_a_paper & Ünïcode λ #1"
AWKWARD = (
    *(
        "sky & sea",
        "100%_cotton",
        "#1 {best}",
        "$cash$",
        "unbrokenclassname" * 5,
        "tilde~hat^",
        "back\\slash",
        "<b>|x|`y`",
    ),
    *("naïve café", "Σ λ_1", "Σκύλος", "中文类", "--double---dash", "*star", "[bracket]", "-5 ± 3"),
    *('it\'s "quoted"', "a very long name of a class that no column of a paper holds in a line"),
    *("x\0y\x7f", ""),
)
DOCUMENTS = {
    "article, A4": r"\documentclass[twocolumn,a4paper]{article}",
    "article, letter": r"\documentclass[twocolumn,letterpaper]{article}",
    "IEEEtran": r"\documentclass[conference]{IEEEtran}",
}
FLOATS_KEPT = 4  # until all of them are put out
FAULTS = re.compile(r"^!|Overfull|Missing character|Warning", re.MULTILINE)


def details_of(trials: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """IoU per class of each run; every seventh class is nowhere."""
    random = np.random.default_rng(0)
    absent = [i % 7 == 4 for i in range(len(classes))]
    return {
        run: {"classes": [*classes]}
        | {
            f"{weights}/iou": [
                None if gone else float(random.uniform(0.01, 0.99)) for gone in absent
            ]
            for weights in ("val", "swa")
        }
        for run in trials["run_id"]
    }


def with_failures(trials: pd.DataFrame) -> pd.DataFrame:
    """The same trials, of which every fifth has failed."""
    some = trials.index[::5]
    trials.loc[some, "status"] = "FAILED"
    trials.loc[some, ["val/miou", "swa/miou"]] = float("nan")
    return trials


def of_many_axes() -> pd.DataFrame:
    """A grid of one's own whose settings alone are wider than a page."""
    trials = lambda_grid()
    names = [f"a_setting_of_my_own_{k}" for k in range(9)]
    value = 123.456 + trials["lambda_adv"]
    return grid_summary(trials.assign(**dict.fromkeys(names, value)), ["lambda_adv", *names])


def tables() -> Mapping[str, pd.DataFrame]:
    """Tables of every kind, by the stem of their files."""
    voc, own = ablation(dataset="voc2012"), ablation(dataset=OWN)
    many = [f"class_{i}" for i in range(150)]
    return {
        "grid_7": grid_summary(lambda_grid(), ["lambda_adv"]),
        "grid_7_own": grid_summary(lambda_grid(dataset=OWN), ["lambda_adv"]),
        "grid_72": grid_summary(swa_grid(), SWA),
        "grid_failed": grid_summary(with_failures(swa_grid()), SWA),
        "grid_one_seed": grid_summary(lambda_grid(seeds=1), ["lambda_adv"]),
        "grid_of_many_axes": of_many_axes(),
        "search": search_summary(joint_search(), SEARCHED),
        "search_unconfirmed": search_summary(joint_search(confirmed=0), SEARCHED),
        "table1": table1(voc, details_of(voc, PAPER["table1"]["classes"]), PAPER),
        "table1_own": table1(own, details_of(own, AWKWARD), PAPER),
        "table1_many": table1(own, details_of(own, many), PAPER),
        "table2_left": table2_left(voc, PAPER),
        "table2_right": table2_right(voc, PAPER),
        "table2_own": table2_right(own, PAPER),
        "table3": table3(None, PAPER),
        "table4": table4([own, voc], PAPER),
        "table4_empty": table4([], PAPER),
    }


def set_paper(folder: Path, document: str, names: Sequence[str]) -> list[str]:
    """Set a paper that takes these files in, and return the faults in its log."""
    body = []
    for i, name in enumerate(names):
        body += ["Words around a float. " * 30, "", rf"\input{{{name}}}"]
        body += [r"\clearpage"] * (i % FLOATS_KEPT == FLOATS_KEPT - 1)
    for name in names:
        labels = re.findall(
            r"\\label\{(.*)\}", (folder / f"{name}.tex").read_text(encoding="utf-8")
        )
        assert len(labels) == 1
        body.append(rf"See~\ref{{{labels[0]}}}.")
    preamble = [r"\usepackage{booktabs,graphicx,threeparttable}", r"\hfuzz=1pt \vfuzz=1pt"]
    lines = [DOCUMENTS[document], *preamble, r"\begin{document}", *body, r"\end{document}"]
    (folder / "paper.tex").write_text("\n".join(lines), encoding="utf-8")
    for _ in range(2):  # references are known at the second run
        subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "paper"],
            cwd=folder,
            env=os.environ | {"max_print_line": "1000"},
            capture_output=True,
            check=False,
        )
    log = (folder / "paper.log").read_text(encoding="utf-8", errors="replace")
    assert "Output written on paper.pdf" in log
    return [line for line in log.splitlines() if FAULTS.search(line)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_all_tables_fit_a_two_column_paper(document: str, tmp_path: Path) -> None:
    made = tables()
    for name, table in made.items():
        (tmp_path / f"{name}.tex").write_bytes(to_latex(table, name))
    assert set_paper(tmp_path, document, [*made]) == []


@pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy is deprecated")
def test_all_that_the_command_writes_for_a_paper_can_be_taken_in(tmp_path: Path) -> None:
    (tmp_path / "record").mkdir()
    uri, out = make_record(tmp_path / "record", 200), tmp_path / "out"
    asked = ["--tracking-uri", uri, "--style", "paper", "--out", str(out)]
    assert make_figures.main(asked) == 0
    names = sorted(path.stem for path in out.glob("*.tex"))
    assert {"fig4", "table1", "swa_grid_summary"} <= {*names}
    assert set_paper(out, "IEEEtran", names) == []
