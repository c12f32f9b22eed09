"""Trainables that train nothing, so that only the cost of the platform is left to measure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from ray import tune

from trainable.runs.folder import RunFolder
from trainable.runs.keys import RunSpec, code_version
from trainable.runs.machine import setting
from trainable.runs.results import Failure


def empty_function(config: dict[str, Any]) -> None:
    """Report a metric and end, as Tune's function API has it."""
    tune.report({"miou": config["x"]})


class EmptyTrainable(tune.Trainable):
    """Ends at once, with an outcome in its run folder and a metric, as a training run does."""

    def setup(self, config: dict[str, Any]) -> None:
        """Remember the run whose outcome is to be written."""
        self._spec = RunSpec.from_primitives(json.loads(config["spec"]))
        self._run_storage = Path(config["storage"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next run."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Write a failure to the run folder, and report that the run has ended."""
        with RunFolder(self._run_storage, self._spec.training_key) as folder:
            failure = Failure(
                cause="an empty trial",
                attempt="",
                code_version=code_version(),
                setting=setting(torch.device("cpu")),
            )
            folder.write("failure", failure.to_primitives())
        return {
            "run_iteration": self._spec.config.iterations,
            "val/miou": 0.5,
            "validations": [[self._spec.config.iterations, 0.5]],
            "rows": [],
            "busy_s": 0.0,
            "rss_gb": 0.0,
            "done": True,
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save nothing."""

    def load_checkpoint(self, checkpoint: object) -> None:
        """Load nothing."""
