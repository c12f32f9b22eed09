"""LaTeX of tables: its letters, its digits, and what stands where there is not room for all."""

import re
from collections.abc import Mapping, Sequence

import pandas as pd
import pytest
from figure_data import ablation, joint_search, lambda_grid, swa_grid

from analysis import load_paper
from analysis.result_tables.cells import Best, Cell, table, text
from analysis.result_tables.latex import to_latex
from analysis.result_tables.latex_text import latex_text, text_width
from analysis.result_tables.paper import table2_left, table2_right, table4
from analysis.result_tables.summaries import grid_summary, search_summary
from analysis.stats.families import compare
from analysis.stats.intervals import Interval, student_t
from analysis.stats.rounding import DASH

PAPER = load_paper()
Row = dict[str, Cell]


def of(rows: Sequence[Mapping[str, Cell]], *, caption: str = "", best: Best | None = None) -> str:
    """The LaTeX of a table of these rows, whose columns with a unit are measured."""
    measured = [name for name in rows[0] if name.endswith("]")]
    made = table(
        rows,
        title="Table 9: some, data_1",
        finding="",
        measured=measured,
        caption=caption,
        best=best or Best(),
    )
    return to_latex(made, "some").decode()


def named(words: str) -> Row:
    return {"class": words}


def mean(value: float, half: float) -> Interval:
    return Interval(n=3, missing=0, mean=value, low=value - half, high=min(value + half, 1.0))


def shown(words: str) -> str:
    """LaTeX without what only makes room, and without macros that stand for a letter."""
    for pattern, letters in (
        (r"\\phantom\{[^{}]*(?:\{[^{}]*\})?\}", ""),
        (r"\\multicolumn\{\d\}\{\w\}\{(.*)\}", r"\1"),
        (r"\\textbf\{([^{}]*)\}", r"\1"),
        (r"\\tnote\{\$\\dagger\$\}", ", n.d."),
        (r"\\tnote\{\$\\ddagger\$\}", " (1 seed)"),
        (r"\$ ?\\pm ?\$", "±"),
        (r"\$([-+<>])\$", r"\1"),
        (r"\\textgreater\{\}", ">"),
        (r"\$([\d.]+) \\cdot 10\^\{-(\d)\}\$", r"\1e-0\2"),
        (r"^-+$", "—"),
        (r"\{([\[\]*])\}", r"\1"),
    ):
        words = re.sub(pattern, letters, words)
    return words.strip()


def test_a_table_is_a_float_with_booktabs_rules_and_its_notes_below() -> None:
    rows: list[Row] = [
        {"loss": "a_b", "raw [%]": mean(0.61, 0.025), "gain [points]": None},
        {"loss": "c", "raw [%]": mean(0.62, 0.05), "gain [points]": student_t([0.05])},
    ]
    found = of(rows, caption="5 % of n.d. & more.", best=Best.of_columns(rows, "the higher"))
    assert found == (
        "% The document loads \\usepackage{booktabs,threeparttable}.\n"
        "\\begin{table}\n"
        "\\centering\n"
        "\\begin{threeparttable}\n"
        "\\caption{Some, data\\_1}\n"
        "\\label{tab:some}\n"
        "\\footnotesize\\setlength{\\tabcolsep}{3pt}\n"
        "\\begin{tabular*}{\\linewidth}{@{\\extracolsep{\\fill}}lrr@{}}\n"
        "\\toprule\n"
        "loss & \\multicolumn{1}{c}{raw} & \\multicolumn{1}{c}{gain} \\\\\n"
        " & \\multicolumn{1}{c}{\\%} & \\multicolumn{1}{c}{points} \\\\\n"
        "\\midrule\n"
        "a\\_b & 61.0 $\\pm$ 2.5 & \\multicolumn{1}{c}{--} \\\\\n"
        "c & \\textbf{62}\\phantom{.0} $\\pm$ 5\\phantom{.0} & 5.0\\tnote{$\\ddagger$} \\\\\n"
        "\\bottomrule\n"
        "\\end{tabular*}\n"
        "\\begin{tablenotes}[flushleft]\\footnotesize\\raggedright\n"
        "\\item[] Bold: the higher. $\\ddagger$: one seed, which gives no interval. "
        "5~\\% of $\\dagger$ \\& more.\n"
        "\\end{tablenotes}\n"
        "\\end{threeparttable}\n"
        "\\end{table}\n"
    )


