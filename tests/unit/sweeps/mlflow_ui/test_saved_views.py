"""Saved views: tags that MLflow's pages read."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

from sweeps.mlflow_ui.own_text import is_changed_view
from sweeps.mlflow_ui.saved_views import MOST_OF_A_TAG, SavedView, overview, trials_view
from trainable.config.schema import DEFAULTS


def view(*axes: str, **asked: Any) -> SavedView:
    return trials_view(parent_id="0123abcd", title="a sweep", created=1000, axes=axes, **asked)


def state_of(found: SavedView) -> Any:
    content = json.loads(found.tag[1])
    assert content["name"] == found.title
    assert content["createdAt"] == found.created
    packed = content["state"].removeprefix("deflate;")
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def test_the_tag_is_one_that_the_pages_look_for() -> None:
    assert view("lambda_adv").tag[0] == "mlflow.sharedViewState.0123abcd"


def test_the_table_has_axes_numbers_seed_and_state_the_best_first() -> None:
    state = state_of(view("lambda_adv", "swa_n"))
    assert state["selectedColumns"] == [
        "params.`lambda_adv`",
        "params.`swa_n`",
        "params.`seed`",
        "metrics.`swa/miou`",
        "metrics.`val/miou`",
        "attributes.`Created`",
        "attributes.`Duration`",
    ]
    assert state["columnOrder"][0] == "attributes.`Run Name`"
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`swa/miou`", False)


def test_only_the_trials_of_the_sweep_are_in_it_and_the_parents_in_the_view_of_all() -> None:
    filters = state_of(view("lambda_adv"))["searchFilter"]
    assert filters == "tags.kind = 'trial' and tags.`mlflow.parentRunId` = '0123abcd'"
    assert state_of(overview())["searchFilter"] == "tags.kind = 'sweep'"


def test_each_axis_has_a_chart_and_so_have_all_at_once_and_the_curves() -> None:
    state = state_of(view("lambda_adv", "adversarial"))
    cards = state["compareRunCharts"]
    scatters = [card for card in cards if card["type"] == "SCATTER"]
    assert [card["xaxis"]["key"] for card in scatters] == ["lambda_adv", "adversarial"]
    assert {card["yaxis"]["key"] for card in scatters} == {"swa/miou"}
    (parallel,) = [card for card in cards if card["type"] == "PARALLEL"]
    assert parallel["selectedParams"] == ["lambda_adv", "adversarial", "seed"]
    curves = [card["metricKey"] for card in cards if card["type"] == "LINE"]
    assert curves == ["val/miou", "train/loss_mce"]
    uuids = [card["uuid"] for card in cards]
    assert len(set(uuids)) == len(uuids)
    known = {section["uuid"] for section in state["compareRunSections"]}
    assert {card["metricSectionId"] for card in cards} == known


def test_the_same_sweep_gives_the_same_tag() -> None:
    assert view("lambda_adv").tag == view("lambda_adv").tag


def test_a_sweep_over_every_field_fits_into_a_tag() -> None:
    found = view(*DEFAULTS)
    assert len(found.tag[1]) <= MOST_OF_A_TAG
    assert len(state_of(found)["selectedColumns"]) > 10


def test_axes_that_a_tag_cannot_hold_are_left_out_from_the_last() -> None:
    found = view("lambda_adv", "swa_n", "swa_threshold", most=len(view("lambda_adv").tag[1]))
    columns = state_of(found)["selectedColumns"]
    assert columns[:2] == ["params.`lambda_adv`", "params.`seed`"]


def test_a_view_that_was_written_over_in_the_pages_is_known_by_its_time() -> None:
    text = view("lambda_adv").tag[1]
    assert not is_changed_view(text)
    assert is_changed_view(json.dumps(json.loads(text) | {"updatedAt": 2000}))
    assert not is_changed_view("")
    assert not is_changed_view("deflate;abc")
