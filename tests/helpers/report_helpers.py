"""A made-up record as the report's sections: real pictures, all kinds of trials."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal

import pandas as pd
from matplotlib.figure import Figure

from analysis.record.schema import Sweep
from analysis.report.page import FigureItem, Section, TableItem, render_report
from analysis.report.pictures import Picture

SHAPES = "shapes (generated, not the paper's data)"
CAPTION = "Mean over 3 seeds; bars: 95 % Student-t interval."
ENVIRONMENT: dict[str, Any] = {
    "python": "3.12.4",
    "platform": "Linux",
    "cpu": "Some Processor",
    "cpus": 2,
    "memory_gb": 15.6,
    "gpus": [],
    "packages": {"torch": "2.15.0", "ray": "2.60.0"},
    "command": "python sweeps/lambda_grid.py --seeds 3",
}
NO_COSTS = dict.fromkeys(("training_runs", "naive_runs", "training_s"), math.nan)
SWEEP: dict[str, Any] = {
    "sweep": "lambda_grid",
    "dataset": "shapes",
    "question": "Does mIoU depend on lambda?",
    "sweep_key": "b" * 16,
    "parent_run_id": "a" * 32,
    "experiment_id": "1",
    "trials_total": 6,
    "state": "complete",
    "training_runs": 7.0,
    "naive_runs": 21.0,
    "training_s": 150.0,
}
STATES = ("FINISHED", "FINISHED", "FINISHED", "KILLED", "FINISHED", "FINISHED")


def trials_of(states: Sequence[str] = STATES, **columns: Sequence[Any]) -> pd.DataFrame:
    """Return a trial per state: run ids by number, rising mIoU, a cause where it ended badly."""
    causes = {"FAILED": "NonFiniteLossError: train/loss_adv is nan", "KILLED": "below the median"}
    rows = [
        {
            "run_id": f"{number:08d}{'e' * 24}",
            "status": state,
            "cause": causes.get(state),
            "seed": number % 3,
            "lambda_adv": (0.0, 0.01, 0.1)[number % 3],
            "val/miou": 0.5 + number / 7e4 if state == "FINISHED" else math.nan,
            "swa/miou": 0.51 + number / 7e4 if state == "FINISHED" else math.nan,
            "code_version": "c" * 16,
            "data_fingerprint": "d" * 16,
        }
        for number, state in enumerate(states)
    ]
    return pd.DataFrame(rows).assign(**columns)


@cache
def picture(width: float = 6.4, kind: Literal["png", "svg+xml"] = "png") -> Picture:
    """Return a plot of that many inches; its SVG carries styles and clip paths, as ours do."""
    figure = Figure(figsize=(width, 3), layout="constrained")
    figure.subplots().plot([0.0, 1.0, 2.0], [0.6, 0.7, 0.65], marker="o")
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind[:3], dpi=100)
    return Picture(content=buffer.getvalue(), kind=kind, width_pt=width * 72, height_pt=3 * 72)


def figure_item(name: str = "fig4", **changes: Any) -> FigureItem:
    """Return a figure with a PDF and a CSV beside the page."""
    given: dict[str, Any] = {
        "name": name,
        "title": f"Figure {name}",
        "caption": CAPTION,
        "picture": picture(),
        "files": [f"{name}.pdf", f"{name}.csv"],
    }
    return FigureItem(**given | changes)


def table_item(frame: pd.DataFrame | None = None, **changes: Any) -> TableItem:
    """Return a table whose order as text, digits by value or not, is not that by number."""
    if frame is None:
        frame = pd.DataFrame(
            {
                "setting": ["standard", "baseline", "pixelwise", "weak"],
                "ours": ["\N{EN DASH}", "9.5 [9.1, 9.9]", "75.4 [74.1, 76.2]", "9.12 [9, 9.3]"],
                "runs": [5, 3, 12, 7],
            }
        )
    given: dict[str, Any] = {"name": "table2", "title": "Table 2", "caption": "In percent."}
    return TableItem(**given | {"frame": frame, "files": ["table2.csv"]} | changes)


def sweep_of(facts: Mapping[str, Any] | None = None) -> Sweep:
    """Return a sweep that is complete and says what it cost, but for these facts."""
    return Sweep(**SWEEP | dict(facts or {}))


def section(facts: Mapping[str, Any] | None = None, **changes: Any) -> Section:
    """Return a sweep that is complete, with one figure and one table."""
    given: dict[str, Any] = {
        "sweep": sweep_of(facts),
        "title": "Weight of the adversarial loss",
        "dataset": SHAPES,
        "sentences": ["The best lambda is 0.01.", "It is not distinguishable from 0.1."],
        "figures": [figure_item()],
        "tables": [table_item()],
        "trials": trials_of(),
        "environment": ENVIRONMENT,
        "trials_files": ["trials.csv"],
    }
    return Section(**given | changes)


def page(
    *sections: Section,
    tracking_uri: str = "sqlite:///mlflow.db",
    claims: TableItem | None = None,
) -> str:
    """Return the report of these sections, or of one plain one."""
    return render_report(
        sections or [section()],
        tracking_uri=tracking_uri,
        versions={"matplotlib": "3.10.1"},
        claims=claims,
    )