@pytest.mark.parametrize(
    "made",
    [
        grid_summary(lambda_grid(), ["lambda_adv"]),
        grid_summary(lambda_grid(seeds=1), ["lambda_adv"]),
        search_summary(joint_search(confirmed=0), ["lambda_adv", "lr_discriminator"]),
        table2_left(ablation(dataset="voc2012"), PAPER),
        table2_right(ablation(dataset="voc2012"), PAPER),
    ],
)
def test_every_number_has_the_digits_of_the_other_formats(made: pd.DataFrame) -> None:
    lines = to_latex(made, "some").decode().splitlines()
    head, foot = (lines.index(rule) for rule in (r"\midrule", r"\bottomrule"))
    cells = [shown(cell) for line in lines[head + 1 : foot] for cell in line[:-3].split(" & ")]
    columns = [*made.attrs["measured"], *(name for name in made if name.startswith("l"))]
    expected = {text(cell) for name in columns for cell in made[name]} - {DASH}
    assert len(expected) > 3
    assert expected <= {*cells, *(cell.removesuffix(", n.d.") for cell in cells)}  # bold, in doubt


@pytest.mark.parametrize(
    ("words", "latex"),
    [
        ("a_b & 5 % #1 $x$", r"a\_b \& 5~\% \#1 \$x\$"),
        (r"\end{tabular}", r"\textbackslash{}end\{tabular\}"),
        ("x\n\n y", "x y"),
        ("[*]<|>", r"{[}{*}{]}\textless{}\textbar{}\textgreater{}"),
        ('~^`"', r"\textasciitilde{}\textasciicircum{}\textasciigrave{}''"),
        ('"a b" c"d', "``a b'' c''d"),
        ("a--b---c", "a-{}-b-{}-{}-c"),
        ("p >= 0.05, -3 to x-3", r"p $\ge$ 0.05, $-$3 to x-3"),
        ("+1 (-0.2 to 3-4) --5", r"+1 ($-$0.2 to 3-4) -{}-5"),
        ("1 ± 2 — 3\N{EN DASH}4", r"1 $\pm$ 2 --- 3--4"),
        ("\N{GREEK SMALL LETTER LAMDA} \N{GREEK CAPITAL LETTER OMEGA}", r"$\lambda$ $\Omega$"),
        ("naïve Ünï œ ß Ł ğ", r"na\"{\i}ve \"{U}n\"{\i} \oe{} \ss{} \L{} \u{g}"),
        ("u\u0308", r"\"{u}"),  # a letter and its accent
        ("ﬁ²", "fi2"),
        ("中\0\U0001f600", "{[}U+4E2D{]}{[}U+0000{]}{[}U+1F600{]}"),
        ("\u0301 \N{GREEK SMALL LETTER OMICRON}", "{[}U+0301{]} {[}U+03BF{]}"),
    ],
)
def test_no_letter_is_one_that_pdflatex_lacks_or_takes_for_markup(words: str, latex: str) -> None:
    assert latex_text(words) == latex
    assert latex_text(words).isascii()


def test_long_names_may_be_broken_at_the_end_of_a_line() -> None:
    name = "lr_discriminator=0.0005"
    assert latex_text(name) == r"lr\_discriminator=0.0005"
    broken = r"lr\_\allowbreak{}discriminator=\allowbreak{}0.\allowbreak{}0005"
    assert latex_text(f"{name} a_b", breakable=True) == rf"{broken} a\_b"
    assert latex_text("x" * 20, breakable=True) == rf"{'x' * 16}\allowbreak{{}}xxxx"


def test_widths_are_those_of_8_point_computer_modern_or_more() -> None:
    # From cmr8.tfm: digits 4.25, "mIoU" 7.08 + 3.06 + 4.25 + 6.37, "illicit" 2.36 and c and t.
    for words, points in (("0123456789", 42.5), ("mIoU", 20.8), ("illicit", 18.9), ("WWW", 26.2)):
        assert points <= text_width(words) <= 1.35 * points
    assert text_width("中") == text_width("[U+4E2D]")


