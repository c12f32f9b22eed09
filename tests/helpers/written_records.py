"""Small records, written through MLflow's client as the driver writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.record.schema import EXPERIMENT
from trainable.storage import json_files

Point = tuple[float, int]  # lambda_adv and seed

RAW = {0.0: (0.60, 0.62, 0.61), 0.01: (0.63, 0.66, 0.64), 0.1: (0.55, 0.50, 0.57)}
SWA_GAIN = (0.010, 0.012, 0.008)
POINTS = [(value, seed) for value in RAW for seed in range(3)]


def write_sweep(
    uri: str,
    sweep: str,
    *,
    key: str,
    start: int,
    points: Sequence[Point] = POINTS,
    states: Mapping[Point, str] | None = None,
    tags: Mapping[Point, Mapping[str, str]] | None = None,
    asked: Mapping[str, str] | None = None,
    costs: Mapping[str, float] | None = None,
    details: Mapping[Point, Any] | None = None,
    schema: str = "1",
    double: bool = False,
    values: Mapping[float, Sequence[float]] = RAW,
    fields: Mapping[str, object] | None = None,
) -> dict[Point, str]:
    """Write a sweep as the driver does and return its runs' ids.

    Args:
        uri: Of the store.
        sweep: Its name.
        key: Its `sweep_key`.
        start: Milliseconds since the epoch.
        points: Its trials.
        states: Of trials that have not finished.
        tags: Of single trials.
        asked: More tags of the parent run.
        costs: Metrics of the parent run.
        details: `result.json` of single trials.
        schema: Of the record.
        double: Whether a RUNNING twin of the first trial is left.
        values: `val/miou` of each lambda by seed.
        fields: More params of every trial.
    """
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(EXPERIMENT)
    place = found.experiment_id if found else client.create_experiment(EXPERIMENT)
    shared = {"sweep": sweep, "sweep_key": key, "schema": schema, "dataset": "shapes"}
    of_parent = shared | {"kind": "sweep", "trials_total": str(len(points))} | dict(asked or {})
    parent = client.create_run(place, start_time=start, tags=of_parent, run_name=sweep).info.run_id
    for name, number in (costs or {}).items():
        client.log_metric(parent, name, number)
    states = states or {}
    rows = [(point, states.get(point, "FINISHED")) for point in points]
    runs: dict[Point, str] = {}
    for (value, seed), state in rows + [(points[0], "RUNNING")] * double:
        # A key of digits alone must stay text.
        own = shared | {
            "kind": "trial",
            "mlflow.parentRunId": parent,
            "trial_key": f"{points.index((value, seed)):016d}",
            "training_key": "00",
            "code_version": "c1",
            "data_fingerprint": "d1",
        }
        if state == "KILLED":
            own["record_hash"] = "0" * 16
        own |= dict((tags or {}).get((value, seed), {}))
        run = client.create_run(place, start_time=start, tags=own).info.run_id
        params = {"lambda_adv": value, "seed": seed, "swa_rule": "eq7", "lr": 1e-4}
        params |= dict(fields or {})
        for name, text in params.items():
            client.log_param(run, name, text)
        if state != "RUNNING":
            client.log_metric(run, "val/miou", values[value][seed])
            gain = SWA_GAIN[seed % len(SWA_GAIN)]
            client.log_metric(run, "swa/miou", values[value][seed] + gain)
        if (value, seed) in (details or {}):
            detail = (details or {})[value, seed] | {"trial_key": own["trial_key"]}
            client.log_text(run, json_files.dumps(detail).decode(), "result.json")
        client.set_terminated(run, state)
        runs.setdefault((value, seed), run)
    return runs
