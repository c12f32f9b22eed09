"""Addresses of MLflow's pages."""

from __future__ import annotations

from sweeps.mlflow_ui.links import Place, artifact_file, describe_record, run_page, view_page

ML = "workflowType=machine_learning"
PLACE = Place(experiment_id="7", parent_id="abc", view="0123")
VIEW = "#/experiments/7/runs?viewStateShareKey=0123&workflowType=machine_learning"


def test_a_server_is_told_with_the_page_of_the_view() -> None:
    assert describe_record("http://host:5000", PLACE) == f"http://host:5000/{VIEW}"
    assert describe_record("https://host/mlflow/", PLACE) == f"https://host/mlflow/{VIEW}"


def test_a_password_is_not_told() -> None:
    for place in (PLACE, None):
        said = describe_record("https://me:hunter2@host:8443/x", place)
        assert "hunter2" not in said
        assert "me" not in said.partition("#")[0]
        assert said.startswith("https://host:8443/x")
    said = describe_record("postgresql+psycopg2://me:hunter2@host/mlflow", PLACE)
    assert "hunter2" not in said


def test_a_database_is_told_with_the_command_that_shows_it_and_the_page() -> None:
    said = describe_record("sqlite:///mlflow.db", PLACE)
    command = "mlflow ui --backend-store-uri sqlite:///mlflow.db --host 127.0.0.1"
    assert said == f"{command}, then http://127.0.0.1:5000/{VIEW}"


def test_where_the_store_has_not_answered_there_is_no_page() -> None:
    assert describe_record("http://host:5000/", None) == "http://host:5000"
    assert describe_record("sqlite:///mlflow.db", None).endswith("--host 127.0.0.1")


def test_addresses_are_quoted() -> None:
    assert run_page("1", "a b") == f"#/experiments/1/runs/a%20b?{ML}"
    assert view_page("1", "a&b", charts=True).count("&") == 2
    assert artifact_file("r", "report/a b.png") == "get-artifact?path=report%2Fa+b.png&run_uuid=r"