def floats(latex: str) -> list[str]:
    return re.findall(r"\\begin\{(table\*?)\}", latex)


def test_settings_are_cut_to_the_best_that_fit_and_counted() -> None:
    made = grid_summary(swa_grid(), ["swa_rule", "swa_n", "swa_threshold"])
    latex = to_latex(made, "swa_grid_summary").decode()
    assert len(floats(latex)) == 1
    rows = len(re.findall(r"^(?:uniform|eq7) &", latex, re.MULTILINE))
    assert 20 < rows < 72
    assert f"The best {rows} of 72 rows; all stand in swa\\_grid\\_summary.csv." in latex.replace(
        r"\allowbreak{}", ""
    )


def test_rows_without_an_order_of_merit_stand_in_several_floats_with_one_number() -> None:
    rows: list[Row] = [
        {"class": f"c{i}", "raw [%]": mean(0.5 + i / 1000, 0.01)} for i in range(100)
    ]
    latex = of(rows, caption="Note.")
    assert len(floats(latex)) == 3
    assert re.findall(r"^c(\d+) &", latex, re.MULTILINE) == [str(i) for i in range(100)]
    assert (latex.count(r"\label{"), latex.count(r"\addtocounter{table}{-1}")) == (1, 2)
    assert latex.count("(continued)") == 2
    assert (latex.count("Note."), latex.count("stand under the last part")) == (1, 2)
    many = of([*rows, *rows, *rows, *rows, *rows])
    assert len(floats(many)) == 6
    last = re.findall(r"^c\d+ &", many, re.MULTILINE)
    assert f"The first {len(last)} of 500 rows" in many


def test_a_table_takes_both_columns_only_where_one_is_too_narrow() -> None:
    wide: Row = {f"some name {k} [%]": mean(0.5 + k / 10, 0.123456) for k in range(6)}
    narrow: Row = dict([*wide.items()][:2])
    assert floats(of([named("a") | narrow, named("b") | narrow])) == ["table"]
    varied: Row = {name: mean(0.1, 0.05) for name in wide}
    assert floats(of([named("a") | wide, named("b") | varied])) == ["table*"]


def test_a_column_that_says_one_thing_goes_to_the_notes_where_there_is_no_room() -> None:
    made = grid_summary(lambda_grid(), ["lambda_adv"])
    made.insert(4, "size", range(1000, 1000 + len(made)))
    latex = to_latex(made, "some").decode()
    assert floats(latex) == ["table"]
    assert "In each row: seeds 3." in latex
    assert r"\multicolumn{1}{c}{seeds} &" not in latex
    roomy = to_latex(made[["lambda_adv", "seeds"]], "some").decode()
    assert r"\multicolumn{1}{c}{seeds}" in roomy
    assert "In each row" not in roomy
    lacking: Row = {f"some name {k} [%]": None for k in range(2)}
    full: Row = {f"name {k} [%]": mean(0.2 + k / 10, 0.123456) for k in range(4)}
    latex = of(
        [
            named("a") | full | lacking,
            named("b") | dict.fromkeys(full, mean(0.1, 0.012345)) | lacking,
        ]
    )
    assert r"No values: some name 0 {[}\%{]}, some name 1 {[}\%{]}." in latex


def test_columns_that_are_too_wide_stand_below_each_other_with_numbered_rows() -> None:
    names = [f"quite_a_long_setting_{k}" for k in range(9)]
    rows: list[Row] = [dict.fromkeys(names, 1.23456e-05 * (i + 1)) for i in range(3)]
    latex = of(rows)
    assert floats(latex) == ["table*"]
    assert latex.count(r"\begin{tabular*}") > 1
    for number in (1, 2, 3):
        assert len(re.findall(rf"^{number} & ", latex, re.MULTILINE)) == latex.count(r"\toprule")
    assert len(re.findall(r"1\.23456 \\cdot 10\^\{-5\}", latex)) == 9


def test_a_long_name_is_broken_into_lines_of_its_cell() -> None:
    rows: list[Row] = [
        named(words) | {"raw [%]": mean(0.5, 0.01)} for words in ("a name " * 9, "y" * 99)
    ]
    lines = of(rows).splitlines()
    further = [line for line in lines if line.startswith(r"\quad ")]
    assert len(further) > 3
    assert all(line.endswith(r" &  \\") for line in further)


