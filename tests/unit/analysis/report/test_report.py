"""The report: one page that needs nothing else, says all it must, and trusts no text."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any
from xml.sax.saxutils import escape

import pandas as pd
import pytest
from report_helpers import (
    CAPTION,
    ENVIRONMENT,
    NO_COSTS,
    SHAPES,
    figure_item,
    page,
    picture,
    section,
    sweep_of,
    table_item,
    trials_of,
)

from analysis.record.version_mix import mixtures_of
from analysis.report.facts import costs, failure_groups, format_duration, hardware, stamp, tally
from analysis.report.pictures import Picture
from analysis.report.views import ROWS_SHOWN, heading_of, view_of

VOID = {"meta", "link", "img", "source"}
BLOCKS = {"p", "li", "dt", "dd", "h1", "h2", "h3", "h4", "summary"}


class Page(HTMLParser):
    """The elements of a page with their attributes, its words, and whether its tags nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag in BLOCKS:
            self.words += " "
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] in ("style", "script"):
            return
        self.words += data
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data

    def values(self, name: str, tag: str | None = None) -> list[str]:
        """All values of an attribute, in the order of the page."""
        return [
            str(attrs[name])
            for found, attrs in self.elements
            if name in attrs and tag in (None, found)
        ]

    @property
    def text(self) -> str:
        return " ".join(self.words.split())


def texts(frame: pd.DataFrame) -> list[list[str]]:
    return [[cell.text for cell in row] for row in view_of(frame).rows]


# The page as a whole


def test_same_sections_give_the_same_page() -> None:
    assert page() == page()


def test_the_page_loads_nothing_and_its_links_lead_to_files_parts_and_mlflow() -> None:
    read = Page(page(section(), section()))
    assert all(source.startswith("data:") for source in read.values("src"))
    links = read.values("href", "a")
    kinds = Counter("#" if href[0] == "#" else href.partition(":")[0] for href in links)
    assert set(kinds) - {"#", "http"} == {
        *("fig4.pdf", "fig4.csv", "table2.csv", "trials.csv", "manifest.json")
    }
    runs = [href for href in links if href.startswith("http")]
    assert all(href.startswith("http://127.0.0.1:5000/#/experiments/1/runs/") for href in runs)
    assert [attrs for tag, attrs in read.elements if tag == "link"] == [
        {"rel": "icon", "href": "data:,"}
    ]


def test_anchors_and_labels_point_at_parts_that_exist_once() -> None:
    read = Page(page(section(), section(title="Another")))
    ids = Counter(read.values("id"))
    assert set(ids.values()) == {1}
    anchors = {href[1:] for href in read.values("href", "a") if href.startswith("#")}
    assert anchors | set(read.values("aria-labelledby")) <= set(ids)
    assert {"s1-fig4", "s2-fig4", "s1-table2", "s1-trials", "s1-conditions"} <= anchors


