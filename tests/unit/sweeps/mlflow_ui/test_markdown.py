"""Texts of a record as markdown: none of them is taken for markup."""

from __future__ import annotations

import html

import pytest

from sweeps.mlflow_ui.markdown import code, escape, link, table

MEANT = [
    "lambda_adv=0.01, seed=3",
    "<img src=x onerror=alert(1)>",
    "a | b",
    "**bold** _lean_ `code` ~~gone~~",
    "[here](http://example.org)",
    "# head",
    "- item",
    "1. item",
    ":smile: @someone https://example.org www.example.org",
    r"back\slash & ampersand",
]


@pytest.mark.parametrize("text", MEANT)
def test_an_escaped_text_reads_as_it_was(text: str) -> None:
    assert html.unescape(escape(text)) == text


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ("<b>", "<"),
        ("a | b", "|"),
        ("**x**", "*"),
        ("_x_", "_"),
        ("[a](b)", "["),
        ("# a", "# "),
        ("- a", "-"),
        ("1. a", ". "),
        ("https://a.b", "://"),
        ("www.a.b", "www."),
        (":x:", ":x"),
        ("@x", "@"),
        ("!x", "!"),
        ("`x`", "`"),
        ("~~x~~", "~"),
        ('a" b', '"'),
    ],
)
def test_no_mark_is_left(text: str, mark: str) -> None:
    assert mark not in escape(text)


def test_names_of_fields_stay_readable() -> None:
    assert escape("lambda_adv=0.01 (6 seeds)") == "lambda_adv=0.01 (6 seeds)"


def test_a_text_of_several_lines_is_one() -> None:
    assert escape("one\n\n# two") == "one &#35; two"
    assert code("a\n`b`") == "`a 'b'`"


def test_a_cell_cannot_end_its_row() -> None:
    rows = table(["name"], [[escape("a | b\n| c")]]).splitlines()
    assert len(rows) == 3
    assert rows[2].count("|") == 2


def test_a_link_has_its_text_escaped() -> None:
    assert link("a]b", "#/x") == "[a&#93;b](#/x)"
