"""Views of the table of runs, as MLflow saves them: a tag of the experiment that its pages read.

A view names columns with their order and widths, a filter, what the rows are sorted by, and the
charts. Pages that know no such views show their own default.

Source: mlflow 3.17, `savedViewEnvelope.ts`, `useSharedExperimentViewState` and
`ExperimentPageUIState.tsx` of its pages.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from analysis.record.schema import OBJECTIVE, trials_under
from sweeps.mlflow_ui.charts import charts, sections

PREFIX = "mlflow.sharedViewState."  # of the tag; the view's id follows
DEFLATED = "deflate;"  # before base64 of what zlib has packed
MOST_OF_A_TAG = 5000  # characters of an experiment's tag, in MLflow's databases
NAME, CREATED, DURATION = "attributes.`Run Name`", "attributes.`Created`", "attributes.`Duration`"
# What the table calls three of its columns where their order is told.
COLUMN_IDS = {CREATED: "runDateAndNestInfo", DURATION: "duration"}
NAME_PX, NUMBER_PX, SEED_PX = 230, 120, 80
OVERVIEW = "sweeps"  # id of the view of all sweeps
OVERVIEW_METRICS = ("mean/swa/miou", "ci_low/swa/miou", "ci_high/swa/miou", "mean/val/miou")
OVERVIEW_TAGS = ("dataset", "state", "trials_total", "question")
Json = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class SavedView:
    """A view of an experiment's table.

    Attributes:
        view_id: What its address and its tag name it by.
        title: What the menu of views names it by.
        created: Milliseconds since the epoch; the menu has the newest first.
        runs: MLflow's filter string for its rows.
        sort: The column whose largest value comes first.
        columns: The columns after the name of the run, in their order.
        widths: Pixels of columns that are not as wide as others.
        cards: The charts and their sections.
    """

    view_id: str
    title: str
    created: int
    runs: str
    sort: str
    columns: Sequence[str]
    widths: dict[str, int] = field(default_factory=dict)
    cards: Json = field(default_factory=dict)

    @property
    def tag(self) -> tuple[str, str]:
        """The tag of the experiment that holds the view: its name and its text."""
        packed = base64.b64encode(zlib.compress(json.dumps(self._state()).encode(), 9)).decode()
        content = {
            "name": self.title,
            "createdAt": self.created,
            "updatedAt": self.created,
            "state": DEFLATED + packed,
        }
        return PREFIX + self.view_id, json.dumps(content)

    def _state(self) -> Json:
        filters: Json = {
            "searchFilter": self.runs,
            "orderByKey": self.sort,
            "orderByAsc": False,
            "startTime": "ALL",
            "lifecycleFilter": "Active",
            "modelVersionFilter": "All Runs",
            "datasetsFilter": [],
        }
        table: Json = {
            "selectedColumns": [*self.columns],
            "columnOrder": [NAME, *(COLUMN_IDS.get(one, one) for one in self.columns)],
            "columnWidths": {NAME: NAME_PX} | self.widths,
            "runsHiddenMode": "SHOW_ALL",
            "hideEmptyCharts": True,
        }
        return filters | table | self.cards


def trials_view(
    *,
    parent_id: str,
    title: str,
    created: int,
    axes: Sequence[str],
    objectives: Sequence[str] = (OBJECTIVE,),
    most: int = MOST_OF_A_TAG,
) -> SavedView:
    """Return the view of a sweep's trials, the best first, with the charts that answer it.

    Args:
        parent_id: MLflow's id of the parent run of the sweep.
        title: What the menu of views names it by.
        created: When the sweep began, in milliseconds since the epoch.
        axes: The config fields that it varies, besides the seed; where there are more than a tag
            can hold, the last ones are left out.
        objectives: The metrics that it is judged by, the one that ranks settings first.
        most: Characters that the tag may have.
    """
    shown = [*axes]
    while True:
        view = _trials_view(parent_id, title, created, shown, objectives)
        if len(view.tag[1]) <= most or not shown:
            return view
        shown.pop()


def _trials_view(
    parent_id: str, title: str, created: int, axes: Sequence[str], objectives: Sequence[str]
) -> SavedView:
    params = [_param(name) for name in (*axes, "seed")]
    metrics = [_metric(name) for name in dict.fromkeys((*objectives, OBJECTIVE, "val/miou"))]
    widths = dict.fromkeys([*params, *metrics], NUMBER_PX) | {_param("seed"): SEED_PX}
    return SavedView(
        view_id=parent_id,
        title=title,
        created=created,
        runs=trials_under(parent_id),
        sort=_metric(objectives[0]),
        # Its state is the sign beside the time at which a run was created.
        columns=[*params, *metrics, CREATED, DURATION],
        widths=widths,
        cards={
            "compareRunCharts": charts(axes, objectives),
            "compareRunSections": sections(objectives),
            "isAccordionReordered": True,  # else sections are sorted by their names
        },
    )


def overview() -> SavedView:
    """Return the view of all sweeps of an experiment, one a row: the parents without children."""
    metrics = [_metric(name) for name in OVERVIEW_METRICS]
    tags = [f"tags.`{name}`" for name in OVERVIEW_TAGS]
    return SavedView(
        view_id=OVERVIEW,
        title="All sweeps",
        created=0,
        runs="tags.kind = 'sweep'",
        sort="attributes.start_time",
        columns=[*metrics, *tags, CREATED, DURATION],
        widths=dict.fromkeys(metrics, NUMBER_PX),
    )


def _param(name: str) -> str:
    return f"params.`{name}`"


def _metric(name: str) -> str:
    return f"metrics.`{name}`"