def test_headings_skip_no_level() -> None:
    read = Page(page(section(trials=trials_of(["FINISHED", "FAILED"]))))
    levels = [int(tag[1]) for tag, _ in read.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_policy_allows_the_script_of_the_page_and_no_other() -> None:
    html = page()
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    assert f"script-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_text_from_the_record_is_never_markup() -> None:
    evil = "</script><script>alert('x')</script>\"'&"
    trials = trials_of(["FINISHED", "FAILED"]).assign(cause=[None, evil], lambda_adv=[evil, evil])
    html = page(
        section(
            {"why_partial": evil, "state": "partial", "question": evil},
            environment=ENVIRONMENT | {"cpu": evil},
            **dict.fromkeys(("title", "dataset"), evil),
            sentences=[evil],
            figures=[figure_item(title=evil, caption=evil, files=[evil, "javascript:alert(1)"])],
            tables=[table_item(pd.DataFrame({evil: [evil]}), title=evil, caption=evil)],
            left_out=[evil],
            trials=trials,
        ),
        tracking_uri=f"sqlite:///{evil}",
    )
    assert html.count("<script>") == 1
    assert "alert('x')" not in html
    assert escape("<script>alert(") in html
    read = Page(html)
    assert read.text.count(evil) > 10
    assert not [href for href in read.values("href") if href.startswith("javascript:")]


# What it says of a sweep


def test_a_sweep_is_told_from_its_question_to_its_conditions() -> None:
    text = Page(page()).text
    told = [
        "Data set: shapes (generated, not the paper's data) Weight of the adversarial loss",
        "Does mIoU depend on lambda?",
        "What came out The best lambda is 0.01. It is not distinguishable from 0.1.",
        "Figure fig4",
        f"How this was made {CAPTION}",
        "Files: fig4.pdf, fig4.csv",
        "Table 2",
        "How this was made In percent.",
        "Files: table2.csv",
        "Of 6 trials 5 finished, 1 stopped early.",
        "1 stopped early: below the median (00000003)",
        "Training runs 7 for 6 trials; one run per trial would be 21",
        "Hardware Some Processor, 2 CPU cores, 15.6 GB of memory, no GPU",
        "Python 3.12.4, Linux",
        "Packages ray 2.60.0, torch 2.15.0",
        "Code version cccccccccccccccc Data fingerprint dddddddddddddddd",
        "Command python sweeps/lambda_grid.py --seeds 3",
        f"sweep {'b' * 16}, run {'a' * 32}",
        "Drawn from the record at sqlite:///mlflow.db with matplotlib 3.10.1.",
    ]
    told_from = text.index("Data set:")  # the contents before it name the parts, too
    places = [text.find(part, told_from) for part in told]
    assert -1 not in places, told[places.index(-1)]
    assert places == sorted(places)
    assert 'class="note"' not in page()


def test_the_overview_counts_trials_runs_and_hours() -> None:
    read = Page(page(section(), section(NO_COSTS, title="Another")))
    head, first, second = read.rows[-3:]  # what it cost stands after what came out
    assert head[2:] == [
        "trials",
        "finished",
        "training runs",
        "hours",
        "runs, naive",
        "hours, naive",
    ]
    assert first[2:] == ["6", "5", "7", "0.0417", "21", "0.125"]
    assert second[2:] == ["6", "5", *"\N{EN DASH}" * 4]


def test_a_record_without_costs_and_environment_says_so() -> None:
    text = Page(page(section(NO_COSTS, environment={}))).text
    assert "Cost not recorded Hardware and versions not recorded" in text


@pytest.mark.parametrize(
    ("states", "facts", "said"),
    [
        (["FINISHED"] * 6, {}, ""),
        (["FINISHED"] * 4 + ["KILLED"] * 2, {}, ""),
        (["FINISHED"] * 5, {}, "5 of 6 trials"),
        (["FINISHED"] * 5 + ["FAILED"], {}, "5 of 6 trials"),
        (["FINISHED"] * 5 + ["RUNNING"], {}, "5 of 6 trials"),
        (["FINISHED"] * 6, {"state": "partial"}, "6 of 6 trials"),
    ],
)
def test_a_sweep_that_lacks_trials_is_stamped(
    states: list[str], facts: dict[str, Any], said: str
) -> None:
    assert stamp(sweep_of(facts), trials_of(states)) == said


def test_the_stamp_names_the_reason() -> None:
    facts = {"state": "partial", "why_partial": "time budget of 60 s"}
    read = Page(page(section(facts, trials=trials_of(["FINISHED", "FINISHED"]))))
    assert "2 of 6 trials. The sweep ended early: time budget of 60 s." in read.text
    assert "Of 6 trials 2 finished, 4 not begun." in read.text


def test_finished_trials_without_an_miou_are_counted() -> None:
    trials = trials_of(["FINISHED"] * 3, **{"swa/miou": [0.5, math.nan, 0.6]})
    assert tally(trials, 3) == "Of 3 trials 3 finished, 1 finished without an mIoU."


def test_code_and_data_that_differ_are_named_and_shown_by_trial() -> None:
    versions = ["c0ffee" * 3, "c0ffee" * 3, "deadbeef" * 2, None]
    trials = trials_of(["FINISHED"] * 3 + ["FAILED"], code_version=versions)
    (mixture,) = mixtures_of(trials)
    assert mixture.what == "2 code versions"
    assert mixture.counts == {"c0ffeec0ffee": 2, "deadbeefdead": 1}
    read = Page(page(section(trials=trials)))
    assert "2 code versions in one sweep, whose trials may not compare: c0ffeec0ffee" in read.text
    (head,) = [row for row in read.rows if row[0] == "run"]
    assert head[1:4] == ["status", "seed", "lambda_adv"]
    assert head[4:] == ["val/miou [%]", "swa/miou [%]", "code_version", "cause"]


def test_kinds_of_machines_are_named_and_told_from_code_that_differs() -> None:
    kinds = ["x86_64 AVX512", "x86_64 AVX2", "x86_64 AVX512", ""]
    trials = trials_of(["FINISHED"] * 4, processor=kinds, torch=["2.15.0"] * 3 + [""])
    (mixture,) = mixtures_of(trials)
    assert mixture.counts == {"x86_64 AVX2": 1, "x86_64 AVX512": 2}
    read = Page(page(section(trials=trials)))
    assert (
        "2 kinds of processor in one sweep, whose trials may differ in digits for that alone: "
        "x86_64 AVX2 (trials: 1), x86_64 AVX512 (trials: 2)."
    ) in read.text
    (head,) = [row for row in read.rows if row[0] == "run"]
    assert "processor" in head
    assert "torch" not in head


def test_causes_are_gathered_the_most_frequent_first() -> None:
    trials = trials_of(["FINISHED", "FAILED", *["KILLED"] * 5, "RUNNING"])
    found = [
        (each.count, each.status, each.cause, len(each.runs)) for each in failure_groups(trials)
    ]
    assert found == [
        (5, "stopped early", "below the median", 3),
        (1, "failed", "NonFiniteLossError: train/loss_adv is nan", 1),
        (1, "not ended", "no cause recorded", 1),
    ]


def test_a_sweep_without_a_cause_or_a_finished_trial_has_a_section() -> None:
    trials = trials_of(["FAILED", "FAILED"], cause=[math.nan, math.nan])
    text = Page(page(section(trials=trials))).text
    assert "0 of 6 trials." in text
    assert "2 failed: no cause recorded" in text


def test_very_many_causes_are_cut_and_counted() -> None:
    trials = trials_of(["FAILED"] * 30, cause=[f"cause {number}" for number in range(30)])
    assert "10 more causes stand with their trials." in Page(page(section(trials=trials))).text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59, "59 s"), (150, "2.5 min"), (3600, "1.0 h"), (36e6, "10,000.0 h")],
)
def test_a_duration_is_told_in_its_unit(seconds: float, said: str) -> None:
    assert format_duration(seconds) == said