def test_an_interval_that_a_bound_ends_takes_the_room_of_the_others_and_may_be_the_best() -> None:
    rows = [named("a") | {"x [%]": mean(0.98, 0.03)}, named("b") | {"x [%]": mean(0.5, 0.025)}]
    latex = of(rows, best=Best.of_columns(rows, "the higher"))
    room = r"\phantom{ (95.0 to 100.0)}"
    assert text(rows[0]["x [%]"]) == "98.0 (95.0 to 100.0)"
    assert rf"a & \textbf{{98.0}}\rlap{{ (95.0 to 100.0)}}{room} \\" in latex
    assert rf"b & 50.0\rlap{{ $\pm$ 2.5}}{room} \\" in latex


def test_columns_of_words_become_narrower_before_a_table_is_taken_apart() -> None:
    row: Row = {name: f"{name} words of a row " * 4 for name in ("a", "b", "c", "d")}
    latex = of([row, row | {"a": "other"}, row | {"b": None, "c": "other", "d": "other"}])
    assert floats(latex) == ["table*"]
    assert latex.count(r"\begin{tabular*}") == 1
    assert "}llll@{}}" in latex
    assert len(re.findall(r"^a ?words", latex, re.MULTILINE)) == 2
    assert "& --- &" in latex


def test_the_best_means_are_bold() -> None:
    rows: list[Row] = [
        {"loss": "a", "one [%]": mean(0.6, 0.01), "two [%]": mean(0.7, 0.01), "three [%]": None},
        {
            "loss": "b",
            "one [%]": mean(0.5, 0.01),
            "two [%]": mean(0.8, 0.01),
            "three [%]": mean(1, 1),
        },
    ]
    assert Best.of_columns(rows, "").cells == {(0, "one [%]"), (1, "two [%]")}
    assert Best.of_rows(rows, "").cells == {(0, "two [%]"), (1, "three [%]")}
    assert Best.of_columns(rows[:1] * 2, "").cells == set()


def test_a_bold_mean_has_a_dagger_where_a_comparison_beside_it_finds_no_difference() -> None:
    latex = to_latex(grid_summary(lambda_grid(), ["lambda_adv"]), "some").decode()
    (bold,) = re.findall(r"^.*\\textbf.*$", latex, re.MULTILINE)
    assert bold.startswith("0.002")
    assert r"\textbf{63.6} $\pm$ 2.1\tnote{$\dagger$} &" in bold
    assert r"Bold: the best setting; with a $\dagger$, its lead is not distinguishable." in latex
    apart, alike = (
        compare({seed: 0.6 + seed / 1000 for seed in range(3)}, dict(enumerate(others)))
        for others in ((0.5, 0.502, 0.501), (0.602, 0.599, 0.6))
    )
    assert (apart.distinguishable, alike.distinguishable) == (True, False)
    rows: list[Row] = [
        {
            "class": "a",
            "one [%]": mean(0.6, 0.1),
            "two [%]": mean(0.5, 0.1),
            "gain [points]": apart,
        },
        {
            "class": "b",
            "one [%]": mean(0.6, 0.1),
            "two [%]": mean(0.5, 0.1),
            "gain [points]": alike,
        },
    ]
    best = Best.of_rows(rows, "")
    assert best.cells == {(0, "one [%]"), (1, "one [%]")}
    assert best.doubtful == {(1, "one [%]")}


def test_what_is_not_distinguishable_has_a_dagger_that_the_notes_explain() -> None:
    raw = {0: 0.6, 1: 0.7}
    gain = compare(raw, {0: 0.7, 1: 0.6})
    latex = of([{"loss": "a", "gain [points]": gain}], caption="n.d.: not distinguishable.")
    assert r"\tnote{$\dagger$} \\" in latex
    assert r"\item[] $\dagger$: not distinguishable." in latex


def test_a_table_without_trials_is_one_too() -> None:
    assert r"\multicolumn{1}{c}{--}" in to_latex(table4([], PAPER), "table4").decode()
