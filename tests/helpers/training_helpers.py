"""Training to the end, with and without Tune, and the numbers that came of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainable.ray_trainable import SegmentationTrainable
from trainable.runs.folder import RunFolder
from trainable.runs.keys import RunSpec
from trainable.runs.training_run import TrainingRun


def tune_config(spec: RunSpec, storage: Path) -> dict[str, Any]:
    return {
        "spec": json.dumps(spec.to_primitives()),
        "storage": str(storage),
        "threads": 1,
        "gpu_share": 0.0,
        "report_s": 0.0,
    }


def run_to_end(trainable: SegmentationTrainable) -> dict[str, Any]:
    while True:
        report = trainable.step()
        if report["done"]:
            return report


CLOCKS = ("time", "finished_at", "images_per_s", "train_s")


def train(spec: RunSpec, storage: Path) -> dict[str, Any]:
    run = TrainingRun(spec, storage)
    while not run.complete:
        run.advance()
    run.close()
    return numbers(spec, storage)


def numbers(spec: RunSpec, storage: Path) -> dict[str, Any]:
    """Return all that a finished folder says, without what a clock said."""
    folder = RunFolder(storage, spec.training_key)
    result, metrics = folder.read("result"), folder.read("metrics")
    assert result is not None
    assert metrics is not None
    history = [{k: v for k, v in row.items() if k not in CLOCKS} for row in metrics["history"]]
    return {k: v for k, v in result.items() if k not in CLOCKS} | {"history": history}


def hold(storage: Path, held: Any, release: Any) -> None:
    with RunFolder(storage, "key"):
        held.set()
        release.wait(60)