def test_costs_stand_beside_one_run_per_trial() -> None:
    recorded = {"training_runs": 7.0, "naive_runs": 21.0, "training_s": 1200.0}
    assert costs(sweep_of(recorded))[1] == (
        "Training time",
        "20.0 min; one run per trial would take about 1.0 h, at the mean time per run",
    )
    nothing_new = {"training_runs": 0.0, "naive_runs": 21.0, "training_s": 0.0}
    assert costs(sweep_of(nothing_new))[1] == ("Training time", "0 s")


def test_hardware_counts_equal_gpus() -> None:
    gpus = {"cpus": 1, "gpus": ["Big", "Small", "Big"]}
    assert hardware(gpus) == "1 CPU core, 2 Big, 1 Small"


# Links to MLflow


@pytest.mark.parametrize(
    ("uri", "base"),
    [
        ("http://127.0.0.1:5001", "http://127.0.0.1:5001"),
        ("https://me:secret@host.example/mlflow/?a=b", "https://host.example/mlflow"),
    ],
)
def test_a_server_is_linked_to_without_its_password(uri: str, base: str) -> None:
    html = page(tracking_uri=uri)
    links = [href for href in Page(html).values("href", "a") if href.startswith("http")]
    # Each trial, the one that was stopped once more beside its cause, and the sweep.
    ids = [f"{number:08d}{'e' * 24}" for number in (0, 1, 2, 3, 3, 4, 5)] + ["a" * 32]
    assert sorted(links) == [f"{base}/#/experiments/1/runs/{run_id}" for run_id in ids]
    assert "mlflow ui" not in html
    assert "secret" not in html


def test_a_database_is_linked_to_through_the_command_that_serves_it() -> None:
    text = Page(page(tracking_uri="sqlite:///my runs/mlflow.db")).text
    command = "mlflow ui --backend-store-uri 'sqlite:///my runs/mlflow.db' --host 127.0.0.1"
    assert f"open while this runs where the record lies: {command}" in text


