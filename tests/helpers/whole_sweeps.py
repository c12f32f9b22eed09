"""Whole sweeps as a person runs them, in processes of their own."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path
from typing import Any

from paths import ROOT
from small import SMALL
from training_helpers import CLOCKS

from trainable.storage import json_files

SCRIPT = ROOT / "sweeps" / "lambda_grid.py"


DEADLINE_S = 900  # of any wait: many times what it takes, on a busy machine too


def command(
    *options: str, settings: tuple[str, ...] = SMALL, with_model: bool = False
) -> list[str]:
    sets = [part for setting in settings for part in ("--set", setting)]
    sets += [] if with_model else ["--no-model"]
    return [sys.executable, str(SCRIPT), "--seeds", "2", "--lambdas", "0", "0.01", *sets, *options]


def sweep(folder: Path, *options: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*options, **settings),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def results(folder: Path) -> dict[str, Any]:
    """Return what the run folders hold, without what a clock said."""
    return {
        path.parent.name: {
            k: v for k, v in json_files.loads(path.read_bytes()).items() if k not in CLOCKS
        }
        for path in folder.glob("runs/*/result.json")
    }


def finished_trials(folder: Path) -> dict[str, dict[str, float]]:
    """Return the metrics in the record by trial key; a key that stands twice is an error."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("pixelwise-adversarial")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.kind = 'trial'")
    assert {run.info.status for run in runs} == {"FINISHED"}
    metrics = {
        run.data.tags["trial_key"]: {
            name: value for name, value in run.data.metrics.items() if name not in CLOCKS
        }
        for run in runs
    }
    assert len(metrics) == len(runs)
    return metrics


LONG = (*SMALL, "iterations=120", "eval_every=60", "log_every=20", "checkpoint_every=20")


def undisturbed(shared: Path) -> Path:
    """Return the folder of a sweep of LONG that nothing disturbed.

    Args:
        shared: A folder of all test processes; the first that asks runs the sweep there.
    """
    folder, ended = shared / "undisturbed", shared / "undisturbed-ended"
    with (shared / "undisturbed-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not ended.exists():
            folder.mkdir()
            done = sweep(folder, "--no-figures", settings=LONG)
            assert done.returncode == 0, done.stderr
            ended.touch()
    return folder


def state_of(folder: Path) -> tuple[str | None, str | None]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'pixelwise-adversarial'")
    (parent,) = client.search_runs([experiment.experiment_id], "tags.kind = 'sweep'")
    return parent.data.tags.get("state"), parent.data.tags.get("why_partial")
