"""MLflow's own variables say where the record goes and comes from, where no option does."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from driver_helpers import SETS, question, read

from analysis import compare, make_figures
from analysis.record.tracking_uri import (
    DEFAULT_EXPERIMENT,
    DEFAULT_URI,
    EXPERIMENT_VARIABLE,
    URI_VARIABLE,
    describe_choice,
)
from sweeps import best, doctor, lambda_grid, log_model, publish
from sweeps.driver.options import sweep_parser
from sweeps.driver.sweep import answer
from trainable.config.schema import ConfigError
from trainable.storage.redaction import redact_uri

SERVER = "http://somewhere:5000"
PARSERS = {
    "sweep": (lambda_grid.parser, ()),
    "best": (best.parser, ("lambda_grid",)),
    "doctor": (doctor.parser, ()),
    "log_model": (log_model.parser, ("0" * 32,)),
    "make_figures": (make_figures.parser, ()),
    "compare": (compare.parser, ("one", "two")),
}


@pytest.fixture
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(URI_VARIABLE, SERVER)
    monkeypatch.setenv(EXPERIMENT_VARIABLE, "roads")


@pytest.mark.usefixtures("_environment")
@pytest.mark.parametrize(("parser", "words"), PARSERS.values(), ids=PARSERS)
def test_every_command_takes_both_where_no_option_names_another(
    parser: Callable[[], argparse.ArgumentParser], words: tuple[str, ...]
) -> None:
    told = parser().parse_args(words)
    assert (told.tracking_uri, told.experiment) == (SERVER, "roads")
    other = ("--tracking-uri", "sqlite:///my.db", "--experiment", "mine")
    told = parser().parse_args([*words, *other])
    assert (told.tracking_uri, told.experiment) == ("sqlite:///my.db", "mine")


@pytest.mark.parametrize(("parser", "words"), PARSERS.values(), ids=PARSERS)
def test_without_them_all_is_as_ever(
    parser: Callable[[], argparse.ArgumentParser], words: tuple[str, ...]
) -> None:
    told = parser().parse_args(words)
    assert (told.tracking_uri, told.experiment) == (DEFAULT_URI, DEFAULT_EXPERIMENT)
    assert describe_choice(told.tracking_uri, told.experiment) == ""


@pytest.mark.parametrize(
    ("variable", "value", "rule"),
    [
        (URI_VARIABLE, "databricks", f"must begin with one of .*'databricks' .of {URI_VARIABLE}."),
        (EXPERIMENT_VARIABLE, "a\nb", f"must be a line of 1 to 200 .* .of {EXPERIMENT_VARIABLE}."),
    ],
)
def test_a_value_that_is_none_is_refused_by_the_name_of_the_variable(
    variable: str,
    value: str,
    rule: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(SystemExit) as ended:
        sweep_parser("What?").parse_args([])
    assert ended.value.code == 2
    assert re.search(rule, capsys.readouterr().err)


def test_a_sweep_says_where_it_records_and_by_which_variables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv(URI_VARIABLE, uri)
    asked = ("--storage", str(tmp_path / "runs"), "--experiment", "mine", "--plan")
    assert answer(question([{}]), *read(sweep_parser("What?"), *SETS, *asked)) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"recording in experiment mine in {uri} (as {URI_VARIABLE} says)" in said
    assert list(tmp_path.iterdir()) == []


def test_publishing_takes_the_password_of_a_sweeps_own_store_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uri = "postgresql://me:hush@somewhere/mlflow"
    manifest = {"name": "mine", "tracking_uri": redact_uri(uri), "password": True}
    monkeypatch.setenv(URI_VARIABLE, uri)
    assert publish._store_of(manifest, Path("runs")) == uri
    monkeypatch.setenv(URI_VARIABLE, "postgresql://me:hush@elsewhere/mlflow")
    with pytest.raises(ConfigError, match="which is written nowhere"):
        publish._store_of(manifest, Path("runs"))