# Figures


def test_a_figure_has_its_caption_as_words_and_its_size_in_paper() -> None:
    (image,) = images_of(page())
    assert image["alt"] == "Figure fig4"
    shown = Page(page(section(figures=[figure_item(shows="It rises.")]))).values("alt", "img")
    assert shown == ["It rises."]
    # 6.4 x 3 inches at 96 CSS pixels each, a fifth larger
    assert (image["width"], image["height"]) == ("737", "346")
    assert image["src"] == f"data:image/png;base64,{letters_of(picture())}"


def images_of(html: str, tag: str = "img") -> list[dict[str, str | None]]:
    return [attrs for found, attrs in Page(html).elements if found == tag]


def letters_of(one: Picture) -> str:
    return base64.b64encode(one.content).decode()


@pytest.mark.parametrize(("in_picture", "times"), [(True, 0), (False, 1)])
def test_a_caption_is_to_be_seen_once_and_what_came_out_before_it(
    in_picture: bool, times: int
) -> None:
    item = figure_item(in_picture=in_picture, shows="It rises.")
    html = page(section(figures=[item]))
    assert html.count(CAPTION) == times
    assert html.count("<figcaption") == 1
    # Who hears the picture's words does not hear them again.
    assert html.count(">It rises.<") == html.count('<p aria-hidden="true">It rises.</p>') == 1
    after = html[html.index("<figcaption") :]
    assert after.index("It rises.") < after.index("How this was made")


def test_a_vector_figure_is_shown_as_such_and_a_phone_has_its_own() -> None:
    wide, narrow = picture(kind="svg+xml"), picture(3.3, "svg+xml")
    html = page(section(figures=[figure_item(picture=wide, narrow=narrow)]))
    (image,), (phone,) = images_of(html), images_of(html, "source")
    assert image["src"] == f"data:image/svg+xml;base64,{letters_of(wide)}"
    assert phone["srcset"] == f"data:image/svg+xml;base64,{letters_of(narrow)}"
    assert phone["media"] == "screen and (max-width: 34rem)"
    assert (phone["width"], phone["height"]) == ("380", "346")
    assert 'class="card"' in html
    assert images_of(page(), "source") == []
    assert 'class="card roomy"' in page()  # it scrolls, where it would be too small


def test_a_table_says_what_came_out_and_how_it_was_made_once_each() -> None:
    frame = pd.DataFrame({"loss": ["a"], "gain": ["+1.0 ± 2.0, n.d."]})
    caption = "On the validation set. One is best.\nMeans over 3 seeds."
    item = table_item(frame, caption=caption, sentence="One is best\nTwo is not")
    text = Page(page(section(tables=[item]))).text
    assert "Table 2 One is best. Two is not. ±: 95 % interval; n.d.: not distinguishable." in text
    assert "How this was made On the validation set. Means over 3 seeds." in text
    assert "not distinguishable" not in Page(page(section(sentences=[]))).text


def test_many_sentences_are_folded_after_three() -> None:
    told = [f"Sentence {number}." for number in range(5)]
    text = Page(page(section(sentences=told))).text
    assert "Sentence 2. 2 more Sentence 3. Sentence 4." in text
    assert " more Sentence" not in Page(page(section(sentences=told[:3]))).text


def test_several_sweeps_open_with_the_answer_of_each() -> None:
    told = [
        section({"question": f"Question {number}?"}, title=title, sentences=[f"Answer {number}."])
        for number, title in enumerate(["One", "Two"])
    ]
    text = Page(page(*told)).text
    assert "One Question 0? Answer 0. Two Question 1? Answer 1." in text.partition("Data set")[0]
    assert "Answer" not in Page(page(told[0])).text.partition("Data set")[0]
    # What it cost all together stands last, and is told of one sweep in its own part.
    assert text.rindex("Answer 1.") < text.rindex("All sweeps: trials and cost")
    assert "All sweeps" not in Page(page(told[0])).text


def test_a_heading_tells_its_data_apart() -> None:
    for title, parts in {
        f"Fig. 4 on {SHAPES}": ("Fig. 4", f" on {SHAPES}"),
        "Settings of mine, shapes (generated)": ("Settings of mine", ", shapes (generated)"),
        "Depends on nothing": ("Depends on nothing", ""),
    }.items():
        assert heading_of(title, "shapes") == parts


