"""Plans and finished run folders without training: what planner, record and screen read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from sweeps.planning.plan import PlannedRun, make_plan
from sweeps.planning.state import SweepState
from trainable.config.loading import load_config
from trainable.config.schema import Readout, TrialConfig
from trainable.data.datasets import DataFacts
from trainable.runs.folder import RunFolder
from trainable.runs.keys import RunSpec, readout_key
from trainable.training.numerics import Numerics

BASE = load_config()
DATA = DataFacts(fingerprint="0123456789abcdef", classes=("background", "disc", "ring"))
BEGUN_AT = 1_700_000_000.25  # seconds since the epoch; a quarter, so that milliseconds count
IMAGES_PER_S = 40.0
SETTING = {
    "torch": "2.15.0",
    "device": "cpu",
    "cpu": "x86_64 AVX512",
    "threads": 1,
    "torchvision": "0.29.2",
    "python": "3.11.7",
    "host": "here",
}

Miou = Callable[[TrialConfig, Readout], tuple[float, float]]


def grid(
    lambdas: Iterable[float] = (0.0, 0.01), seeds: Iterable[int] = (0,), **changes: Any
) -> list[TrialConfig]:
    """Return a trial per seed and lambda, with these changes of the demo preset."""
    base = dataclasses.replace(BASE, **changes)
    values = list(lambdas)
    return [
        dataclasses.replace(base, lambda_adv=value, seed=seed) for seed in seeds for value in values
    ]


def sweep_state(
    storage: Path,
    configs: Iterable[TrialConfig],
    *,
    base: TrialConfig = BASE,
    axes: tuple[str, ...] = ("lambda_adv",),
    data: DataFacts = DATA,
    **asked: Any,
) -> SweepState:
    """Return a sweep named lambda_grid; further keywords are those of `make_plan`."""
    described = make_plan("lambda_grid", base=base, axes=axes, data=data, storage=storage, **asked)
    return SweepState.of(described, configs)


def miou_of(config: TrialConfig, readout: Readout) -> tuple[float, float]:
    """Return plausible val/miou and swa/miou, other ones for every trial."""
    val = 0.5 + config.lambda_adv / 4 + config.seed / 100
    return val, val + 0.02 + readout.swa_n / 1000


def finish(
    state: SweepState,
    run: PlannedRun,
    miou: Miou = miou_of,
    *,
    images_per_s: float = IMAGES_PER_S,
    history: list[dict[str, float]] | None = None,
) -> None:
    """Write the run folder that a training run leaves, with these numbers."""
    spec = run.spec
    history = history or history_of(spec.config)
    config = spec.config
    val = miou(config, spec.readouts[0])[0]
    with RunFolder(state.plan.storage, spec.training_key) as folder:
        described = spec.to_primitives() | SETTING
        numerics = Numerics.of(config, torch.device("cpu")).describe()
        folder.write("config", described | {"numerics": numerics, "pretrained": None})
        folder.write("metrics", {"history": history})
        folder.write(
            "result",
            {
                "val": _metrics(val),
                "readouts": {
                    readout_key(readout): {
                        "readout": dataclasses.asdict(readout),
                        "averaged": config.iterations // readout.swa_n,
                        "swa": _metrics(miou(config, readout)[1]),
                    }
                    for readout in spec.readouts
                },
                "train": {k: v for k, v in history[-1].items() if k.startswith("train/")},
                "classes": list(state.plan.data.classes),
                "iterations": config.iterations,
                "images_per_s": images_per_s,
                "train_s": config.iterations * config.batch_size / images_per_s,
                "finished_at": history[-1]["time"],
                **origin_of(spec),
            },
        )


def fail(state: SweepState, run: PlannedRun, cause: str) -> None:
    """Write the run folder that a diverged training run leaves, half-way."""
    history = history_of(run.spec.config)
    with RunFolder(state.plan.storage, run.spec.training_key) as folder:
        folder.write("metrics", {"history": history[: len(history) // 2]})
        folder.write("failure", {"cause": cause, **origin_of(run.spec)})


def origin_of(spec: RunSpec) -> dict[str, Any]:
    """Return by what an outcome says that it was made."""
    return {"attempt": spec.attempt, "code_version": spec.code_version, "setting": SETTING}


def history_of(config: TrialConfig) -> list[dict[str, float]]:
    """Return losses every `log_every` and validations every `eval_every` iterations."""
    rows = []
    for iteration in range(1, config.iterations + 1):
        row: dict[str, float] = {"iteration": iteration}
        if iteration % config.log_every == 0 or iteration == config.iterations:
            row["train/loss_mce"] = 2.0 / iteration
            if config.has_adversary:
                adversary = ("loss_adv", "loss_disc", "d_real", "d_fake")
                row |= {f"train/{name}": 1 / (iteration + i) for i, name in enumerate(adversary)}
        if iteration % config.eval_every == 0 or iteration == config.iterations:
            row["val/miou"] = 0.5 * iteration / config.iterations
        if len(row) > 1:
            rows.append(row | {"time": BEGUN_AT + iteration})
    return rows


def _metrics(miou: float) -> dict[str, Any]:
    return {
        "acc": miou + 0.2,
        "macc": miou + 0.1,
        "fwiou": miou + 0.15,
        "miou": miou,
        "miou_per_image": miou - 0.05,
        "iou": [miou + 0.1, miou - 0.1, None],
    }
