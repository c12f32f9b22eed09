"""Training runs that are played, not trained: a few processes play the workers of many slots.

Tune believes that each slot has an actor. What it calls goes as a real call of Ray to one of a few
real actors, the players, and the answer is a real report: made by Tune's own class from the rows
that a training has, at the moment at which a worker would make it. No torch is loaded.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import os
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import ray
from ray import tune
from ray.air.execution.resources import placement_group

from trainable.runs.folder import RunFolder
from trainable.runs.keys import RunSpec, readout_key
from trainable.runs.machine import SETTING
from trainable.runs.results import Result

RUN_S = 300.0  # of training, which a run takes
LEAST_S = 1.0  # between two reports of a worker
MADE_AT = "made_at"  # beside what a report says of its machine: when it was made
METRICS = {"miou": 0.5, "acc": 0.8, "macc": 0.6, "fwiou": 0.7, "miou_per_image": 0.5}
LOSSES = ("loss_mce", "loss_adv", "loss_disc", "d_real", "d_fake")
TUNE_RESOURCES = "ray.tune.execution.tune_controller.PlacementGroupResourceManager"
GOLDEN = 0.618034  # whose multiples spread evenly between whole numbers

# How fast runs are played: as workers train, as fast as reports are asked for, to an end at once.
Pace = Literal["trained", "at once", "over"]


class PlayedRun(tune.Trainable):
    """Reports as `SegmentationTrainable` does, and leaves a run folder."""

    def setup(self, config: dict[str, Any]) -> None:
        """Remember what to play."""
        self._spec = RunSpec.from_primitives(json.loads(config["spec"]))
        self._run_storage = Path(config["storage"])
        self._report_s = max(LEAST_S, config["report_s"])
        self._iteration_s = RUN_S / self._spec.config.iterations
        self._trained = self._kept = 0  # iterations, and those that a checkpoint has
        self._history: list[dict[str, float]] = []

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next run."""
        self.setup(new_config)
        return True

    @property
    def due_s(self) -> float:
        """How many seconds of training come before the next report; it tells a validation first."""
        config = self._spec.config
        until_validation = config.eval_every - self._trained % config.eval_every
        left = config.iterations - self._trained
        reported = round(self._report_s / self._iteration_s)
        iterations: int = max(1, min(reported, until_validation, left))
        return iterations * self._iteration_s

    def skip_to(self, share: float) -> None:
        """Go on from where this share of it is trained, at least an iteration before its end."""
        self._trained = self._kept = round(share * (self._spec.config.iterations - 1))

    def step(self) -> dict[str, Any]:
        """Return the next report."""
        due_s, config = self.due_s, self._spec.config
        before, self._trained = self._trained, self._trained + round(due_s / self._iteration_s)
        done = self._trained == config.iterations
        rows = [self._row(i) for i in range(before + 1, self._trained + 1)]
        self._history += [row for row in rows if len(row) > 2]
        kept = (
            config.iterations if done else self._trained - self._trained % config.checkpoint_every
        )
        told, self._kept = self._kept, kept
        if done:
            self._finish()
        return {
            "busy_s": due_s,
            "rss_gb": 1.0,
            "run_iteration": self._trained,
            "val/miou": METRICS["miou"],
            "validations": [
                [row["iteration"], row["val/miou"]] for row in rows if "val/miou" in row
            ],
            "rows": [row for row in self._history if told < row["iteration"] <= kept],
            "load": [(MADE_AT, time.time())],
            "done": done,
        }

    def _row(self, iteration: int) -> dict[str, float]:
        row = {"iteration": iteration, "time": time.time()}
        if iteration % self._spec.config.log_every == 0:
            row |= {f"train/{name}": 1 / iteration for name in LOSSES}
        if iteration % self._spec.config.eval_every == 0:
            row["val/miou"] = METRICS["miou"]
        return row

    def _finish(self) -> None:
        metrics: Any = METRICS | {"iou": [METRICS["miou"]]}
        entry: Any = {"averaged": 1, "swa": metrics}
        result = Result(
            val=metrics,
            readouts={
                readout_key(one): entry | {"readout": dataclasses.asdict(one)}
                for one in self._spec.readouts
            },
            train={f"train/{name}": 1.0 for name in LOSSES},
            classes=["class"],
            iterations=self._trained,
            images_per_s=self._spec.config.batch_size / self._iteration_s,
            train_s=RUN_S,
            finished_at=time.time(),
            attempt="",
            code_version=self._spec.code_version,
            setting=dict.fromkeys(SETTING, "") | {"host": platform.node()},
        )
        with RunFolder(self._run_storage, self._spec.training_key) as folder:
            folder.write("metrics", {"history": self._history})
            folder.write("result", result.to_primitives())

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save nothing."""

    def load_checkpoint(self, checkpoint: object) -> None:
        """Load nothing."""


class Player:
    """Plays the runs of many slots in one process, as an actor of Ray."""

    def __init__(self) -> None:
        self._pace: Pace = "trained"
        self._hurry = asyncio.Event()
        self._runs: dict[int, PlayedRun] = {}

    async def open(self, slot: int, arguments: dict[str, Any]) -> None:
        """Make what a worker of this slot would have, with a run that is somewhere in its midst."""
        self._runs[slot] = PlayedRun(**arguments)
        self._runs[slot].skip_to(slot * GOLDEN % 1)

    async def call(self, slot: int, method: str, *args: Any, **kwargs: Any) -> Any:
        """Answer what Tune calls of the worker of a slot, a report when it is due."""
        run = self._runs[slot]
        if method == "__ray_ready__":
            return True
        if method == "train":
            await self._train(run)
        return getattr(run, method)(*args, **kwargs)

    async def _train(self, run: PlayedRun) -> None:
        if self._pace == "trained":
            try:
                await asyncio.wait_for(self._hurry.wait(), run.due_s)
            except TimeoutError:
                return
        if self._pace == "over":
            run.skip_to(1.0)

    async def play(self, pace: Pace) -> None:
        """Play at this pace from now on, which may not be slower than the one before."""
        self._pace = pace
        self._hurry.set()

    async def pid(self) -> int:
        """Return the id of this process."""
        return os.getpid()


class Slot:
    """What Tune takes for the actor of a slot."""

    def __init__(self, player: Any, number: int) -> None:
        self._player = player
        self._number = number

    def __getattr__(self, method: str) -> Any:
        return Slot.Method(self._player, self._number, method)

    @dataclasses.dataclass(frozen=True)
    class Method:
        """A method of it, called as those of actors are."""

        player: Any
        number: int
        name: str

        def remote(self, *args: Any, **kwargs: Any) -> Any:
            """Let the player answer."""
            return self.player.call.remote(self.number, self.name, *args, **kwargs)


@contextmanager
def players(count: int) -> Iterator[Sequence[Any]]:
    """Start players, as actors of the Ray that runs, and have Tune's slots played by them.

    Each slot's resources are reserved as ever, by a placement group of its own.
    """
    decorated: Any = ray.remote
    actor = decorated(num_cpus=0, max_concurrency=10_000)(Player)
    started = [actor.remote() for _ in range(count)]
    numbers = itertools.count()

    class SlotClass:
        """What Tune takes for the class of its actors."""

        def remote(self, **arguments: Any) -> Slot:
            number = next(numbers)
            player = started[number % count]
            player.open.remote(number, arguments)
            return Slot(player, number)

    class Acquired(placement_group.PlacementGroupAcquiredResources):
        def annotate_remote_entities(self, entities: list[Any]) -> list[Any]:
            return [SlotClass() for _ in entities]

    class Resources(placement_group.PlacementGroupResourceManager):
        _resource_cls: Any = Acquired

    with patch(TUNE_RESOURCES, Resources):
        yield started