def test_a_file_name_is_quoted_in_its_link() -> None:
    read = Page(page(section(figures=[figure_item(files=["a b#c.csv"])])))
    assert "a%20b%23c.csv" in read.values("href", "a")


# Tables


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([72.125, 3.0, math.nan], ["72.12", "3.00", "\N{EN DASH}"]),
        ([0.0, 0.001, 0.01, 1.0], ["0", "0.001", "0.01", "1"]),
        ([0.0, 0.01, 0.5], ["0.00", "0.01", "0.50"]),
        ([1e-4, 1e-3], ["0.0001", "0.0010"]),
        ([10.0, 20.0, math.nan], ["10", "20", "\N{EN DASH}"]),
        ([3, 12], ["3", "12"]),
        ([math.inf, 1.5], ["inf", "1.5"]),
        (["eq7", None, ""], ["eq7", "\N{EN DASH}", "\N{EN DASH}"]),
        ([True, False], ["True", "False"]),
    ],
)
def test_a_column_is_written_in_one_format(values: list[Any], written: list[str]) -> None:
    assert [row[0] for row in texts(pd.DataFrame({"x": values}))] == written


@pytest.mark.parametrize(
    ("values", "keys"),
    [
        (["9.5 [9.1, 9.9]", "75.4 ± 1", None], ["9.5", "75.4", ""]),
        (["\N{MINUS SIGN}0.5", "+1"], ["-0.5", "+1"]),
        ([2.0, math.inf, math.nan], ["2.0", "Infinity", ""]),
        (["1f0c", "2"], ["", ""]),
        ([True, False], ["", ""]),
    ],
)
def test_a_column_is_sorted_by_number_only_where_all_are_numbers(
    values: list[Any], keys: list[str]
) -> None:
    view = view_of(pd.DataFrame({"x": values}))
    assert [row[0].sort for row in view.rows] == keys
    assert view.columns[0].numeric == any(keys)


def test_a_long_table_says_what_it_leaves_out() -> None:
    frame = pd.DataFrame({"x": range(ROWS_SHOWN + 1)})
    text = Page(page(section(tables=[table_item(frame)]))).text
    assert "The first 500 of 501 rows are shown; the file has all of them." in text
    assert "rows are shown" not in Page(page(section(tables=[table_item(frame[1:])]))).text


def test_trials_stand_the_best_first_and_say_so() -> None:
    read = Page(page())
    start = next(index for index, row in enumerate(read.rows) if row[0] == "run")
    rows = read.rows[start + 1 : start + 7]
    assert [int(row[0][:8]) for row in rows] == [5, 4, 2, 1, 0, 3]
    assert rows[0][1:] == ["finished", "2", "0.10", "50.01", "51.01", "\N{EN DASH}"]
    assert read.values("aria-sort") == ["descending"]


def test_ten_thousand_trials_are_cut_to_the_best_and_the_failed() -> None:
    states = ["FAILED"] * 300 + ["KILLED"] * 1000 + ["FINISHED"] * 8700
    html = page(section({"trials_total": 10_000}, trials=trials_of(states)))
    read = Page(html)
    assert (
        "500 of 10000 trials are shown: the 250 best by swa/miou and 250 of the 300 failed; "
        "all stand in the files below." in read.text
    )
    runs = [row[0] for row in read.rows if re.fullmatch(r"\d{8}e{24}", row[0])]
    assert len(runs) == ROWS_SHOWN
    assert runs[0].startswith("00009999")
    assert len(html) < 1_000_000


def test_the_papers_claims_stand_once_after_the_sweeps() -> None:
    claims = table_item(name="claims", title="The claims", sentence="One of two holds")
    html = page(section(), section(), claims=claims)
    assert html.count('id="all-claims"') == html.count('href="#all-claims"') == 1
    assert html.index('<li><a href="#s2"') < html.index('<li><a href="#all-claims"')
    assert html.index('id="s2"') < html.index('id="all-claims"') < html.index('id="overview"')
    assert "<p>One of two holds.</p>" in html
    Page(html)
    assert "all-claims" not in page()
