"""The charts of a saved view: mIoU against each axis, all axes at once, and curves over steps.

Source: the cards' fields are those of mlflow 3.17, `runs-charts.types.ts` of its pages.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.record.schema import OBJECTIVE

Card = dict[str, object]

CURVES = ("val/miou", "train/loss_mce")  # which any trial has, whatever its losses
MOST_SCATTERS = 6  # axes with a chart of their own; of more, all stand in the one of all axes
MOST_RUNS = 100  # of one chart: as many as the table loads at once
ANSWER, OVER_STEPS = "answer", "curves"  # sections


def sections(objectives: Sequence[str] = (OBJECTIVE,)) -> list[Card]:
    """Return the sections that the charts stand in, in their order."""
    answer = "mIoU of the averaged weights by setting"
    if [*objectives] != [OBJECTIVE]:
        answer = f"{', '.join(objectives)} by setting"
    titles = {ANSWER: answer, OVER_STEPS: "Curves over steps"}
    shown: Card = {"display": True, "isReordered": False, "deleted": False, "isGenerated": False}
    shown |= {"columns": 2}  # charts side by side
    return [{"uuid": uuid, "name": title} | shown for uuid, title in titles.items()]


def charts(axes: Sequence[str], objectives: Sequence[str] = (OBJECTIVE,)) -> list[Card]:
    """Return the charts of a sweep over these axes.

    Args:
        axes: The config fields that the sweep varies, besides the seed.
        objectives: The metrics that it is judged by, the one that ranks settings first.
    """
    return [
        *(_trade_off(objectives[0], other) for other in objectives[1:]),
        *(_scatter(axis, objectives[0]) for axis in axes[:MOST_SCATTERS]),
        _parallel([*axes, "seed"], objectives),
        *(_curve(metric) for metric in CURVES),
    ]


def _card(kind: str, name: str, section: str) -> Card:
    return {
        "uuid": f"{kind.lower()}-{name}",
        "type": kind,
        "metricSectionId": section,
        "runsCountToCompare": MOST_RUNS,
        "deleted": False,
        "isGenerated": False,
    }


def _scatter(axis: str, objective: str) -> Card:
    return _card("SCATTER", axis, ANSWER) | {
        "xaxis": {"key": axis, "type": "PARAM"},
        "yaxis": {"key": objective, "type": "METRIC"},
    }


def _trade_off(objective: str, other: str) -> Card:
    return _card("SCATTER", other, ANSWER) | {
        "xaxis": {"key": other, "type": "METRIC"},
        "yaxis": {"key": objective, "type": "METRIC"},
    }


def _parallel(params: Sequence[str], objectives: Sequence[str]) -> Card:
    return _card("PARALLEL", "all", ANSWER) | {
        "selectedParams": [*params],
        "selectedMetrics": [*objectives],
        "showAllRuns": False,
    }


def _curve(metric: str) -> Card:
    return _card("LINE", metric, OVER_STEPS) | {
        "metricKey": metric,
        "selectedMetricKeys": [metric],
        "lineSmoothness": 0,
        "xAxisScaleType": "linear",
        "scaleType": "linear",
        "xAxisKey": "step",
        "selectedXAxisMetricKey": "",
        "yAxisKey": "metric",
        "yAxisExpressions": [],
        "range": {},
        "ignoreOutliers": False,
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
    }
